"""GET /BUCKET/KEY: the object itself, for browsers and for BitTorrent clients (BEP 19).

The headers are made here; the bytes come from a download of one range, which the connection sends
on. A reply begins only when its first bytes are at hand, so that a download that can't be had is an
error, not a reply that breaks off.
"""

import mimetypes
from dataclasses import dataclass
from http import HTTPStatus

from seeder.errors import DownloadRefused
from seeder.gateway.download import Downloads
from seeder.gateway.s3errors import ErrorCode, S3Error
from seeder.http.headers import content_disposition, evaluate
from seeder.http.messages import Header, Request, Response
from seeder.torrent.catalog import Torrent
from seeder.units import ByteRange

_TYPES = mimetypes.MimeTypes()
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Content:
    """An object as it is now."""

    torrent: Torrent
    """The torrent whose pieces are the object's bytes."""
    etag: str
    """The object's own, with its quotes."""
    name: str
    """The file name that clients save it under: the key's, made safe."""


async def answer_content(
    request: Request, content: Content, address: str, downloads: Downloads
) -> Response:
    """Answer a GET or HEAD of an object for the client at an IP address; S3Error."""
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
    headers += _description(content.name)
    if part is not None:
        where = b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)
        headers += ((b"Content-Range", where),)
    elif size:
        part = ByteRange(0, size)
    if part is None or request.method == b"HEAD":
        return Response(status, b"", headers, content_length=size)
    try:
        download = downloads.open(content.torrent, address, part)
        try:
            await download.wait_begin()
        except BaseException:
            download.close()
            raise
    except DownloadRefused as refusal:
        code: ErrorCode = "SlowDown" if refusal.busy else "ServiceUnavailable"
        raise S3Error(code, str(refusal)) from refusal
    return Response(status, download, headers, content_length=part.length)


def content_type(key: str) -> str:
    """Return the media type for a key's extension; of a compressed file, that of the compression.

    The type that S3 has for the object isn't known here.
    """
    # Given as a path: in a URL, guess_type would take "data:" for a scheme.
    kind, encoding = _TYPES.guess_type("./" + key.rpartition("/")[2])
    if encoding is not None:
        return _COMPRESSED.get(encoding, _UNKNOWN_TYPE)
    return kind or _UNKNOWN_TYPE


def _description(name: str) -> tuple[Header, ...]:
    return (
        (b"Accept-Ranges", b"bytes"),
        (b"Content-Type", content_type(name).encode()),
        (b"Content-Disposition", content_disposition(name)),
        (b"X-Content-Type-Options", b"nosniff"),
    )
