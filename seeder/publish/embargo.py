"""Objects whose time has not come: all is made ready for them, and nobody hears of them before.

The time is that of the machine's clock. That may be set while we wait, forth or back; so it is
looked at again and again. What was published stays so, whatever the clock says afterwards.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
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


class Embargoed(Protocol):
    """Something that waits for its time."""

    def release(self, crowd: int = 1) -> None:
        """Publish it; `crowd` are released together."""
        ...


class Embargoes:
    """What waits, and until when; `wall_clock` returns Unix s."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._waiting: dict[Embargoed, float] = {}
        self._something = trio.Event()

    def holds(self, until: float | None) -> bool:
        """Tell whether a time has yet to come; None never has."""
        return until is not None and self._wall_clock() < until

    def add(self, who: Embargoed, until: float) -> None:
        """Have something released when its time has come."""
        self._waiting[who] = until
        self._something.set()

    def forget(self, who: Embargoed) -> None:
        """Release it no more."""
        self._waiting.pop(who, None)

    async def run(self) -> None:
        """Release what is due, until cancelled."""
        while True:
            while not self._waiting:
                await self._something.wait()
                self._something = trio.Event()
            now, slices = self._wall_clock(), Slices()
            due = [who for who, until in self._waiting.items() if until <= now]
            if len(due) > MOST_LOGGED:
                _LOG.info("%d objects are published now: their time has come", len(due))
            for who in due:
                if self._waiting.pop(who, None) is not None:
                    who.release(len(due))
                if slices.is_over:
                    await slices.turn()
            until = min(self._waiting.values(), default=now)
            with trio.move_on_after(min(max(0.0, until - self._wall_clock()), LOOK_EVERY)):
                await self._something.wait()
                self._something = trio.Event()


def told(until: float) -> str:
    """Return how a time is told: 2027-01-15T18:00:00Z."""
    return datetime.fromtimestamp(until, UTC).isoformat().replace("+00:00", "Z")


def explain_embargoes(objects: Iterable[ObjectSettings], now: float) -> Iterator[str]:
    """Yield a line for each entry whose time has not come at `now`."""
    for each in objects:
        if each.publish_at is not None and now < each.publish_at:
            left = rounded_time(each.publish_at - now)
            yield f"{each.ref}: published at {told(each.publish_at)}, in {left}"
