"""Moments of trio's clock by the machine's, which may be set while we run.

A machine without a battery begins in the past and has its clock set later, one that slept or was
moved finds itself in another time. What has happened since the start is told by the clock as it is
now.
"""

import time
from collections.abc import Callable

import trio

_SET = 2.0
"""Seconds by which the machine's clock differs from ours for which it has been set: below that,
moments stay as they were told before."""


class Epoch:
    """What trio's clock began at (Unix s), by `wall_clock` as it is set now."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._began = self._at = wall_clock() - trio.current_time()

    def unix(self, moment: float) -> float:
        """Return a moment of trio's clock in Unix s: the same each time, until the clock is set."""
        at = self._wall_clock() - trio.current_time()
        if abs(at - self._at) > _SET:
            self._at = at
        return self._at + moment

    def least(self) -> float:
        """Return the time now, or what it would be had nobody set the clock, if that is less.

        What is forgotten when it is over isn't forgotten while a clock is ahead for a moment.
        """
        return min(self._wall_clock(), self._began + trio.current_time())
