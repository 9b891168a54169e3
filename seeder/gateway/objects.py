"""GET /BUCKET/KEY?torrent, as S3 had it (GetObjectTorrent), ?magnet beside it, and the object."""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio

from seeder.config.sections import OriginSettings, PeerSettings
from seeder.errors import MetainfoError, StorageError
from seeder.gateway.access import Authorisation, Terms, is_charged
from seeder.gateway.links import magnet_of, torrent_file_of
from seeder.gateway.naming import Naming
from seeder.gateway.s3errors import S3Error, error_response
from seeder.gateway.webseed import Content, WebSeed
from seeder.http.headers import content_disposition, tags_match
from seeder.http.messages import Header, Request, Response, query_names
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.info import Info, safe_name
from seeder.torrent.objects import PinnedBundle

_LOG = logging.getLogger(__name__)

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
        if tags_match(request.all_headers(b"if-none-match"), found.etag.encode(), weakly=True):
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


class PublicFace:
    """The catalog as the public may see it: torrents by object, and on what terms they are given.

    What may be had is not asked here, but of `seeder.gateway.access`.
    """

    def __init__(
        self,
        catalog: Catalog,
        announce: str,
        peer: PeerSettings,
        origins: Mapping[str, OriginSettings],
        web_seed: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._announce = announce
        self._peer = peer
        self._origins = origins
        self._web_seed = web_seed

    def terms(self, bucket: str, key: str) -> Terms:
        """Return the terms of an object; S3Error NoSuchBucket, NoSuchKey."""
        publication = self._find(bucket, key)
        origin = self._origins[publication.ref.origin]
        return Terms(publication.public, origin.expected_bucket_owner, origin.request_payer)

    async def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        """Return the torrent of an object as it is now; S3Error while there is none."""
        publication = self._find(bucket, key)
        torrent, web_seed = _served(publication), self._web_seed_of(publication)
        async with _at_hand(torrent) as info:
            make = partial(torrent_file_of, torrent, self._announce, web_seed)
            # A hybrid's piece layer is on disk.
            body = make() if torrent.hashes is None else await trio.to_thread.run_sync(make)
        # A prefix ends with a slash, behind which there is no name.
        name = info.name if isinstance(torrent.pinned, PinnedBundle) else safe_name(key)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{name}.torrent")

    async def magnet_link(self, bucket: str, key: str) -> str:
        """Return the magnet link of an object as it is now; S3Error while there is none."""
        publication = self._find(bucket, key)
        torrent, web_seed = _served(publication), self._web_seed_of(publication)
        async with _at_hand(torrent):
            return magnet_of(torrent, self._announce, self._peer, web_seed)

    def content(self, bucket: str, key: str) -> Content:
        """Return an object as it is now; S3Error while it isn't served."""
        torrent = _served(self._find(bucket, key))
        if isinstance(torrent.pinned, PinnedBundle):
            raise S3Error("NoSuchKey", "That is a prefix; its torrent has the objects.")
        tag = torrent.pinned.etag.removeprefix("W/").strip('"')
        # Of two objects with the same content, the pieces of one are kept.
        kept = self._catalog.by_hash(torrent.info_hash) or torrent
        return Content(kept, f'"{tag}"', safe_name(key))

    def _web_seed_of(self, publication: Publication) -> str | None:
        """Return the web seed that a torrent names: BitTorrent clients sign nothing."""
        return self._web_seed if publication.public else None

    def _find(self, bucket: str, key: str) -> Publication:
        publication = self._catalog.by_name(bucket, key)
        if publication is not None:
            return publication
        if self._catalog.has_bucket(bucket):
            raise S3Error("NoSuchKey", "The specified key is not published here.")
        raise S3Error("NoSuchBucket", "Nothing of the specified bucket is published here.")


@asynccontextmanager
async def _at_hand(torrent: Torrent) -> AsyncIterator[Info]:
    """Have a torrent's info in memory for the block; S3Error where the disk doesn't give it."""
    try:
        yield await torrent.fetch_info()
    except (StorageError, MetainfoError) as error:
        _LOG.error("%s: no torrent file: %s", torrent.pinned.ref, error)
        raise S3Error(
            "ServiceUnavailable", "The torrent can't be read; please try again."
        ) from error


def _served(publication: Publication) -> Torrent:
    if publication.torrent is not None:
        return publication.torrent
    if publication.state is State.FAILED:
        # The reason is the operator's affair: it may tell of credentials.
        raise S3Error("NoSuchKey", "The object can't be published at present.")
    raise S3Error("ServiceUnavailable", "The torrent is being made; please try again.")
