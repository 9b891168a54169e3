"""Pieces written behind: which ones, in which order, and never beyond the budget."""

from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.cache import files, writing
from tests.cache.fakes import (
    FakeTorrent,
    bytes_in,
    gated,
    measured,
    piece_file,
    running,
)


@pytest.mark.parametrize("spare_memory", [0, 10_000])
async def test_the_budget_holds_at_every_moment(tmp_path: Path, spare_memory: int) -> None:
    large = FakeTorrent("large", size=3000, piece_length=300)
    small = FakeTorrent("small", size=700, piece_length=70)
    with measured(tmp_path) as sizes:
        async with running(tmp_path, memory=spare_memory, disk=650) as stand:
            for turn in range(3):
                for index in range(10):
                    await stand.get(large if (index + turn) % 3 else small, index)
                await stand.idle()
                assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes
    assert len(sizes) >= 15
    assert 600 <= max(sizes) <= 650


async def test_a_piece_larger_than_the_disk_evicts_nobody(tmp_path: Path) -> None:
    torrent, large = FakeTorrent(), FakeTorrent("large", size=600, piece_length=600)
    async with running(tmp_path, disk=500) as stand:
        await stand.get(torrent, 0)
        assert await stand.get(large, 0) == large.piece(0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}
        assert stand.on_disk(large.cache_id) == frozenset()


async def test_a_piece_in_use_in_memory_outlives_younger_files(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=200, disk=400) as stand:
        for index in range(10):
            await stand.get(torrent, index)
            await stand.idle()
            assert stand.cache.peek(torrent, 0) is not None
        assert stand.on_disk(torrent.cache_id) == {0, 7, 8, 9}


async def test_a_piece_that_leaves_memory_counts_as_used_on_disk(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=200, disk=300) as stand:
        for index in (0, 1, 2):
            await stand.get(torrent, index)
            await stand.idle()
            stand.cache.peek(torrent, 0)
        await stand.get(torrent, 3)
        await stand.idle()
        # 2 was used before 0, which has just left memory or is still there.
        assert stand.on_disk(torrent.cache_id) == {0, 2, 3}
        assert stand.cache.peek(torrent, 2) is None


async def test_a_write_that_a_busy_disk_dropped_is_made_up_when_memory_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent()
    monkeypatch.setattr(writing, "WRITE_BEHIND", 200)
    async with running(tmp_path, memory=300) as stand:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            await stand.get(torrent, 1)
            await stand.get(torrent, 2)
        assert stand.cache.statistics().dropped_writes == 1
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 1}
        for index in (3, 4, 5):
            await stand.get(torrent, index)
            await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2, 3, 4, 5}
        assert stand.cache.peek(torrent, 2) is None
        assert stand.source.reads == [0, 1, 2, 3, 4, 5]


async def test_a_file_that_was_read_is_the_newest_even_without_memory(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, memory=0, disk=300) as stand:
        for index in (0, 1, 2, 0, 3):
            await stand.get(torrent, index)
            await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 2, 3}
        assert stand.source.reads == [0, 1, 2, 3]


async def test_a_slow_disk_drops_writes_and_holds_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent(size=2000)
    monkeypatch.setattr(writing, "WRITE_BEHIND", 350)
    async with running(tmp_path, memory=0) as stand:
        with gated(files, "change"):
            for index in range(20):
                await stand.get(torrent, index)
            statistics = stand.cache.statistics()
            assert (statistics.queued_writes, statistics.dropped_writes) == (3, 17)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2}
        for index in range(10, 13):
            await stand.get(torrent, index)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2, 10, 11, 12}


async def test_small_pieces_that_wait_are_written_several_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent()
    monkeypatch.setattr(writing, "WRITE_SIZE", 350)
    async with running(tmp_path) as stand:
        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            for index in range(1, 8):
                await stand.get(torrent, index)
            gate.let_through()
            while stand.cache.statistics().queued_writes:
                await trio.lowlevel.checkpoint()
            assert gate.calls == 4  # of 1, 3, 3 and 1
        assert stand.on_disk(torrent.cache_id) == set(range(8))


async def test_pieces_written_together_stay_within_the_budget(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path, disk=300) as stand:
        with gated(files, "change") as gate:
            for index in range(3):
                await stand.get(torrent, index)
            await gate.wait_entered()
            for index in range(3, 7):
                await stand.get(torrent, index)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {4, 5, 6}
        assert bytes_in(tmp_path) == 300


async def test_one_piece_larger_than_the_queue_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = FakeTorrent()
    monkeypatch.setattr(writing, "WRITE_BEHIND", 10)
    async with running(tmp_path) as stand:
        await stand.get(torrent, 0)
        await stand.idle()
        assert stand.on_disk(torrent.cache_id) == {0}


async def test_keeping_waits_until_the_piece_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent, kept = FakeTorrent(), []
    monkeypatch.setattr(writing, "WRITE_BEHIND", 100)

    async with running(tmp_path, memory=0) as stand, trio.open_nursery() as nursery:

        async def keep(index: int) -> None:
            assert await stand.cache.keep(torrent.cache_id, index, torrent.piece(index))
            kept.append(index)

        with gated(files, "change") as gate:
            for index in range(3):
                nursery.start_soon(keep, index)
            await gate.wait_entered()
            await trio.testing.wait_all_tasks_blocked()
            assert kept == []
            assert stand.on_disk(torrent.cache_id) == frozenset()
            # What waits to be kept takes nothing from the share of what is served.
            await stand.get(torrent, 3)
        await stand.idle()
        assert sorted(kept) == [0, 1, 2]
        assert stand.on_disk(torrent.cache_id) == {0, 1, 2, 3}
        assert piece_file(tmp_path, torrent, 2).read_bytes() == torrent.piece(2)
        assert await stand.get(torrent, 2) == torrent.piece(2)
        assert stand.source.reads == [3]


async def test_keeping_evicts_nobody(tmp_path: Path) -> None:
    torrent, other = FakeTorrent("a"), FakeTorrent("b")
    async with running(tmp_path, disk=350) as stand:
        for index in range(2):
            await stand.get(other, index)
        await stand.idle()
        kept = [
            await stand.cache.keep(torrent.cache_id, index, torrent.piece(index))
            for index in range(3)
        ]
        assert kept == [True, False, False]
        assert await stand.cache.keep(torrent.cache_id, 0, torrent.piece(0))
        assert stand.on_disk(other.cache_id) == {0, 1}
        assert stand.cache.statistics().disk_evictions == 0


async def test_keeping_without_room_does_not_even_wait_for_the_writer(tmp_path: Path) -> None:
    torrent, short = FakeTorrent(), FakeTorrent("short", size=40)
    async with running(tmp_path, disk=250) as stand:
        for index in range(2):
            await stand.get(torrent, index)
        await stand.idle()
        with gated(files, "change") as gate:
            await stand.get(short, 0)
            await gate.wait_entered()
            assert not await stand.cache.keep(torrent.cache_id, 2, torrent.piece(2))


async def test_keeping_at_the_same_time_evicts_nobody_either(tmp_path: Path) -> None:
    torrent, kept = FakeTorrent(), []
    async with running(tmp_path, disk=250) as stand:

        async def keep(index: int) -> None:
            kept.append(await stand.cache.keep(torrent.cache_id, index, torrent.piece(index)))

        async with trio.open_nursery() as nursery:
            with gated(files, "change"):
                for index in range(5):
                    nursery.start_soon(keep, index)
                await trio.testing.wait_all_tasks_blocked()
        assert sorted(kept) == [False, False, False, True, True]
        assert stand.cache.statistics().disk_evictions == 0


async def test_keeping_a_piece_that_is_already_queued_waits_for_that_write(
    tmp_path: Path,
) -> None:
    torrent, kept = FakeTorrent(), []
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:

        async def keep() -> None:
            kept.append(await stand.cache.keep(torrent.cache_id, 0, torrent.piece(0)))

        with gated(files, "change") as gate:
            await stand.get(torrent, 0)
            await gate.wait_entered()
            nursery.start_soon(keep)
            await trio.testing.wait_all_tasks_blocked()
            assert kept == []
        await stand.idle()
        assert kept == [True]
        assert gate.calls == 1


async def test_a_piece_dropped_while_it_waits_to_be_kept_is_not_kept(tmp_path: Path) -> None:
    torrent, kept = FakeTorrent(), []
    async with running(tmp_path) as stand, trio.open_nursery() as nursery:

        async def keep(index: int) -> None:
            kept.append(await stand.cache.keep(torrent.cache_id, index, torrent.piece(index)))

        with gated(files, "change") as gate:
            nursery.start_soon(keep, 0)
            nursery.start_soon(keep, 1)
            await gate.wait_entered()
            nursery.start_soon(stand.drop, torrent.cache_id)
            await trio.testing.wait_all_tasks_blocked()
        await stand.idle()
        assert kept == [False, False]
        assert bytes_in(tmp_path) == 0


async def test_other_bytes_under_the_same_key_replace_those_that_were_being_written(
    tmp_path: Path,
) -> None:
    torrent = FakeTorrent()
    key, before, after = (torrent.cache_id, 0), bytes(100), torrent.piece(0)
    async with running(tmp_path, memory=0) as stand:
        with gated(files, "change") as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stand.cache.keep, *key, before)
                await gate.wait_entered()
                stand.cache.discard(torrent.cache_id)
                nursery.start_soon(stand.cache.keep, *key, after)
                await trio.testing.wait_all_tasks_blocked()
                gate.let_through()
        await stand.idle()
        assert piece_file(tmp_path, torrent, 0).read_bytes() == after
        assert stand.cache.is_on_disk(torrent, 0)
        assert bytes_in(tmp_path) == stand.cache.statistics().disk_bytes == 100
