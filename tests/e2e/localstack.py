"""LocalStack's S3, which keeps the SHA-1 of each part and tells it by GetObjectAttributes.

It needs versions of its own of many packages, so it lives in a virtual environment of its own,
.venv-localstack, which tests/run.py makes.
"""

from pathlib import Path

from tests.e2e.server import Server
from tests.support.processes import python_environment

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-localstack"


class LocalStack(Server):
    """A running LocalStack with S3 and SQS, at `endpoint`; it takes any credentials."""

    access_key, secret_key = "test", "test"

    @classmethod
    def why_missing(cls) -> str | None:
        if not (ENVIRONMENT / "made-for").exists():
            return "LocalStack needs .venv-localstack, which tests/run.py makes"
        return None

    def _start_programs(self) -> None:
        environment = python_environment(
            GATEWAY_LISTEN=f"{self.address}:{self.port}",
            SERVICES="s3,sqs",
            STRICT_SERVICE_LOADING="1",
            # Nothing is to be told to or fetched from the internet.
            DISABLE_EVENTS="1",
            SKIP_SSL_CERT_DOWNLOAD="1",
            DNS_ADDRESS="0",
            HOME=str(self._directory),
            TMPDIR=str(self._directory),
        )
        del environment["PYTHONPATH"]  # our packages are not its own
        words = [str(ENVIRONMENT / "bin/python"), "-m", "localstack.runtime.main"]
        child = self._spawn("localstack", words, env=environment)
        child.wait_until(self._answers, timeout=60, what="answer from S3")

    def _answers(self) -> bool:
        status = self._get("/", Host=f"s3.localhost:{self.port}")
        return status is not None and status < 500
