"""What tells a flood of messages from a busy peer. No I/O."""


class Bucket:
    """Holds `burst` tokens and gets `rate` new ones a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: int, rate: int, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token; False when there was none."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        return self._left >= 0
