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
from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import ByteRange
from seeder.web.messages import BodySource, Header, Request, Response
from seeder.web.objects import NoTorrent, content_disposition
from seeder.web.ranges import evaluate

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
    private: bool = False
    """Whether only those may read it whom the authorisation lets."""


class Download(BodySource, Protocol):
    """A range of an object on its way to one client."""

    async def wait_begin(self) -> None:
        """Wait until the first bytes can be sent; DownloadRefused."""
        ...


Find: TypeAlias = Callable[[str, str], Content | NoTorrent]
"""Returns the object that a bucket and a key name."""
Open: TypeAlias = Callable[[Torrent, str, ByteRange], Download]
"""Opens a download for a client's address; DownloadRefused."""
Authorise: TypeAlias = Callable[[Request, str, str], bool]
"""Tells whether a request may read the private object of a bucket and a key."""


class WebSeed:
    """Answers with objects, their ranges, and how they stand."""

    def __init__(self, find: Find, open_download: Open, *, authorise: Authorise) -> None:
        self._find = find
        self._open = open_download
        self._authorise = authorise

    def publishes(self, bucket: str, key: str) -> bool:
        """Tell whether there is such an object, whoever may read it."""
        return isinstance(self._find(bucket, key), Content)

    async def answer(
        self, request: Request, bucket: str, key: str, address: str
    ) -> Response | NoTorrent:
        """Answer a GET or HEAD of an object for the client at an IP address."""
        content = self._find(bucket, key)
        if isinstance(content, NoTorrent):
            return content
        if content.private and not self._authorise(request, bucket, key):
            return NoTorrent("AccessDenied", "This object is not public.")
        size = content.torrent.layout.size
        status, part = evaluate(request, content.etag.encode(), size)
        if status is HTTPStatus.PRECONDITION_FAILED:
            return NoTorrent("PreconditionFailed", "The object has another ETag.")
        if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            length = (b"Content-Range", b"bytes */%d" % size)
            return NoTorrent("InvalidRange", "The range lies outside the object.", (length,))
        if status is HTTPStatus.NOT_MODIFIED:
            return Response(304, b"", _validators(content))
        headers = _validators(content) + _description(content, key)
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
    ) -> Response | NoTorrent:
        try:
            download = self._open(content.torrent, address, part)
            try:
                await download.wait_begin()
            except BaseException:
                download.close()
                raise
        except DownloadRefused as refusal:
            return NoTorrent("SlowDown" if refusal.busy else "ServiceUnavailable", str(refusal))
        return Response(head.status, download, head.headers, content_length=part.length)


def _validators(content: Content) -> tuple[Header, ...]:
    # The address is stable, what it leads to is not: the object may be replaced.
    return ((b"ETag", content.etag.encode()), (b"Cache-Control", b"no-cache"))


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
