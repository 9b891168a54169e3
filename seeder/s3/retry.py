"""When a call to S3 is tried again, how long after, and when it is given up. No I/O.

This is of calls that fail while others are answered. Where S3 as a whole is away, they wait at
`seeder.s3.gate`, by the same policy.
"""

from dataclasses import dataclass
from typing import TypeAlias

from seeder.s3.answers import Answer

LONGEST_RETRY_PAUSE = 10.0
"""Seconds that S3 may ask a call to wait which has no patience."""
LONGEST_AWAY = 120.0
"""The same of one that has: it may be a proxy that says so, and is wrong."""
# Two moves find a bucket's region even if the first answer names a wrong one; more is a loop.
_MOST_MOVES = 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of one call; times in seconds."""

    attempts: int = 5
    """Failures in a row after which a call that has no patience is given up."""
    first_wait: float = 0.2
    longest_wait: float = 1.0
    optional_attempts: int = 3
    """The same for a question whose answer we can do without."""
    patience: float = 600.0
    """For so long those calls go on that have patience while S3 is away."""
    hopeless_wait: float = 3.0
    """Between two attempts when it is away for longer than that; and the longest wait of a read
    that comes on by so little at a time that it needs more than so many `attempts`."""
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    slowest: float = 64 * 1024
    """Bytes/s; an attempt that is slower on the whole is given up."""
    tick: float = 1.0
    """Between two looks at how far the attempts have come."""
    quiet: float = 4.0
    """Without a byte, though some are wanted, until one of those who wait tries anew."""
    silence: float = 15.0
    """The same, until the origin counts as away."""

    def attempt_timeout(self, size: int) -> float:
        """Return the seconds that one attempt at `size` bytes may take."""
        return self.connect_timeout + 2 * self.read_timeout + size / self.slowest


def longest_pause(patience: float) -> float:
    """Return for how long (s) S3 may ask a call of such patience to stay away."""
    return max(min(patience, LONGEST_AWAY), LONGEST_RETRY_PAUSE)


@dataclass(frozen=True, slots=True)
class Wait:
    """Try the same again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Move:
    """Sign for `region`, where the bucket is, and ask there."""

    region: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Look for other credentials, then try again if there are any."""


@dataclass(frozen=True, slots=True)
class SetClock:
    """Sign for the time that it is there (Unix s), and ask again."""

    told: float


Step: TypeAlias = Wait | Move | Renew | SetClock | None
"""What to do next; None gives the call up."""


class Tries:
    """The attempts of one call: it is told of each failure and answers with the next step."""

    def __init__(
        self, policy: RetryPolicy, region: str, patience: float = 0.0, *, optional: bool = False
    ) -> None:
        self._policy = policy
        self._most = policy.optional_attempts if optional else policy.attempts
        self._longest_pause = longest_pause(patience)
        self._alone = 0
        """Failures in a row that concern this call only."""
        self._vain = 0
        """Those of them since which it hasn't come on."""
        self._moves = 0
        self._renewed = self._clock_set = False
        self.region = region
        self.attempt = 1

    def refused(self, answer: Answer, *, roll: float, signed_for: float | None = None) -> Step:
        """Decide on an error that S3 sent; `roll` is random, from 0 to 1.

        `signed_for` is when the request says that it was made (Unix s), if it was signed.
        """
        if (region := answer.moved_from(self.region)) and self._moves < _MOST_MOVES:
            self._moves += 1
            self.region = region
            return Move(region)
        told = None if signed_for is None else answer.tells_time(signed_for)
        if told is not None and not self._clock_set:
            self._clock_set = True
            return SetClock(told)
        if answer.about_credentials and not self._renewed:
            self._renewed = True
            return Renew()
        return self.broken(roll=roll, pause=answer.pause) if answer.transient else None

    def broken(self, *, roll: float, pause: float | None = None) -> Step:
        """Decide what follows when no answer came, or only a part of one.

        S3 may have asked for a `pause` (s): no attempt begins earlier, and the call ends if that is
        longer than the call waits.
        """
        self._alone += 1
        self._vain += 1
        if self._vain >= self._most or (pause or 0) > self._longest_pause:
            return None
        return self._wait(roll, pause)

    def come_on(self, step: Step, *, roll: float) -> Step:
        """Take note that the last failure, for which there is a step, came after a part of what is
        wanted: it isn't one of those that end the call. Return the next step."""
        self._vain = 0
        return step or self._wait(roll, None)

    def _wait(self, roll: float, pause: float | None) -> Wait:
        self.attempt += 1
        policy, is_usual = self._policy, self._alone < self._most
        longest = policy.longest_wait if is_usual else policy.hopeless_wait
        # Full jitter: calls that failed together must not come back together.
        wait = roll * min(longest, policy.first_wait * 2.0 ** min(self._alone - 1, 30))
        return Wait(wait if pause is None else pause + wait)

    def line_up(self) -> None:
        """Take note that the last failure was none of this call's own: S3 is away."""
        self._alone = self._vain = 0
