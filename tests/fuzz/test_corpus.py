"""The targets of the fuzzer over their seeds and corpus; and the fuzzer itself, for seconds."""

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import (
    inputs,
    targets,  # noqa: F401  (fills the table)
)
from tests.fuzz.__main__ import MOST_CORPUS
from tests.fuzz.inputs import CORPUS, TARGETS, TooMuch
from tests.support.processes import python_environment

SECONDS_EACH = 1


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


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris is not installed")
def test_the_fuzzer_finds_nothing_new_at_first_sight() -> None:
    seconds = [*("--seconds", str(SECONDS_EACH)), "--keep", "--jobs", "2", "--nice", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *seconds],
        cwd=Path(__file__).parents[2],
        env=python_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    assert said.count(" edges") == len(TARGETS), said
