"""Reading pieces from S3: together where they lie together, and a wrong one not for ever."""

import itertools
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from seeder.cache.reading import HASHED_INLINE, REFUSED_FOR, runs
from seeder.errors import BudgetSpent, OriginUnreachable, PieceMismatch
from seeder.units import MIB
from tests.cache.fakes import FakeTorrent, Stand, running


async def get_all(stand: Stand, torrent: FakeTorrent, *indices: int) -> dict[int, object]:
    """Ask for pieces at once; return each one's bytes or error."""
    found: dict[int, object] = {}

    async def get(index: int) -> None:
        try:
            found[index] = bytes(await stand.get(torrent, index))
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
                await stand.get(torrent, 2)
        assert stand.source.reads == [2, 2]
        stand.clock.now += REFUSED_FOR
        assert await stand.get(torrent, 2) == torrent.piece(2)


async def test_a_refusal_that_answers_many_is_never_raised_and_so_never_grows(
    tmp_path: Path,
) -> None:
    torrent, told = FakeTorrent(), []
    async with running(tmp_path) as stand:
        stand.source.answers[2] = [b"!" * 100] * 2
        for _ in range(5):
            asked = trio.Event()

            def waiter(_: int, __: object, error: object, asked: trio.Event = asked) -> None:
                told.append(error)
                asked.set()

            stand.cache.request(torrent, 2, waiter)
            await asked.wait()
    assert isinstance(told[0], PieceMismatch)
    assert all(error is told[0] for error in told)
    assert told[0].__traceback__ is None


@pytest.mark.parametrize("piece_length", [100, HASHED_INLINE])
async def test_an_origin_that_fails_fails_what_has_not_come_and_is_asked_again(
    tmp_path: Path, piece_length: int
) -> None:
    torrent = FakeTorrent(size=4 * piece_length, piece_length=piece_length)
    async with running(tmp_path, memory=8 * piece_length) as stand:
        stand.source.answers[2] = [OriginUnreachable("gone")]
        found = await get_all(stand, torrent, 1, 2, 3)
        assert found == {1: torrent.piece(1), 2: OriginUnreachable, 3: OriginUnreachable}
        assert await stand.get(torrent, 2) == torrent.piece(2)
        assert stand.source.gets == [(1, 3), (2, 1)]


async def test_a_piece_is_there_while_the_next_ones_of_its_get_still_come(tmp_path: Path) -> None:
    torrent = FakeTorrent(size=3 * HASHED_INLINE, piece_length=HASHED_INLINE)
    async with running(tmp_path, memory=3 * HASHED_INLINE) as stand:
        stand.source.gates[2] = trio.Event()
        found: dict[int, object] = {}

        async def get_those() -> None:
            found.update(await get_all(stand, torrent, 0, 1, 2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get_those)
            await trio.testing.wait_all_tasks_blocked()
            for index in (0, 1):
                assert await stand.get(torrent, index) == torrent.piece(index)
            assert found == {}
            stand.source.gates[2].set()
        assert found == {index: torrent.piece(index) for index in range(3)}
        assert stand.source.gets == [(0, 3)]


async def test_a_spent_budget_is_no_fault_and_reading_goes_on_after_it(tmp_path: Path) -> None:
    torrent = FakeTorrent()
    async with running(tmp_path) as stand:
        stand.source.answers[1] = [BudgetSpent("spent")]
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


@given(st.sets(st.integers(0, 60)), st.integers(0, 9), st.sets(st.integers(0, 60)))
def test_runs_cover_what_was_asked_and_nothing_else(
    asked: set[int], most: int, borders: set[int]
) -> None:
    def stop(index: int) -> int:
        return min((b for b in borders if b > index), default=99)

    found = list(runs(asked, most, stop if borders else None))
    assert [index for first, count in found for index in range(first, first + count)] == sorted(
        asked
    )
    assert all(1 <= count <= max(1, most) for _, count in found)
    assert not any(b in range(first + 1, first + count) for first, count in found for b in borders)
    mergeable = [
        (a, b) for a, b in itertools.pairwise(found) if sum(a) == b[0] and b[0] not in borders
    ]
    assert all(count == max(1, most) for (_, count), _ in mergeable)
