"""The AWS CLI, as its users have it: a program of its own that knows nothing of us.

It pins libraries that others need newer, so it lives in a virtual environment of its own,
`.venv-aws`, which tests/run.py makes.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bencode2 import bdecode

from tests.support.leecher import Leecher
from tests.support.processes import Child, python_environment

PROGRAM = Path(__file__).resolve().parents[2] / ".venv-aws" / "bin" / "aws"


def why_no_aws_cli() -> str | None:
    """Return the reason why the AWS CLI can't be run here, or None if it can."""
    return None if PROGRAM.exists() else "the AWS CLI needs .venv-aws, which tests/run.py makes"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended."""

    code: int
    output: str
    errors: str


class AwsCli:
    """Runs commands against one endpoint, in an empty home `directory`."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        self._endpoint = endpoint
        self._directory = directory

    def s3api(
        self, *words: str, keys: tuple[str, str] | None, environment: Mapping[str, str] = {}
    ) -> Outcome:
        """Run `aws s3api WORDS --endpoint-url`, signed with `keys` or not at all."""
        return self._run("s3api", *words, keys=keys, environment=environment)

    def s3(
        self, *words: str, keys: tuple[str, str] | None, environment: Mapping[str, str] = {}
    ) -> Outcome:
        """Run `aws s3 WORDS` likewise."""
        return self._run("s3", *words, keys=keys, environment=environment)

    def _run(
        self, *words: str, keys: tuple[str, str] | None, environment: Mapping[str, str] = {}
    ) -> Outcome:
        credentials = {}
        if keys is not None:
            credentials = dict(
                zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), keys, strict=True)
            )
        unsigned = [] if keys is not None else ["--no-sign-request"]
        done = subprocess.run(
            [PROGRAM, *words, "--endpoint-url", self._endpoint, *unsigned],
            env=_environment(self._directory, AWS_MAX_ATTEMPTS="1", **credentials, **environment),
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


class AwsCopy(Leecher):
    """`aws s3 cp` of the object at a torrent's web seed, with as many tries as it makes by itself.

    It is no BitTorrent client: for what is measured of downloads over HTTP beside them.
    """

    @classmethod
    def why_missing(cls) -> str | None:
        return why_no_aws_cli()

    def add(self, source: Path | str) -> None:
        assert isinstance(source, Path)
        outside: Any = bdecode(source.read_bytes())
        url = urlsplit(outside[b"url-list"][0].decode())
        words = ["s3", "cp", "--only-show-errors", "--no-sign-request"]
        words += ["--endpoint-url", f"{url.scheme}://{url.netloc}"]
        words += [f"s3:/{url.path}", str(self.downloads)]
        self._child = Child(
            [PROGRAM, *words], log=self.directory / "aws.log", env=_environment(self.directory)
        )

    def wait(self, timeout: float) -> Path:
        code = self._child.wait(timeout)
        if code:
            raise self._child.failure(f"ended with {code}")
        return self.downloaded_file()

    def close(self) -> None:
        self._child.kill()


def _environment(home: Path, **more: str) -> dict[str, str]:
    own = {"HOME": str(home), "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": ""}
    return python_environment(**more) | own
