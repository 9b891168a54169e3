"""A range of an object, read into parts; an attempt goes on where the last one ended."""

from collections.abc import Callable

from seeder.errors import ObjectChanged, OriginFault
from seeder.s3.answers import label
from seeder.s3.heads import check_range, whole_size
from seeder.s3.transport import Broken, Exchange
from seeder.s3.witnesses import Witnesses
from seeder.torrent.objects import PinnedObject
from seeder.units import ByteRange


class RangeRead:
    """One read of a pinned object: what its attempts ask for, and what comes of each."""

    def __init__(
        self,
        pinned: PinnedObject,
        wanted: ByteRange,
        part_length: int,
        take: Callable[[bytearray], None],
        witnesses: Witnesses,
    ) -> None:
        """`take` gets each part of `part_length` bytes, and the rest, once it is complete."""
        self._pinned = pinned
        self._wanted = wanted
        self._witnesses = witnesses
        self._filling = _Filling(wanted, part_length, take)
        self.headers = {"Range": wanted.header}
        """Those of the next attempt."""
        if witnesses.may_match(pinned):
            # A proxy may have weakened the ETag: a weak one never matches, the strong one may.
            self.headers["If-Match"] = pinned.strong_etag

    @property
    def is_matched(self) -> bool:
        """Whether S3 is to compare the ETag."""
        return "If-Match" in self.headers

    def match_no_more(self) -> None:
        """Have the ETag of the answer alone tell whose bytes they are."""
        del self.headers["If-Match"]

    async def receive(self, exchange: Exchange) -> None:
        """Read what an attempt brings. Broken if it ends too early, ObjectChanged, OriginFault."""
        pinned, filling, name = self._pinned, self._filling, label(self._pinned.ref)
        if not self.is_matched and "etag" not in exchange.headers:
            raise ObjectChanged(f"{name}: S3 no longer tells its ETag")
        size = whole_size(exchange.status, exchange.headers)
        if exchange.status == 206 and size not in (None, pinned.size):
            self._witnesses.doubt(pinned.ref)
        check_range(exchange.status, exchange.headers, pinned, filling.rest)
        try:
            while filling.left:
                count = await exchange.receive_into(filling.room)
                if not count:
                    raise Broken(f"the body ended {filling.left} bytes too early")
                filling.filled(count)
        finally:
            if filling.left:
                self.headers["Range"] = filling.rest.header
        if await exchange.has_more():
            raise OriginFault(f"{name}: asked for {self._wanted.length} bytes, S3 sends more")


class _Filling:
    """The parts that a range is read into; each goes to `take` as soon as it is complete.

    Each part has `part_length` bytes, the last one what is left of `wanted`.
    """

    def __init__(
        self, wanted: ByteRange, part_length: int, take: Callable[[bytearray], None]
    ) -> None:
        self._start = wanted.start
        self.left = wanted.length
        """Bytes still to come."""
        self._part_length = part_length
        self._take = take
        self._part = bytearray()
        self._room = memoryview(self._part)

    @property
    def room(self) -> memoryview:
        """Where the next bytes go; only while some are still to come."""
        if not self._room:
            # Allocated here and not earlier: it takes milliseconds to touch 8 MiB, and now the
            # answer is being waited for anyway.
            self._part = bytearray(min(self._part_length, self.left))
            self._room = memoryview(self._part)
        return self._room

    @property
    def rest(self) -> ByteRange:
        """The range that is still to come; only while it isn't empty."""
        return ByteRange(self._start, self.left)

    def filled(self, count: int) -> None:
        """Note that the first `count` bytes of `room` have been filled."""
        self._start += count
        self.left -= count
        self._room = self._room[count:]
        if not self._room:
            self._take(self._part)
