import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.cache import disk, files
from seeder.cache.health import DISK_RETRY_AFTER
from seeder.cache.memory import Key, Piece
from seeder.config.node import CacheSettings
from seeder.errors import StorageError
from seeder.files import lock_directory
from tests.cache.fakes import (
    LONGEST_WAIT,
    FakeTorrent,
    Settings,
    Stand,
    bytes_in,
    piece_file,
    running,
)
from tests.support.disks import NOT_FILES, failing_disk, rot


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


@pytest.mark.parametrize("spoil", [truncate, empty, lengthen, flip, rot])
async def test_a_file_that_goes_bad_while_we_run_is_deleted_and_read_again(
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


async def test_a_read_that_waits_for_the_disk_checks_the_hash_each_time(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 1)
    async with running(tmp_path, memory=0) as stand:
        for _ in range(2):
            assert await stand.get(torrent, 0) == torrent.piece(0)
        flip(piece_file(tmp_path, torrent, 0))
        assert await stand.get(torrent, 0) == torrent.piece(0)
        await stand.idle()
        # The same for a file that was written by this run.
        flip(piece_file(tmp_path, torrent, 0))
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0, 0]
        assert stand.cache.statistics().corrupt == 2


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


async def test_a_directory_that_somebody_removed_is_made_again_and_told_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path / "cache", memory=0) as stand:
        for index in range(10):
            await stand.get(torrent, index)
        await stand.idle()
        shutil.rmtree(tmp_path / "cache")
        for index in range(10):
            stand.clock.now += 50
            assert await stand.get(torrent, index) == torrent.piece(index)
        await stand.idle()
        assert stand.source.reads == [*range(10), *range(10)]
        assert stand.on_disk(torrent.cache_id) == frozenset(range(10))
        [line] = caplog.messages
        assert line.endswith(" is gone, and maybe others: read again from S3")


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


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LONGEST_WAIT):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await trio.sleep(0.005)


async def is_done_without(directory: Path, torrent: FakeTorrent) -> None:
    """Run a cache whose disk can't be opened, on memory and S3."""
    async with running(directory) as stand:
        for _ in range(2):
            for index in range(3):
                assert await stand.get(torrent, index) == torrent.piece(index)
        await stand.idle()
        assert stand.source.reads == [0, 1, 2]
        statistics = stand.cache.statistics()
        assert (statistics.disk_ok, statistics.disk_pieces, statistics.dropped_writes) == (
            False,
            0,
            0,
        )


@pytest.mark.parametrize("target", ["not mounted", "link"])
async def test_a_link_that_leads_nowhere_is_a_disk_that_may_come_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)
    assert directory_of(tmp_path / "link") == tmp_path / "link"
    await is_done_without(tmp_path / "link", FakeTorrent())
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"cache.directory {tmp_path / 'link'}: can't open {tmp_path}/link")


def directory_of(path: Path) -> Path:
    """Return what the configuration makes of a cache.directory."""
    return CacheSettings(directory=path).directory


@pytest.mark.parametrize("below", ["file", "file/below"])
async def test_a_directory_that_can_not_be_made_is_named_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    await is_done_without(tmp_path / below, FakeTorrent())
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"cache.directory {tmp_path / below}: can't open {tmp_path}/file")
    assert told.endswith("going on with memory and S3, next try in 60 s")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("function", ["lock_directory", "scan"])
async def test_a_disk_that_fails_at_start_is_taken_into_use_when_it_works(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    function: str,
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 3)
    caplog.set_level(logging.INFO)
    tried = 0

    def fail(root: str) -> None:
        nonlocal tried
        tried += 1
        raise OSError(number, os.strerror(number), f"{root}/inside")

    monkeypatch.setattr(disk, "DISK_RETRY_AFTER", 0.01)
    async with trio.open_nursery() as nursery:
        stand = Stand(Settings(tmp_path))
        with monkeypatch.context() as patch:
            patch.setattr(disk if hasattr(disk, function) else files, function, fail)
            await nursery.start(stand.cache.run)
            assert await stand.get(torrent, 1) == torrent.piece(1)
            await until(lambda: tried > 3)
        await until(lambda: stand.cache.statistics().disk_ok)
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2}
        assert await stand.get(torrent, 2) == torrent.piece(2)
        assert await stand.get(torrent, 7) == torrent.piece(7)
        assert stand.source.reads == [1, 7]
        await stand.idle()
        with pytest.raises(BlockingIOError):
            lock_directory(str(tmp_path))
        nursery.cancel_scope.cancel()
    assert piece_file(tmp_path, torrent, 7).exists()
    lock_directory(str(tmp_path)).close()
    warning, works = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path}/inside: {os.strerror(number)}" in warning
    assert works.endswith("works again")


# -- what strangers leave


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("running_already", [False, True])
async def test_whatever_lies_in_the_place_of_a_piece_costs_that_piece_alone(
    tmp_path: Path, kind: str, running_already: bool
) -> None:
    torrent = FakeTorrent()
    directory = tmp_path / "cache"
    await fill(directory, torrent, 3)
    path = piece_file(directory, torrent, 1)
    if not running_already:
        NOT_FILES[kind](path)
    async with running(directory, memory=0) as stand:
        if running_already:
            await stand.get(torrent, 1)
            NOT_FILES[kind](path)
        for _ in range(2):
            for index in range(4):
                assert await stand.get(torrent, index) == torrent.piece(index)
                await stand.idle()
        assert stand.cache.statistics().disk_ok
        assert stand.source.reads == [1, 3]
        assert read_cached(stand, torrent, 1, (0, 100)) == torrent.piece(1)
    if kind == "a link outside":
        assert (path.parent.parent / "of somebody else").exists()


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("level", [0, 1])
async def test_whatever_lies_in_the_place_of_a_directory_of_pieces_is_set_aside(
    tmp_path: Path, kind: str, level: int
) -> None:
    torrent = FakeTorrent()
    directory = tmp_path / "cache"
    place = piece_file(directory, torrent, 0).parents[level]
    place.parent.mkdir(parents=True)
    if kind == "a directory":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        NOT_FILES[kind](place)
    async with running(directory, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}
        assert stand.cache.statistics().disk_ok
    assert not place.is_symlink()
    assert (place.parent / place.name).is_dir()
    assert [each for each in place.parent.iterdir() if ".aside-" in each.name]
    if kind == "a directory":
        assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("name", ["writing.tmp", "lock"])
async def test_whatever_has_a_name_of_ours_is_set_aside(
    tmp_path: Path, kind: str, name: str
) -> None:
    directory = tmp_path / "cache"
    directory.mkdir()
    NOT_FILES[kind](directory / name)
    torrent = FakeTorrent()
    async with running(directory, memory=0) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}
        assert stand.cache.statistics().disk_ok
        with pytest.raises(StorageError, match="another seeder uses it"):
            await Stand(Settings(directory)).cache.run()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ELOOP, errno.ESTALE])
async def test_a_file_that_can_not_be_read_costs_no_other_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 3)
    path = piece_file(tmp_path, torrent, 1)
    async with running(tmp_path, memory=0) as stand:
        with failing_disk(number, path, calls=("open",)):
            for index in range(3):
                assert await stand.get(torrent, index) == torrent.piece(index)
                await stand.idle()
        assert stand.cache.statistics().disk_ok
        assert stand.source.reads == [1]
    [told] = [record.getMessage() for record in caplog.records]
    assert str(path) in told


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO])
async def test_a_directory_that_can_not_be_changed_costs_no_other_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    await fill(tmp_path, torrent, 2)
    closed = piece_file(tmp_path, torrent, 0).parent
    calls = ("mkdir", "replace", "rename", "unlink", "rmdir")
    async with running(tmp_path, memory=0) as stand:
        with failing_disk(number, closed, calls=calls[3:] if number == errno.EIO else calls):
            await stand.drop(torrent.cache_id)
            for index in range(3):
                await stand.get(torrent, index)
                await stand.get(other, index)
                await stand.idle()
        assert stand.cache.statistics().disk_ok
        assert stand.on_disk(other.cache_id) == {0, 1, 2}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert str(closed) in told[0]


async def test_a_scan_finds_what_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torrents = [FakeTorrent(name) for name in "abc"]
    for torrent in torrents:
        await fill(tmp_path, torrent, 2)
    os.truncate(piece_file(tmp_path, torrents[1], 0), 0)
    closed = tmp_path / torrents[0].cache_id
    with (
        failing_disk(errno.EACCES, closed, calls=("scandir",)),
        failing_disk(errno.EPERM, tmp_path / torrents[1].cache_id, calls=("unlink",)),
    ):
        async with running(tmp_path, memory=0) as stand:
            found = [stand.on_disk(torrent.cache_id) for torrent in torrents]
            assert found == [set(), {1}, {0, 1}]
            assert stand.cache.statistics().disk_ok
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{tmp_path}: 2 files or directories can't be read")
    assert str(closed) in told


async def test_files_that_vanish_while_they_are_scanned_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrents = [FakeTorrent(name) for name in "abcd"]
    for torrent in torrents:
        await fill(tmp_path, torrent, 2)
    entries = files._entries

    def vanishing(path: str, *args: Any, **named: Any) -> Iterator[Any]:
        for number, entry in enumerate(entries(path, *args, **named)):
            if path == str(tmp_path) and number == 1:
                shutil.rmtree(entry.path)
            yield entry

    monkeypatch.setattr(files, "_entries", vanishing)
    async with running(tmp_path, memory=0) as stand:
        assert sum(len(stand.on_disk(torrent.cache_id)) for torrent in torrents) == 6
        assert stand.cache.statistics().disk_ok


async def test_stray_files_by_the_thousand_and_names_of_odd_bytes_are_left_alone(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    await fill(tmp_path, torrent, 2)
    below = os.fsencode(piece_file(tmp_path, torrent, 0).parent)
    odd = [b"\xff\xfe", b"1\n", b" 1", b"+1", b"01", b"9" * 250, "\u0661".encode(), b"-1"]
    for name in odd:
        os.close(os.open(below + b"/" + name, os.O_CREAT, 0o600))
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    for number in range(20_000):
        os.close(os.open(tmp_path / f"stray {number}", os.O_CREAT, 0o600))
    async with running(tmp_path, memory=0) as stand:
        assert stand.on_disk(torrent.cache_id) == {0, 1}
        assert stand.cache.statistics().disk_ok
    assert len(os.listdir(tmp_path)) == 20_000 + len(odd) + 2


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


def refusing(number: int) -> Callable[[str], None]:
    """Return a `try_writing` of a disk that takes no file at all."""

    def refuse(_: str) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


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
            patch.setattr(files, "try_writing", refusing(number))
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
            patch.setattr(files, "try_writing", refusing(errno.EACCES))
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
            patch.setattr(files, "try_writing", refusing(number))
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
        # What has to come off the disk is hashed before any more of it is sent.
        assert not stand.cache.is_on_disk(torrent, 0)
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.cache.is_on_disk(torrent, 0)
        rot(piece_file(tmp_path, torrent, 0))
        assert read_cached(stand, torrent, 0, (0, 100)) == b""
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0, 0]
        assert stand.cache.statistics().corrupt == 1


async def test_a_file_that_somebody_wrote_to_is_hashed_before_any_more_of_it_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand:
        for index in range(2):
            await stand.get(torrent, index)
            await stand.idle()
        flip(piece_file(tmp_path, torrent, 0))
        os.utime(piece_file(tmp_path, torrent, 1))
        for index in range(2):
            assert read_cached(stand, torrent, index, (0, 10)) == b""
            assert await stand.get(torrent, index) == torrent.piece(index)
            await stand.idle()
            assert read_cached(stand, torrent, index, (0, 100)) == torrent.piece(index)
        assert stand.source.reads == [0, 1, 0]
        assert stand.cache.statistics().corrupt == 1
    assert "0 is corrupt: read again from S3" in caplog.text


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
            patch.setattr(files, "try_writing", refusing(errno.EACCES))
            await stand.get(torrent, 0)
        assert not stand.cache.is_on_disk(torrent, 0)
        assert read_cached(stand, torrent, 0, (0, 100)) == b""
        stand.clock.now += DISK_RETRY_AFTER
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
