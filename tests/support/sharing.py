"""What is made once a run, for all processes that share the tests."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run_directory(factory: pytest.TempPathFactory) -> Path:
    """Return the temporary directory of this run, which all its processes have in common."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def shared(directory: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Give out a directory that the first process to want it makes, and the last one removes.

    `make` fills the directory, which is empty. If it fails, its error is raised, and who wants the
    directory next tries again. The kernel ends the share of a process that is killed.
    """
    whole = directory / "whole"
    with directory.with_suffix(".lock").open("w") as lock:
        # Who makes or removes it is alone, and those who use it are together. From one to the other
        # a lock is lost for a moment, in which somebody else may remove it.
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not whole.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
                make(directory)
                whole.touch()
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield directory
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # others use it
            else:
                shutil.rmtree(directory)
