"""Pieces that go on under another name: whole, in turn with the writer, and cut off anywhere."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.cache import files, pieces
from tests.cache.fakes import (
    FakeTorrent,
    Stand,
    bytes_in,
    gated,
    measured,
    piece_file,
    running,
)
from tests.cache.victim import DISK, kill_after, torrent

OLD = FakeTorrent("old")
ALL = frozenset(range(10))


class Twin(FakeTorrent):
    """A torrent with the bytes of another, under a name of its own."""

    def __init__(self, other: FakeTorrent) -> None:
        super().__init__("twin", other.layout.size, other.layout.piece_length)
        self._other = other

    def piece(self, index: int) -> bytes:
        return self._other.piece(index)


NEW = Twin(OLD)


async def fill(stand: Stand, indices: range = range(10)) -> None:
    for index in indices:
        await stand.get(OLD, index)
    await stand.idle()
    stand.source.reads.clear()


async def check(stand: Stand, directory: Path) -> None:
    """All pieces are there under the new name alone, the directory holds what the index says."""
    await stand.idle()
    assert (stand.on_disk(OLD.cache_id), stand.on_disk(NEW.cache_id)) == (frozenset(), ALL)
    assert bytes_in(directory) == stand.cache.statistics().disk_bytes == OLD.layout.size
    for index in ALL:
        assert bytes(await stand.get(NEW, index)) == OLD.piece(index)
    assert stand.source.reads == []


@pytest.mark.parametrize("memory", [0, 10_000])
async def test_the_pieces_of_both_tiers_go_on(tmp_path: Path, memory: int) -> None:
    async with running(tmp_path, memory=memory) as stand:
        await fill(stand)
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        assert all(stand.cache.is_on_disk(NEW, index) for index in ALL)
        assert all(stand.cache.peek(NEW, index) for index in ALL) is bool(memory)
        assert not any(stand.cache.peek(OLD, index) for index in ALL)
        await check(stand, tmp_path)
        assert not (tmp_path / OLD.cache_id).exists()


async def test_what_is_in_doubt_stays_in_doubt_and_what_was_used_stays_used(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, memory=0) as stand:
        await fill(stand)
        index = stand.cache._files
        stand.cache._disk.distrust((OLD.cache_id, 3))
        index.stale.add((OLD.cache_id, 4))
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        assert not stand.cache.is_on_disk(NEW, 3)
        assert index.stale == {(NEW.cache_id, 4)}
        await check(stand, tmp_path)


async def test_what_is_there_already_stays(tmp_path: Path) -> None:
    async with running(tmp_path, memory=0) as stand:
        await fill(stand)
        await stand.get(NEW, 3)
        await stand.idle()
        path = piece_file(tmp_path, NEW, 3)
        before = path.stat().st_ino
        stand.source.reads.clear()
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        await check(stand, tmp_path)
        assert path.stat().st_ino == before


async def test_pieces_that_wait_to_be_written_are_written_under_the_new_name(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stand:
        with gated(files, "write_piece") as gate:
            for index in range(10):
                await stand.get(OLD, index)
            await gate.wait_entered()
            await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        stand.source.reads.clear()
        await check(stand, tmp_path)


async def test_a_fetch_under_way_keeps_what_it_brings_under_the_new_name(tmp_path: Path) -> None:
    moving = Twin(OLD)
    moving.cache_id = OLD.cache_id
    async with running(tmp_path, memory=0) as stand, trio.open_nursery() as nursery:
        stand.source.gate = trio.Event()
        nursery.start_soon(stand.get, moving, 0)
        await trio.testing.wait_all_tasks_blocked()
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        moving.cache_id = NEW.cache_id
        stand.cache.follow(moving)
        stand.source.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        await stand.idle()
        assert stand.on_disk(NEW.cache_id) == {0}
        assert stand.on_disk(OLD.cache_id) == frozenset()


async def test_cancelled_it_leaves_each_piece_under_one_name_and_may_be_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ADOPTED_AT_A_TIME", 4)
    async with running(tmp_path, memory=0) as stand:
        await fill(stand)
        with gated(files, "rename_pieces") as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stand.cache.adopt, OLD.cache_id, NEW.cache_id)
                await gate.wait_entered()
                nursery.cancel_scope.cancel()
                gate.let_through()
            assert gate.calls == 1
        await stand.idle()
        assert stand.on_disk(NEW.cache_id) == frozenset(range(4))
        assert stand.on_disk(OLD.cache_id) == frozenset(range(4, 10))
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == OLD.layout.size
        for index in ALL:
            assert bytes(await stand.get(NEW if index < 4 else OLD, index)) == OLD.piece(index)
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        await check(stand, tmp_path)


async def test_a_stop_amid_it_loses_nothing(tmp_path: Path) -> None:
    with gated(files, "rename_pieces") as gate:
        async with running(tmp_path, memory=0) as stand, trio.open_nursery() as nursery:
            await fill(stand)
            nursery.start_soon(stand.cache.adopt, OLD.cache_id, NEW.cache_id)
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
            gate.let_through()
    async with running(tmp_path, memory=0) as stand:
        await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        await check(stand, tmp_path)


async def test_a_process_killed_amid_it_leaves_each_piece_under_one_name(tmp_path: Path) -> None:
    kill_after(tmp_path, 10, "adopting")
    old, new = torrent(), Twin(torrent())
    async with running(tmp_path, memory=0, disk=DISK) as stand:
        left, moved = stand.on_disk(old.cache_id), stand.on_disk(new.cache_id)
        assert (len(left), len(moved)) == (7, 3)
        assert not left & moved
        await stand.cache.adopt(old.cache_id, new.cache_id)
        await stand.idle()
        assert stand.on_disk(new.cache_id) == ALL
        for index in ALL:
            assert bytes(await stand.get(new, index)) == old.piece(index)
        assert stand.source.reads == []
        assert stand.cache.statistics().corrupt == 0


async def test_what_goes_meanwhile_goes_under_the_new_name_too(tmp_path: Path) -> None:
    async with running(tmp_path, memory=0) as stand:
        await fill(stand)
        with gated(files, "rename_pieces") as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stand.cache.adopt, OLD.cache_id, NEW.cache_id)
                await gate.wait_entered()
                stand.cache.discard(OLD.cache_id)
                gate.let_through()
        await stand.idle()
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 0


async def test_the_budget_holds_while_it_works(tmp_path: Path) -> None:
    other = FakeTorrent("other")
    with measured(tmp_path) as sizes:
        async with running(tmp_path, memory=0, disk=500) as stand:
            await fill(stand, range(5))
            with gated(files, "rename_pieces") as gate:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stand.cache.adopt, OLD.cache_id, NEW.cache_id)
                    await gate.wait_entered()
                    await stand.get(other, 0)
                    await trio.testing.wait_all_tasks_blocked()
                    gate.let_through()
            await stand.idle()
            assert stand.on_disk(other.cache_id) == {0}
            assert len(stand.on_disk(NEW.cache_id)) == 4
            assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 500
    assert max(sizes) <= 500


async def test_what_the_disk_does_not_rename_is_read_from_s3_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(5, "no")

    async with running(tmp_path, memory=0) as stand:
        await fill(stand)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse)
            await stand.cache.adopt(OLD.cache_id, NEW.cache_id)
        await stand.idle()
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 0
        assert bytes(await stand.get(NEW, 0)) == OLD.piece(0)
        assert stand.source.reads == [0]
