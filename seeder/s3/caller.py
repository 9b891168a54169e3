"""Calls to S3: made by as many attempts as it takes, and counted.

Whether another attempt follows a failed one is decided here: at once over another connection, after
a wait of its own, or when S3, away as a whole, is back. S3's errors leave here as OriginErrors
whose text is one line for the operator.
"""

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import trio

from seeder.config.origins import OriginSettings
from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SignerRefused,
    TorrentUnsupported,
)
from seeder.s3.answers import label
from seeder.s3.attempts import Attempts, Failed
from seeder.s3.calls import Allowance, Call
from seeder.s3.network import Resolver
from seeder.s3.operations import OriginStatistics, Unanswered
from seeder.s3.pace import Progress
from seeder.s3.presence import Presence
from seeder.s3.retry import Move, Renew, RetryPolicy, SetClock, Tries, Wait
from seeder.s3.signer import Signer
from seeder.s3.stalls import Outstanding, Stall, Stalls
from seeder.s3.transport import Exchanges
from seeder.torrent.objects import ObjectRef

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_KINDS: dict[type[OriginError], str] = {
    OriginUnreachable: "unreachable",
    AccessDenied: "denied",
    SignerRefused: "denied",
    ObjectMissing: "missing",
    ObjectChanged: "changed",
    OriginFault: "fault",
    TorrentUnsupported: "unsupported",
    AttributesUnsupported: "unsupported",
}


@dataclass(slots=True)
class _Course(Generic[_T]):
    """How a call has gone so far; times of trio's clock."""

    call: Call[_T]
    waits: tuple[Outstanding, ...]
    tries: Tries
    patience: float
    """Seconds that it waits while S3 is away."""
    made: float
    """When it was made."""
    may_switch: bool
    """Whether its attempt may go on over another connection."""
    troubled: float | None = None
    """Since when it has failed, or waited."""
    failed_at: float | None = None
    """When the last attempt failed of which it isn't clear whether S3 is away."""
    failure: str | None = None
    """What its last attempt met, as a text: an error would hold all that waits for the call."""
    lined_up: bool = False
    """Whether it waits for S3 to be back."""
    began: float = 0.0
    """When it lined up for its present attempt."""
    entered: int = 0
    """What the gate gave it for that."""

    def comes_on(self, progress: Progress, now: float) -> bool:
        """Tell whether the attempt that failed has brought a part, and there is patience left."""
        brought = progress.received > 0 and progress.answered_at is not None
        since = now if self.troubled is None else self.troubled
        return self.call.resumes and brought and now < since + self.patience


class Caller:
    """Makes the calls to one origin. They may run side by side; each may be cancelled at any time.

    BudgetSpent when `allowance` doesn't admit a request; without an allowance all are sent.
    """

    def __init__(
        self,
        settings: OriginSettings,
        *,
        rng: random.Random,
        policy: RetryPolicy,
        wall_clock: Callable[[], float],
        allowance: Allowance | None,
    ) -> None:
        self._policy = policy
        self._roll = rng.random
        self._signer = Signer(settings, wall_clock)
        self._exchanges = Exchanges(
            settings.connections,
            connect=policy.connect_timeout,
            read=policy.read_timeout,
            ca_file=settings.ca_file,
        )
        self._presence = Presence(
            settings.name, policy, self._exchanges, wall_clock=wall_clock, roll=rng.random
        )
        self._attempts = Attempts(
            self._signer,
            self._exchanges,
            self._presence,
            policy=policy,
            roll=rng.random,
            allowance=allowance,
        )
        self._retries = 0
        self._stalls = Stalls(policy.silence)
        self._errors = dict.fromkeys(_KINDS.values(), 0)
        self._last_error: str | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the credentials fresh and watch the calls until cancelled; then close all."""
        Resolver.install()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._presence.watch, self._attempts.probe)
                await self._signer.credentials.run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await self._exchanges.aclose()

    @property
    def is_busy(self) -> bool:
        """Whether calls wait for a connection."""
        return self._exchanges.waiting > 0

    def hopes(self) -> bool:
        """Tell whether S3 is away or strangely silent, and patient calls still wait for it."""
        return self._presence.hopes(trio.current_time())

    def next_try_in(self) -> float:
        """Return the seconds until S3 may be asked again; 0 if it isn't away."""
        return self._presence.gate.next_in(trio.current_time())

    def waits_for(self) -> Unanswered | None:
        """Return what calls wait for, if S3 has given no answer since they asked."""
        now, presence = trio.current_time(), self._presence
        trouble = presence.reach.trouble(now, presence.host)
        if trouble is None:
            return None
        tries = trouble.failures + self._attempts.expected
        why = trouble.reason if trouble.failures else None
        return Unanswered(presence.host, now - trouble.since, tries, why)

    def stalls(self) -> Iterator[tuple[ObjectRef, bool, Stall]]:
        """Yield the objects and prefixes that are stalled, as `Stalls.stalls` does."""
        return self._stalls.stalls(trio.current_time())

    def statistics(self) -> OriginStatistics:
        """Return a snapshot."""
        presence = self._presence
        reach, operations = presence.reach, self._attempts.operations
        return OriginStatistics(
            requests=self._exchanges.requests,
            retries=self._retries,
            errors=dict(self._errors),
            switched=self._exchanges.pace.switches,
            operations=dict(operations.counts),
            answer_times={name: each.copy() for name, each in operations.waits.items()},
            waiting=presence.calls,
            stall=self._stalls.stall(trio.current_time()),
            reachable=not reach.away,
            since=presence.moment(reach.since),
            reason=reach.reason,
            last_success=presence.moment(reach.last_answer),
            last_error=self._last_error,
            clock_ahead=self._signer.clock.ahead,
            clock_fault=self._signer.clock.fault,
        )

    async def result(self, call: Call[_T]) -> _T:
        """Make a call and return its result; count its failure. OriginError, BudgetSpent."""
        self._presence.calls += 1
        ref, question = call.ref, call.purpose == "metainfo"
        waits = self._stalls.begin(
            ref, trio.current_time(), question=question, optional=call.optional
        )
        try:
            return await self._make(call, waits)
        except OriginError as error:
            self._errors[_KINDS.get(type(error), "fault")] += 1
            if not isinstance(error, call.normal):
                self._last_error = str(error)
            raise
        finally:
            self._stalls.end(ref, waits, question=question)
            self._presence.calls -= 1

    async def _make(self, call: Call[_T], waits: tuple[Outstanding, ...]) -> _T:
        """Make attempts until one brings a result, or none is left."""
        patience = self._policy.patience if call.patient else 0.0
        region = self._signer.region(call.ref.bucket)
        tries = Tries(self._policy, region, patience, optional=call.optional)
        made = trio.current_time()
        course = _Course(call, waits, tries, patience, made, may_switch=call.resumes)
        while True:
            await self._enter(course)
            progress = Progress(call.size, may_switch=course.may_switch, waits=waits)
            try:
                got = await self._attempts.make(call, tries, progress)
            finally:
                self._presence.gate.leave(course.entered)
            if not isinstance(got, Failed):
                return got
            if progress.switched:
                course.may_switch = False  # once is enough: maybe all of its connections are slow
                continue
            got = self._take_note(course, got, progress)
            if course.lined_up:
                _LOG.debug("%s; again when S3 is back", got.error)
            elif got.step is None or not await self._proceed(call, got):
                try:
                    raise got.final()
                finally:
                    # Its traceback has this frame: a ring, with all that waits for the call.
                    del got

    async def _enter(self, course: _Course[_T]) -> None:
        """Wait to be let in for an attempt; OriginUnreachable if that is given up."""
        gate = self._presence.gate
        course.began = trio.current_time()
        if course.troubled is None and not gate.is_open:
            course.troubled = course.began
        since = course.began if course.troubled is None else course.troubled
        entered = await gate.enter(since, course.patience, tried=course.failure is not None)
        if entered is None:
            raise self._given_up(course)
        course.entered = entered
        self._retries += course.lined_up
        course.lined_up = False

    def _given_up(self, course: _Course[_T]) -> OriginError:
        """Return the error of a call that waits no longer: it says what its last attempt met.

        It isn't raised twice, so that its traceback doesn't grow.
        """
        presence = self._presence
        text = f"{label(course.call.ref)}: S3 at {presence.host} is away: {presence.gate.why}"
        return OriginUnreachable(course.failure or text, away=presence.reach.away)

    def _take_note(self, course: _Course[_T], failed: Failed, progress: Progress) -> Failed:
        """Take note of a failed attempt; return it with what the call does next.

        If S3 as a whole is away, the call lines up instead.
        """
        presence, call = self._presence, course.call
        error, setback = failed.error, failed.setback
        course.failure = str(error)
        if setback.answered:
            for wait in course.waits:
                wait.why = setback.why
        if course.troubled is None:
            course.troubled = trio.current_time()
        if not isinstance(error, OriginUnreachable):
            return failed
        since = progress.began or course.began
        presence.reach.failed(since, setback.why, progress.received)
        # A question that not every S3 knows says nothing of all the others.
        general = not (failed.hopeless or call.optional)
        if general and presence.failed(course.entered, setback, since):
            course.lined_up = True
            course.tries.line_up()
            return failed
        # Nobody got an answer between two failures: a patient call hasn't failed alone.
        quiet = call.patient and presence.reach.is_quiet_since(course.failed_at)
        if quiet and not failed.hopeless:
            course.tries.line_up()
            failed = replace(failed, step=failed.step or Wait(self._policy.first_wait))
        elif course.comes_on(progress, trio.current_time()):
            step = course.tries.come_on(failed.step, roll=self._roll())
            failed = replace(failed, step=step)
        course.failed_at = trio.current_time()
        if failed.step is None and (failed.hopeless or not call.optional):
            presence.gave_up(course.made, setback.why)
        error.away = presence.reach.away
        return failed

    async def _proceed(self, call: Call[_T], failed: Failed) -> bool:
        """Do what comes before the next attempt; tell whether there is one."""
        match failed.step:
            case Move(region=region):
                bucket = call.ref.bucket
                _LOG.info("bucket %s is in region %s: signing for that", bucket, region)
                self._signer.move(bucket, region)
            case SetClock(told=told):
                self._signer.clock.follow(told)
            case Renew():
                return await self._signer.credentials.renew(failed.credentials)
            case Wait(seconds=seconds):
                self._retries += 1
                _LOG.debug("%s; again in %.2f s", failed.error, seconds)
                await trio.sleep(seconds)
        return True
