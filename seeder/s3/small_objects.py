"""Small objects, read and written whole: torrent files that lie beside what they are of."""

from dataclasses import dataclass, replace

from seeder.errors import AccessDenied, ObjectChanged, ObjectMissing, OriginFault
from seeder.http.dates import parse_date
from seeder.s3.answers import label
from seeder.s3.caller import Caller
from seeder.s3.calls import Call
from seeder.s3.heads import content_length
from seeder.s3.transport import Exchange
from seeder.torrent.info import LARGEST_TORRENT_FILE
from seeder.torrent.objects import Meter, ObjectRef
from seeder.units import KIB

_LARGEST_RECEIPT = 64 * KIB
"""Bytes of the answer to a PUT."""
_MARK = "x-amz-meta-seeder"


@dataclass(frozen=True, slots=True)
class SmallObject:
    """A whole object, and what tells it from others of its name."""

    body: bytes
    etag: str | None
    """None where S3 doesn't tell."""
    mark: str | None
    """With which a seeder wrote it; None of anybody else's."""
    modified: int | None = None
    """When it was written (Unix s), as far as S3 tells."""


class SmallObjects:
    """Reads and writes small objects of one origin."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def read(self, ref: ObjectRef, limit: int, meter: Meter) -> SmallObject:
        """Return a whole object of at most `limit` bytes. OriginError; we can do without it."""

        async def take(exchange: Exchange) -> SmallObject:
            if exchange.status != 200:
                raise OriginFault(f"{label(ref)}: S3 answers {exchange.status} to a GET")
            if (content_length(exchange.headers) or 0) <= limit:
                body = await exchange.read(limit)
                if len(body) <= limit:
                    headers = exchange.headers
                    modified = parse_date(headers.get("last-modified", ""))
                    return SmallObject(body, headers.get("etag"), headers.get(_MARK), modified)
            raise OriginFault(f"{label(ref)}: has more than {limit} bytes")

        # Without s3:ListBucket, S3 denies access to a key that isn't there.
        normal = (ObjectMissing, AccessDenied)
        call = Call(
            "GET", ref, meter, "metainfo", take, size=limit, dispensable=True, normal=normal
        )
        return await self._caller.result(call)

    async def write(
        self, ref: ObjectRef, body: bytes, meter: Meter, *, instead_of: str | None, mark: str
    ) -> None:
        """Put a torrent file in the place of what has an ETag, or of nothing (PutObject).

        The `mark` is what `read` returns with it; it is kept as the object's metadata.
        ObjectChanged when there is something else by now. Where the server knows no conditions,
        or doesn't keep to them, it is asked without them. OriginError; we can do without it.
        """

        async def take(exchange: Exchange) -> None:
            await exchange.read(_LARGEST_RECEIPT)

        condition = {"If-None-Match": "*"} if instead_of is None else {"If-Match": instead_of}
        headers = {"Content-Type": "application/x-bittorrent", _MARK: mark}
        call = Call(
            "PUT",
            ref,
            meter,
            "metainfo",
            take,
            headers={**headers, **condition},
            dispensable=True,
            body=body,
            normal=(ObjectChanged, AccessDenied),
        )
        try:
            await self._caller.result(call)
        except OriginFault as error:
            if not _knows_no_conditions(str(error)):
                raise
        else:
            if instead_of is None:
                return
            # Ceph RGW 16.2 answers 200 to a PUT with If-Match, and leaves what was there.
            there = await self.read(ref, LARGEST_TORRENT_FILE, meter)
            if there.etag != instead_of or there.body == body:
                return
        await self._caller.result(replace(call, headers=headers))


def _knows_no_conditions(text: str) -> bool:
    """Tell whether S3 refuses a request because of its If-Match or If-None-Match."""
    return "NotImplemented" in text or "answers 501" in text
