"""The time that requests are signed for: the machine's, or S3's where that has refused it.

S3 takes no request that is signed for a time more than 15 minutes from its own, and every answer
says what time that is (RFC 9110, 6.6.1). AWS's SDKs go by it, too. No I/O.
"""

import logging
from collections.abc import Callable

from seeder.units import MINUTE, rounded_time

_LOG = logging.getLogger(__name__)

TOLERATED = 5 * MINUTE
"""Seconds by which clocks may differ without a word: S3 takes three times as much."""


class SigningClock:
    """What time it is for one server; `name` is what the log calls it, `wall_clock` Unix s."""

    def __init__(self, name: str, wall_clock: Callable[[], float]) -> None:
        self.ahead = 0.0
        """Seconds by which the server's clock is ahead of the machine's; 0 while that is taken."""
        self._name = name
        self._wall_clock = wall_clock

    def now(self) -> float:
        """Return the time to sign for (Unix s)."""
        return self._wall_clock() + self.ahead

    def follow(self, told: float) -> None:
        """Go by the time that the server has just told (Unix s): it refused another one."""
        ahead, before = told - self._wall_clock(), self.ahead
        self.ahead = ahead if abs(ahead) > TOLERATED else 0.0
        if not self.ahead and before:
            _LOG.info("%s: this machine's clock agrees with S3's again", self._name)
        elif abs(self.ahead - before) > TOLERATED:
            _LOG.warning("%s: %s", self._name, self.fault)

    @property
    def fault(self) -> str | None:
        """What is wrong with the machine's clock; None if it is taken."""
        if not self.ahead:
            return None
        off = f"{rounded_time(abs(self.ahead))} {'behind' if self.ahead > 0 else 'ahead of'} S3's"
        early = "; passkeys that are made until then end too early" if self.ahead > 0 else ""
        return (
            f"this machine's clock is {off}: requests are signed for S3's time; set it (NTP){early}"
        )


def is_of_another_time(told: float | None, signed_for: float) -> bool:
    """Tell whether a server's clock, as it `told`, is too far from what was signed for."""
    return told is not None and abs(told - signed_for) > TOLERATED
