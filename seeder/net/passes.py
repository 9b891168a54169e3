"""How long tasks with much to do may hold one pass of the event loop while others wait for little.

In a pass each task that can go on does so once. A peer at full rate takes half a millisecond of it,
and an answer that takes three passes would wait for all peers three times.
"""

from collections.abc import Callable
from time import perf_counter

import trio

LONGEST = 0.010
"""Seconds of a pass after which no further task begins its turn."""
HASTE = 1.0
"""Seconds since somebody asked for which passes are kept short: it costs a few percent."""
_AT_FIRST, _MOST = 8, 64
"""Tasks that are let go at once."""


class Passes(trio.abc.Instrument):
    """Lets tasks have turns, as many a pass as fit into it, in the order in which they ask.

    `asked_at` tells when somebody last wanted a short answer (trio's clock, s); `clock` measures
    passes. Nothing is held back while nobody asks. `run` has to run for those to go on that wait.
    """

    def __init__(
        self,
        asked_at: Callable[[], float],
        clock: Callable[[], float] = perf_counter,
        *,
        longest: float = LONGEST,
    ) -> None:
        self.in_haste = False
        """Whether turns are to be waited for. Others needn't call `turn`, which spares time."""
        self._asked_at = asked_at
        self._clock = clock
        self._longest = longest
        self._began = 0.0
        self._took = 0.0
        """The last pass (s)."""
        self._line = trio.lowlevel.ParkingLot()
        self._came = trio.Event()
        """Set when somebody waits."""

    def after_io_wait(self, timeout: float) -> None:
        """A pass begins."""
        self._began = self._clock()
        self.in_haste = bool(self._line) or trio.current_time() - self._asked_at() < HASTE

    def before_io_wait(self, timeout: float) -> None:
        """A pass is over."""
        self._took = self._clock() - self._began

    async def turn(self) -> None:
        """Return at once where this pass has room, else in a later one."""
        if self._line or self._clock() - self._began > self._longest:
            self._came.set()
            await self._line.park()

    async def run(self) -> None:
        """Give those who wait their turns, until cancelled."""
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await self._came.wait()
                self._came = trio.Event()
                fit = float(_AT_FIRST)
                while self._line:
                    # In one pass they are let go, in the next one they run.
                    self._line.unpark(count=int(fit))
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    fit *= self._longest / max(self._took, self._longest / 2)
                    fit = min(max(fit, 1.0), _MOST)
        finally:
            trio.lowlevel.remove_instrument(self)
