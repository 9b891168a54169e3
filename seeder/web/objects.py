"""GET /BUCKET/KEY?torrent, as S3 had it (GetObjectTorrent), and ?magnet beside it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from seeder.web.access import Authorisation, is_charged
from seeder.web.messages import Header, Request, Response
from seeder.web.naming import Naming
from seeder.web.s3errors import S3Error, error_response

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


class TorrentLookup(Protocol):
    """Who knows the torrents by object; the daemon's catalog."""

    def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        """Return the torrent of an object; S3Error while there is none."""
        ...

    def magnet_link(self, bucket: str, key: str) -> str:
        """Return the magnet link of an object; S3Error while there is none."""
        ...


class ObjectRoutes:
    """What is served about an object, to whom it may be served."""

    def __init__(
        self,
        lookup: TorrentLookup,
        authorisation: Authorisation,
        naming: Naming,
        *,
        request_id: Callable[[], str],
    ) -> None:
        self._lookup = lookup
        self._authorisation = authorisation
        self._naming = naming
        self._request_id = request_id

    def torrent(self, request: Request) -> Response:
        """Answer `?torrent` with the object's torrent file, or 304 where the client has it."""
        return self._answer(request, self._torrent)

    def magnet(self, request: Request) -> Response:
        """Answer `?magnet` with the link as a line of text."""
        return self._answer(request, self._magnet)

    def refuse(self, request: Request, error: S3Error) -> Response:
        """Answer with an error as S3 words it."""
        return error_response(error, resource=request.path, request_id=self._request_id())

    def _answer(
        self, request: Request, page: Callable[[Request, str, str, tuple[Header, ...]], Response]
    ) -> Response:
        try:
            bucket, key = self._naming.object_of(request)
            terms = self._authorisation.authorise(request, bucket, key)
            headers: tuple[Header, ...] = ((b"x-amz-request-id", self._request_id().encode()),)
            if is_charged(request, terms):
                headers += ((b"x-amz-request-charged", b"requester"),)
            # The address is stable, what it leads to is not: the object may be replaced.
            headers += ((b"Cache-Control", b"no-cache" if terms.public else b"private, no-cache"),)
            return page(request, bucket, key, headers)
        except S3Error as error:
            return self.refuse(request, error)

    def _torrent(
        self, request: Request, bucket: str, key: str, headers: tuple[Header, ...]
    ) -> Response:
        found = self._lookup.torrent_file(bucket, key)
        headers += ((b"ETag", found.etag.encode()),)
        if has_it(request, found.etag.encode()):
            return Response(304, b"", headers)
        headers += (
            (b"Content-Disposition", content_disposition(found.filename)),
            (b"Content-Type", b"application/x-bittorrent"),
        )
        return Response(200, found.body, headers)

    def _magnet(
        self, _request: Request, bucket: str, key: str, headers: tuple[Header, ...]
    ) -> Response:
        link = self._lookup.magnet_link(bucket, key)
        headers += ((b"Content-Type", b"text/plain; charset=utf-8"),)
        return Response(200, f"{link}\n".encode(), headers)


def has_it(request: Request, etag: bytes) -> bool:
    """Tell whether If-None-Match names the ETag (RFC 9110, 13.1.2: the weak comparison)."""
    if_none_match = request.all_headers(b"if-none-match")
    tags = [tag.strip() for header in if_none_match for tag in header.split(b",")]
    return b"*" in tags or any(tag.removeprefix(b"W/") == etag for tag in tags)


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
