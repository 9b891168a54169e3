"""The first rows of many, found a slice at a time."""

from operator import itemgetter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.admin.rows import ROWS_AT_ONCE, Foremost, first_of

ranks = st.lists(st.integers(0, 9), max_size=3 * ROWS_AT_ONCE)


@given(ranks, st.integers(0, 4 * ROWS_AT_ONCE), st.booleans())
def test_the_first_of_many_are_those_that_sorting_all_of_them_gives(
    ranks: list[int], count: int, descending: bool
) -> None:
    rows = list(enumerate(ranks))

    async def find() -> list[tuple[int, int]]:
        return await first_of(rows, count, itemgetter(1), descending=descending)

    assert trio.run(find) == sorted(rows, key=itemgetter(1), reverse=descending)[:count]


@given(ranks, st.integers(0, 4 * ROWS_AT_ONCE))
def test_the_foremost_are_the_same_ones_though_not_all_are_kept(
    ranks: list[int], count: int
) -> None:
    async def find() -> list[tuple[int, int]]:
        foremost: Foremost[tuple[int, int]] = Foremost(count, itemgetter(1))
        for row in enumerate(ranks):
            await foremost.add(row)
        return await foremost.rows()

    rows = sorted(enumerate(ranks), key=itemgetter(1), reverse=True)
    assert trio.run(find) == rows[:count]


@pytest.mark.parametrize("count", [0, 10])
async def test_no_more_rows_are_kept_than_could_be_shown(count: int) -> None:
    foremost: Foremost[int] = Foremost(count, int)
    for row in range(10_000):
        await foremost.add(row)
        assert len(foremost._rows) <= 2 * count + ROWS_AT_ONCE
    assert await foremost.rows() == [*range(9_999, 9_999 - count, -1)]
