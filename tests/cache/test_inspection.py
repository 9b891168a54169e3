"""Trusted files that have become bad are found: by a doubt, or by a look at all of them."""

from pathlib import Path

import pytest
import trio

from seeder.cache.disk import DiskTier
from seeder.cache.inspection import MOST_WAITING, QUIET
from tests.cache.fakes import FakeTorrent, Stand, piece_file, running
from tests.support.disks import rot


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


async def filled(stand: Stand, torrent: FakeTorrent, count: int) -> None:
    for index in range(count):
        await stand.get(torrent, index)
    await stand.idle()


async def until_dropped(stand: Stand, torrent: FakeTorrent, *indices: int) -> None:
    with trio.fail_after(60):
        while not stand.on_disk(torrent.cache_id).isdisjoint(indices):  # noqa: ASYNC110
            await trio.sleep(0.005)


async def test_a_doubt_finds_a_bad_file_and_spares_a_good_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await filled(stand, torrent, 3)
        flip(piece_file(tmp_path, torrent, 1))
        for index in (0, 1, 2, 3):
            stand.cache.doubt(torrent, index, wanted=False)
        await until_dropped(stand, torrent, 1)
        assert f"{piece_file(tmp_path, torrent, 1)} is corrupt: read again from S3" in caplog.text
        assert stand.cache.statistics().corrupt == 1
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert stand.source.reads == [0, 1, 2, 1]
        assert stand.on_disk(torrent.cache_id) >= {0, 2}


async def test_a_piece_is_not_looked_at_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent, looks = FakeTorrent(), 0
    right = DiskTier.inspect

    async def count(self: DiskTier, *arguments: object) -> None:
        nonlocal looks
        looks += 1
        await right(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DiskTier, "inspect", count)
    async with running(tmp_path, memory=0) as stand:
        await filled(stand, torrent, 2)
        for _ in range(1000):
            stand.cache.doubt(torrent, 0, wanted=False)
            await trio.lowlevel.checkpoint()
        assert looks == 1
        stand.clock.now += QUIET
        stand.cache.doubt(torrent, 0, wanted=False)
        stand.cache.doubt(torrent, 1, wanted=False)
        with trio.fail_after(60):
            while looks < 3:  # noqa: ASYNC110
                await trio.sleep(0.005)
    assert looks == 3


async def test_the_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torrent = FakeTorrent(size=100 * (MOST_WAITING + 50))
    async with running(tmp_path, memory=0, disk=10**6) as stand:
        await filled(stand, torrent, MOST_WAITING + 50)
        for index in range(MOST_WAITING + 50):
            stand.cache.doubt(torrent, index, wanted=False)
        assert len(stand.cache._inspector._line) == MOST_WAITING


async def test_what_cannot_be_read_is_left_to_others(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await filled(stand, torrent, 1)
        piece_file(tmp_path, torrent, 0).unlink()
        await stand.cache.look_again(torrent, 0)
        assert stand.cache.statistics().corrupt == 0
        assert await stand.get(torrent, 0) == torrent.piece(0)


async def test_files_of_an_earlier_run_are_looked_at_too(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await filled(stand, torrent, 3)
    flip(piece_file(tmp_path, torrent, 0))
    async with running(tmp_path, memory=0) as stand:
        assert not stand.cache.is_on_disk(torrent, 1)
        for index in range(2):
            await stand.cache.look_again(torrent, index)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {1, 2}
        assert stand.cache.is_on_disk(torrent, 1)
        assert not stand.cache.is_on_disk(torrent, 2)
        assert stand.source.reads == []


async def test_of_a_file_in_doubt_nothing_is_sent_before_it_was_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent()
    buffer = memoryview(bytearray(100))
    async with running(tmp_path, memory=0) as stand:
        await filled(stand, torrent, 2)
        rot(piece_file(tmp_path, torrent, 0))
        # Nobody can tell, as long as it lies in the page cache.
        assert stand.cache.read_cached(torrent, 0, [(0, [buffer])])
        assert bytes(buffer) != torrent.piece(0)
        for index in range(2):
            stand.cache.doubt(torrent, index, wanted=True)
            assert not stand.cache.read_cached(torrent, index, [(0, [buffer])])
            assert await stand.get(torrent, index) == torrent.piece(index)
            await stand.idle()
            assert stand.cache.read_cached(torrent, index, [(0, [buffer])])
            assert bytes(buffer) == torrent.piece(index)
        assert stand.source.reads == [0, 1, 0]
        assert stand.cache.statistics().corrupt == 1
    assert caplog.text.count("0 is corrupt: read again from S3") == 1


async def test_a_piece_in_memory_is_looked_at_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, disk=0) as stand:
        pieces = [await stand.get(torrent, index) for index in range(2)]
        assert isinstance(pieces[0], bytearray)
        pieces[0][50] ^= 1
        for index in range(2):
            stand.cache.doubt(torrent, index, wanted=False)
        with trio.fail_after(60):
            while stand.cache.statistics().corrupt == 0:  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert stand.cache.peek(torrent, 0) is None
        assert stand.cache.peek(torrent, 1) is pieces[1]
        assert await stand.get(torrent, 0) == torrent.piece(0)
    assert f"piece 0 of {torrent.cache_id} is corrupt in memory" in caplog.text
