"""How an object stands, by as many witnesses as it takes: HEAD, a ranged GET, its listing."""

import logging
from collections import OrderedDict
from collections.abc import Mapping

from seeder.errors import (
    HeadRefused,
    ObjectChanged,
    OriginError,
    OriginFault,
    OriginUnreachable,
)
from seeder.s3.answers import label
from seeder.s3.caller import Caller
from seeder.s3.calls import Call
from seeder.s3.heads import content_length, gives, is_plain, pin, whole_size
from seeder.s3.listing import Listed
from seeder.s3.remarks import Remarks
from seeder.s3.transport import Exchange
from seeder.torrent.objects import Meter, ObjectRef, PinnedObject, opaque
from seeder.units import ByteRange

_LOG = logging.getLogger(__name__)
_MOST_DOUBTED = 1000
"""Objects whose HEAD isn't believed alone."""


class Witnesses:
    """Asks one origin how its objects stand."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._doubted: OrderedDict[ObjectRef, None] = OrderedDict()
        """Objects whose size or ETag was another one when they were read."""
        self._unmatched: OrderedDict[ObjectRef, str] = OrderedDict()
        """By object, the ETag that S3 tells and doesn't match in If-Match."""
        self._remarks = Remarks(_LOG)

    async def head(
        self, ref: ObjectRef, meter: Meter, listed: Listed | None = None
    ) -> PinnedObject:
        """Return the present state of an object. OriginError.

        HeadObject tells it. A ranged GET is asked too where that is refused, has no ETag or
        length, or a length that may be another one than the object's: that of a body that is coded,
        or one that a read or what is `listed` contradicts. Then the GET is believed, unless it
        says less and S3 gives the last byte that the other one says.
        """
        try:
            told = await self._ask_by_head(ref, meter)
        except HeadRefused:
            told = {}
        if is_plain(told) and not self.doubts(ref):
            pinned = pin(ref, told, content_length(told))
            if listed is None or not _contradicts(listed, pinned):
                return pinned
        try:
            found, size = await self._ask_by_range(ref, meter)
        except ObjectChanged as error:
            if not error.out_of_range:
                raise
            if content_length(told):
                raise OriginFault(
                    f"{label(ref)}: HEAD says {content_length(told)} bytes, a GET of the first says"
                    " that there is none"
                ) from error
            found, size = told, 0
        except OriginFault as error:
            raise OriginFault(f"{label(ref)}: HEAD doesn't tell its state, and {error}") from error
        claimed = content_length(told) or 0
        if listed is not None and opaque(listed.etag) == opaque(told.get("etag", "")):
            claimed = max(claimed, listed.size)
        if size is not None and size < claimed and await self._has_byte(ref, claimed - 1, meter):
            # Some servers and proxies tell the length of the range for that of the object.
            size = claimed
        pinned = pin(ref, {**told, **found}, size, "a GET of its first byte")
        if listed is not None and _contradicts(listed, pinned):
            self._remarks.say(
                logging.WARNING,
                "listed sizes",
                ref,
                f"{label(ref)}: S3 lists it with {listed.size} bytes, but it has {pinned.size},"
                " under the same ETag; what a GET says is believed",
            )
        return pinned

    async def find_unlisted(self, ref: ObjectRef, meter: Meter) -> PinnedObject | None:
        """Return the present state of an object that a listing lacks; None if it is gone.

        OriginUnreachable, BudgetSpent.
        """
        try:
            pinned = await self.head(ref, meter)
        except OriginUnreachable:
            raise
        except OriginError:
            return None  # S3 said twice that it isn't there for us
        self._remarks.say(
            logging.WARNING,
            "unlisted",
            ref,
            f"{label(ref)}: S3 doesn't list it any more, but HEAD has it: its listings lack"
            " something; it stays published",
        )
        return pinned

    def doubts(self, ref: ObjectRef) -> bool:
        """Tell whether an object was another one when it was read than HEAD says."""
        return ref in self._doubted

    def doubt(self, ref: ObjectRef) -> None:
        """Take note that an object's size or ETag was another one when it was read."""
        self._doubted[ref] = None
        if len(self._doubted) > _MOST_DOUBTED:
            self._doubted.popitem(last=False)

    async def _ask_by_head(self, ref: ObjectRef, meter: Meter) -> Mapping[str, str]:
        """Return the head of the answer to a HEAD. HeadRefused where a GET may tell more."""

        async def take(exchange: Exchange) -> Mapping[str, str]:
            await exchange.read(0)  # to the end, so that the connection is kept
            if exchange.status != 200:
                raise HeadRefused(f"{label(ref)}: S3 answers {exchange.status} to a HEAD")
            return exchange.headers

        # S3 tells the SHA-256 that it keeps to those who ask for it.
        asks = {"x-amz-checksum-mode": "ENABLED"}
        call = Call("HEAD", ref, meter, "metainfo", take, asks, normal=(HeadRefused,))
        return await self._caller.result(call)

    async def _ask_by_range(
        self, ref: ObjectRef, meter: Meter
    ) -> tuple[Mapping[str, str], int | None]:
        """Return the head of an answer to a GET of the first byte, and the object's size.

        ObjectChanged `out_of_range` where it has none. OriginError.
        """

        async def take(exchange: Exchange) -> tuple[Mapping[str, str], int | None]:
            headers = exchange.headers
            return headers, whole_size(exchange.status, headers)  # the body is of no interest

        first = {"Range": ByteRange(0, 1).header}
        return await self._caller.result(Call("GET", ref, meter, "metainfo", take, first, size=1))

    async def _has_byte(self, ref: ObjectRef, index: int, meter: Meter) -> bool:
        """Tell whether S3 gives a byte of an object. OriginError."""
        wanted = ByteRange(index, 1)

        async def take(exchange: Exchange) -> bool:
            return gives(exchange.status, exchange.headers, wanted)

        call = Call("GET", ref, meter, "metainfo", take, {"Range": wanted.header}, size=1)
        try:
            return await self._caller.result(call)
        except ObjectChanged:
            return False

    def may_match(self, pinned: PinnedObject) -> bool:
        """Tell whether If-Match may match a state: not where it hasn't, though nothing changed."""
        return self._unmatched.get(pinned.ref) != pinned.tag

    async def is_as_it_was(self, pinned: PinnedObject, meter: Meter) -> bool:
        """Tell whether an object that If-Match took for replaced has the ETag that it had.

        Then it isn't asked for by If-Match again.
        """
        # If-Match is compared strongly (RFC 9110, 13.1.1): where S3's own ETag is weak, nothing
        # matches it; and some servers and proxies compare it with another one than they tell.
        if not pinned.etag.startswith("W/") and not await self.tells_the_same(pinned, meter):
            return False
        self._unmatched[pinned.ref] = pinned.tag
        if len(self._unmatched) > _MOST_DOUBTED:
            self._unmatched.popitem(last=False)
        return True

    async def tells_the_same(self, pinned: PinnedObject, meter: Meter) -> bool:
        """Tell whether HEAD and a GET say that an object is as it was; False if they say nothing.

        Where HEAD alone does, it isn't believed alone any more.
        """
        try:
            told = await self._ask_by_head(pinned.ref, meter)
        except HeadRefused:
            told = {}
        except OriginError:
            return False
        if "etag" in told and opaque(told["etag"]) != pinned.tag:
            return False
        try:
            found, size = await self._ask_by_range(pinned.ref, meter)
        except OriginError:
            return False
        if opaque(found.get("etag", "")) == pinned.tag and size in (None, pinned.size):
            return True
        self.doubt(pinned.ref)
        return False

    async def is_md5(self, pinned: PinnedObject, meter: Meter) -> bool:
        """Tell whether S3 lets an ETag of 32 digits be the object's MD5. OriginError.

        It isn't where the object is encrypted with keys of KMS or of the customer: HeadObject says
        so, or a ranged GET where HEAD is refused.
        """
        try:
            told = await self._ask_by_head(pinned.ref, meter)
        except HeadRefused:
            told, _ = await self._ask_by_range(pinned.ref, meter)
        customer = "x-amz-server-side-encryption-customer-algorithm" in told
        kind = told.get("x-amz-server-side-encryption", "")
        return not customer and not kind.startswith("aws:kms")


def _contradicts(listed: Listed, pinned: PinnedObject) -> bool:
    """Tell whether a listing has another size of what it says is the same state."""
    return opaque(listed.etag) == pinned.tag and listed.size != pinned.size
