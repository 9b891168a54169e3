"""GET /BUCKET/KEY: the object itself, for browsers and for BitTorrent clients (BEP 19).

What it says of an object is made up here; its bytes come from a download, which whoever runs this
opens for one range, and which the connection sends on. An answer begins only when its first bytes
are at hand, so that what can't be had is an error and not a reply without an end.
"""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeAlias

from seeder.errors import DownloadRefused
from seeder.gateway.s3errors import ErrorCode, S3Error
from seeder.http.headers import content_disposition, evaluate
from seeder.http.messages import BodySource, Header, Request, Response
from seeder.torrent.catalog import Torrent
from seeder.units import ByteRange

_TYPES = mimetypes.MimeTypes()
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Content:
    """An object as it is now."""

    torrent: Torrent
    """Whose pieces are its bytes."""
    etag: str
    """The object's own, with its quotes."""
    filename: str
    """Safe on every system."""


class Download(BodySource, Protocol):
    """A range of an object on its way to one client."""

    async def wait_begin(self) -> None:
        """Wait until the first bytes can be sent; DownloadRefused."""
        ...


Find: TypeAlias = Callable[[str, str], Content]
"""Returns the object that a bucket and a key name; S3Error."""
Open: TypeAlias = Callable[[Torrent, str, ByteRange], Download]
"""Opens a download for a client's address; DownloadRefused."""


class WebSeed:
    """Answers with objects, their ranges, and how they stand, to whoever may read them."""

    def __init__(self, find: Find, open_download: Open) -> None:
        self._find = find
        self._open = open_download

    def publishes(self, bucket: str, key: str) -> bool:
        """Tell whether there is such an object, whoever may read it."""
        try:
            self._find(bucket, key)
        except S3Error:
            return False
        return True

    async def answer(self, request: Request, bucket: str, key: str, address: str) -> Response:
        """Answer a GET or HEAD of an object for the client at an IP address; S3Error."""
        content = self._find(bucket, key)
        size = content.torrent.layout.size
        status, part = evaluate(request, content.etag.encode(), size)
        if status is HTTPStatus.PRECONDITION_FAILED:
            raise S3Error("PreconditionFailed", "The object has another ETag.")
        if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            length = (b"Content-Range", b"bytes */%d" % size)
            raise S3Error("InvalidRange", "The range lies outside the object.", headers=(length,))
        headers: tuple[Header, ...] = ((b"ETag", content.etag.encode()),)
        if status is HTTPStatus.NOT_MODIFIED:
            return Response(304, b"", headers)
        headers += _description(content, key)
        if part is not None:
            where = b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)
            headers += ((b"Content-Range", where),)
        elif size:
            part = ByteRange(0, size)
        if part is None or request.method == b"HEAD":
            return Response(status, b"", headers, content_length=size)
        return await self._begin(content, part, address, Response(status, b"", headers))

    async def _begin(
        self, content: Content, part: ByteRange, address: str, head: Response
    ) -> Response:
        try:
            download = self._open(content.torrent, address, part)
            try:
                await download.wait_begin()
            except BaseException:
                download.close()
                raise
        except DownloadRefused as refusal:
            code: ErrorCode = "SlowDown" if refusal.busy else "ServiceUnavailable"
            raise S3Error(code, str(refusal)) from refusal
        return Response(head.status, download, head.headers, content_length=part.length)


def _description(content: Content, key: str) -> tuple[Header, ...]:
    return (
        (b"Accept-Ranges", b"bytes"),
        (b"Content-Type", content_type(key).encode()),
        (b"Content-Disposition", content_disposition(content.filename)),
        (b"X-Content-Type-Options", b"nosniff"),
    )


def content_type(key: str) -> str:
    """Return the media type that the end of a key tells of; a compressed file's is its outer one.

    What S3 would say isn't known here.
    """
    # As a path: of a URL, guess_type would see the scheme in "data:x".
    kind, encoding = _TYPES.guess_type("./" + key.rpartition("/")[2])
    if encoding is not None:
        return _COMPRESSED.get(encoding, _UNKNOWN_TYPE)
    return kind or _UNKNOWN_TYPE
