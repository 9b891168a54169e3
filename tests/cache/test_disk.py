import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seeder.cache import disk, files
from seeder.cache.health import RETRY_AFTER
from seeder.cache.memory import Key, Piece
from seeder.errors import StorageError
from seeder.files import lock_directory
from tests.cache.fakes import (
    FakeTorrent,
    Settings,
    Stand,
    bytes_in,
    piece_file,
    running,
)


async def fill(directory: Path, torrent: FakeTorrent, count: int) -> None:
    """Put the first `count` pieces on disk, the first the oldest, and stop."""
    async with running(directory, memory=0) as stand:
        for index in range(count):
            await stand.get(torrent, index)
            await stand.idle()
    for index in range(count):
        os.utime(piece_file(directory, torrent, index), (index, index))


async def test_pieces_survive_a_restart(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=950)
    await fill(tmp_path, torrent, 10)
    async with running(tmp_path) as stand:
        assert stand.on_disk(torrent.cache_id) == set(range(10))
        for index in range(10):
            assert await stand.get(torrent, index) == torrent.piece(index)
        assert stand.source.reads == []
        statistics = stand.cache.statistics()
        assert (statistics.disk_hits, statistics.disk_bytes, statistics.disk_pieces) == (
            10,
            950,
            10,
        )


async def test_a_piece_lies_where_the_layout_of_the_directory_says(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=100_000)
    async with running(tmp_path) as stand:
        await stand.get(torrent, 300)
        await stand.idle()
    path = tmp_path / torrent.cache_id / "1" / "300"
    assert path.read_bytes() == torrent.piece(300)
    assert path.stat().st_mode & 0o077 == 0


def truncate(path: Path) -> None:
    os.truncate(path, 99)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    os.truncate(path, 101)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [truncate, empty, lengthen, flip])
async def test_a_file_that_went_bad_while_we_were_down_is_deleted_and_read_again(
    tmp_path: Path, spoil: object
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 3)
    assert callable(spoil)
    spoil(piece_file(tmp_path, torrent, 1))
    async with running(tmp_path, memory=0) as stand:
        for _ in range(2):
            for index in range(3):
                assert await stand.get(torrent, index) == torrent.piece(index)
                await stand.idle()
        assert stand.source.reads == [1]
        assert stand.cache.statistics().corrupt == 1
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 300


@pytest.mark.parametrize("spoil", [truncate, empty, lengthen])
async def test_a_file_of_a_wrong_size_is_deleted_while_we_run_too(
    tmp_path: Path, spoil: object
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 1)
        await stand.idle()
        assert callable(spoil)
        spoil(piece_file(tmp_path, torrent, 1))
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert stand.source.reads == [1, 1]
        assert stand.cache.statistics().corrupt == 1


async def test_the_hash_is_checked_on_the_first_read_after_a_start_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent, checked = FakeTorrent(), []
    await fill(tmp_path, torrent, 1)
    read = files.read_piece

    def spy(path: str, size: int, sha1: bytes | None) -> Piece | None:
        checked.append(sha1)
        return read(path, size, sha1)

    monkeypatch.setattr(files, "read_piece", spy)
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.get(torrent, 0)
        await stand.get(torrent, 1)
        await stand.idle()
        await stand.get(torrent, 1)
    assert checked == [torrent.piece_hash(0), None, None]


async def test_a_file_that_somebody_removed_is_read_again(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        piece_file(tmp_path, torrent, 0).unlink()
        assert await stand.get(torrent, 0) == torrent.piece(0)
        await stand.idle()
        statistics = stand.cache.statistics()
        assert (statistics.corrupt, statistics.disk_ok) == (0, True)
        assert bytes_in(tmp_path) == statistics.disk_bytes == 100


async def test_a_shrunk_budget_evicts_the_oldest_at_start(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 6)
    os.utime(piece_file(tmp_path, torrent, 0), (1000, 1000))
    async with running(tmp_path, disk=250) as stand:
        assert stand.on_disk(torrent.cache_id) == {0, 5}
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 200
        assert stand.cache.statistics().disk_evictions == 4
    async with running(tmp_path, disk=0) as stand:
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert bytes_in(tmp_path) == 0


async def test_files_of_others_are_neither_counted_nor_touched(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    (tmp_path / torrent.cache_id / "0").mkdir(parents=True)
    foreign = [tmp_path / "notes", tmp_path / torrent.cache_id / "0" / "1.bak"]
    for path in foreign:
        path.write_bytes(bytes(500))
    async with running(tmp_path, disk=100) as stand:
        for index in range(3):
            await stand.get(torrent, index)
        await stand.idle()
        await stand.drop(torrent.cache_id)
        assert stand.cache.statistics().disk_bytes == 0
    assert all(path.stat().st_size == 500 for path in foreign)


async def test_a_leftover_temporary_file_is_removed_at_start(tmp_path: Path) -> None:
    (tmp_path / "writing.tmp").write_bytes(bytes(5000))
    async with running(tmp_path, disk=100):
        assert not (tmp_path / "writing.tmp").exists()


async def test_two_caches_never_share_a_directory(tmp_path: Path) -> None:
    async with running(tmp_path):
        second = Stand(Settings(tmp_path))
        with pytest.raises(StorageError, match="another seeder uses it") as caught:
            await second.cache.run()
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    async with running(tmp_path):
        pass


async def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=r"cache\.directory .*file.*make it writable"):
            await Stand(Settings(directory)).cache.run()


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    return tmp_path


async def test_a_directory_without_permission_is_named(unwritable: Path) -> None:
    with pytest.raises(StorageError, match="Permission denied"):
        await Stand(Settings(unwritable)).cache.run()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("function", ["lock_directory", "try_writing", "scan"])
async def test_a_disk_that_fails_at_start_is_named_and_the_lock_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, function: str
) -> None:
    def fail(root: str) -> None:
        raise OSError(number, os.strerror(number), f"{root}/inside")

    with monkeypatch.context() as patch:
        patch.setattr(disk if hasattr(disk, function) else files, function, fail)
        with pytest.raises(StorageError, match=os.strerror(number)) as caught:
            await Stand(Settings(tmp_path)).cache.run()
    assert f"{tmp_path}/inside" in str(caught.value)
    os.close(lock_directory(str(tmp_path)))


async def test_a_disk_that_is_full_at_start_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 1)

    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "try_writing", full)
    async with running(tmp_path, memory=0) as stand:
        assert not stand.cache.statistics().disk_ok
        for index in (0, 1):
            assert await stand.get(torrent, index) == torrent.piece(index)
        await stand.idle()
        assert stand.source.reads == [1]
        assert stand.on_disk(torrent.cache_id) == {0}


def failing_with(number: int, calls: list[Key]) -> object:
    def fail(_: str, key: Key, __: Piece) -> None:
        calls.append(key)
        raise OSError(number, os.strerror(number))

    return fail


BROKEN = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT]


@pytest.mark.parametrize("number", BROKEN)
async def test_a_disk_that_refuses_writes_is_left_alone_for_a_minute_after_one_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    torrent, calls = FakeTorrent(), list[Key]()
    caplog.set_level(logging.INFO)
    async with running(tmp_path, memory=200) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_piece", failing_with(number, calls))
            for index in range(1, 5):
                assert await stand.get(torrent, index) == torrent.piece(index)
                await stand.idle()
            assert not await stand.cache.keep(torrent.cache_id, 9, torrent.piece(9))
            assert not stand.cache.statistics().disk_ok
            stand.clock.now += 59.9
            await stand.get(torrent, 5)
            await stand.idle()
            assert len(calls) == 1
            stand.clock.now += 0.2
            await stand.get(torrent, 6)
            await stand.idle()
            assert len(calls) == 2
            # What was written before can be read all the while.
            assert await stand.get(torrent, 0) == torrent.piece(0)
            assert not stand.cache.statistics().disk_ok
        assert stand.source.reads == [0, 1, 2, 3, 4, 5, 6]
        [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert os.strerror(number) in warning.getMessage()
        assert str(tmp_path) in warning.getMessage()
        stand.clock.now += 60
        await stand.get(torrent, 7)
        await stand.idle()
        assert stand.cache.statistics().disk_ok
        assert 7 in stand.on_disk(torrent.cache_id)
    assert caplog.records[-1].getMessage().endswith("works again")


async def test_a_write_that_works_ends_an_outage_of_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent()

    def fail(*_: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        with monkeypatch.context() as patch:
            patch.setattr(files, "read_piece", fail)
            await stand.get(torrent, 0)
        assert not stand.cache.statistics().disk_ok
        stand.clock.now += 60
        await stand.get(torrent, 1)
        await stand.idle()
        assert stand.cache.statistics().disk_ok


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
async def test_a_disk_that_refuses_reads_is_left_alone_for_a_minute(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    torrent, calls = FakeTorrent(), list[str]()

    def fail(path: str, *_: object) -> Piece | None:
        calls.append(path)
        raise OSError(number, os.strerror(number))

    async with running(tmp_path, memory=0) as stand:
        for index in range(3):
            await stand.get(torrent, index)
        await stand.idle()
        with monkeypatch.context() as patch:
            patch.setattr(files, "read_piece", fail)
            for index in range(3):
                assert await stand.get(torrent, index) == torrent.piece(index)
            await stand.idle()
        assert len(calls) == 1
        assert not stand.cache.statistics().disk_ok
        assert stand.source.reads == [0, 1, 2, 0, 1, 2]
        stand.clock.now += 60
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert stand.cache.statistics().disk_ok
        assert stand.source.reads == [0, 1, 2, 0, 1, 2]
        # A sector that can't be read never will be; a lack of permission may pass.
        unreadable = {0} if number == errno.EIO else set()
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2} - unreadable
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_files_that_can_not_be_unlinked_go_later_and_count_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    async with running(tmp_path, disk=300) as stand:
        for index in range(3):
            await stand.get(torrent, index)
        await stand.idle()

        def refuse(_: str, __: Key) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with monkeypatch.context() as patch:
            patch.setattr(files, "unlink_piece", refuse)
            await stand.drop(torrent.cache_id)
            await stand.get(other, 0)
            await stand.idle()
        assert stand.on_disk(torrent.cache_id) == frozenset()
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 300
        assert not stand.cache.statistics().disk_ok
        stand.clock.now += 60
        await stand.get(other, 1)
        await stand.idle()
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 100
        assert stand.cache.statistics().disk_ok


# -- reading without waiting


def read_cached(stand: Stand, torrent: FakeTorrent, index: int, *spans: tuple[int, int]) -> bytes:
    """Read (offset, size) spans, each into two buffers; b"" if that can't be."""
    parts = []
    for offset, size in spans:
        buffers = [memoryview(bytearray(size // 2)), memoryview(bytearray(size - size // 2))]
        parts.append((offset, buffers))
    if not stand.cache.read_cached(torrent, index, parts):
        return b""
    return b"".join(buffer for _, buffers in parts for buffer in buffers)


async def test_a_cached_read_brings_the_bytes_that_a_thread_would(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        assert not stand.cache.is_on_disk(torrent, 3)
        assert read_cached(stand, torrent, 3, (0, 100)) == b""
        piece = await stand.get(torrent, 3)
        await stand.idle()
        assert stand.cache.is_on_disk(torrent, 3)
        assert stand.cache.is_cached(torrent, 3)
        assert read_cached(stand, torrent, 3, (0, 100)) == piece
        assert read_cached(stand, torrent, 3, (90, 10), (5, 3)) == piece[90:] + piece[5:8]
        assert stand.cache.statistics().disk_hits == 2
        assert stand.source.reads == [3]


async def test_a_file_of_an_earlier_run_is_not_served_before_its_hash_is_checked(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 2)
    path = piece_file(tmp_path, torrent, 1)
    path.write_bytes(bytes(100))
    async with running(tmp_path, memory=0) as stand:
        for index in range(2):
            assert not stand.cache.is_on_disk(torrent, index)
            assert read_cached(stand, torrent, index, (0, 100)) == b""
            assert await stand.get(torrent, index) == torrent.piece(index)
            await stand.idle()
            assert read_cached(stand, torrent, index, (0, 100)) == torrent.piece(index)
        assert stand.source.reads == [1]
        assert stand.cache.statistics().corrupt == 1


def not_cached(*_: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "it would block")


@pytest.mark.parametrize("preadv", [not_cached, lambda *_: 1])
async def test_a_file_that_is_not_in_the_page_cache_is_left_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preadv: Callable[..., int]
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        monkeypatch.setattr(os, "preadv", preadv)
        assert read_cached(stand, torrent, 0, (0, 100)) == b""
        assert stand.cache.is_on_disk(torrent, 0)
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0]


async def test_a_file_system_that_can_not_tell_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def preadv(*_: object) -> int:
        asked.append(1)
        raise OSError(errno.EOPNOTSUPP, "not supported")

    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        monkeypatch.setattr(os, "preadv", preadv)
        for _ in range(2):
            assert read_cached(stand, torrent, 0, (0, 100)) == b""
            assert not stand.cache.is_on_disk(torrent, 0)
        assert asked == [1]
        assert await stand.get(torrent, 0) == torrent.piece(0)


async def test_a_removed_file_is_found_missing_by_the_read_that_may_wait(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        piece_file(tmp_path, torrent, 0).unlink()
        assert read_cached(stand, torrent, 0, (0, 100)) == b""
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0, 0]


async def test_a_disk_that_refuses_reads_is_not_asked_for_cached_ones_either(
    tmp_path: Path,
) -> None:
    def fail(*_: object) -> Piece | None:
        raise PermissionError(errno.EACCES, "no")

    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "read_piece", fail)
            await stand.get(torrent, 0)
        assert not stand.cache.is_on_disk(torrent, 0)
        assert read_cached(stand, torrent, 0, (0, 100)) == b""
        stand.clock.now += RETRY_AFTER
        assert read_cached(stand, torrent, 0, (0, 100)) == torrent.piece(0)


async def test_a_cached_read_makes_its_file_the_newest(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0, disk=200) as stand:
        for index in range(2):
            await stand.get(torrent, index)
            await stand.idle()
        assert read_cached(stand, torrent, 0, (0, 100)) == torrent.piece(0)
        await stand.get(torrent, 2)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 2}


async def test_the_order_of_cached_reads_outlives_a_restart(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 3)
    async with running(tmp_path, memory=0) as stand:
        for index in range(3):
            await stand.get(torrent, index)
        for index in (2, 0):
            assert read_cached(stand, torrent, index, (0, 100)) == torrent.piece(index)
    async with running(tmp_path, memory=0, disk=100) as stand:
        assert stand.on_disk(torrent.cache_id) == {0}
