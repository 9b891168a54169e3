"""Objects whose time has not come: all is made ready for them, and nobody hears of them before.

The time is that of the machine's clock. That may be set while we wait, forth or back; so it is
looked at again and again. What was published stays so, whatever the clock says afterwards.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from math import inf
from typing import Protocol

import trio

from seeder.config.objects import ObjectSettings
from seeder.net.slices import Slices
from seeder.units import rounded_time

_LOG = logging.getLogger(__name__)

MOST_LOGGED = 100
"""Up to so many objects that come together are logged one by one."""
LOOK_EVERY = 1.0
"""Seconds after which a clock that was set is noticed at the latest."""
_SPARE = 1000
"""Times that may be out of date before they are sorted out; or as many as there are others."""


class Embargoed(Protocol):
    """Something that waits for its time."""

    def release(self, crowd: int = 1) -> None:
        """Publish it; `crowd` are released together."""
        ...


class Embargoes:
    """What waits, and until when; `wall_clock` returns Unix s."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._until: dict[Embargoed, float] = {}
        self._waiting: dict[float, dict[Embargoed, None]] = {}
        """Those that wait for the same time: they are released together."""
        self._times: list[float] = []
        """A heap of them; there may be nobody any more who waits for one."""
        self._earlier = trio.Event()
        """Set when the first time isn't what it was."""

    def holds(self, until: float | None) -> bool:
        """Tell whether a time has yet to come; None never has."""
        return until is not None and self._wall_clock() < until

    def add(self, who: Embargoed, until: float) -> None:
        """Have something released when its time has come."""
        if self._until.get(who) == until:
            return
        self.forget(who)
        self._until[who] = until
        if until not in self._waiting:
            self._waiting[until] = {}
            heappush(self._times, until)
            if self._times[0] == until:
                self._earlier.set()
        self._waiting[until][who] = None

    def forget(self, who: Embargoed) -> None:
        """Release it no more."""
        until = self._until.pop(who, None)
        if until is None:
            return
        del self._waiting[until][who]
        if not self._waiting[until]:
            del self._waiting[until]
            if len(self._times) > _SPARE + 2 * len(self._waiting):
                self._times = sorted(self._waiting)

    async def run(self) -> None:
        """Release what is due, until cancelled."""
        while True:
            now = self._wall_clock()
            while self._times and self._times[0] <= now:
                await self._release(heappop(self._times))
            pause = min(self._times[0] - now, LOOK_EVERY) if self._times else inf
            with trio.move_on_after(pause):
                await self._earlier.wait()
                self._earlier = trio.Event()

    async def _release(self, until: float) -> None:
        due, slices = tuple(self._waiting.get(until, ())), Slices()
        if len(due) > MOST_LOGGED:
            _LOG.info("%d objects are published now: their time has come", len(due))
        for who in due:
            if self._until.get(who) == until:
                self.forget(who)
                who.release(len(due))
            if slices.is_over:
                await slices.turn()
        if until in self._waiting:
            heappush(self._times, until)  # somebody has come meanwhile


def told(until: float) -> str:
    """Return how a time is told: 2027-01-15T18:00:00Z."""
    return datetime.fromtimestamp(until, UTC).isoformat().replace("+00:00", "Z")


def explain_embargoes(objects: Iterable[ObjectSettings], now: float) -> Iterator[str]:
    """Yield a line for each entry whose time has not come at `now`."""
    for each in objects:
        if each.publish_at is not None and now < each.publish_at:
            left = rounded_time(each.publish_at - now)
            yield f"{each.ref}: published at {told(each.publish_at)}, in {left}"
