"""GET /BUCKET/KEY?torrent, as S3 had it (GetObjectTorrent), and ?magnet beside it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Protocol, TypeAlias
from urllib.parse import quote, unquote_to_bytes
from xml.sax.saxutils import escape

from seeder.web.messages import Header, Request, Response
from seeder.web.ranges import names

ErrorCode: TypeAlias = Literal[
    "AccessDenied",
    "InvalidRange",
    "InvalidRequest",
    "InvalidURI",
    "MethodNotAllowed",
    "NoSuchBucket",
    "NoSuchKey",
    "PreconditionFailed",
    "ServiceUnavailable",
    "SlowDown",
]

_STATUS: dict[ErrorCode, HTTPStatus] = {
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "InvalidRange": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "InvalidRequest": HTTPStatus.BAD_REQUEST,
    "InvalidURI": HTTPStatus.BAD_REQUEST,
    "MethodNotAllowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "NoSuchBucket": HTTPStatus.NOT_FOUND,
    "NoSuchKey": HTTPStatus.NOT_FOUND,
    "PreconditionFailed": HTTPStatus.PRECONDITION_FAILED,
    "ServiceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "SlowDown": HTTPStatus.SERVICE_UNAVAILABLE,
}
_RETRY_AFTER = b"60"
"""Seconds; what a torrent that is being made may take is unknown."""

# A token of RFC 9110 without the characters that RFC 6266 warns of, or with which none begins.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")
_UNQUOTABLE = re.compile(r'[^ -~]|["\\%]')


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """The torrent of an object."""

    body: bytes
    etag: str
    """With its quotes; another one for any other body."""
    filename: str
    """Safe on every system, `.torrent` included."""


@dataclass(frozen=True, slots=True)
class NoTorrent:
    """Why there is none: an S3 error code and one line."""

    code: ErrorCode
    message: str
    headers: tuple[Header, ...] = ()
    """Those that the answer has beside the usual ones."""


class TorrentLookup(Protocol):
    """Who knows the torrents by object; the daemon's catalog."""

    def torrent_file(self, bucket: str, key: str) -> TorrentFile | NoTorrent:
        """Return the torrent of an object."""

    def magnet_link(self, bucket: str, key: str) -> str | NoTorrent:
        """Return the magnet link of an object."""


class ObjectRoutes:
    """What is served about an object."""

    def __init__(self, lookup: TorrentLookup, *, request_id: Callable[[], str]) -> None:
        self._lookup = lookup
        self._request_id = request_id

    def torrent(self, request: Request) -> Response:
        """Answer `?torrent` with the object's torrent file, or 304 where the client has it."""
        named = object_named(request.path)
        if isinstance(named, NoTorrent):
            return self.refuse(request, named)
        found = self._lookup.torrent_file(*named)
        if isinstance(found, NoTorrent):
            return self.refuse(request, found)
        headers: tuple[Header, ...] = (
            (b"x-amz-request-id", self._request_id().encode()),
            (b"ETag", found.etag.encode()),
            # The address is stable, what it leads to is not: the object may be replaced.
            (b"Cache-Control", b"no-cache"),
        )
        if names(request.all_headers(b"if-none-match"), found.etag.encode(), weakly=True):
            return Response(304, b"", headers)
        headers += (
            (b"Content-Disposition", content_disposition(found.filename)),
            (b"Content-Type", b"application/x-bittorrent"),
        )
        return Response(200, found.body, headers)

    def magnet(self, request: Request) -> Response:
        """Answer `?magnet` with the link as a line of text."""
        named = object_named(request.path)
        if isinstance(named, NoTorrent):
            return self.refuse(request, named)
        found = self._lookup.magnet_link(*named)
        if isinstance(found, NoTorrent):
            return self.refuse(request, found)
        headers = (
            (b"x-amz-request-id", self._request_id().encode()),
            (b"Cache-Control", b"no-cache"),
            (b"Content-Type", b"text/plain; charset=utf-8"),
        )
        return Response(200, f"{found}\n".encode(), headers)

    def refuse(self, request: Request, why: NoTorrent) -> Response:
        """Answer with an error as S3 words it."""
        status = _STATUS[why.code]
        request_id = self._request_id()
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{why.code}</Code><Message>{escape(why.message)}</Message>"
            f"<Resource>{escape(request.path.decode('latin-1'))}</Resource>"
            f"<RequestId>{request_id}</RequestId></Error>\n"
        )
        headers: tuple[Header, ...] = (
            (b"x-amz-request-id", request_id.encode()),
            (b"Content-Type", b"application/xml"),
        )
        headers += why.headers
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers += ((b"Allow", b"GET, HEAD"),)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers += ((b"Retry-After", _RETRY_AFTER),)
        return Response(status, body.encode(), headers)


def object_named(path: bytes) -> tuple[str, str] | NoTorrent:
    """Return bucket and key of a raw path; the key keeps every slash and dot that it has."""
    bucket, _, key = path.removeprefix(b"/").partition(b"/")
    try:
        named = unquote_to_bytes(bucket).decode(), unquote_to_bytes(key).decode()
    except UnicodeDecodeError:
        return NoTorrent("InvalidURI", "the key is not UTF-8")
    if not all(named):
        return NoTorrent("InvalidURI", "the address is /BUCKET/KEY?torrent")
    return named


def content_disposition(filename: str) -> bytes:
    """Return a Content-Disposition that saves under `filename` (RFC 6266).

    A plain name stands as S3 wrote it; any other one is quoted for old clients, with `_` for what
    can't be, and spelt out in UTF-8 for the rest.
    """
    if _PLAIN_NAME.fullmatch(filename):
        return f"attachment; filename={filename};".encode()
    fallback = _UNQUOTABLE.sub("_", filename)
    spelt = quote(filename, safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{spelt}".encode()
