"""The first moments of the daemon: whatever it was started with, and whoever wants it to reload."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder.commands.beginning import heed_early_reloads
from tests.commands.support import PROGRAM, environment

CLOSED = 'exec "$@" 0<&- >&- 2>&-'
IMPATIENT = """
import os, signal, sys
from seeder import cli
import_module = cli.import_module
def hurried(name):
    os.kill(os.getpid(), signal.SIGHUP)
    return import_module(name)
cli.import_module = hurried
cli.main(sys.argv[1:])
"""
"""Asks for a reload when the command line is known, and the daemon is yet to be imported."""


def code_of(*command: str | Path) -> int:
    return subprocess.run(command, env=environment(), check=False, timeout=60).returncode


def test_a_reload_that_is_wanted_before_the_file_is_read_ends_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert code_of(sys.executable, "-c", IMPATIENT, "run", "-c", missing) == 2


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_reload_that_is_wanted_once_the_file_is_read_is_told_of(
    handler: None, caplog: pytest.LogCaptureFixture
) -> None:
    heed_early_reloads()
    os.kill(os.getpid(), signal.SIGHUP)
    assert "not reloaded: still starting" in caplog.text


def test_what_is_started_without_standard_streams_runs_all_the_same(tmp_path: Path) -> None:
    """What is wrong with the configuration is what it prints first."""
    path = tmp_path / "seeder.toml"
    path.write_text("nonsense = 1\n")
    assert code_of("bash", "-c", CLOSED, "bash", *PROGRAM, "run", "-c", path) == 2
