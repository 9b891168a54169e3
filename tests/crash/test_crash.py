"""Our files after a crash at every moment: nothing wrong is believed, and nothing promised lost."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import CRASHES, Bytes, Directory, Disk, File, Names, Node
from tests.crash.recording import Change, record
from tests.crash.scenarios import SCENARIOS


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def changes(scenario: str, tmp_path_factory: pytest.TempPathFactory) -> list[Change]:
    """Return what the scenario does to its directory, recorded once."""
    return record(scenario, tmp_path_factory.mktemp(scenario))


def moments(changes: list[Change]) -> Iterator[Disk]:
    """Yield the disk as it is at the start, and after each change that matters."""
    disk = Disk()
    yield disk
    for change in changes:
        disk.apply(change)
        if change.name not in ("open", "close") or disk.root.pending:
            yield disk


def check(scenario: str, disk: Disk, target: Path, content: Bytes, names: Names) -> None:
    disk.leave(target, content, names)
    try:
        SCENARIOS[scenario].check(target, len(disk.promised))
    finally:
        shutil.rmtree(target)


def test_the_record_makes_the_directory_that_the_scenario_made(
    scenario: str, changes: list[Change], tmp_path: Path
) -> None:
    *_, disk = moments(changes)
    assert changes
    check(scenario, disk, tmp_path / "left", *CRASHES["killed"])
    assert disk.promised or scenario == "cache"


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_any_moment_leaves_what_a_start_can_live_with(
    scenario: str, changes: list[Change], tmp_path: Path, crash: str
) -> None:
    for number, disk in enumerate(moments(changes)):
        try:
            check(scenario, disk, tmp_path / "left", *CRASHES[crash])
        except Exception as error:
            error.add_note(f"at moment {number}, with {len(disk.promised)} promises")
            raise


@pytest.mark.parametrize("seed", range(60))
def test_whatever_has_lasted_of_what_was_not_synced(
    scenario: str, changes: list[Change], tmp_path: Path, seed: int
) -> None:
    rng, disk = random.Random(seed), Disk()
    for change in changes[: rng.randint(0, len(changes))]:
        disk.apply(change)
    kept: dict[int, int] = {}
    lost: dict[int, set[int]] = {}
    for node in disk.unsure():
        count = len(node.pending)
        kept[id(node)] = rng.randint(0, count)
        lost[id(node)] = {number for number in range(count) if rng.random() < 0.3}

    def content(file: File) -> bytes:
        return _some(file, kept, lost)

    def names(directory: Directory) -> dict[str, Node]:
        return directory.names(kept.get(id(directory)))

    check(scenario, disk, tmp_path / "left", content, names)


def _some(file: File, kept: dict[int, int], lost: dict[int, set[int]]) -> bytes:
    """Return a file with some of the writes that weren't synced; zeros for the others' bytes."""
    pending = file.pending[: kept.get(id(file), len(file.pending))]
    zeroed = [
        (offset, bytes(len(change)) if change and number in lost.get(id(file), ()) else change)
        for number, (offset, change) in enumerate(pending)
    ]
    return File(file.durable, zeroed).content()
