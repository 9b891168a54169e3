"""What the log tells of networks at a limit: an honest crowd's operator wants to know, and a
stranger who makes up addresses must not fill the log.

No I/O.
"""

from collections.abc import Hashable

QUIET = 3600.0
"""Seconds until the log tells of the same again."""
MOST = 50
"""Lines of one kind in that time."""


class Notices:
    """When each was told of: once an hour, and no more than `most` in an hour."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._told: dict[Hashable, float] = {}
        """The time (s) of each, oldest first."""

    def is_due(self, key: Hashable, now: float) -> bool:
        """Tell whether the log is to tell of this now, and take note that it does."""
        told = self._told
        if key in told and now < told[key] + QUIET:
            return False
        while told and now >= told[oldest := next(iter(told))] + QUIET:
            del told[oldest]
        if len(told) >= self._most:
            return False
        told[key] = now
        return True
