"""The S3 client: HEAD, pinned ranged GETs, GetObjectTorrent, and listings.

A call is a few attempts, each an exchange of its own. S3's errors leave here as OriginErrors whose
text is one line for the operator.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

import trio
from botocore.loaders import create_loader

from seeder import __version__
from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    BudgetSpent,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    TorrentUnsupported,
)
from seeder.origin.answers import (
    Answer,
    Asked,
    check_range,
    content_length,
    label,
    printable,
    refusal,
)
from seeder.origin.credentials import CredentialStore, chain
from seeder.origin.endpoint import Endpoint, EndpointRules
from seeder.origin.filling import Filling
from seeder.origin.listing import LARGEST_PAGE, Page, page_query, parse_page
from seeder.origin.network import Broken
from seeder.origin.retry import Move, Renew, RetryPolicy, Tries, Wait
from seeder.origin.signing import Credentials, Query, wire_request
from seeder.origin.transport import Exchange, Meter, Purpose, Timeouts, Transport
from seeder.settings import OriginSettings
from seeder.torrent.catalog import ObjectRef, PinnedObject
from seeder.torrent.layout import KIB, MIB, ByteRange

__all__ = ["Allowance", "Meter", "OriginStatistics", "Purpose", "S3Origin"]

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

LARGEST_TORRENT = 10 * MIB
_LARGEST_ERROR = 16 * KIB

_KINDS: dict[type[OriginError], str] = {
    OriginUnreachable: "unreachable",
    AccessDenied: "denied",
    ObjectMissing: "missing",
    ObjectChanged: "changed",
    OriginFault: "fault",
    TorrentUnsupported: "unsupported",
    AttributesUnsupported: "unsupported",
}


class Allowance(Protocol):
    """What may be spent on requests, each of which brings up to `size` bytes of body."""

    def check(self, size: int) -> None:
        """Raise BudgetSpent if no such request may be sent now."""

    def admit(self, meter: Meter, size: int) -> AbstractContextManager[Meter]:
        """Let one be sent within the block, counted by what that yields; BudgetSpent."""


@dataclass(frozen=True, slots=True)
class OriginStatistics:
    """Counts since the start, and how things stand."""

    requests: int
    retries: int
    errors: Mapping[str, int]
    """Calls that failed, by kind."""
    in_use: int
    waiting: int
    reachable: bool
    """False after a call got no answer or only 5xx, until the next answer."""
    last_error: str | None


@dataclass(frozen=True)
class _Call(Generic[_T]):
    """What is asked of S3, for whom, and what is made of a success."""

    method: str
    ref: ObjectRef
    meter: Meter
    purpose: Purpose
    take: Callable[[Exchange], Awaitable[_T]]
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes of body expected at most."""
    torrent: bool = False
    about: Query = ()
    """What of the object is asked for, in the query: its attributes, or one of its parts."""
    listing: Query | None = None
    """What is asked of the bucket; then `ref` only says what that is about."""
    normal: tuple[type[OriginError], ...] = ()
    """Errors that are no news for the operator."""

    @property
    def key(self) -> str:
        return self.ref.key if self.listing is None else ""

    @property
    def query(self) -> Query:
        if self.listing is not None:
            return self.listing
        about = (("torrent", None),) if self.torrent else tuple(self.about)
        version = self.ref.version_id
        return about if version is None else (*about, ("versionId", version))


class S3Origin:
    """One origin. Its calls may run side by side; each may be cancelled at any time.

    Any of them raises BudgetSpent where `allowance` doesn't admit it.
    """

    def __init__(
        self,
        settings: OriginSettings,
        *,
        rng: random.Random,
        policy: RetryPolicy | None = None,
        wall_clock: Callable[[], float] = time.time,
        allowance: Allowance | None = None,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._policy = policy or RetryPolicy()
        self._wall_clock = wall_clock
        self.allowance = allowance
        """None: whatever is asked for is read."""
        find = partial(chain, settings.profile, settings.region)
        self._credentials = CredentialStore(settings.name, None if settings.anonymous else find)
        loader = create_loader()
        self._rules = EndpointRules(
            loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
        )
        self._transport = Transport(
            settings.connections,
            Timeouts(self._policy.connect_timeout, self._policy.read_timeout),
            settings.ca_file,
        )
        self._regions: dict[str, str] = {}
        """Where buckets were found to be, other than in the configured region."""
        self._retries = 0
        self._errors = dict.fromkeys(_KINDS.values(), 0)
        self._reachable = True
        self._last_error: str | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the credentials fresh until cancelled; then close the connections.

        Calls may be made once it has started; the first ones wait for credentials.
        """
        try:
            await self._credentials.run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await self._transport.aclose()

    def statistics(self) -> OriginStatistics:
        """Return a snapshot."""
        return OriginStatistics(
            requests=self._transport.requests,
            retries=self._retries,
            errors=dict(self._errors),
            in_use=self._transport.in_use,
            waiting=self._transport.waiting,
            reachable=self._reachable,
            last_error=self._last_error,
        )

    async def head(
        self, ref: ObjectRef, meter: Meter, purpose: Purpose = "metainfo"
    ) -> PinnedObject:
        """Return the present state of an object (HeadObject). OriginError."""

        async def take(exchange: Exchange) -> PinnedObject:
            await exchange.read(0)  # to the end, though nothing comes: the connection is kept
            etag = exchange.headers.get("etag", "")
            size = content_length(exchange.headers)
            usable = etag != "" and etag.isascii() and etag.isprintable()
            if exchange.status != 200 or not usable or size is None:
                raise OriginFault(
                    f"{label(ref)}: HEAD gives status {exchange.status}, ETag"
                    f" {printable(etag) or 'missing'}, Content-Length {size}; without an ETag and a"
                    " size an object can't be published"
                )
            version = exchange.headers.get("x-amz-version-id")
            return PinnedObject(ref, etag, size, None if version == "null" else version)

        return await self._result(_Call("HEAD", ref, meter, purpose, take))

    async def read_range(
        self, pinned: PinnedObject, wanted: ByteRange, meter: Meter, purpose: Purpose
    ) -> bytearray:
        """Return exactly `wanted.length` bytes of the pinned object (GetObject). OriginError.

        ObjectChanged when the object is another one by now, whoever noticed: S3 by If-Match, or
        we by the ETag. ValueError for a range that isn't inside the object.
        """
        parts: list[bytearray] = []
        await self.read_parts(
            pinned, wanted, meter, purpose, part_length=wanted.length, take=parts.append
        )
        return parts[0]

    async def read_parts(
        self,
        pinned: PinnedObject,
        wanted: ByteRange,
        meter: Meter,
        purpose: Purpose,
        *,
        part_length: int,
        take: Callable[[bytearray], None],
    ) -> None:
        """Read as `read_range` does, and have `take` called with each part as soon as it is there.

        The last part may be shorter. When a body breaks off, the next attempt goes on behind what
        has come.
        """
        if wanted.stop > pinned.size:
            raise ValueError(f"{wanted.header} is not inside {pinned.size} bytes")
        filling = Filling(wanted, part_length, take)
        # A weak tag (a proxy's doing) never matches in If-Match; the strong one it stands for may.
        headers = {"Range": wanted.header, "If-Match": pinned.etag.removeprefix("W/")}

        async def fill(exchange: Exchange) -> None:
            check_range(exchange.status, exchange.headers, pinned, filling.rest)
            try:
                while filling.left:
                    count = await exchange.receive_into(filling.room)
                    if not count:
                        raise Broken(f"the body ended {filling.left} bytes too early")
                    filling.filled(count)
            finally:
                if filling.left:
                    headers["Range"] = filling.rest.header
            if await exchange.has_more():
                raise OriginFault(
                    f"{label(pinned.ref)}: asked for {wanted.length} bytes, S3 sends more"
                )

        call = _Call("GET", pinned.ref, meter, purpose, fill, headers, size=wanted.length)
        await self._result(call)

    async def read_small(self, ref: ObjectRef, limit: int, meter: Meter) -> bytes:
        """Return a whole object of at most `limit` bytes. OriginError; a missing one is normal."""

        async def take(exchange: Exchange) -> bytes:
            if exchange.status != 200:
                raise OriginFault(f"{label(ref)}: S3 answers {exchange.status} to a GET")
            if (content_length(exchange.headers) or 0) <= limit:
                body = await exchange.read(limit)
                if len(body) <= limit:
                    return body
            raise OriginFault(f"{label(ref)}: has more than {limit} bytes")

        # Without s3:ListBucket, S3 denies access to a key that isn't there.
        normal = (ObjectMissing, AccessDenied)
        call = _Call("GET", ref, meter, "metainfo", take, size=limit, normal=normal)
        return await self._result(call)

    async def list_page(self, prefix: ObjectRef, token: str | None, meter: Meter) -> Page:
        """Return a page of the objects whose keys begin with that of `prefix` (ListObjectsV2).

        OriginError. Reading it takes milliseconds, so a thread does that.
        """
        name = label(prefix)

        async def take(exchange: Exchange) -> bytes:
            if exchange.status != 200:
                raise OriginFault(f"{name}: S3 answers {exchange.status} to a listing")
            body = await exchange.read(LARGEST_PAGE)
            if len(body) > LARGEST_PAGE:
                raise OriginFault(f"{name}: a page of its listing is longer than any")
            return body

        query = page_query(prefix.key, token)
        call = _Call("GET", prefix, meter, "metainfo", take, size=LARGEST_PAGE, listing=query)
        body = await self._result(call)
        try:
            page = await trio.to_thread.run_sync(parse_page, body)
        except OriginFault as error:
            raise OriginFault(f"{name}: {error}") from error
        if page.next_token is not None and page.next_token == token:
            raise OriginFault(f"{name}: its listing never ends: S3 gives the same page again")
        return page

    async def get_torrent(self, pinned: PinnedObject, meter: Meter) -> bytes:
        """Return what S3 calls the torrent of an object (GetObjectTorrent): nothing is checked
        but that it begins like one.

        TorrentUnsupported where S3 has none; OriginFault for a 200 that is no torrent, such as the
        object itself; AccessDenied names s3:GetObjectTorrent, because a HEAD has worked before.
        """
        name = label(pinned.ref)

        async def take(exchange: Exchange) -> bytes:
            if exchange.status != 200:
                raise OriginFault(f"{name}: S3 answers {exchange.status} to ?torrent")
            if (content_length(exchange.headers) or 0) > LARGEST_TORRENT:
                raise OriginFault(f"{name}: ?torrent is longer than any torrent")
            body = await exchange.read(LARGEST_TORRENT, first=b"d")
            if not body:
                raise OriginFault(f"{name}: ?torrent is empty")
            if not body.startswith(b"d"):
                raise OriginFault(f"{name}: ?torrent is no torrent, rather the object itself")
            if len(body) > LARGEST_TORRENT:
                raise OriginFault(f"{name}: ?torrent is longer than any torrent")
            return body

        call = _Call(
            "GET",
            pinned.ref,
            meter,
            "metainfo",
            take,
            size=LARGEST_TORRENT,
            torrent=True,
            normal=(TorrentUnsupported,),
        )
        return await self._result(call)

    async def ask_about(
        self,
        method: str,
        pinned: PinnedObject,
        about: Query,
        headers: Mapping[str, str],
        meter: Meter,
        *,
        size: int,
        take: Callable[[Exchange], Awaitable[_T]],
    ) -> _T:
        """Return what `take` makes of the answer to a question about the pinned object's parts.

        The body should have `size` bytes at most. OriginError; AttributesUnsupported where S3
        doesn't know the question, AccessDenied where it takes s3:GetObjectAttributes.
        """
        fields = {"If-Match": pinned.etag.removeprefix("W/"), **headers}
        normal = (AttributesUnsupported, AccessDenied)
        call = _Call(
            *(method, pinned.ref, meter, "metainfo", take, fields, size),
            about=about,
            normal=normal,
        )
        return await self._result(call)

    async def _result(self, call: _Call[_T]) -> _T:
        """Return what comes of a call; note how it failed. OriginError."""
        try:
            return await self._attempts(call)
        except OriginError as error:
            self._errors[_KINDS.get(type(error), "fault")] += 1
            if isinstance(error, OriginUnreachable):
                self._reachable = False
            if not isinstance(error, call.normal):
                self._last_error = str(error)
            raise

    async def _attempts(self, call: _Call[_T]) -> _T:
        bucket = call.ref.bucket
        region = self._regions.get(bucket, self._settings.region)
        tries = Tries(self._policy, region)
        while True:
            credentials = await self._credentials.get()
            endpoint = self._endpoint(bucket, tries.region)
            now, roll = trio.current_time, self._rng.random()
            failure: OriginError
            try:
                got = await self._attempt(call, endpoint, credentials)
            except Broken as broken:
                failure = OriginUnreachable(_unreachable(call.ref, broken, endpoint, tries))
                step = None if broken.hopeless else tries.broken(now=now(), roll=roll)
            else:
                if not isinstance(got, Answer):
                    return got
                failure = refusal(got, self._asked(call, endpoint), tries.attempt)
                step = tries.refused(got, now=now(), roll=roll)
            match step:
                case None:
                    raise failure
                case Move(region):
                    _LOG.info("bucket %s is in region %s: signing for that", bucket, region)
                    self._regions[bucket] = region
                case Renew():
                    await self._credentials.renew(credentials)
                case Wait(seconds):
                    self._retries += 1
                    _LOG.debug("%s; again in %.2f s", failure, seconds)
                    await trio.sleep(seconds)

    async def _attempt(
        self, call: _Call[_T], endpoint: Endpoint, credentials: Credentials | None
    ) -> _T | Answer:
        """Return what `take` made of a success, or the error that S3 answered. Broken."""
        headers = dict(call.headers)
        if self._settings.request_payer:
            headers["x-amz-request-payer"] = "requester"
        if self._settings.expected_bucket_owner is not None:
            headers["x-amz-expected-bucket-owner"] = self._settings.expected_bucket_owner
        unsigned = {"User-Agent": f"seeder/{__version__}", "Accept-Encoding": "identity"}
        if call.torrent:
            # Ceph 20 announces no body and sends one: nothing may follow on that connection.
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
        with self._admit(call) as meter:
            async with self._transport.exchange(
                request, meter, call.purpose, seconds=seconds
            ) as exchange:
                if exchange.status < 300:
                    self._reachable = True
                    return await call.take(exchange)
                body = await exchange.read_error(_LARGEST_ERROR)
        answer = Answer.read(exchange.status, exchange.headers, body)
        if answer.status < 500:
            self._reachable = True
        if call.method == "HEAD" and answer.unexplained and not answer.moved_from(endpoint.region):
            return await self._explain(call, answer, endpoint, credentials)
        return answer

    def _admit(self, call: _Call[_T]) -> AbstractContextManager[Meter]:
        if self.allowance is None:
            return nullcontext(call.meter)
        return self.allowance.admit(call.meter, call.size)

    def check_allowance(self) -> None:
        """Raise BudgetSpent if nothing may be read now."""
        if self.allowance is not None:
            self.allowance.check(1)

    async def _explain(
        self,
        call: _Call[_T],
        answer: Answer,
        endpoint: Endpoint,
        credentials: Credentials | None,
    ) -> Answer:
        """Return the error of a HEAD with its reason, which S3 only tells in a GET's body."""

        async def leave(_: Exchange) -> Answer:
            return answer  # the GET worked: what the HEAD said remains

        headers = {**call.headers, "Range": "bytes=0-0"}
        again = _Call("GET", call.ref, call.meter, call.purpose, leave, headers)
        try:
            reason = await self._attempt(again, endpoint, credentials)
        except (Broken, BudgetSpent):
            return answer
        return reason if reason.status < 500 else answer

    def _endpoint(self, bucket: str, region: str) -> Endpoint:
        return self._rules.resolve(
            bucket,
            region=region,
            endpoint=self._settings.endpoint,
            path_style=self._settings.path_style,
        )

    def _asked(self, call: _Call[_T], endpoint: Endpoint) -> Asked:
        return Asked(
            name=label(call.ref),
            host=endpoint.host,
            torrent=call.torrent,
            attributes=bool(call.about),
            listing=call.listing is not None,
            version=call.ref.version_id is not None,
            anonymous=self._credentials.anonymous,
            request_payer=self._settings.request_payer,
            bucket_owner=self._settings.expected_bucket_owner,
        )


def _unreachable(ref: ObjectRef, broken: Broken, endpoint: Endpoint, tries: Tries) -> str:
    """Return the line for an exchange that brought nothing."""
    text = f"{label(ref)}: {broken} (attempt {tries.attempt})"
    if broken.hopeless:
        return f"{text}; if that certificate is right, name its CA in ca_file"
    # The usual reason why a host that exists can't be found: BUCKET.HOST does not.
    if endpoint.virtual_host and endpoint.host.startswith(f"{ref.bucket}."):
        return f"{text}; if this server has no virtual hosts, set path_style = true"
    return f"{text}; check endpoint and the network"
