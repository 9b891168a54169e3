"""How far the making of a torrent has come, how fast it goes on, and how long it still takes.

Times are of one clock, in seconds. No I/O.
"""

from collections import deque

WINDOW = 30.0
"""Seconds over which the rate is taken."""
_STEP = 1.0
"""Seconds between two marks."""


class Work:
    """Bytes hashed of `size`, which are known once the hashing has begun."""

    __slots__ = ("_marks", "began", "done", "size")

    def __init__(self, now: float) -> None:
        self.began = now
        self.done = 0
        self.size = 0
        self._marks: deque[tuple[float, int]] = deque()
        """When so many bytes were done, oldest first."""

    def advance(self, done: int, size: int, now: float) -> None:
        """Take note that `done` of `size` bytes are hashed; less than before is a new beginning."""
        if done < self.done or size != self.size:
            self._marks.clear()
        self.done, self.size = done, size
        if not self._marks or now - self._marks[-1][0] >= _STEP:
            self._marks.append((now, done))
        while len(self._marks) > 1 and self._marks[1][0] <= now - WINDOW:
            self._marks.popleft()

    def rate(self, now: float) -> float | None:
        """Return the bytes/s of the last WINDOW seconds; None while too little is known."""
        marks = self._marks
        begin = next((mark for mark in marks if mark[0] > now - WINDOW), None)
        begin = begin or (marks[-1] if marks else None)
        if begin is None or now - begin[0] < _STEP:
            return None
        at, done = begin
        return (self.done - done) / (now - at)

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest takes at this rate; None if that can't be said."""
        rate = self.rate(now)
        return (self.size - self.done) / rate if rate else None
