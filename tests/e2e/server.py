"""What every S3 server of the tests is: programs, a port, a directory that goes with them."""

import abc
import http.client
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import ClassVar, Self

from tests.e2e.s3 import Publisher
from tests.support.closing import Closing
from tests.support.ports import free_port
from tests.support.processes import Child


class Server(Closing):
    """An S3 server that answers on `address`, in the network of the thread that starts it.

    A new one is a subclass with `why_missing`, `_start_programs` and the user's keys, and a
    fixture in tests/e2e/conftest.py.
    """

    access_key: ClassVar[str]
    secret_key: ClassVar[str]

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self._directory = Path()
        self._children: list[Child] = []

    @classmethod
    @abc.abstractmethod
    def why_missing(cls) -> str | None:
        """Return the reason why it can't be started here, or None if it can."""

    @abc.abstractmethod
    def _start_programs(self) -> None:
        """Start its programs on `self.port`, below `self._directory`, and wait until S3 answers."""

    @classmethod
    def environment(cls) -> dict[str, str]:
        """Return the environment of a daemon that asks it: the user's keys."""
        return {"AWS_ACCESS_KEY_ID": cls.access_key, "AWS_SECRET_ACCESS_KEY": cls.secret_key}

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def publisher(self) -> Publisher:
        """Return an S3 client for the user whose keys the class names."""
        return Publisher(self.endpoint, self.access_key, self.secret_key)

    def start(self) -> None:
        """Start it and wait until S3 answers; HarnessError, with nothing left, if it doesn't."""
        self._directory = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.port = free_port(self.address)
        try:
            self._start_programs()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGKILL its programs and drop the data. Again is harmless."""
        for child in reversed(self._children):
            child.kill()
        self._children.clear()
        if self._directory != Path():
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = Path()

    def close(self) -> None:
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def _spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start one of its programs, below its directory; what it prints goes to NAME.out."""
        log = self._directory / f"{name}.out"
        child = Child(argv, log=log, env=env, cwd=self._directory)
        self._children.append(child)
        return child

    def _get(self, target: str, **headers: str) -> int | None:
        """Return the status of a GET, or None if nothing answers."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", target, headers=headers)
            return connection.getresponse().status
        return None
