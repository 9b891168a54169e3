"""Every await of the cache that holds something, cancelled."""

from pathlib import Path

import pytest
import trio

from seeder.cache import files, reading
from seeder.cache.memory import Piece
from seeder.errors import SeederError, StorageError
from seeder.files import lock_directory
from seeder.units import KIB
from tests.cache.fakes import (
    FakeTorrent,
    Settings,
    Stand,
    bytes_in,
    gated,
    piece_file,
    pieces_on_disk,
    running,
)


class Told:
    """Waiters by number, and what each of them was told."""

    def __init__(self) -> None:
        self.errors: list[SeederError | None] = []

    def waiter(self, _: int, __: Piece | None, error: SeederError | None) -> None:
        self.errors.append(error)


async def test_whoever_leaves_cancels_nobody(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand, trio.open_nursery() as staying:
        stand.source.gate = trio.Event()
        async with trio.open_nursery() as leaving:
            leaving.start_soon(stand.get, torrent, 0)
            leaving.start_soon(stand.get, torrent, 1)
            staying.start_soon(stand.get, torrent, 0)
            await trio.testing.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        assert stand.source.running == 1
        stand.source.gate.set()
        assert await stand.get(torrent, 1) == torrent.piece(1)
        assert sorted(stand.source.reads) == [0, 1]


async def test_a_fetch_that_everybody_left_is_kept_all_the_same(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.gate = trio.Event()
        with trio.move_on_after(0):
            await stand.get(torrent, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert stand.cache.statistics().fetching == 1
        stand.source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stand.cache.peek(torrent, 0) == torrent.piece(0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}


async def test_leaving_while_the_disk_reads_cancels_nobody(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand, trio.open_nursery() as nursery:
        await stand.get(torrent, 0)
        await stand.idle()
        with gated(files, "read_piece") as gate:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(stand.get, torrent, 0)
                await gate.wait_entered()
                nursery.start_soon(stand.get, torrent, 0)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            assert stand.cache.statistics().fetching == 1
        assert await stand.get(torrent, 0) == torrent.piece(0)
        assert stand.source.reads == [0]


async def test_stopping_cancels_reads_of_the_origin_and_tells_every_waiter(
    tmp_path: Path,
) -> None:
    torrent, told, stand = FakeTorrent(), Told(), Stand(Settings(tmp_path))
    stand.source.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.cache.run)
        for index in (0, 0, 1):
            stand.cache.request(torrent, index, told.waiter)
        await trio.testing.wait_all_tasks_blocked()
        assert stand.source.running == 1
        nursery.cancel_scope.cancel()
    assert stand.source.running == 0
    assert len(told.errors) == 3
    assert all(isinstance(error, StorageError) for error in told.errors)
    assert stand.cache.statistics().fetching == 0
    assert bytes_in(tmp_path) == 0


async def test_stopping_makes_a_get_raise(tmp_path: Path) -> None:
    torrent, stand, raised = FakeTorrent(), Stand(Settings(tmp_path)), []
    stand.source.gate = trio.Event()

    async def get() -> None:
        with pytest.raises(StorageError, match="not running") as caught:
            await stand.get(torrent, 0)
        raised.append(caught.value)

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await nursery.start(stand.cache.run)
        outer.start_soon(get)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(raised) == 1


async def test_a_request_between_the_stop_and_the_end_is_told_too(tmp_path: Path) -> None:
    torrent, told, stand = FakeTorrent(), Told(), Stand(Settings(tmp_path))
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.cache.run)
        nursery.cancel_scope.cancel()
        stand.cache.request(torrent, 0, told.waiter)
        assert told.errors == []
    assert [type(error) for error in told.errors] == [StorageError]


async def test_stopping_while_a_piece_is_hashed_tells_the_waiter(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=300 * KIB, piece_length=300 * KIB)
    told, stand = Told(), Stand(Settings(tmp_path))
    with gated(reading, "_hash_pieces") as gate:
        async with trio.open_nursery() as nursery:
            await nursery.start(stand.cache.run)
            stand.cache.request(torrent, 0, told.waiter)
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
            gate.let_through()
    assert len(told.errors) == 1


async def test_stopping_does_not_wait_for_a_disk_that_does_not_answer_a_read(
    tmp_path: Path,
) -> None:
    torrent, told, stand = FakeTorrent(), Told(), Stand(Settings(tmp_path, memory=0))
    with gated(files, "read_piece") as gate:
        async with trio.open_nursery() as nursery:
            await nursery.start(stand.cache.run)
            await stand.get(torrent, 0)
            await stand.idle()
            stand.cache.request(torrent, 0, told.waiter)
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
        assert [type(error) for error in told.errors] == [StorageError]
        # The directory is free although that thread still waits.
        lock_directory(str(tmp_path)).close()


async def test_stopping_amid_a_write_leaves_whole_pieces_and_then_frees_the_directory(
    tmp_path: Path,
) -> None:
    torrent, stand = FakeTorrent(), Stand(Settings(tmp_path))
    with gated(files, "write_piece") as gate:
        async with trio.open_nursery() as nursery:
            await nursery.start(stand.cache.run)
            await stand.get(torrent, 0)
            await gate.wait_entered()
            await stand.get(torrent, 1)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(BlockingIOError):
                lock_directory(str(tmp_path))
            gate.let_through()
    for index in (0, 1):
        assert piece_file(tmp_path, torrent, index).read_bytes() == torrent.piece(index)
    assert bytes_in(tmp_path) == 200
    async with running(tmp_path) as again:
        assert pieces_on_disk(again.cache, torrent.cache_id) == {0, 1}


async def test_stopping_during_the_scan_frees_the_directory(tmp_path: Path) -> None:
    stand = Stand(Settings(tmp_path))
    with gated(files, "scan") as gate:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand.cache.run)
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
            gate.let_through()
    lock_directory(str(tmp_path)).close()


async def test_a_cancelled_keep_leaves_the_piece_to_be_written(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0) as stand, trio.open_nursery() as nursery:
        with gated(files, "change") as gate:
            for index in (0, 1):
                nursery.start_soon(stand.cache.keep, torrent.cache_id, index, torrent.piece(index))
                await trio.testing.wait_all_tasks_blocked()
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await stand.idle()
            assert stand.on_disk(torrent.cache_id) == {0, 1}
            assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 200


async def test_a_stop_answers_whoever_waits_to_keep_or_to_drop(tmp_path: Path) -> None:
    torrent, stand, kept = FakeTorrent(), Stand(Settings(tmp_path)), []

    async def keep(index: int) -> None:
        kept.append(await stand.cache.keep(torrent.cache_id, index, torrent.piece(index)))

    with gated(files, "change") as gate:
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            await nursery.start(stand.cache.run)
            for index in (0, 1):
                outer.start_soon(keep, index)
                await trio.testing.wait_all_tasks_blocked()
            await gate.wait_entered()
            outer.start_soon(stand.drop, FakeTorrent("other").cache_id)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            gate.let_through()
    assert kept == [True, True]
    assert bytes_in(tmp_path) == 200


async def test_a_cancelled_drop_has_forgotten_and_deletes_with_the_next_change(
    tmp_path: Path,
) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:
        for index in range(3):
            await stand.get(torrent, index)
        await stand.idle()
        with gated(files, "change") as gate:
            await stand.get(other, 0)
            await gate.wait_entered()
            nursery.start_soon(stand.drop, torrent.cache_id)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await stand.idle()
            assert stand.on_disk(torrent.cache_id) == frozenset()
            assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 100
            assert stand.cache.peek(torrent, 0) is None


async def test_pieces_that_were_paid_for_are_written_before_a_stop(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        for index in range(10):
            await stand.get(torrent, index)
        assert stand.cache.statistics().queued_writes
    async with running(tmp_path) as stand:
        assert stand.on_disk(torrent.cache_id) == frozenset(range(10))
