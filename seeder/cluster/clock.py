"""The time that all nodes share: that of the store's own clock, followed by ours in between.

No I/O.
"""

from collections import deque
from collections.abc import Callable

SAMPLES = 16
"""Answers among which the fastest says what the time is."""
JUMP = 1.0
"""Seconds beyond doubt by which the store's clock must differ from what we made of it to be
believed at once: somebody has set it."""
MICRO = 1_000_000


class SharedClock:
    """Microseconds (Unix) by the store's clock; `local` is ours, in seconds, which is never set."""

    def __init__(self, local: Callable[[], float], wall: float) -> None:
        """`wall` is the time (Unix s) to go by until the store has told its own."""
        self._local = local
        self._offset = round((wall - local()) * MICRO)
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        """By how long each answer took (s): what is to be added to our clock (us)."""

    def note(self, asked: float, answered: float, told: int) -> None:
        """Take in that the store said `told` (us) between two moments of our clock."""
        taken = answered - asked
        offset = told - round((asked + answered) / 2 * MICRO)
        if self._samples and abs(offset - self._offset) > (JUMP + taken) * MICRO:
            self._samples.clear()
        self._samples.append((taken, offset))
        self._offset = min(self._samples)[1]

    @property
    def is_known(self) -> bool:
        """Whether the store has told its time: until then ours is a guess."""
        return bool(self._samples)

    def now(self) -> int:
        """Return the time (us)."""
        return self.at(self._local())

    def at(self, moment: float) -> int:
        """Return the time (us) of a moment of our clock (s)."""
        return round(moment * MICRO) + self._offset

    def moment(self, time: int) -> float:
        """Return the moment of our clock (s) at a time (us)."""
        return (time - self._offset) / MICRO
