"""Work on thousands of things in slices of the event loop's time, so that other tasks run too."""

import time

import trio

_SLICE = 0.001
"""Seconds of work between two checkpoints."""


class Slices:
    """Says when it is other tasks' turn."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.perf_counter() + _SLICE

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self._until

    async def turn(self) -> None:
        """Let other tasks run."""
        await trio.lowlevel.checkpoint()
        self._until = time.perf_counter() + _SLICE
