"""Work on thousands of things in slices of the event loop's time, so that other tasks run too."""

import time

import trio

_SLICE = 0.001
"""Seconds of work between two checkpoints."""
_SHARE = 0.05
"""Of the loop's time that work may take which is done again and again."""


class Slices:
    """Says when it is other tasks' turn."""

    __slots__ = ("_turns", "_until")

    def __init__(self) -> None:
        self._turns = 0
        self._until = time.perf_counter() + _SLICE

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self._until

    async def turn(self) -> None:
        """Let other tasks run."""
        await trio.lowlevel.checkpoint()
        self._turns += 1
        self._until = time.perf_counter() + _SLICE

    def pause(self, least: float) -> float:
        """Return the seconds until the same work is done again: `least`, or as long as it takes
        for the work that was done to be a small share of the time."""
        return max(least, self._turns * _SLICE / _SHARE)
