"""When a call to S3 is tried again, how long after, and when it is given up. No I/O."""

from dataclasses import dataclass
from typing import TypeAlias

from seeder.s3.answers import Answer

# Two moves find a bucket's region even if the first answer names a wrong one; more is a loop.
_MOST_MOVES = 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of one call; times in seconds."""

    attempts: int = 5
    first_wait: float = 0.2
    longest_wait: float = 10.0
    patience: float = 120.0
    """No attempt starts later than this after the first failure."""
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    slowest: float = 64 * 1024
    """Bytes/s; an attempt that is slower on the whole is given up."""
    tick: float = 1.0
    """Between two looks at how far the attempts have come."""
    silence: float = 15.0
    """Without a byte, though some are wanted, until the origin counts as away."""

    def attempt_timeout(self, size: int) -> float:
        """Return the seconds that one attempt at `size` bytes may take."""
        return self.connect_timeout + 2 * self.read_timeout + size / self.slowest


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
    """Refresh the credentials, then try again."""


Step: TypeAlias = Wait | Move | Renew | None
"""What to do next; None gives the call up."""


class Tries:
    """The attempts of one call: it is told of each failure and answers with the next step."""

    def __init__(self, policy: RetryPolicy, region: str) -> None:
        self._policy = policy
        self._deadline: float | None = None
        self._moves = 0
        self._renewed = False
        self.region = region
        self.attempt = 1

    def refused(self, answer: Answer, *, now: float, roll: float) -> Step:
        """Decide on an error that S3 sent; `roll` is random, from 0 to 1."""
        if (region := answer.moved_from(self.region)) and self._moves < _MOST_MOVES:
            self._moves += 1
            self.region = region
            return Move(region)
        if answer.expired and not self._renewed:
            self._renewed = True
            return Renew()
        return self.broken(now=now, roll=roll) if answer.transient else None

    def broken(self, *, now: float, roll: float) -> Step:
        """Decide what follows when no answer came, or only a part of one."""
        if self._deadline is None:
            self._deadline = now + self._policy.patience
        # Full jitter: calls that failed together must not come back together.
        ceiling = self._policy.first_wait * 2 ** (self.attempt - 1)
        wait = roll * min(self._policy.longest_wait, ceiling)
        if self.attempt >= self._policy.attempts or now + wait > self._deadline:
            return None
        self.attempt += 1
        return Wait(wait)
