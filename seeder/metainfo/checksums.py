"""The checksums that S3 keeps of an object's parts: asked for in as few requests as possible.

GetObjectAttributes tells 1,000 parts a request. Where S3 doesn't know or doesn't allow it, HEAD
tells one part a request. A server that doesn't know GetObjectAttributes answers with the object
itself: the body is left unread but for its first bytes, and that origin isn't asked again.

S3's parts can be the pieces of a torrent if all but the last have one size, and that is allowed as
a piece length.
"""

import logging

from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    MetainfoError,
    ObjectChanged,
    OriginFault,
)
from seeder.metainfo.workers import do_all
from seeder.s3.answers import label, printable
from seeder.s3.attributes import Attributes, Part, parse_attributes, part_of_head
from seeder.s3.client import S3Origin
from seeder.s3.heads import content_length
from seeder.s3.remarks import Remarks
from seeder.s3.support import Support
from seeder.s3.transport import Exchange
from seeder.torrent.layout import (
    LARGEST_PIECE_LENGTH,
    SMALLEST_PIECE_LENGTH,
    Layout,
    check_piece_count,
)
from seeder.torrent.objects import Meter, PinnedObject, opaque
from seeder.units import MIB, counted

PARTS_A_PAGE = 1_000
"""Parts that S3 tells in one answer, at most."""
MOST_REQUESTS = 1_000
"""For one object, of either kind; an object that takes more is read instead."""
PARALLEL_HEADS = 8
LARGEST_ANSWER = MIB
"""Bytes; a page of 1,000 parts with every checksum that S3 has is less than half of it."""

_NO_SHA1 = "S3 keeps no SHA-1 of its parts"
SMALLEST_PART_LENGTH = 8 * MIB
"""The smallest power of two that S3 takes as a part: it wants 5 MiB of all but the last."""


class PartHashes:
    """Takes the parts of an object of `size` bytes in order, as long as they can be its pieces.

    `wanted` is the piece length that the configuration asks for, in bytes.
    """

    def __init__(self, size: int, wanted: int | None) -> None:
        self._size = size
        self._wanted = wanted
        self._length = 0
        self._covered = 0
        self._number = 0
        self._hashes: list[bytes] = []

    @property
    def complete(self) -> bool:
        """Whether the parts so far make up the object."""
        return self._covered == self._size

    def add(self, part: Part) -> None:
        """Take the next part; MetainfoError says why this can't be a piece."""
        number = part.number
        if number <= self._number:  # S3 leaves gaps where the publisher did
            raise MetainfoError(f"S3 lists part {number} behind part {self._number}")
        self._number = number
        if part.sha1 is None:
            raise MetainfoError(f"S3 keeps no SHA-1 of part {number}")
        if not self._hashes:
            self._check_length(part.size)
            self._length = part.size
        self._covered += part.size
        if self._covered > self._size:
            raise MetainfoError(f"its parts up to {number} have more than its {self._size} bytes")
        last = self._covered == self._size
        if part.size != self._length and not (last and 0 < part.size < self._length):
            raise MetainfoError(
                f"its parts are of uneven size: the first has {self._length} bytes, part {number}"
                f" {part.size}"
            )
        self._hashes.append(part.sha1)

    def _check_length(self, length: int) -> None:
        """Check the size of the first part. A sole part may be shorter than a piece."""
        if length >= self._size:
            most = self._wanted or LARGEST_PIECE_LENGTH
            if length > most:
                raise MetainfoError(f"it is one part of {length} bytes; a piece has {most} at most")
            return
        if self._wanted not in (None, length):
            raise MetainfoError(
                f"its parts are {length} bytes, the configuration says"
                f" piece_length = {self._wanted}"
            )
        fits = SMALLEST_PIECE_LENGTH <= length <= LARGEST_PIECE_LENGTH
        if not fits or length & (length - 1):
            raise MetainfoError(
                f"its parts are {length} bytes, a piece length is a power of two from"
                f" {SMALLEST_PIECE_LENGTH} to {LARGEST_PIECE_LENGTH}"
            )
        check_piece_count(Layout(self._size, length))

    def finish(self) -> tuple[Layout, bytes]:
        """Return the layout and the concatenated SHA-1s, 20 bytes a piece.

        MetainfoError where parts are missing.
        """
        if not self.complete:
            raise MetainfoError(
                f"its {counted(len(self._hashes), 'part has', 'parts have')} {self._covered} bytes,"
                f" the object {self._size}"
            )
        length = self._length
        if len(self._hashes) == 1:
            length = self._wanted or max(SMALLEST_PIECE_LENGTH, 1 << (length - 1).bit_length())
        return Layout(self._size, length), b"".join(self._hashes)


class PartReader:
    """Asks one origin for the parts of its objects, in the ways that it knows."""

    def __init__(self, origin: S3Origin, remarks: Remarks) -> None:
        self._origin = origin
        self._remarks = remarks
        self._pages = Support()
        self._heads = Support()

    async def find(
        self, pinned: PinnedObject, wanted: int | None, meter: Meter
    ) -> tuple[Layout, bytes] | None:
        """Return the layout and the piece hashes (20 bytes each) that the parts make up.

        None where S3 tells no SHA-1; the log says so. MetainfoError says why parts that have one
        can't be pieces, or pieces of `wanted` bytes. OriginError.
        """
        for support, ask in ((self._pages, self._by_pages), (self._heads, self._by_heads)):
            if support.absent:
                continue
            try:
                return await ask(pinned, PartHashes(pinned.size, wanted), meter)
            except AttributesUnsupported as error:
                support.refused(error.for_every_key)
                self._say(f"no {ask.__name__}", pinned, str(error))
            except AccessDenied as error:
                support.refused(for_every_key=False)
                self._say(f"denied {ask.__name__}", pinned, str(error))
        return None

    def _say(self, kind: str, pinned: PinnedObject, text: str) -> None:
        advice = 'leave "checksums" out of metainfo'
        self._remarks.say(logging.INFO, kind, pinned.ref, text, advice)

    # -- GetObjectAttributes

    async def _by_pages(
        self, pinned: PinnedObject, hashes: PartHashes, meter: Meter
    ) -> tuple[Layout, bytes] | None:
        page = await self._page(pinned, 0, meter)
        self._pages.answered()
        if page.count is None and page.sha1 is not None:
            hashes.add(Part(1, pinned.size, page.sha1))
            return hashes.finish()
        if not any(part.sha1 for part in page.parts):
            self._say("no SHA-1", pinned, f"{pinned.ref}: {_NO_SHA1}")
            return None
        marker = 0
        for _ in range(MOST_REQUESTS):
            for part in page.parts:
                hashes.add(part)
            if page.next_marker is None or hashes.complete:
                return hashes.finish()
            if page.next_marker <= marker or not page.parts:
                raise OriginFault(
                    f"{label(pinned.ref)}: S3 lists the parts without coming to an end"
                )
            marker = page.next_marker
            page = await self._page(pinned, marker, meter)
        raise MetainfoError(f"S3 tells so few parts at once that {MOST_REQUESTS} requests don't do")

    async def _page(self, pinned: PinnedObject, marker: int, meter: Meter) -> Attributes:
        """Return the parts after the number `marker` (GetObjectAttributes)."""
        name = label(pinned.ref)

        async def take(exchange: Exchange) -> Attributes:
            kind = exchange.headers.get("content-type", "xml")
            page = None
            if "xml" in kind and (content_length(exchange.headers) or 0) <= LARGEST_ANSWER:
                page = parse_attributes(await exchange.read(LARGEST_ANSWER, first=b"<"))
            if page is None:
                raise AttributesUnsupported(
                    f"{name}: S3 does not know GetObjectAttributes: it answers with something else,"
                    " such as the object itself",
                    for_every_key=True,
                )
            _check(pinned, page.etag, page.size)
            return page

        headers = {
            "x-amz-object-attributes": "ETag,Checksum,ObjectParts,ObjectSize",
            "x-amz-max-parts": str(PARTS_A_PAGE),
        }
        if marker:
            headers["x-amz-part-number-marker"] = str(marker)
        about = (("attributes", None),)
        return await self._origin.ask_about(
            "GET", pinned, about, headers, meter, size=LARGEST_ANSWER, take=take
        )

    # -- HEAD

    async def _by_heads(
        self, pinned: PinnedObject, hashes: PartHashes, meter: Meter
    ) -> tuple[Layout, bytes] | None:
        first, count = await self._head(pinned, 1, meter)
        self._heads.answered()
        if first.sha1 is None:
            self._say("no SHA-1", pinned, f"{pinned.ref}: {_NO_SHA1}")
            return None
        hashes.add(first)
        if count > MOST_REQUESTS:
            raise MetainfoError(
                f"its {count} parts would take a request each, {MOST_REQUESTS} at most are sent;"
                " allow s3:GetObjectAttributes, which tells 1,000 by one"
            )
        for part in await self._rest(pinned, count, meter):
            hashes.add(part)
        return hashes.finish()

    async def _rest(self, pinned: PinnedObject, count: int, meter: Meter) -> list[Part]:
        """Return the parts from the second on, of `count` in all."""
        parts: dict[int, Part] = {}
        numbers = range(2, count + 1)

        async def ask(number: int) -> None:
            parts[number], _ = await self._head(pinned, number, meter)

        await do_all(iter(numbers), ask, workers=PARALLEL_HEADS)
        return [parts[number] for number in numbers]

    async def _head(self, pinned: PinnedObject, number: int, meter: Meter) -> tuple[Part, int]:
        """Return part `number` and how many there are (HeadObject with partNumber)."""
        name = label(pinned.ref)

        async def take(exchange: Exchange) -> tuple[Part, int]:
            await exchange.read(0)  # to the end, though nothing comes: the connection is kept
            if exchange.status != 206:
                raise AttributesUnsupported(
                    f"{name}: S3 answers {exchange.status} to a HEAD of part {number}: it doesn't"
                    " know them"
                )
            _check(pinned, exchange.headers.get("etag"), None)
            return part_of_head(exchange.headers, number)

        about = (("partNumber", str(number)),)
        headers = {"x-amz-checksum-mode": "ENABLED"}
        return await self._origin.ask_about(
            "HEAD", pinned, about, headers, meter, size=0, take=take
        )


def _check(pinned: PinnedObject, etag: str | None, size: int | None) -> None:
    """Check that an answer is about the pinned object. OriginError."""
    name = label(pinned.ref)
    if etag is None:
        raise AttributesUnsupported(f"{name}: S3 doesn't say of which state it tells the parts")
    if opaque(etag) != pinned.tag:
        raise ObjectChanged(
            f"{name}: the object was replaced (ETag {printable(etag)}, it was {pinned.etag})"
        )
    if size not in (None, pinned.size):
        raise OriginFault(f"{name}: S3 says {size} bytes where HEAD said {pinned.size}")
