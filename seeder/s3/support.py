"""Whether an origin has the calls that not every S3 has. No I/O."""

from math import inf

_UNSUPPORTED_AFTER = 3
"""Keys for which the call must fail as unknown before the origin counts as lacking it."""
HUNG_FOR = 600.0
"""Seconds for which a call isn't made that got no answer in time for as many keys in a row."""


class Support:
    """Whether an origin has a call that not every S3 has, as far as is known."""

    def __init__(self) -> None:
        self._refusals = 0
        self._answered = False
        self._hung = 0
        """Calls in a row that got no answer in time."""
        self._hung_until = -inf

    @property
    def absent(self) -> bool:
        """Whether asking again is no use."""
        return not self._answered and self._refusals >= _UNSUPPORTED_AFTER

    def answered(self) -> None:
        """Note that the origin has the call: from now on a refusal is about its key only."""
        self._answered = True

    def came(self) -> None:
        """Note that the call got an answer in time, whatever it was."""
        self._hung = 0

    def hung(self, now: float) -> None:
        """Note that it got none."""
        self._hung += 1
        if self._hung >= _UNSUPPORTED_AFTER:
            self._hung_until = now + HUNG_FOR

    def hangs(self, now: float) -> bool:
        """Tell whether it will hardly get an answer now: that is tried again after a while."""
        return now < self._hung_until

    def refused(self, for_every_key: bool) -> None:
        """Note that the origin doesn't have the call, for one key or for every key."""
        self._refusals += _UNSUPPORTED_AFTER if for_every_key else 1
