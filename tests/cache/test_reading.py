"""Reading pieces from S3: together where they lie together, and a wrong one not for ever."""

import itertools
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.cache.reading import REFUSED_FOR, runs
from seeder.errors import BudgetSpent, OriginUnreachable, PieceMismatch
from seeder.torrent.layout import MIB
from tests.cache.fakes import FakeTorrent, Stand, running


async def get_all(stand: Stand, torrent: FakeTorrent, *indices: int) -> dict[int, object]:
    """Ask for pieces at once; return each one's bytes or error."""
    found: dict[int, object] = {}

    async def get(index: int) -> None:
        try:
            found[index] = bytes(await stand.cache.get(torrent, index))
        except (PieceMismatch, OriginUnreachable, BudgetSpent) as error:
            found[index] = type(error)

    async with trio.open_nursery() as nursery:
        for index in indices:
            nursery.start_soon(get, index)
    return found


async def test_adjacent_pieces_asked_for_together_come_in_one_get(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        found = await get_all(stand, torrent, 3, 1, 2, 7, 9)
        assert found == {index: torrent.piece(index) for index in (1, 2, 3, 7, 9)}
        assert sorted(stand.source.gets) == [(1, 3), (7, 1), (9, 1)]


async def test_a_get_brings_at_most_8_mib(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=10 * 2 * MIB, piece_length=2 * MIB)
    async with running(tmp_path, memory=64 * MIB) as stand:
        await get_all(stand, torrent, *range(10))
        assert sorted(stand.source.gets) == [(0, 4), (4, 4), (8, 2)]


async def test_a_wrong_piece_in_a_run_is_read_again_alone(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [b"!" * 100]
        found = await get_all(stand, torrent, 1, 2, 3)
        assert found == {index: torrent.piece(index) for index in (1, 2, 3)}
        assert stand.source.gets == [(1, 3), (2, 1)]


async def test_a_piece_wrong_twice_does_not_harm_its_neighbours(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [b"!" * 100] * 2
        found = await get_all(stand, torrent, 1, 2, 3)
        assert found == {1: torrent.piece(1), 2: PieceMismatch, 3: torrent.piece(3)}


async def test_a_piece_wrong_twice_is_not_asked_for_again_for_a_while(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [b"!" * 100] * 2
        for _ in range(3):
            with pytest.raises(PieceMismatch):
                await stand.cache.get(torrent, 2)
        assert stand.source.reads == [2, 2]
        stand.clock.now += REFUSED_FOR
        assert await stand.cache.get(torrent, 2) == torrent.piece(2)


async def test_an_origin_that_fails_fails_the_whole_run_and_is_asked_again(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [OriginUnreachable("gone")]
        assert set((await get_all(stand, torrent, 1, 2)).values()) == {OriginUnreachable}
        assert await stand.cache.get(torrent, 1) == torrent.piece(1)


async def test_a_spent_budget_is_no_fault_and_reading_goes_on_after_it(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [BudgetSpent("spent")]
        found = await get_all(stand, torrent, 1, 2, 9)
        assert found == {1: BudgetSpent, 2: BudgetSpent, 9: torrent.piece(9)}
        assert stand.faults == []
        found = await get_all(stand, torrent, 1, 2)
        assert found == {index: torrent.piece(index) for index in (1, 2)}


async def test_a_budget_that_ends_before_the_second_try_of_a_wrong_piece(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [b"!" * 100, BudgetSpent("spent")]
        found = await get_all(stand, torrent, 1, 2)
        assert found == {1: torrent.piece(1), 2: BudgetSpent}
        assert await get_all(stand, torrent, 2) == {2: torrent.piece(2)}


@given(st.sets(st.integers(0, 60)), st.integers(0, 9))
def test_runs_cover_what_was_asked_and_nothing_else(asked: set[int], most: int) -> None:
    found = list(runs(asked, most))
    assert [index for first, count in found for index in range(first, first + count)] == sorted(
        asked
    )
    assert all(1 <= count <= max(1, most) for _, count in found)
    mergeable = [a for a, b in itertools.pairwise(found) if sum(a) == b[0]]
    assert all(count == max(1, most) for _, count in mergeable)
