"""How late the event loop is: what holds it up holds up every peer and every request."""

from collections import deque

import trio

from seeder.net.timings import Timings

EVERY = 0.5
"""Seconds between two looks."""
RECENT = 60.0
"""Seconds that `worst` is about."""


class Pulse:
    """Measures by how much a task is woken too late."""

    def __init__(self) -> None:
        self.lags = Timings()
        self._recent: deque[float] = deque([0.0], int(RECENT / EVERY))

    @property
    def worst(self) -> float:
        """The longest lag of the last minute (s)."""
        return max(self._recent)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + EVERY
            await trio.sleep_until(due)
            lag = trio.current_time() - due
            self.lags.add(lag)
            self._recent.append(lag)
