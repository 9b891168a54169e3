"""The public listener's handler: its table of routes, and how its parts are put together."""

import logging
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import trio

from seeder.config.sections import Config
from seeder.gateway.access import Keyring
from seeder.gateway.announces import TrackerRoutes
from seeder.gateway.buckets import BucketRoutes
from seeder.gateway.clients import LONG_REPLY, RANGE_PATIENCE, Clients
from seeder.gateway.cors import answer_preflight, for_pages, is_preflight
from seeder.gateway.documents import Documents
from seeder.gateway.downloads import ADDRESS_DENIED, Downloads
from seeder.gateway.index import Index
from seeder.gateway.index_routes import IndexRoutes
from seeder.gateway.issuing import Issuer
from seeder.gateway.links import Links
from seeder.gateway.naming import Naming
from seeder.gateway.objects import ObjectRoutes
from seeder.gateway.published import PublishedObjects
from seeder.gateway.s3errors import S3Error, error_text
from seeder.http.messages import Request, Response, query_names
from seeder.torrent.catalog import Catalog
from seeder.torrent.torrent import Torrent
from seeder.tracker.swarms import Swarms
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

INDEX_REQUESTS = 5
"""A page of the index counts as so many requests of its client: it takes milliseconds."""
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_TOO_OFTEN = "reduce your request rate"
_SOON = 5.0
"""Seconds after which who asked too often may ask again; he has half his requests by then."""
_READ_ONLY = "This gateway only reads: it takes GET and HEAD, without a body."
_READS = (b"GET", b"HEAD")


class PublicRoutes:
    """The handler of the public listener.

    | path                                | answer                                   |
    |-------------------------------------|------------------------------------------|
    | /announce, /announce/ANYTHING       | the tracker                              |
    | /scrape, /scrape/ANYTHING           | the tracker                              |
    | /BUCKET/KEY?torrent, ?magnet        | the object's torrent file, magnet link   |
    | /BUCKET/KEY                         | the object, where there is a web seed    |
    | /BUCKET/PREFIX/~files/NAME/PATH     | a file of a bundle, likewise             |
    | /-/PASSKEY/BUCKET/KEY               | the same for the holder of a passkey     |
    | /BUCKET                             | what of it is served, as S3 lists it     |
    | /                                   | the index, or a line of text             |

    Where a path can name an object, the query decides first, so that a bucket may be called
    `announce`. What follows /announce/ is taken for a passkey, which only private torrents need.
    Where the host names the bucket, the path is / and the key. Clients of S3 get a listing at /.
    """

    def __init__(
        self,
        clients: Clients,
        tracker: TrackerRoutes,
        naming: Naming,
        objects: ObjectRoutes,
        buckets: BucketRoutes,
        *,
        documents: Documents,
        index: IndexRoutes | None,
    ) -> None:
        self._clients = clients
        self._tracker = tracker
        self._naming = naming
        self._objects = objects
        self._buckets = buckets
        self._documents = documents
        self._index = index

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request."""
        path, may_read = request.path, request.method in _READS and not request.has_body
        bucket = self._naming.bucket_of_host(request)
        # By far the most frequent requests. Objects only where the host names a bucket.
        if bucket is None and may_read:
            if path == b"/announce":
                return self._tracker.announce(request)
            if path == b"/scrape":
                return self._tracker.scrape(request)
        if bucket is None and may_read:
            keyed = self._objects.split_keyed(request)
            if keyed is not None:
                return self._keyed(*keyed)
        page = _object_page(request)
        if page is not None or self._objects.means_content(request):
            return self._object(request, page, may_read)
        tracked = self._tracker.answer(request, may_read=may_read)
        if tracked is not None:
            return tracked
        if not may_read or self._buckets.means_bucket(request, self._naming):
            return self._bucket(request, may_read)
        if path == b"/":
            return self._root(request, bucket)
        return Response(404, b"not found; torrents are at /BUCKET/KEY?torrent\n", (_TEXT,))

    def _bucket(self, request: Request, may_read: bool) -> Response | Awaitable[Response]:
        try:
            if may_read:
                return self._listing(request)
            self._admit(request)
            if is_preflight(request):
                return answer_preflight(request)
            raise S3Error("MethodNotAllowed", _READ_ONLY)
        except S3Error as error:
            return self._objects.refuse(request, error)

    def _listing(self, request: Request) -> Awaitable[Response]:
        """Return the reply to come; S3Error where the client asks far too often."""
        bucket = self._naming.bucket_alone(request)
        client = self._client(request)
        wait = self._clients.wait_for_page(client, INDEX_REQUESTS)
        if wait is None:
            raise S3Error("SlowDown", _TOO_OFTEN, retry_in=RANGE_PATIENCE)
        return self._list(request, bucket, client, wait)

    async def _list(
        self, request: Request, bucket: str | None, client: bytes, wait: float
    ) -> Response:
        if wait:
            await trio.sleep(wait)
        try:
            page = await self._buckets.answer(request, bucket)
            assert isinstance(page.body, bytes)
            # It counts as further requests, for which the next one waits.
            self._clients.wait_for_page(client, len(page.body) // LONG_REPLY)
            return self._documents.limited(request, page, client)
        except S3Error as error:
            return self._objects.refuse(request, error)

    def _root(self, request: Request, bucket: str | None) -> Response | Awaitable[Response]:
        if self._index is None:
            try:
                self._client(request)
            except S3Error as error:
                return error_text(error)
            return Response(200, b"A BitTorrent tracker for objects in S3.\n", (_TEXT,))
        try:
            client = self._admit(request, INDEX_REQUESTS)
        except S3Error as error:
            return for_pages(error_text(error))
        return self._list_torrents(self._index, request, bucket, client)

    async def _list_torrents(
        self, index: IndexRoutes, request: Request, bucket: str | None, client: bytes
    ) -> Response:
        try:
            page = await index.answer(request, bucket)
            return for_pages(self._paged(request, page, client))
        except S3Error as error:
            return for_pages(error_text(error))

    def _paged(self, request: Request, page: Response, client: bytes) -> Response:
        """Return a page as the limits of its client allow; S3Error SlowDown."""
        assert isinstance(page.body, bytes)
        if not self._clients.admit_reply(client, len(page.body)):
            raise S3Error("SlowDown", _TOO_OFTEN, retry_in=_SOON)
        return self._documents.limited(request, page, client)

    def _object(
        self, request: Request, page: bytes | None, may_read: bool
    ) -> Response | Awaitable[Response]:
        try:
            if page is None and may_read:
                return self._content(request)
            client = self._admit(request)
            if is_preflight(request):
                return answer_preflight(request)
            if not may_read:
                raise S3Error("MethodNotAllowed", _READ_ONLY)
        except S3Error as error:
            return self._objects.refuse(request, error)
        if page == b"torrent":
            return self._objects.torrent(request, client)
        return self._objects.magnet(request)

    def _keyed(self, key: bytes, request: Request) -> Response | Awaitable[Response]:
        try:
            client = self._client(request)
        except S3Error as error:
            return error_text(error)
        wait = self._clients.wait_for_range(client)
        if wait is None:
            return error_text(S3Error("SlowDown", _TOO_OFTEN, retry_in=RANGE_PATIENCE))
        return self._keyed_after(wait, key, request, client)

    async def _keyed_after(
        self, wait: float, key: bytes, request: Request, client: bytes
    ) -> Response:
        if wait:
            await trio.sleep(wait)
        return await self._objects.keyed_content(request, key, client)

    def _content(self, request: Request) -> Awaitable[Response]:
        """Return the reply to come; S3Error where the client asks far too often."""
        client = self._client(request)
        wait = self._clients.wait_for_range(client)
        if wait is None:
            raise S3Error("SlowDown", _TOO_OFTEN, retry_in=RANGE_PATIENCE)
        address = str(ip_address(client))
        if wait:
            return self._content_after(wait, request, address)
        return self._objects.content(request, address)

    async def _content_after(self, wait: float, request: Request, address: str) -> Response:
        await trio.sleep(wait)
        return await self._objects.content(request, address)

    def _admit(self, request: Request, requests: int = 1) -> bytes:
        """Count `requests` for the request's client, and return that client's packed address.

        S3Error when the client has to wait, or isn't let in.
        """
        client = self._client(request)
        if not self._clients.admit(client, requests):
            raise S3Error("SlowDown", _TOO_OFTEN, retry_in=_SOON)
        return client

    def _client(self, request: Request) -> bytes:
        """Return the packed address of a request's client; S3Error if it isn't let in."""
        client, _ = self._clients.addresses(request)
        if self._clients.doors.gateway.turns_away(client):
            raise S3Error("AccessDenied", ADDRESS_DENIED)
        return client


def public_routes(
    config: Config,
    catalog: Catalog,
    swarms: Swarms,
    keyring: Keyring,
    *,
    clients: Clients,
    links: Links,
    uploads: Uploads,
    downloads: Downloads,
    issuer: Issuer,
    url_of: Callable[[Torrent], str | None] = lambda _: None,
) -> PublicRoutes:
    """Return the handler of a configuration; `links` are those that it gives.

    `clients` are those of the tracker by whatever way they come.
    `uploads` have the limits of what is sent; `downloads` give what the web seed sends, where it is
    on. `url_of` is where another node has a torrent that this one hasn't.
    """
    clock = trio.current_time
    if links.web_seed:
        _LOG.info("web seed: torrents name %s/BUCKET/KEY", links.gateway)
    naming = Naming(config.gateway.domains)
    index = Index(catalog, links, swarms.counts, clock)
    objects = PublishedObjects(catalog, links, config.origins, issuer)
    documents = Documents(uploads, clients.doors.gateway)
    return PublicRoutes(
        clients,
        TrackerRoutes(swarms, clients, clock),
        naming,
        ObjectRoutes(
            objects,
            naming,
            keyring,
            documents,
            downloads if links.web_seed else None,
            url_of=url_of,
        ),
        BucketRoutes(catalog, objects, keyring, listed=config.gateway.listing),
        documents=documents,
        index=IndexRoutes(index) if config.gateway.listing else None,
    )


def _object_page(request: Request) -> bytes | None:
    """Return which of an object's pages the query asks for, if any."""
    names = query_names(request.query)
    for page in (b"torrent", b"magnet"):
        if page in names:
            return page
    return None
