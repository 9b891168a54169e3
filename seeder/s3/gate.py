"""The one gate of an origin: while S3 is away one attempt tries, and the others wait for its end.

As long as S3 answers, it stands open. An attempt that fails while nothing else is answered closes
it. Then one attempt at a time goes in, for the call that waits longest, after a wait that grows.
The first answer opens it for two, each further one for twice as many, so that those who waited
don't come all at once to a server that has just asked for less. Times are of trio's clock, in s.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import trio

from seeder.s3.retry import LONGEST_RETRY_PAUSE, RetryPolicy, longest_pause

_FRESH = 1.0
"""Seconds after an answer in which a failure says nothing of the whole origin."""
_WIDE = 64
"""Attempts side by side from which on the gate stands open."""


@dataclass(frozen=True, slots=True)
class Setback:
    """What an attempt met that brought no result, though another one may."""

    why: str
    answered: bool = False
    """Whether S3 sent an error."""
    throttled: bool = False
    """Whether it says that it is asked too much."""
    pause: float | None = None
    """Seconds for which it wants to be left alone, if it says so."""


class _Turn:
    """One call's place in the line."""

    __slots__ = ("called",)

    def __init__(self) -> None:
        self.called = trio.Event()
        """Set when it has to look again."""


class Gate:
    """Lets attempts in; `roll` returns a random number from 0 to 1."""

    def __init__(self, policy: RetryPolicy, roll: Callable[[], float]) -> None:
        self.failures = 0
        """Failed attempts in a row, since it was closed."""
        self.why = ""
        """What the last of them met."""
        self._policy = policy
        self._roll = roll
        self._width = inf
        """Attempts that may be inside at a time."""
        self._inside = 0
        """Those that have entered since it was closed last."""
        self._closings = 0
        self._closed_at = inf
        self._answered_at = -inf
        self._next_at = -inf
        """When the next attempt may begin."""
        self._line: OrderedDict[_Turn, None] = OrderedDict()

    @property
    def is_open(self) -> bool:
        return self._width == inf

    def hopes(self, now: float) -> bool:
        """Tell whether S3 is away, but not yet for so long that calls are given up at once."""
        return self._closed_at < inf and not self._is_hopeless(now)

    def next_in(self, now: float) -> float:
        """Return the seconds until the next attempt may begin."""
        return max(0.0, self._next_at - now)

    def gives_up(self, since: float, patience: float, now: float) -> bool:
        """Tell whether a call is given up that has had trouble since then.

        That takes `attempts` failures in a row, by whichever call, and all of the call's patience.
        """
        return self.failures >= self._policy.attempts and now >= since + patience

    def _is_hopeless(self, now: float) -> bool:
        return self.gives_up(self._closed_at, self._policy.patience, now)

    async def enter(self, since: float, patience: float, *, tried: bool) -> int | None:
        """Wait to be let in for one attempt; None if that is given up.

        What it returns is for `failed` and `leave`, which has to be called. The call has had
        trouble `since` then; `tried` tells whether it has made an attempt. One that hasn't may make
        one if it is due, however long S3 has been away: so it is found out that it is back.
        """
        if not self.is_open:
            turn = _Turn()
            self._line[turn] = None
            try:
                if not await self._wait(turn, since, patience, tried):
                    return None
            finally:
                del self._line[turn]
                self._call_first()
        self._inside += 1
        return self._closings

    async def _wait(self, turn: _Turn, since: float, patience: float, tried: bool) -> bool:
        await trio.lowlevel.checkpoint()
        while not self.is_open:
            now = trio.current_time()
            is_next = self._inside < self._width and next(iter(self._line)) is turn
            is_due = is_next and now >= self._next_at
            vain = (
                self.gives_up(since, patience, now)
                or self._is_hopeless(now)
                or self._next_at > since + max(patience, LONGEST_RETRY_PAUSE)
            )
            if is_due and not (vain and tried):
                return True
            if vain:
                return False
            deadline = inf
            if self.failures >= self._policy.attempts:
                deadline = min(since + patience, self._closed_at + self._policy.patience)
            if is_next:
                deadline = min(deadline, self._next_at)
            turn.called = trio.Event()
            with trio.move_on_at(deadline):
                await turn.called.wait()
        return True

    def leave(self, entered: int) -> None:
        """Take note that an attempt has ended, however it did."""
        if entered == self._closings:
            self._inside -= 1
            self._call_first()

    def answered(self, now: float) -> None:
        """Take note of an answer, or of a part of one."""
        self._answered_at = now
        if self.is_open:
            return
        self.failures = 0
        self._closed_at, self._next_at = inf, -inf
        self._width *= 2
        if self._width < _WIDE:
            self._call_first()
            return
        self._width = inf
        self._call_all()

    def failed(self, entered: int, setback: Setback, began: float, now: float) -> bool:
        """Take note of an attempt that brought no result.

        Returns whether S3 as a whole is away, so that the call has to line up.
        """
        fresh = not setback.throttled and now - self._answered_at < _FRESH
        if fresh or self._answered_at > began:
            if not self.is_open:
                self._width = max(1.0, self._width / 2)
            return False
        current = self.is_open or entered == self._closings
        if self.is_open:
            self._closings += 1
            self._inside = self.failures = 0
        self._closed_at = min(self._closed_at, now)
        if current:
            self.failures += 1
            self.why = setback.why
            self._width = 1.0
            pause = min(setback.pause or 0.0, longest_pause(self._policy.patience))
            self._next_at = max(self._next_at, began + self._pause(now), now + pause)
            if pause or self.failures == self._policy.attempts:
                self._call_all()  # some give up
        return True

    def _pause(self, now: float) -> float:
        policy = self._policy
        if self._is_hopeless(now):
            return policy.hopeless_wait
        ceiling: float = policy.first_wait * 2.0 ** min(self.failures - 1, 30)
        return min(policy.longest_wait, ceiling) * (1 + self._roll()) / 2

    def _call_first(self) -> None:
        if self._line:
            next(iter(self._line)).called.set()

    def _call_all(self) -> None:
        for turn in self._line:
            turn.called.set()
