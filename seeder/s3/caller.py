"""Calls to S3: signed, retried, kept within the budget and counted; their errors explained.

A call takes one or more attempts, each an exchange of its own. S3's errors leave here as
OriginErrors whose text is one line for the operator.
"""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import trio
from botocore.loaders import create_loader

from seeder import __version__
from seeder.config.sections import OriginSettings
from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    BudgetSpent,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SignerRefused,
    TorrentUnsupported,
)
from seeder.s3.answers import Answer, Asked, label, refusal
from seeder.s3.calls import Allowance, Call
from seeder.s3.credentials import CredentialStore, chain
from seeder.s3.gate import Setback
from seeder.s3.network import Resolver
from seeder.s3.operations import Operations, OriginStatistics, Outcome, Unanswered, outcome_of
from seeder.s3.pace import Progress
from seeder.s3.presence import Presence
from seeder.s3.retry import Move, Renew, RetryPolicy, Step, Tries, Wait
from seeder.s3.signing import Credentials, Endpoint, EndpointRules, wire_request
from seeder.s3.stalls import Outstanding, Stall, Stalls
from seeder.s3.transport import Broken, Exchange, Exchanges
from seeder.torrent.objects import Meter, ObjectRef
from seeder.units import KIB

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_LARGEST_ERROR = 16 * KIB

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


@dataclass(frozen=True, slots=True)
class _Failed:
    """An attempt that brought no result, and what to do next if it concerns this call only."""

    error: OriginError
    step: Step
    setback: Setback
    credentials: Credentials | None
    hopeless: bool = False

    def final(self) -> OriginError:
        """Return the error of the last attempt of a call, to be raised there and nowhere else."""
        return self.error


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
        self._settings = settings
        self._rng = rng
        self._policy = policy
        self._wall_clock = wall_clock
        self._allowance = allowance
        find = partial(chain, settings.profile, settings.region)
        self._credentials = CredentialStore(settings.name, None if settings.anonymous else find)
        loader = create_loader()
        self._rules = EndpointRules(
            loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
        )
        self._exchanges = Exchanges(
            settings.connections,
            connect=self._policy.connect_timeout,
            read=self._policy.read_timeout,
            ca_file=settings.ca_file,
        )
        self._regions: dict[str, str] = {}
        """The regions of buckets that turned out not to be in the configured one."""
        self._retries = 0
        self._operations = Operations()
        self._stalls = Stalls(policy.silence)
        self._errors = dict.fromkeys(_KINDS.values(), 0)
        self._presence = Presence(
            settings.name, policy, self._exchanges, wall_clock=wall_clock, roll=rng.random
        )
        self._expected: dict[int, Call[Any]] = {}
        """Calls whose answers are on their way, or should be, in the order in which they asked."""
        self._last_error: str | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the credentials fresh and watch the calls until cancelled; then close all."""
        Resolver.install()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._presence.watch, self._probe)
                await self._credentials.run(task_status=task_status)
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
        tries = trouble.failures + len(self._expected)
        why = trouble.reason if trouble.failures else None
        return Unanswered(presence.host, now - trouble.since, tries, why)

    def stalls(self) -> Iterator[tuple[ObjectRef, bool, Stall]]:
        """Yield the objects and prefixes that are stalled, as `Stalls.stalls` does."""
        return self._stalls.stalls(trio.current_time())

    def statistics(self) -> OriginStatistics:
        """Return a snapshot."""
        presence = self._presence
        reach = presence.reach
        return OriginStatistics(
            requests=self._exchanges.requests,
            retries=self._retries,
            errors=dict(self._errors),
            switched=self._exchanges.pace.switches,
            operations=dict(self._operations.counts),
            answer_times={name: each.copy() for name, each in self._operations.waits.items()},
            waiting=presence.calls,
            stall=self._stalls.stall(trio.current_time()),
            reachable=not reach.away,
            since=presence.moment(reach.since),
            reason=reach.reason,
            last_success=presence.moment(reach.last_answer),
            last_error=self._last_error,
        )

    async def result(self, call: Call[_T]) -> _T:
        """Make a call and return its result; count its failure. OriginError, BudgetSpent."""
        self._presence.calls += 1
        ref, question = call.ref, call.purpose == "metainfo"
        waits = self._stalls.begin(
            ref, trio.current_time(), question=question, optional=call.optional
        )
        try:
            return await self._attempts(call, waits)
        except OriginError as error:
            self._errors[_KINDS.get(type(error), "fault")] += 1
            if not isinstance(error, call.normal):
                self._last_error = str(error)
            raise
        finally:
            self._stalls.end(ref, waits, question=question)
            self._presence.calls -= 1

    async def _attempts(self, call: Call[_T], waits: tuple[Outstanding, ...]) -> _T:
        presence, gate = self._presence, self._presence.gate
        patience = self._policy.patience if call.patient else 0.0
        region = self._regions.get(call.ref.bucket, self._settings.region)
        tries = Tries(self._policy, region, patience, optional=call.optional)
        first = trio.current_time()
        troubled: float | None = None
        """Since when it has failed, or waited."""
        failed_at: float | None = None
        """When the last attempt failed of which it isn't clear whether S3 is away."""
        failure: OriginError | None = None
        resumes, lined_up = call.resumes, False
        while True:
            began = trio.current_time()
            if troubled is None and not gate.is_open:
                troubled = began
            since = began if troubled is None else troubled
            entered = await gate.enter(since, patience, tried=failure is not None)
            if entered is None:
                raise self._given_up(call, failure)
            self._retries += lined_up
            lined_up = False
            progress = Progress(call.size, may_switch=resumes, waits=waits)
            try:
                got = await self._try(call, tries, progress)
            finally:
                gate.leave(entered)
            if not isinstance(got, _Failed):
                return got
            if progress.switched:
                resumes = False  # once is enough: maybe all of its connections are slow
                continue
            failure = got.error
            _tell(waits, got.setback)
            troubled = trio.current_time() if troubled is None else troubled
            if isinstance(failure, OriginUnreachable):
                since = progress.began or began
                presence.reach.failed(since, got.setback.why, progress.received)
                # A question that not every S3 knows says nothing of all the others.
                general = not (got.hopeless or call.optional)
                if general and presence.failed(entered, got.setback, since):
                    lined_up = True
                    tries.line_up()
                    _LOG.debug("%s; again when S3 is back", failure)
                    continue
                if call.patient and presence.reach.is_quiet_since(failed_at):
                    got = self._spared(got, tries)
                failed_at = trio.current_time()
                self._note_away(call, got, failure, first)
            if got.step is None:
                raise got.final()
            await self._proceed(got, got.step, call)

    def _spared(self, failed: _Failed, tries: Tries) -> _Failed:
        """Return how a patient call goes on which hasn't failed alone.

        For that, S3 must have answered somebody between two failures.
        """
        if failed.hopeless:
            return failed
        tries.line_up()
        return replace(failed, step=failed.step or Wait(self._policy.first_wait))

    def _note_away(
        self, call: Call[_T], failed: _Failed, error: OriginUnreachable, first: float
    ) -> None:
        """Take note of a failed attempt of a call that was made `first`, and tell its error."""
        presence = self._presence
        if failed.step is None and (failed.hopeless or not call.optional):
            presence.gave_up(first, failed.setback.why)
        error.away = presence.reach.away

    def _given_up(self, call: Call[_T], failure: OriginError | None) -> OriginError:
        """Return the error of a call that waits no longer; `failure` is that of its last attempt.

        It isn't raised twice, so that its traceback doesn't grow.
        """
        presence = self._presence
        text = f"{label(call.ref)}: S3 at {presence.host} is away: {presence.gate.why}"
        return OriginUnreachable(str(failure or text), away=presence.reach.away)

    async def _proceed(self, failed: _Failed, step: Step, call: Call[_T]) -> None:
        """Do what comes before the next attempt."""
        match step:
            case Move(region=region):
                bucket = call.ref.bucket
                _LOG.info("bucket %s is in region %s: signing for that", bucket, region)
                self._regions[bucket] = region
            case Renew():
                await self._credentials.renew(failed.credentials)
            case Wait(seconds=seconds):
                self._retries += 1
                _LOG.debug("%s; again in %.2f s", failed.error, seconds)
                await trio.sleep(seconds)

    async def _try(self, call: Call[_T], tries: Tries, progress: Progress) -> _T | _Failed:
        """Make one attempt, and say what to do if it fails."""
        credentials = await self._credentials.get()
        endpoint = self._endpoint(call.ref.bucket, tries.region)
        roll = self._rng.random()
        try:
            got = await self._attempt(call, endpoint, credentials, progress)
        except Broken as broken:
            if progress.switched:
                _LOG.debug("%s: %s; going on over another", label(call.ref), broken)
            return _Failed(
                OriginUnreachable(_unreachable(call.ref, broken, endpoint, tries)),
                None if broken.hopeless or progress.switched else tries.broken(roll=roll),
                Setback(f"{broken}; {_advice(call.ref, broken, endpoint)}"),
                credentials,
                hopeless=broken.hopeless,
            )
        if not isinstance(got, Answer):
            return got
        return _Failed(
            refusal(got, self._asked(call, endpoint), tries.attempt),
            tries.refused(got, roll=roll),
            Setback(f"it answers {got}", True, got.throttled, got.pause),
            credentials,
        )

    async def _attempt(
        self,
        call: Call[_T],
        endpoint: Endpoint,
        credentials: Credentials | None,
        progress: Progress,
        *,
        probes: bool = False,
    ) -> _T | Answer:
        """Return what `take` made of a success, or the error that S3 answered; Broken.

        One that `probes` takes no other's turn.
        """
        headers = dict(call.headers)
        if self._settings.request_payer:
            headers["x-amz-request-payer"] = "requester"
        if self._settings.expected_bucket_owner is not None:
            headers["x-amz-expected-bucket-owner"] = self._settings.expected_bucket_owner
        unsigned = {"User-Agent": f"seeder/{__version__}", "Accept-Encoding": "identity"}
        if call.torrent:
            # Ceph 20 announces no body, then sends one: nothing may follow on that connection.
            unsigned["Connection"] = "close"
        request = wire_request(
            call.method,
            endpoint,
            call.key,
            query=call.query,
            headers=headers,
            unsigned=unsigned,
            credentials=credentials,
            now=self._wall_clock(),
        )
        seconds = self._policy.attempt_timeout(call.size)
        presence = self._presence
        presence.host = endpoint.host
        outcome: Outcome = "cancelled"
        expecting = nullcontext() if probes else self._expecting(call)
        try:
            with self._admit(call) as meter, expecting:
                async with self._exchanges.exchange(
                    request, meter, call.purpose, progress, seconds=seconds, beside=probes
                ) as exchange:
                    if exchange.status < 300:
                        self._heard(progress, probed=probes)
                        got = await call.take(exchange)
                        outcome = "ok"
                        return got
                    body = await exchange.read_error(_LARGEST_ERROR)
            answer = Answer.read(exchange.status, exchange.headers, body)
            outcome = outcome_of(answer)
        except Broken:
            outcome = "switched" if progress.switched else "unreachable"
            raise
        except OriginError:
            outcome = "unfit"
            raise
        finally:
            self._operations.count(call.operation, outcome, progress)
        if answer.status < 500 and not answer.transient:
            self._heard(progress, probed=probes)
        if call.method == "HEAD" and answer.unexplained and not answer.moved_from(endpoint.region):
            return await self._explain(call, answer, endpoint, credentials)
        return answer

    def _heard(self, progress: Progress, *, probed: bool) -> None:
        """Take note that an attempt got an answer that says that S3 is there."""
        self._presence.heard(progress.began, probed=probed)
        for wait in progress.waits:
            wait.heard(trio.current_time())

    @contextmanager
    def _expecting(self, call: Call[_T]) -> Iterator[None]:
        """Have S3 count as away if nothing comes, unless we can do without the answer."""
        reach = self._presence.reach
        if call.optional and call.listing is None:
            yield
            return
        reach.want(trio.current_time())
        self._expected[id(call)] = call
        try:
            yield
        finally:
            del self._expected[id(call)]
            reach.unwant()

    async def _probe(self) -> None:
        """Ask S3 in a small way for what is waited for, and tell `Presence` if it answers."""
        call = next(reversed(self._expected.values()), None)
        if call is None:
            return

        async def leave(_: Exchange) -> None:
            """Read nothing."""

        headers = dict(call.headers)
        if call.method == "GET" and call.listing is None:
            headers["Range"] = "bytes=0-0"
        region = self._regions.get(call.ref.bucket, self._settings.region)
        with suppress(Broken, BudgetSpent, OriginError):
            await self._attempt(
                replace(call, take=leave, headers=headers, size=1),
                self._endpoint(call.ref.bucket, region),
                await self._credentials.get(),
                Progress(1),
                probes=True,
            )

    def _admit(self, call: Call[_T]) -> AbstractContextManager[Meter]:
        if self._allowance is None:
            return nullcontext(call.meter)
        return self._allowance.admit(call.meter, call.size)

    async def _explain(
        self,
        call: Call[_T],
        answer: Answer,
        endpoint: Endpoint,
        credentials: Credentials | None,
    ) -> Answer:
        """Return the error of a HEAD with its reason, which only the body of a GET tells."""

        async def leave(_: Exchange) -> Answer:
            # The GET worked, so the error of the HEAD is all there is.
            return replace(answer, gives=True)

        headers = {**call.headers, "Range": "bytes=0-0"}
        again = Call("GET", call.ref, call.meter, call.purpose, leave, headers)
        try:
            reason = await self._attempt(again, endpoint, credentials, Progress(1))
        except (Broken, BudgetSpent):
            return answer
        return reason if reason.gives or reason.status < 500 else answer

    def _endpoint(self, bucket: str, region: str) -> Endpoint:
        return self._rules.resolve(
            bucket,
            region=region,
            endpoint=self._settings.endpoint,
            path_style=self._settings.path_style,
        )

    def _asked(self, call: Call[_T], endpoint: Endpoint) -> Asked:
        return Asked(
            name=label(call.ref),
            host=endpoint.host,
            torrent=call.torrent,
            attributes=bool(call.about),
            sidecar=call.dispensable and call.listing is None,
            listing=call.listing is not None,
            version=call.ref.version_id is not None,
            anonymous=self._credentials.anonymous,
            request_payer=self._settings.request_payer,
            bucket_owner=self._settings.expected_bucket_owner,
        )


def _tell(waits: tuple[Outstanding, ...], setback: Setback) -> None:
    """Tell those who wait what S3 answered."""
    if setback.answered:
        for wait in waits:
            wait.why = setback.why


def _unreachable(ref: ObjectRef, broken: Broken, endpoint: Endpoint, tries: Tries) -> str:
    """Return the line about a call that got no answer."""
    advice = _advice(ref, broken, endpoint)
    return f"{label(ref)}: {broken} (attempt {tries.attempt}); {advice}"


def _advice(ref: ObjectRef, broken: Broken, endpoint: Endpoint) -> str:
    """Return what to do about a call that got no answer."""
    if broken.hopeless:
        return "if that certificate is right, name its CA in ca_file"
    # The usual reason: HOST exists, but BUCKET.HOST does not.
    if endpoint.virtual_host and endpoint.host.startswith(f"{ref.bucket}."):
        return "if this server has no virtual hosts, set path_style = true"
    return "check endpoint and the network"
