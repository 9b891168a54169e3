"""GET /BUCKET/KEY?torrent, as S3 had it (GetObjectTorrent), ?magnet beside it, and the object."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from seeder.gateway.access import Authorisation, is_charged
from seeder.gateway.naming import Naming
from seeder.gateway.s3errors import S3Error, error_response
from seeder.gateway.webseed import WebSeed
from seeder.http.disposition import content_disposition
from seeder.http.headers import names
from seeder.http.messages import Header, Request, Response, query_names

_SUBRESOURCES = frozenset(
    b"acl attributes cors legal-hold partNumber policy retention tagging uploadId uploads"
    b" versionId versions".split()
)
"""Of S3: who asks for one of them must not get the object instead."""


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

    async def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        """Return the torrent of an object; S3Error while there is none."""
        ...

    async def magnet_link(self, bucket: str, key: str) -> str:
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
        web_seed: WebSeed | None,
        request_id: Callable[[], str],
    ) -> None:
        self._lookup = lookup
        self._web_seed = web_seed
        self._authorisation = authorisation
        self._naming = naming
        self._request_id = request_id

    async def torrent(self, request: Request) -> Response:
        """Answer `?torrent` with the object's torrent file, or 304 where the client has it."""
        try:
            bucket, key, headers = self._authorised(request)
            found = await self._lookup.torrent_file(bucket, key)
        except S3Error as error:
            return self.refuse(request, error)
        headers += ((b"ETag", found.etag.encode()),)
        if names(request.all_headers(b"if-none-match"), found.etag.encode(), weakly=True):
            return Response(304, b"", headers)
        headers += (
            (b"Content-Disposition", content_disposition(found.filename)),
            (b"Content-Type", b"application/x-bittorrent"),
        )
        return Response(200, found.body, headers)

    async def magnet(self, request: Request) -> Response:
        """Answer `?magnet` with the link as a line of text."""
        try:
            bucket, key, headers = self._authorised(request)
            link = await self._lookup.magnet_link(bucket, key)
        except S3Error as error:
            return self.refuse(request, error)
        headers += ((b"Content-Type", b"text/plain; charset=utf-8"),)
        return Response(200, f"{link}\n".encode(), headers)

    def has_content(self, request: Request) -> bool:
        """Tell whether a request without a page means an object, and not the tracker."""
        if self._web_seed is None:
            return False
        try:
            named = self._naming.object_of(request)
        except S3Error:
            return False
        if request.path.split(b"/")[1] not in (b"announce", b"scrape"):
            return True
        return b"info_hash=" not in request.query and self._web_seed.publishes(*named)

    async def content(self, request: Request, address: str) -> Response:
        """Answer with the object itself, for the client at an IP address."""
        assert self._web_seed is not None
        try:
            bucket, key, headers = self._authorised(request)
            if other := query_names(request.query) & _SUBRESOURCES:
                what = ", ".join(sorted(name.decode() for name in other))
                why = f"There is the object, ?torrent and ?magnet, but no {what}."
                raise S3Error("InvalidRequest", why)
            answer = await self._web_seed.answer(request, bucket, key, address)
        except S3Error as error:
            return self.refuse(request, error)
        return replace(answer, headers=headers + answer.headers)

    def refuse(self, request: Request, error: S3Error) -> Response:
        """Answer with an error as S3 words it."""
        return error_response(error, resource=request.path, request_id=self._request_id())

    def _authorised(self, request: Request) -> tuple[str, str, tuple[Header, ...]]:
        """Return bucket and key of a request that may have the object, and what to say of that."""
        bucket, key = self._naming.object_of(request)
        terms = self._authorisation.authorise(request, bucket, key)
        headers: tuple[Header, ...] = ((b"x-amz-request-id", self._request_id().encode()),)
        if is_charged(request, terms):
            headers += ((b"x-amz-request-charged", b"requester"),)
        # The address is stable, what it leads to is not: the object may be replaced.
        headers += ((b"Cache-Control", b"no-cache" if terms.public else b"private, no-cache"),)
        return bucket, key, headers
