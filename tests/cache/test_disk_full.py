"""Real file systems that are full or read-only, and a real limit on the size of a file."""

import logging
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from seeder.cache import disk
from seeder.units import KIB, MIB
from tests.cache.fakes import LONGEST_WAIT, FakeTorrent, bytes_in, running
from tests.support.disks import small_file_system

SMALL = MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with small_file_system(tmp_path / "small", SMALL) as point:
        yield point


def remount(point: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(point)], check=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_full_disk_costs_nothing_but_the_disk_tier(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent(size=20 * 100 * KIB, piece_length=100 * KIB)
    filler = small_disk / "of-somebody-else"
    filler.write_bytes(bytes(550 * KIB))
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        for index in range(20):
            assert await stand.get(torrent, index) == torrent.piece(index)
            await stand.idle()
        kept = stand.on_disk(torrent.cache_id)
        assert kept == {0, 1, 2, 3}
        assert bytes_in(small_disk) == 550 * KIB + stand.cache.statistics().disk_bytes
        assert not stand.cache.statistics().disk_ok
        [warning] = warnings(caplog)
        assert "No space left on device" in warning
        for index in kept:
            assert await stand.get(torrent, index) == torrent.piece(index)
        assert stand.source.reads == list(range(20))

        filler.unlink()
        await stand.get(torrent, 10)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == kept
        stand.clock.now += 60
        for index in range(10, 14):
            await stand.get(torrent, index)
            await stand.idle()
        assert stand.on_disk(torrent.cache_id) == kept | {10, 11, 12, 13}
        assert stand.cache.statistics().disk_ok
        assert len(warnings(caplog)) == 1
    # What was written amid the trouble is whole.
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        for index in kept | {10, 11, 12, 13}:
            assert await stand.get(torrent, index) == torrent.piece(index)
        assert stand.source.reads == []


async def test_what_was_written_before_the_disk_was_full_is_no_sign_that_it_works(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    torrent = FakeTorrent(size=20 * 100 * KIB, piece_length=100 * KIB)
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        for index in range(20):  # all in one call of the thread
            stand.cache._writer.offer(torrent.piece_key(index), torrent.piece(index))
        await stand.idle()
        assert 5 < len(stand.on_disk(torrent.cache_id)) < 20
        assert not stand.cache.statistics().disk_ok
        [line] = caplog.messages
        assert "No space left on device" in line


async def test_a_cache_that_was_given_more_than_there_is_leaves_room_for_others(
    small_disk: Path,
) -> None:
    torrent = FakeTorrent(size=100 * 16 * KIB, piece_length=16 * KIB)
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        for index in range(100):
            await stand.get(torrent, index)
            await stand.idle()
        assert bytes_in(small_disk) > SMALL * 9 // 10
        (small_disk / "of-somebody-else").write_bytes(bytes(SMALL // 32))


async def test_nothing_is_read_ahead_for_a_disk_that_takes_nothing(small_disk: Path) -> None:
    torrent = FakeTorrent(size=20 * 100 * KIB, piece_length=100 * KIB)
    filler = small_disk / "of-somebody-else"
    filler.write_bytes(bytes(SMALL - 50 * KIB))
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        assert stand.cache.read_ahead(torrent, range(3)) == 300 * KIB
        await until(lambda: not stand.cache.statistics().disk_ok)
        assert stand.cache.read_ahead(torrent, range(3, 6)) == 0
        filler.unlink()
        stand.clock.now += 60
        assert stand.cache.read_ahead(torrent, range(3, 6)) == 300 * KIB
        await until(lambda: stand.on_disk(torrent.cache_id) == {3, 4, 5})


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LONGEST_WAIT):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await trio.sleep(0.005)


@pytest.mark.parametrize("below", [False, True])
async def test_a_disk_that_is_read_only_at_start_is_named_read_and_written_later(
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    below: bool,
) -> None:
    monkeypatch.setattr(disk, "DISK_RETRY_AFTER", 0.01)
    directory = small_disk / "below" if below else small_disk
    torrent = FakeTorrent()
    if not below:
        async with running(directory, memory=0) as stand:
            await stand.get(torrent, 0)
            await stand.idle()
    remount(small_disk, "ro")
    async with running(directory, memory=0) as stand:
        for index in range(2):
            assert await stand.get(torrent, index) == torrent.piece(index)
        assert stand.source.reads == [0, 1] if below else [1]
        assert not stand.cache.statistics().disk_ok
        [warning] = warnings(caplog)
        assert str(directory) in warning
        assert "Read-only file system" in warning
        remount(small_disk, "rw")
        stand.clock.now += 60
        await until(lambda: stand.cache._disk._is_open)
        await stand.get(torrent, 2)
        await stand.idle()
        assert stand.cache.statistics().disk_ok
        assert 2 in stand.on_disk(torrent.cache_id)


async def test_a_disk_without_inodes_at_start_is_named_and_used_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "DISK_RETRY_AFTER", 0.01)
    torrent = FakeTorrent()
    with small_file_system(tmp_path / "small", MIB, inodes=8) as point:
        others = [point / f"of somebody else {number}" for number in range(7)]
        for other in others:
            other.touch()
        for directory in (point, point / "below"):
            async with running(directory, memory=0) as stand:
                assert await stand.get(torrent, 1) == torrent.piece(1)
                await stand.idle()
                assert not stand.cache.statistics().disk_ok
        first, second = warnings(caplog)
        assert "No space left on device" in first
        assert f"{point / 'below'}: No space left on device" in second
        async with running(directory, memory=0) as stand:
            for other in others:
                other.unlink()
            stand.clock.now += 60
            await until(lambda: stand.cache._disk._is_open)
            await stand.get(torrent, 1)
            await stand.idle()
            assert stand.cache.statistics().disk_ok
            assert stand.on_disk(torrent.cache_id) == {1}


async def test_a_cache_opens_on_a_full_disk(small_disk: Path) -> None:
    torrent = FakeTorrent(size=10 * 100 * KIB, piece_length=100 * KIB)
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
    (small_disk / "of-somebody-else").write_bytes(bytes(SMALL - 100 * KIB))
    async with running(small_disk, memory=0, disk=10 * MIB) as stand:
        for index in (0, 1):
            assert await stand.get(torrent, index) == torrent.piece(index)
        await stand.idle()
        assert stand.source.reads == [1]
        assert stand.on_disk(torrent.cache_id) == {0}


async def test_a_limit_on_file_sizes_leaves_no_half_piece(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent(size=5 * 100 * KIB, piece_length=100 * KIB)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with running(tmp_path, memory=0, disk=10 * MIB) as stand:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, limits[1]))
        try:
            for index in range(3):
                assert await stand.get(torrent, index) == torrent.piece(index)
                await stand.idle()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 0
        [warning] = warnings(caplog)
        assert "File too large" in warning
        stand.clock.now += 60
        await stand.get(torrent, 4)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {4}
