"""GET /BUCKET/KEY: the object itself, for browsers and for BitTorrent clients (BEP 19).

The headers are made here; the bytes come from a download of one range, which the connection sends
on. A reply begins only when its first bytes are at hand, so that a download that can't be had is an
error, not a reply that breaks off.
"""

import mimetypes
from dataclasses import dataclass
from http import HTTPStatus

from seeder.errors import DownloadRefused
from seeder.gateway.download import Download
from seeder.gateway.downloads import Downloads
from seeder.gateway.keyed import Visitor
from seeder.gateway.s3errors import ErrorCode, S3Error
from seeder.gateway.selecting import applied, part_asked
from seeder.http.dates import format_date
from seeder.http.headers import content_disposition, evaluate
from seeder.http.messages import Header, Request, Response
from seeder.torrent.objects import Description
from seeder.torrent.torrent import Torrent
from seeder.units import ByteRange

_TYPES = mimetypes.MimeTypes()
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN_TYPE = "application/octet-stream"
_UNTOLD = Description()
"""Of an object that S3 hasn't been asked about since we keep what it tells."""


@dataclass(frozen=True, slots=True)
class Content:
    """An object as it is now."""

    torrent: Torrent
    """The torrent whose pieces are the object's bytes."""
    etag: str
    """The object's own, with its quotes."""
    name: str
    """The file name that clients save it under: the key's, made safe."""
    description: Description | None = None
    start: int = 0
    """The torrent's byte at which the object begins; in a bundle others stand before it."""
    length: int | None = None
    """Bytes of the object, if it isn't all of the torrent."""

    @property
    def size(self) -> int:
        return self.torrent.layout.size if self.length is None else self.length


async def answer_content(
    request: Request,
    content: Content,
    address: str,
    downloads: Downloads,
    visitor: Visitor,
    *,
    elsewhere: bytes | None = None,
) -> Response:
    """Answer a GET or HEAD of an object for the client at an IP address; S3Error.

    Who asks for bytes is sent `elsewhere`, a URL, if one is given.
    """
    size = content.size
    status, part = _asked_for(request, content)
    headers: tuple[Header, ...] = ((b"ETag", content.etag.encode()),)
    modified = (content.description or _UNTOLD).modified
    if modified is not None:
        headers += ((b"Last-Modified", format_date(modified).encode()),)
    if status is HTTPStatus.NOT_MODIFIED:
        return Response(304, b"", headers)
    headers += _described(content, whole=part is None)
    if part is not None:
        where = b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)
        headers += ((b"Content-Range", where),)
    elif size:
        part = ByteRange(0, size)
    if part is None or request.method == b"HEAD":
        return Response(status, b"", headers, content_length=size)
    if elsewhere is not None:
        return Response(307, b"", ((b"Location", elsewhere),))
    wanted = ByteRange(content.start + part.start, part.length)
    try:
        download = await _begun(downloads, content.torrent, address, wanted, visitor)
    except DownloadRefused as refusal:
        code: ErrorCode = "SlowDown" if refusal.busy else "ServiceUnavailable"
        raise S3Error(code, str(refusal), retry_in=refusal.retry_in) from refusal
    # After a file of one byte that ends a piece, such as a pad, aria2 waits for the next piece to
    # come in the same reply, until we close an idle connection.
    return Response(status, download, headers, content_length=part.length, close=size == 1)


def _asked_for(request: Request, content: Content) -> tuple[HTTPStatus, ByteRange | None]:
    """Return the status of the answer, and the part of the object that is asked for; S3Error."""
    size, modified = content.size, (content.description or _UNTOLD).modified
    status, part = evaluate(request, content.etag.encode(), size, modified)
    if request.query and status is not HTTPStatus.PRECONDITION_FAILED:
        status, part = applied(status, part, part_asked(request, size))
    if status is HTTPStatus.PRECONDITION_FAILED:
        raise S3Error("PreconditionFailed", "The object is another one than you expect.")
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        length = (b"Content-Range", b"bytes */%d" % size)
        raise S3Error("InvalidRange", "The range lies outside the object.", headers=(length,))
    return status, part


async def _begun(
    downloads: Downloads, torrent: Torrent, address: str, wanted: ByteRange, visitor: Visitor
) -> Download:
    """Return a download whose first bytes are at hand; DownloadRefused."""
    download = await downloads.open(torrent, address, wanted, visitor)
    try:
        await download.wait_begin()
    except BaseException:
        download.close()
        raise
    return download


def content_type(key: str) -> str:
    """Return the media type for a key's extension; of a compressed file, that of the compression.

    For objects whose type S3 hasn't told.
    """
    # Given as a path: in a URL, guess_type would take "data:" for a scheme.
    kind, encoding = _TYPES.guess_type("./" + key.rpartition("/")[2])
    if encoding is not None:
        return _COMPRESSED.get(encoding, _UNKNOWN_TYPE)
    return kind or _UNKNOWN_TYPE


def _described(content: Content, *, whole: bool) -> tuple[Header, ...]:
    """Return what describes an object in a reply, as S3 has it where that is known.

    A part has no Content-Encoding: it can't be decoded by itself, and BitTorrent clients, which ask
    for parts, would try.
    """
    told = dict((content.description or _UNTOLD).headers)
    if not whole:
        told.pop("content-encoding", None)
    told.pop("cache-control", None)
    disposition = told.pop("content-disposition", None)
    shown = disposition.encode() if disposition else content_disposition(content.name)
    headers: tuple[Header, ...] = (
        (b"Accept-Ranges", b"bytes"),
        (b"Content-Type", told.pop("content-type", content_type(content.name)).encode()),
        (b"Content-Disposition", shown),
        (b"X-Content-Type-Options", b"nosniff"),
    )
    if disposition is not None and not disposition.lower().startswith("attachment"):
        # A page among the objects mustn't act as one of ours.
        headers += ((b"Content-Security-Policy", b"sandbox"),)
    return headers + tuple((name.encode(), value.encode()) for name, value in told.items())
