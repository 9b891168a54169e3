"""What is asked of S3: HEAD, pinned ranged GETs, listings, torrents, questions about parts.

`seeder.s3.caller` makes the calls; `seeder.s3.attempts` words their errors.
"""

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeVar

import trio

from seeder.config.origins import OriginSettings
from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    ObjectChanged,
    OriginFault,
    TorrentUnsupported,
)
from seeder.s3.answers import label
from seeder.s3.caller import Caller
from seeder.s3.calls import Allowance, Call
from seeder.s3.heads import content_length
from seeder.s3.lister import Lister
from seeder.s3.listing import Listed, Page
from seeder.s3.operations import OriginStatistics, Unanswered
from seeder.s3.ranges import RangeRead
from seeder.s3.retry import RetryPolicy
from seeder.s3.signing import Query
from seeder.s3.small_objects import SmallObject, SmallObjects
from seeder.s3.stalls import Stall
from seeder.s3.transport import Exchange
from seeder.s3.witnesses import Witnesses
from seeder.torrent.info import LARGEST_TORRENT_FILE
from seeder.torrent.objects import Meter, ObjectRef, PinnedObject, Purpose
from seeder.units import ByteRange

_T = TypeVar("_T")


class S3Origin:
    """One origin. Its calls may run side by side; each may be cancelled at any time.

    Any of them raises OriginError, and BudgetSpent when `allowance` doesn't admit it; without an
    allowance every call is made.
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
        self._allowance = allowance
        self._caller = Caller(
            settings,
            rng=rng,
            policy=policy or RetryPolicy(),
            wall_clock=wall_clock,
            allowance=allowance,
        )
        self._witnesses = Witnesses(self._caller)
        self._small = SmallObjects(self._caller)
        self._lister = Lister(self._caller)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the credentials fresh until cancelled; then close the connections.

        Calls may be made once it has started; the first ones wait for credentials.
        """
        await self._caller.run(task_status=task_status)

    def check_allowance(self) -> None:
        """Raise BudgetSpent if nothing may be read now."""
        if self._allowance is not None:
            self._allowance.check(1)

    @property
    def is_busy(self) -> bool:
        """Whether calls wait for a connection."""
        return self._caller.is_busy

    def hopes(self) -> bool:
        """Tell whether S3 is away, but not yet for so long that its readers are refused."""
        return self._caller.hopes()

    def next_try_in(self) -> float:
        """Return the seconds until S3 may be asked again; 0 if it isn't away."""
        return self._caller.next_try_in()

    def waits_for(self) -> Unanswered | None:
        """Return what calls wait for, if S3 has given no answer since they asked."""
        return self._caller.waits_for()

    def stalls(self) -> Iterator[tuple[ObjectRef, bool, Stall]]:
        """Yield the objects and prefixes of which nothing has come for a while, though it is
        wanted, and whether only a question about them is."""
        return self._caller.stalls()

    def statistics(self) -> OriginStatistics:
        """Return a snapshot."""
        return self._caller.statistics()

    async def head(
        self, ref: ObjectRef, meter: Meter, listed: Listed | None = None
    ) -> PinnedObject:
        """Return the present state of an object, as `Witnesses.head`. OriginError."""
        return await self._witnesses.head(ref, meter, listed)

    async def find_unlisted(self, ref: ObjectRef, meter: Meter) -> PinnedObject | None:
        """Return the state of an object that a listing lacks, as `Witnesses.find_unlisted`."""
        return await self._witnesses.find_unlisted(ref, meter)

    def doubts(self, ref: ObjectRef) -> bool:
        """Tell whether an object's size was another one when it was read than it should be."""
        return self._witnesses.doubts(ref)

    async def is_md5(self, pinned: PinnedObject, meter: Meter) -> bool:
        """Tell whether S3 lets an ETag of 32 digits be the object's MD5. OriginError."""
        return await self._witnesses.is_md5(pinned, meter)

    async def read_range(
        self, pinned: PinnedObject, wanted: ByteRange, meter: Meter, purpose: Purpose
    ) -> bytearray:
        """Return exactly `wanted.length` bytes of the pinned object (GetObject). OriginError.

        ObjectChanged when the object was replaced: S3 finds it by If-Match, else the ETag of the
        answer shows it. ValueError for a range that isn't inside the object.
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
        """Read as `read_range` does, and call `take` with each part as soon as it is complete.

        Each has `part_length` bytes, the last one maybe fewer. When a body breaks off, the next
        attempt goes on where it ended. OriginError, ObjectChanged and ValueError as there.
        """
        if wanted.stop > pinned.size:
            raise ValueError(f"{wanted.header} is not inside {pinned.size} bytes")
        read = RangeRead(pinned, wanted, part_length, take, self._witnesses)
        call = Call(
            "GET",
            pinned.ref,
            meter,
            purpose,
            read.receive,
            read.headers,
            size=wanted.length,
            resumes=True,
            patient=True,
        )
        try:
            await self._caller.result(call)
            return
        except ObjectChanged as changed:
            if changed.out_of_range and await self._witnesses.tells_the_same(pinned, meter):
                raise OriginFault(
                    f"{label(pinned.ref)}: asked for {read.headers['Range']}, S3 answers 416, as if"
                    f" it hadn't {pinned.size} bytes, which it has"
                ) from changed
            if changed.out_of_range or not read.is_matched:
                raise
            if not await self._witnesses.is_as_it_was(pinned, meter):
                raise
        read.match_no_more()
        await self._caller.result(call)

    async def read_small(self, ref: ObjectRef, limit: int, meter: Meter) -> bytes:
        """Return a whole object of at most `limit` bytes. OriginError; we can do without it."""
        return (await self._small.read(ref, limit, meter)).body

    async def read_tagged(self, ref: ObjectRef, limit: int, meter: Meter) -> SmallObject:
        """Return a whole object, as `read_small`, and what tells it from others."""
        return await self._small.read(ref, limit, meter)

    async def write_small(
        self, ref: ObjectRef, body: bytes, meter: Meter, *, instead_of: str | None, mark: str
    ) -> None:
        """Put a torrent file in the place of what has an ETag, or of nothing.

        As `SmallObjects.write`. ObjectChanged when there is something else; OriginError.
        """
        await self._small.write(ref, body, meter, instead_of=instead_of, mark=mark)

    async def list_page(
        self, prefix: ObjectRef, token: str | None, meter: Meter, *, by_marker: bool = False
    ) -> Page:
        """Return a page of the objects below a prefix, as `Lister.page`. OriginError."""
        return await self._lister.page(prefix, token, meter, by_marker)

    async def get_torrent(self, pinned: PinnedObject, meter: Meter) -> bytes:
        """Return what S3 gives as an object's torrent (GetObjectTorrent).

        Only its first byte is checked. TorrentUnsupported when S3 makes none; OriginFault for a 200
        that is no torrent, such as the object itself; AccessDenied names s3:GetObjectTorrent,
        because a HEAD has worked before.
        """
        name = label(pinned.ref)

        async def take(exchange: Exchange) -> bytes:
            if exchange.status != 200:
                raise OriginFault(f"{name}: S3 answers {exchange.status} to ?torrent")
            if (content_length(exchange.headers) or 0) > LARGEST_TORRENT_FILE:
                raise OriginFault(f"{name}: ?torrent is longer than any torrent")
            body = await exchange.read(LARGEST_TORRENT_FILE, first=b"d")
            if not body:
                raise OriginFault(f"{name}: ?torrent is empty")
            if not body.startswith(b"d"):
                raise OriginFault(f"{name}: ?torrent is no torrent, rather the object itself")
            if len(body) > LARGEST_TORRENT_FILE:
                raise OriginFault(f"{name}: ?torrent is longer than any torrent")
            return body

        call = Call(
            "GET",
            pinned.ref,
            meter,
            "metainfo",
            take,
            size=LARGEST_TORRENT_FILE,
            torrent=True,
            normal=(TorrentUnsupported,),
        )
        return await self._caller.result(call)

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
        """Ask about the pinned object's parts and return what `take` makes of the answer.

        `size` is the most bytes of body that are expected. OriginError; AttributesUnsupported when
        S3 doesn't know the question, AccessDenied when s3:GetObjectAttributes isn't allowed.
        """
        call = Call(
            method,
            pinned.ref,
            meter,
            "metainfo",
            take,
            headers={"If-Match": pinned.strong_etag, **headers},
            size=size,
            about=about,
            normal=(AttributesUnsupported, AccessDenied),
        )
        return await self._caller.result(call)
