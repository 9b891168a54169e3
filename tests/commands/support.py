"""The commands as a shell runs them, on a configuration and an S3 server of their own."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import KIB, MIB, content
from tests.support.processes import python_environment
from tests.support.toml import toml

BODY = content(2 * MIB + 5)
PIECE_LENGTH = 64 * KIB
PROGRAM = (sys.executable, "-m", "seeder.cli")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def line(self) -> str:
        """The only line of stderr."""
        [line] = self.err.splitlines()
        return line


def environment(**extra: str) -> dict[str, str]:
    """Return an environment with credentials that any server of these tests takes."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secrettest"}
    return python_environment(HOME="/nonexistent", COLUMNS="80", **keys, **extra)


async def seeder(*words: str | Path) -> Result:
    """Run `seeder` to its end."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [*PROGRAM, *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@dataclass
class Site:
    """A configuration on disk and the S3 server that it names."""

    path: Path
    peer: str
    """Where peers would connect."""
    server: FaultServer
    store: ObjectsServer

    @property
    def state(self) -> Path:
        return self.path.parent / "state"


def write_settings(path: Path, endpoint: str, peer: str = "127.0.0.1:0") -> Path:
    """Write a configuration for two objects of one bucket; `peer` is where peers are let in."""
    public = peer if not peer.endswith(":0") else "127.0.0.1:6881"  # which nobody dials
    wishes: dict[str, Mapping[str, str]] = {"Nelson": {"piece_length": "64 KiB"}, "Hardy": {}}
    settings = {
        "state_directory": "state",
        "origin": {"endpoint": endpoint, "path_style": True},
        "objects": [{"bucket": "quotes", "key": key, **wish} for key, wish in wishes.items()],
        "tracker": {"listen": ["127.0.0.1:0"], "announce_url": "http://127.0.0.1:6969/announce"},
        "peer": {"listen": [peer], "public_address": public, "super_seeding": "off"},
        "cache": {"directory": "cache", "disk": "1 GiB"},
        "admin": {"listen": []},
    }
    path.write_text(toml(settings))
    return path


def with_budget(path: Path, text: str) -> None:
    """Add a section [budget]."""
    path.write_text(f"{path.read_text()}[budget]\n{text}\n")


def write_prefixes(site: Site, *prefixes: str) -> None:
    """Publish what is below prefixes, besides the two objects."""
    entries = "".join(f'[[objects]]\nbucket = "quotes"\nprefix = "{each}"\n' for each in prefixes)
    site.path.write_text(site.path.read_text() + entries)
