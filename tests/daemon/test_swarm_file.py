"""The file of the swarms: saved every minute in slices, read whatever has become of it."""

import errno
import json
import logging
import os
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from seeder.daemon import swarm_file
from seeder.daemon.swarm_file import SAVE_EVERY, SwarmFile
from seeder.net import slices
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.units import MIB
from tests.support.disks import DAMAGE, NOT_FILES, failing_disk

HASHES = [InfoHash(bytes([number]) * 20) for number in range(3)]


class Nobody:
    """An account that nothing is counted on."""

    def delivered_claimed(self, count: int) -> None:
        pass

    def completed(self) -> None:
        pass


def make_swarms() -> Swarms:
    return Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1))


def open_all(swarms: Swarms) -> Swarms:
    for info_hash in HASHES:
        swarms.open(info_hash, size=1000, claims=Nobody())
    return swarms


def announce(swarms: Swarms, number: int, *, of: InfoHash = HASHES[0]) -> None:
    source = bytes([10, number >> 16 & 255, number >> 8 & 255, number & 255])
    request = AnnounceRequest(of, b"-XX0000-%012d" % number, 6881, left=10, key=b"key")
    swarms.announce(request, source, None, trio.current_time())


def peers(swarms: Swarms) -> list[int]:
    return [swarms.statistics(info_hash).peers for info_hash in HASHES]


@asynccontextmanager
async def remembered(path: Path, swarms: Swarms, wall: float = 1e9) -> AsyncIterator[SwarmFile]:
    file = SwarmFile(swarms, path, clock=lambda: wall)
    async with file.remembered():
        yield file


async def fill(path: Path) -> None:
    """Leave a file with three swarms of one, two and three peers."""
    swarms = open_all(make_swarms())
    async with remembered(path, swarms):
        for count, info_hash in enumerate(HASHES, 1):
            for number in range(count):
                announce(swarms, 10 * count + number, of=info_hash)


async def restored(path: Path, wall: float = 1e9) -> list[int]:
    swarms = make_swarms()
    async with remembered(path, swarms, wall):
        return peers(open_all(swarms))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_stop_saves_all_and_a_start_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "swarms.json"
    await fill(path)
    swarms = make_swarms()
    async with remembered(path, swarms):
        assert peers(open_all(swarms)) == [1, 2, 3]
        # A crash that comes right now loses nothing.
        assert await restored(path) == [1, 2, 3]


async def test_it_is_saved_now_and_then_if_anything_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm_file, "SAVE_EVERY", 0.01)
    path, saves = tmp_path / "swarms.json", list[int]()
    save = SwarmFile.save

    async def noted(self: SwarmFile) -> None:
        saves.append(self._swarms.changes)
        await save(self)

    async def saved(count: int) -> None:
        with trio.fail_after(60):
            while len(saves) < count:  # noqa: ASYNC110  (saves have no event)
                await trio.sleep(0.005)
        await trio.sleep(0.05)
        assert len(saves) == count

    monkeypatch.setattr(SwarmFile, "save", noted)
    swarms = open_all(make_swarms())
    async with remembered(path, swarms):
        await saved(0)
        announce(swarms, 1)
        await saved(1)
        assert await restored(tmp_path / "swarms.json") == [1, 0, 0]
        del saves[1:]
        announce(swarms, 2)
        await saved(2)
    assert swarm_file.SAVE_EVERY < SAVE_EVERY == 60


async def test_silence_while_we_were_down_counts(tmp_path: Path) -> None:
    path = tmp_path / "swarms.json"
    await fill(path)
    expiry = SwarmPolicy().expiry
    for wall, expected in (
        (1e9 + expiry - 10, [1, 2, 3]),
        (1e9 - 1000, [1, 2, 3]),  # the clock was set back
    ):
        copy = tmp_path / f"copy {wall}"
        copy.write_bytes(path.read_bytes())
        assert await restored(copy, wall) == expected
    assert await restored(path, 1e9 + expiry + 10) == [0, 0, 0]


async def test_the_list_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    path = tmp_path / "swarms.json"
    await fill(path)
    _, *lines = path.read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["crc32"]
        del row["claimed"]
    path.write_text(json.dumps(rows))
    assert await restored(path, path.stat().st_mtime) == [1, 2, 3]


@pytest.mark.parametrize("content", ["nothing", "swarms"])
async def test_a_hole_in_it_is_not_looked_into(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    path = tmp_path / "swarms.json"
    if content == "swarms":
        await fill(path)
    else:
        path.touch()
    os.truncate(path, 100 * MIB)
    with path.open("ab") as file:
        file.write(b', "crc32": 5}\n')
    swarms = make_swarms()
    tracemalloc.start()
    try:
        async with remembered(path, swarms):
            most = tracemalloc.get_traced_memory()[1]
            found = peers(open_all(swarms))
    finally:
        tracemalloc.stop()
    # The file, and its lines.
    assert most < 2.5 * 100 * MIB
    assert found == ([1, 2, 3] if content == "swarms" else [0, 0, 0])
    [line] = told(caplog)
    assert "lost" in line


@pytest.mark.parametrize("kind", DAMAGE | NOT_FILES)
async def test_whatever_has_become_of_it_is_a_line_in_the_log_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "state" / "swarms.json"
    await fill(path)
    (DAMAGE | NOT_FILES)[kind](path)
    found = await restored(path)
    # A line that is damaged loses no other.
    assert found == {"truncated": [1, 2, 0], "flipped": [1, 0, 3]}.get(kind, [0, 0, 0])
    # An empty list is what an earlier release wrote where there was no swarm.
    assert all(str(path) in line for line in told(caplog))
    assert bool(told(caplog)) == (kind != "a list")
    # It is written again all the same.
    await fill(path)
    assert await restored(path) == [1, 2, 3]


async def test_a_flipped_bit_never_makes_another_peer(tmp_path: Path) -> None:
    path = tmp_path / "swarms.json"
    await fill(path)
    whole = path.read_bytes()
    right = {bytes([10, 0, 0, 10 * count + n]) for count in (1, 2, 3) for n in range(count)}
    for at in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        swarms = make_swarms()
        SwarmFile(swarms, path)._restore(0.0, 1e9)
        listed = {
            bytes.fromhex(str(peer[0]))[:4] for row in swarms.export(0.0) for peer in row["peers"]
        }
        assert listed <= right


async def test_a_disk_that_takes_nothing_is_one_warning_and_leaves_the_last_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "swarms.json"
    await fill(path)
    swarms = make_swarms()
    async with remembered(path, swarms) as file:
        announce(open_all(swarms), 99)
        with failing_disk(errno.ENOSPC, tmp_path / "state"):
            for _ in range(3):
                await file.save()
        [line] = told(caplog)
        assert f"{path}: can't be written: No space left on device" in line
        assert await restored(path) == [1, 2, 3]
        await file.save()
        assert await restored(path) == [2, 2, 3]


async def test_a_save_lets_others_run_and_takes_in_no_half_of_a_swarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE", 0.0)
    path, swarms = tmp_path / "swarms.json", open_all(make_swarms())
    turns = 0

    async def bustle() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            announce(swarms, turns)
            turns += 1

    async with remembered(path, swarms) as file:
        for number in range(2000):
            announce(swarms, 5000 + number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bustle)
            await file.save()
            nursery.cancel_scope.cancel()
        assert turns > 10
        kept = await restored(path)
        assert 2000 <= kept[0] <= 2000 + turns


async def test_a_stop_amid_a_save_still_writes_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm_file, "SAVE_EVERY", 0.0)
    path, swarms = tmp_path / "swarms.json", open_all(make_swarms())
    with trio.CancelScope() as scope:
        async with remembered(path, swarms):
            announce(swarms, 1)
            await trio.sleep(0.01)
            announce(swarms, 2)
            scope.cancel()
            await trio.sleep_forever()
    assert await restored(path) == [2, 0, 0]
