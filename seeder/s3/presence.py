"""Whether an origin's S3 is there: what was heard of it, who may ask, and what the log says of it.

Every call goes through the gate and tells here what its attempts met. While exchanges are under
way they are looked at every second: those that don't come on are let go. When nothing comes at all,
a small question is asked beside them, again and again, each time over another connection: if one is
answered, what hangs on is dead and is asked anew, and if none is, S3 may be slow, and they wait on.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf

import trio

from seeder.net.guards import Lapses, sparing_others
from seeder.s3.gate import Gate, Setback
from seeder.s3.reach import Reach
from seeder.s3.retry import RetryPolicy
from seeder.s3.transport import Exchanges

_LOG = logging.getLogger(__name__)

_UNUSUAL = 4
"""How many times as long as usual S3 must be silent before that is strange."""
MOST_PROBES = 8
_PROBE_LASTS = 8.0
"""Seconds that one waits for its answer."""


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
        """Seconds without a byte after which S3 is probed."""
        self._probes = 0
        """Those that wait for an answer."""
        self._next_probe_at = -inf

    def moment(self, at: float | None) -> float | None:
        """Return a moment of trio's clock in Unix s."""
        return None if at is None else self._wall_clock() - (trio.current_time() - at)

    async def watch(self, probe: Callable[[], Awaitable[None]]) -> None:
        """Look at the exchanges while there are some: which lag behind, does anything come?

        `probe` asks S3 in a small way, past the gate, and tells here if that is answered.
        """
        pace = self._exchanges.pace
        # Else what hangs would never be let go.
        lapses = Lapses(_LOG, f"origin {self._name}", vital=True)
        async with trio.open_nursery() as nursery:
            while True:
                while pace.active:
                    await trio.sleep(self._policy.tick)
                    async with lapses.spared():
                        if self._look(trio.current_time()):
                            nursery.start_soon(self._probe, probe)
                pace.rest()
                self._exchanges.started = trio.Event()
                await self._exchanges.started.wait()

    def _look(self, now: float) -> bool:
        """Look at the exchanges; tell whether S3 is to be probed."""
        if self._exchanges.pace.tick(now):
            self.heard()
            return False
        if self.reach.silent(now, self.host):
            self._say_away()
        return self._is_probe_due(now)

    def hopes(self, now: float) -> bool:
        """Tell whether S3 is away or strangely silent, and patient calls still wait for it."""
        return self.gate.hopes(now) or self._strange <= self.reach.quiet_for(now) <= (
            self._policy.patience
        )

    @property
    def _strange(self) -> float:
        """Seconds of silence that are strange."""
        return max(self._quiet, _UNUSUAL * self._exchanges.pace.usual_wait)

    def _is_probe_due(self, now: float) -> bool:
        quiet = self.reach.quiet_for(now)
        if quiet < self._strange or self._probes >= MOST_PROBES or now < self._next_probe_at:
            return False
        if quiet > self._policy.patience:
            self._next_probe_at = now + self._policy.hopeless_wait
        return True

    async def _probe(self, probe: Callable[[], Awaitable[None]]) -> None:
        if not self._probes:
            # They may be as dead as those that hang.
            self._exchanges.drop_idle()
        self._probes += 1
        try:
            with sparing_others(_LOG, "origin %s", self._name), trio.move_on_after(_PROBE_LASTS):
                await probe()
        finally:
            self._probes -= 1

    def heard(self, began: float | None = None, *, probed: bool = False) -> None:
        """Take note of an answer, or a part of one.

        `began` is when that was asked for of which the head has come; `probed` tells whether it was
        a probe.
        """
        now = trio.current_time()
        self.gate.answered(now)
        strange = self._strange
        if began is not None:
            quick = now - began < strange
            if quick and self.reach.quiet_for(now) >= strange:
                # Where it was answered so soon, what has hung for long is dead, or has to take so
                # long here: then it is given more time.
                if self._exchanges.pace.suspect(now - strange, now):
                    self._quiet *= 2
            elif not probed:
                self._quiet = self._policy.quiet
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
