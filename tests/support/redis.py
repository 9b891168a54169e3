"""Debian's redis-server, on a socket of its own (and a port, if asked), and its redis-cli."""

import importlib.util
import shutil
import socket
import tempfile
from pathlib import Path

from tests.support.closing import Closing
from tests.support.processes import Child, missing_programs, run


def why_no_redis() -> str | None:
    """Return why there is no Redis to test with here; None where there is."""
    if missing := missing_programs("redis-server", "redis-cli"):
        return f"{' and '.join(missing)} not found"
    if importlib.util.find_spec("coredis") is None:
        return 'the extra "redis" is not installed'
    return None


class RedisServer(Closing):
    """A Redis that keeps nothing on disk; stopped and started again, it has lost all.

    It listens on a socket in the file system, and on `options` such as ("--port", "6379").
    """

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.directory / "socket"
        self.options = options
        self._child: Child | None = None
        self.start()

    @property
    def url(self) -> str:
        """What `[cluster] store` names."""
        return f"unix://{self.socket}"

    @property
    def child(self) -> Child:
        """The program."""
        assert self._child is not None
        return self._child

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command: list[str | Path] = [
            *("redis-server", "--port", "0", "--save", "", "--appendonly", "no"),
            *("--unixsocket", self.socket, "--dir", self.directory, "--daemonize", "no"),
            *self.options,
        ]
        self.socket.unlink(missing_ok=True)
        self._child = Child(command, log=self.directory / "log")
        self._child.wait_until(self._answers, timeout=60, what="answer")

    def _answers(self) -> bool:
        """Tell whether it takes connections: the socket is there before that."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        """SIGKILL it. Again is harmless."""
        if self._child is not None:
            self._child.kill()

    def ask(self, *words: str) -> str:
        """Return what redis-cli prints for a command."""
        return run(["redis-cli", "-s", self.socket, *words]).rstrip("\n")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
