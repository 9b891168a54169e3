"""Runs a scenario with every change that it makes to its directory written down."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import python_environment

SOURCE = Path(__file__).with_name("recorder.c")
ROOT = Path(__file__).parents[2]
MARKS = "marks"
"""A file below the root: what a scenario writes there says what has been promised by then."""


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changed the file system, or made a change durable."""

    name: str
    descriptor: int
    offset: int
    flags: int
    paths: tuple[str, ...]
    """Relative to the root, which is "."."""
    data: bytes


def record(scenario: str, directory: Path) -> list[Change]:
    """Run `tests.crash.scenarios` with a scenario's name; skips the test without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the recorder")
    library, log, root = directory / "recorder.so", directory / "log", directory / "root"
    root.mkdir()
    flags = ["-shared", "-fPIC", "-O1", "-w", "-ldl", "-lpthread"]
    subprocess.run([compiler, "-o", str(library), str(SOURCE), *flags], check=True)
    environment = python_environment(
        LD_PRELOAD=str(library), CRASH_ROOT=str(root), CRASH_LOG=str(log)
    )
    words = [sys.executable, "-m", "tests.crash.scenarios", scenario, str(root)]
    subprocess.run(words, check=True, cwd=ROOT, env=environment)
    return _parsed(log.read_bytes())


def _parsed(log: bytes) -> list[Change]:
    changes, at = [], 0
    while at < len(log):
        end = log.index(b"\n", at)
        name, descriptor, offset, length, flags, paths = os.fsdecode(log[at:end]).split(" ", 5)
        data = log[end + 1 : end + 1 + int(length)]
        at = end + 1 + len(data)
        changes.append(
            Change(name, int(descriptor), int(offset), int(flags), tuple(paths.split("\t")), data)
        )
    return changes
