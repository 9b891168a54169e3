"""One attempt at a call: signed, admitted by the budget, sent and counted; its failure explained.

An attempt is an exchange of its own. What S3 answers is noted where `seeder.s3.presence` and
`seeder.s3.operations` have it; what else follows from a failure, `seeder.s3.caller` decides.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import trio

from seeder.errors import BudgetSpent, OriginError, OriginUnreachable
from seeder.s3.answers import Answer, label, refusal
from seeder.s3.calls import Allowance, Call
from seeder.s3.gate import Setback
from seeder.s3.operations import Operations, Outcome, outcome_of
from seeder.s3.pace import Progress
from seeder.s3.presence import Presence
from seeder.s3.retry import RetryPolicy, Step, Tries
from seeder.s3.signer import Signer
from seeder.s3.signing import Credentials, Endpoint
from seeder.s3.transport import Broken, Exchange, Exchanges
from seeder.torrent.objects import Meter, ObjectRef
from seeder.units import KIB

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_LARGEST_ERROR = 16 * KIB


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that brought no result, and what to do next if it concerns this call only."""

    error: OriginError
    step: Step
    setback: Setback
    credentials: Credentials | None
    """Those that it was signed with."""
    hopeless: bool = False

    def final(self) -> OriginError:
        """Return the error of the last attempt of a call, to be raised there and nowhere else."""
        return self.error


class Attempts:
    """Makes the attempts at one origin. They may run side by side; each may be cancelled any time.

    BudgetSpent when `allowance` doesn't admit one; without an allowance all are made. `roll`
    returns a random number from 0 to 1.
    """

    def __init__(
        self,
        signer: Signer,
        exchanges: Exchanges,
        presence: Presence,
        *,
        policy: RetryPolicy,
        roll: Callable[[], float],
        allowance: Allowance | None,
    ) -> None:
        self.operations = Operations()
        self._signer = signer
        self._exchanges = exchanges
        self._presence = presence
        self._policy = policy
        self._roll = roll
        self._allowance = allowance
        self._expected: dict[int, Call[Any]] = {}
        """Calls whose answers are on their way, or should be, in the order in which they asked."""

    @property
    def expected(self) -> int:
        """How many answers are on their way, or should be."""
        return len(self._expected)

    async def make(self, call: Call[_T], tries: Tries, progress: Progress) -> _T | Failed:
        """Make one attempt, and say what to do if it fails. OriginError, BudgetSpent.

        What is raised no other attempt can mend: it can't be asked for, or `take` refused it.
        """
        credentials = await self._signer.credentials.get()
        endpoint = self._signer.endpoint(call.ref.bucket, tries.region)
        roll, signed_for = self._roll(), self._signer.clock.now()
        try:
            got = await self._ask(call, endpoint, credentials, progress)
        except Broken as broken:
            if progress.switched:
                _LOG.debug("%s: %s; going on over another", label(call.ref), broken)
            return Failed(
                OriginUnreachable(_unreachable(call.ref, broken, endpoint, tries)),
                None if broken.hopeless or progress.switched else tries.broken(roll=roll),
                Setback(f"{broken}; {_advice(call.ref, broken, endpoint)}"),
                credentials,
                hopeless=broken.hopeless,
            )
        if not isinstance(got, Answer):
            return got
        return Failed(
            refusal(got, self._signer.asked(call, endpoint), tries.attempt),
            tries.refused(got, roll=roll, signed_for=signed_for if credentials else None),
            Setback(f"it answers {got}", True, got.throttled, got.pause),
            credentials,
        )

    async def probe(self) -> None:
        """Ask S3 in a small way for what is waited for, and tell `Presence` if it answers."""
        call = next(reversed(self._expected.values()), None)
        if call is None:
            return

        async def leave(_: Exchange) -> None:
            """Read nothing."""

        headers = dict(call.headers)
        if call.method == "GET" and call.listing is None:
            headers["Range"] = "bytes=0-0"
        bucket = call.ref.bucket
        with suppress(Broken, BudgetSpent, OriginError):
            await self._ask(
                replace(call, take=leave, headers=headers, size=1),
                self._signer.endpoint(bucket, self._signer.region(bucket)),
                await self._signer.credentials.get(),
                Progress(1),
                probes=True,
            )

    async def _ask(
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
        request = self._signer.sign(call, endpoint, credentials)
        seconds = self._policy.attempt_timeout(call.size)
        self._presence.host = endpoint.host
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
            self.operations.count(call.operation, outcome, progress)
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
            reason = await self._ask(again, endpoint, credentials, Progress(1))
        except (Broken, BudgetSpent):
            return answer
        return reason if reason.gives or reason.status < 500 else answer


def _unreachable(ref: ObjectRef, broken: Broken, endpoint: Endpoint, tries: Tries) -> str:
    """Return the line about a call that got no answer."""
    advice = _advice(ref, broken, endpoint)
    return f"{label(ref)}: {broken} (attempt {tries.attempt}); {advice}"


def _advice(ref: ObjectRef, broken: Broken, endpoint: Endpoint) -> str:
    """Return what to do about a call that got no answer."""
    if broken.hopeless:
        return _advice_on_certificate(str(broken))
    # The usual reason: HOST exists, but BUCKET.HOST does not.
    if endpoint.virtual_host and endpoint.host.startswith(f"{ref.bucket}."):
        return "if this server has no virtual hosts, set path_style = true"
    return "check endpoint and the network"


def _advice_on_certificate(why: str) -> str:
    """Return what to do about a certificate, by OpenSSL's words for what is wrong with it."""
    if "expired" in why or "not yet valid" in why:
        return "have it renewed; if it is in date, set this machine's clock (NTP)"
    if "mismatch" in why:
        return "name a host in endpoint that it is made out to, or set path_style = true"
    return "if that certificate is right, name its CA in ca_file"
