"""Whether an origin's S3 is there: what was heard of it, who may ask, and what the log says of it.

Every call goes through the gate and tells here what its attempts met. While exchanges are under
way they are looked at every second: those that don't come on are let go, and when nothing comes at
all, one of them tries anew over another connection.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import trio

from seeder.s3.gate import Gate, Setback
from seeder.s3.reach import Reach
from seeder.s3.retry import RetryPolicy
from seeder.s3.transport import Exchanges

_LOG = logging.getLogger(__name__)

_UNUSUAL = 4
"""How many times as long as usual S3 must be silent before that is strange."""


class Presence:
    """What is known of the S3 of origin `name`; `wall_clock` returns Unix s, `roll` 0 to 1."""

    def __init__(
        self,
        name: str,
        policy: RetryPolicy,
        exchanges: Exchanges,
        *,
        wall_clock: Callable[[], float],
        roll: Callable[[], float],
    ) -> None:
        self.gate = Gate(policy, roll)
        self.reach = Reach(policy.silence)
        self.host = ""
        """Who was asked last."""
        self.calls = 0
        """Calls that haven't ended."""
        self._name = name
        self._policy = policy
        self._exchanges = exchanges
        self._wall_clock = wall_clock
        self._quiet = policy.quiet
        """Seconds without a byte after which the newest exchange is made anew."""

    def moment(self, at: float | None) -> float | None:
        """Return a moment of trio's clock in Unix s."""
        return None if at is None else self._wall_clock() - (trio.current_time() - at)

    async def watch(self) -> None:
        """Look at the exchanges while there are some: which lag behind, does anything come?"""
        pace = self._exchanges.pace
        while True:
            while pace.active:
                await trio.sleep(self._policy.tick)
                now = trio.current_time()
                if pace.tick(now):
                    self.heard()
                else:
                    self._note_silence(now)
            pace.rest()
            self._exchanges.started = trio.Event()
            await self._exchanges.started.wait()

    def _note_silence(self, now: float) -> None:
        if self.reach.silent(now, self.host):
            self._say_away()
        pace = self._exchanges.pace
        # Maybe only these connections are dead, or lead to a server that is: another one may live.
        if self.reach.quiet_for(now) >= max(
            self._quiet, _UNUSUAL * pace.usual_wait
        ) and pace.let_newest_go(now, self._quiet):
            self._quiet *= 2

    def heard(self) -> None:
        """Take note of an answer, or a part of one."""
        now = trio.current_time()
        self.gate.answered(now)
        if self._quiet > self._policy.quiet:
            self._quiet = self._policy.quiet
            self._exchanges.pace.suspect_older(now)
        cost = self.reach.heard(now)
        if cost is not None:
            _LOG.info("origin %s: S3 at %s is back %s", self._name, self.host, cost)

    def failed(self, entered: int, setback: Setback, began: float) -> bool:
        """Take note of a failed attempt, as `Gate.failed` does."""
        closes = self.gate.is_open
        lines_up = self.gate.failed(entered, setback, began, trio.current_time())
        if lines_up and closes and not setback.answered:
            # They may be as dead as what has just failed.
            self._exchanges.drop_idle()
        if lines_up and self.gate.failures >= self._policy.attempts:
            self.gave_up(began, setback.why)
        return lines_up

    def gave_up(self, began: float, why: str) -> None:
        """Take note that a call is given up, or that it has taken many attempts already."""
        if self.reach.gave_up(began, why):
            self._say_away()

    def _say_away(self) -> None:
        since = datetime.fromtimestamp(self.moment(self.reach.since) or 0, UTC)
        _LOG.warning(
            "origin %s: S3 at %s is away since %s UTC: %s; %d %s",
            self._name,
            self.host,
            since.strftime("%H:%M:%S"),
            self.reach.reason,
            self.calls,
            "request waits" if self.calls == 1 else "requests wait",
        )
