"""Rows by the thousand: looked at in slices, so that other tasks run in between, and ranked."""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

import trio

ROWS_AT_ONCE = 250
"""Rows looked at between two checkpoints, each of which takes microseconds."""

_Row = TypeVar("_Row")


def batched(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield the rows a slice at a time."""
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[begin : begin + ROWS_AT_ONCE]


class Foremost(Generic[_Row]):
    """The `count` rows of the highest rank among all that are added; None keeps none."""

    def __init__(self, count: int | None, rank: Callable[[_Row], object]) -> None:
        self._count = count or 0
        self._rank = rank
        self._rows: list[_Row] = []

    async def add(self, row: _Row) -> None:
        """Take a row in."""
        self._rows.append(row)
        if len(self._rows) >= 2 * self._count + ROWS_AT_ONCE:
            self._rows = await self.rows()

    async def rows(self) -> list[_Row]:
        """Return them, the highest first."""
        return await first_of(self._rows, self._count, self._rank, descending=True)


async def first_of(
    rows: Sequence[_Row], count: int, rank: Callable[[_Row], object], *, descending: bool
) -> list[_Row]:
    """Return up to `count` rows, those of the lowest rank, or of the highest, first.

    Equal ones stay in their order.
    """
    runs: list[list[tuple[object, int]]] = []
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        # Places, for tuples of what holds nothing are of no concern to the collector of garbage.
        run = [
            (rank(row), place)
            for place, row in enumerate(rows[begin : begin + ROWS_AT_ONCE], begin)
        ]
        run.sort(key=itemgetter(0), reverse=descending)
        runs.append(run)
        await trio.lowlevel.checkpoint()
    merged = iter(merge(*runs, key=itemgetter(0), reverse=descending))
    found: list[_Row] = []
    while len(found) < count and (
        best := list(islice(merged, min(ROWS_AT_ONCE, count - len(found))))
    ):
        found += [rows[place] for _, place in best]
        await trio.lowlevel.checkpoint()
    return found
