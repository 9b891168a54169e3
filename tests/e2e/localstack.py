"""LocalStack's S3, which keeps the SHA-1 of each part and tells it by GetObjectAttributes.

It needs versions of its own of many packages, so it lives in a virtual environment of its own,
.venv-localstack, which tests/run.py makes.
"""

import contextlib
import http.client
import shutil
import tempfile
from pathlib import Path

from tests.e2e.s3 import Publisher
from tests.support.ports import free_port
from tests.support.processes import Child, python_environment

ACCESS_KEY, SECRET_KEY = "test", "test"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-localstack"


def why_no_localstack() -> str | None:
    """Return the reason why LocalStack can't be started here, or None if it can."""
    if not (ENVIRONMENT / "made-for").exists():
        return "LocalStack needs its virtual environment .venv-localstack: tests/run.py makes it"
    return None


class LocalStack:
    """A running LocalStack with S3 alone, at `endpoint`; it takes any credentials."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self._directory = Path()
        self._child: Child | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def publisher(self) -> Publisher:
        """Return an S3 client."""
        return Publisher(self.endpoint, ACCESS_KEY, SECRET_KEY)

    def start(self) -> None:
        """Start it and wait until S3 answers."""
        self._directory = Path(tempfile.mkdtemp(prefix="localstack-"))
        self.port = free_port(self.address)
        environment = python_environment(
            GATEWAY_LISTEN=f"{self.address}:{self.port}",
            SERVICES="s3",
            STRICT_SERVICE_LOADING="1",
            # Nothing is to be told to or fetched from the internet.
            DISABLE_EVENTS="1",
            SKIP_SSL_CERT_DOWNLOAD="1",
            DNS_ADDRESS="0",
            HOME=str(self._directory),
            TMPDIR=str(self._directory),
        )
        del environment["PYTHONPATH"]  # our packages are not its own
        try:
            self._child = Child(
                [ENVIRONMENT / "bin/python", "-m", "localstack.runtime.main"],
                log=self._directory / "localstack.log",
                env=environment,
                cwd=self._directory,
            )
            self._child.wait_until(self._answers, timeout=60, what="answer from S3")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGKILL it and drop the data."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/", headers={"Host": f"s3.localhost:{self.port}"})
            return connection.getresponse().status < 500
        return False
