"""The targets of the fuzzer over their seeds and corpus; and the fuzzer itself, for seconds."""

import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import (
    inputs,
    targets,  # noqa: F401  (fills the table)
)
from tests.fuzz.__main__ import MOST_CORPUS, main
from tests.fuzz.inputs import CORPUS, TARGETS, TooMuch
from tests.support.processes import python_environment


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_everything_found_so_far_passes(name: str) -> None:
    for data in inputs.kept_inputs(TARGETS[name]):
        inputs.check(TARGETS[name], data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_work_grows_no_faster_than_the_input(name: str) -> None:
    tried = TARGETS[name]
    rng = random.Random(name)
    some = list(inputs.kept_inputs(tried))
    for data in inputs.blown_up(tried, rng.sample(some, min(10, len(some))), rng):
        inputs.check(tried, data)


def test_the_corpus_is_small_and_every_directory_has_its_target() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= TARGETS.keys()
    assert sum(path.stat().st_size for path in files) <= MOST_CORPUS


def test_a_target_that_takes_too_long_is_told() -> None:
    def spin(data: bytes) -> None:
        sum(range(10**6))

    with pytest.raises(TooMuch, match="3 bytes took"):
        inputs.check(inputs.Target("spin", spin, ()), b"abc", most_seconds=0.0)


def test_an_input_is_tried_again_by_the_command_that_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "finding"
    path.write_bytes(b"le")
    assert main(["--target", "bencode", "xml", str(path)]) == 0
    assert capsys.readouterr().out == f"bencode: {path}: passes\nxml: {path}: passes\n"
    with pytest.raises(SystemExit):
        main(["--target", "bencod"])
    assert "bencod: neither a file nor a target" in capsys.readouterr().err


needs_atheris = pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris is not installed")


@pytest.mark.e2e
@pytest.mark.timeout(3600)  # a minute of CPU time, on a machine that may have little to spare
@needs_atheris
def test_the_fuzzer_finds_nothing_new_at_first_sight() -> None:
    done = run_python("-m", "tests.fuzz.glance")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" executions") == len(TARGETS), done.stdout


GLANCE = """
from pathlib import Path
from tests.fuzz import glance, inputs

@inputs.target(b"a", b"b")
def tried(data):
    if data == b"b":
        %s

glance.FINDINGS, glance.SECONDS, glance.MOST_SECONDS = Path(%r), 0.1, 2
raise SystemExit(glance.main(["tried"]))
"""


@pytest.mark.e2e
@pytest.mark.timeout(600)
@needs_atheris
@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("raise ZeroDivisionError", "FOUND .*ZeroDivisionError"),
        ("while True: pass", r"exit code -24(.|\n)*line 8 in tried"),
        ("__import__('os')._exit(0)", r"failed \(exit code 0\)"),
    ],
)
def test_a_short_pass_tells_what_fails_or_has_no_end(tmp_path: Path, ends: str, told: str) -> None:
    done = run_python("-c", GLANCE % (ends, str(tmp_path)))
    assert done.returncode == 1, done.stdout
    assert re.search(told, done.stdout), done.stdout


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env=python_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
