"""How long things took: how many by upper bound, and the sum. No I/O."""

from bisect import bisect_left

TIMING_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; each is the upper end of a bucket, and the last bucket has what took longer."""


class Timings:
    """A histogram that only grows."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(TIMING_BOUNDS) + 1)
        """By bucket, each without what is in those below it."""
        self.seconds = 0.0
        """All of them together."""

    def add(self, seconds: float) -> None:
        """Count something that took so long."""
        self.counts[bisect_left(TIMING_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def copy(self) -> "Timings":
        """Return a snapshot."""
        same = Timings()
        same.counts, same.seconds = self.counts.copy(), self.seconds
        return same
