"""Intervals of time as whole minutes, hours and days of UTC. No I/O."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from seeder.units import DAY, HOUR, MINUTE

EVER, NEVER = -(2**24) * DAY, 2**24 * DAY
"""Before and after everything that was counted, also by a clock that was wrong (Unix s)."""

Stretch: TypeAlias = tuple[int, int, int]
"""The seconds of a step, and the interval of such steps: where it begins and where it ends."""


def cover(begin: int, end: int, steps: Sequence[int] = (DAY, HOUR, MINUTE)) -> Iterator[Stretch]:
    """Yield the fewest pieces that make up an interval of whole minutes.

    Days are used as far as they go, then hours at both ends, then minutes; an interval that begins
    at a day needs no other steps there.
    """
    if begin >= end or not steps:
        return
    step, finer = steps[0], steps[1:]
    first, last = -(-begin // step) * step, end // step * step
    if first >= last:
        yield from cover(begin, end, finer)
        return
    yield from cover(begin, first, finer)
    yield step, first, last
    yield from cover(last, end, finer)


def start_of(at: float, step: int) -> int:
    """Return when the minute, the hour or the day (`step`, its seconds) of a moment began.

    `at` and what is returned are Unix seconds; days are those of UTC.
    """
    return int(at // step) * step


def known_moment(at: float, kept: dict[int, int]) -> int:
    """Return the last moment up to `at` where history can begin or end.

    That is a minute as long as minutes are kept, else an hour, else a day; `kept` has since when
    there are minutes and hours, by their seconds. Intervals that meet at a moment still meet.
    """
    for step in (MINUTE, HOUR):
        moment = start_of(at, step)
        if moment >= kept.get(step, NEVER):
            return moment
    return start_of(at, DAY)
