"""The public listener's table of routes."""

import logging
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from secrets import token_hex

import trio

from seeder.config.sections import Config
from seeder.errors import AnnounceError
from seeder.gateway.access import Authorisation, Keyring
from seeder.gateway.announces import TrackerRoutes
from seeder.gateway.clients import Sources, TrustedProxies
from seeder.gateway.index import PublicList
from seeder.gateway.index_routes import ListingRoutes
from seeder.gateway.links import gateway_url, web_seed_url
from seeder.gateway.naming import Naming
from seeder.gateway.objects import ObjectRoutes, PublicFace, TorrentLookup
from seeder.gateway.s3errors import S3Error
from seeder.gateway.webseed import Open, WebSeed
from seeder.http.messages import Request, Response, query_names
from seeder.net.buckets import AddressLimiter
from seeder.torrent.catalog import Catalog
from seeder.tracker.swarms import Swarms

REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 50.0, 500.0
"""To the public listener, of one address (IPv6: one /64): room for a large NAT."""
LISTING_REQUESTS = 5
"""As how many requests of an address a page of the listing counts: it takes milliseconds."""
_LOG = logging.getLogger(__name__)
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_READS = (b"GET", b"HEAD")


def _request_id() -> str:
    """Return 16 hexadecimal digits, as in S3's x-amz-request-id."""
    return token_hex(8).upper()


class PublicRoutes:
    """The handler of the public listener.

    | path                                | answer                                   |
    |-------------------------------------|------------------------------------------|
    | /announce, /announce/ANYTHING       | the tracker                              |
    | /scrape, /scrape/ANYTHING           | the tracker                              |
    | /BUCKET/KEY?torrent, ?magnet        | the object's torrent file, magnet link   |
    | /BUCKET/KEY                         | the object, where there is a web seed    |
    | /                                   | the public torrents, or a line of text   |

    Where a key can be meant, the query decides before the path, so that a bucket may be called
    `announce`. Otherwise a passkey follows, of which none are configured: it doesn't matter.
    Where the host names the bucket, the path is / and the key.
    """

    def __init__(
        self,
        swarms: Swarms,
        lookup: TorrentLookup,
        authorisation: Authorisation,
        *,
        naming: Naming,
        listing: ListingRoutes | None = None,
        web_seed: WebSeed | None = None,
        proxies: TrustedProxies,
        limiter: AddressLimiter | None = None,
        clock: Callable[[], float] = trio.current_time,
        request_id: Callable[[], str] = _request_id,
    ) -> None:
        self._sources = Sources(proxies, limiter, clock)
        self._tracker = TrackerRoutes(swarms, self._sources, clock=clock)
        self._naming = naming
        self._listing = listing
        self._objects = ObjectRoutes(
            *(lookup, authorisation, naming), web_seed=web_seed, request_id=request_id
        )

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request."""
        path, may_read = request.path, request.method in _READS and not request.has_body
        bucket = self._naming.bucket_of_host(request)
        # By far the most frequent, and no objects unless the host names a bucket.
        if bucket is None and may_read:
            if path == b"/announce":
                return self._tracker.announce(request)
            if path == b"/scrape":
                return self._tracker.scrape(request)
        page = _object_page(request)
        if page is not None or self._objects.has_content(request):
            return self._object(request, page, may_read)
        if not may_read:
            return Response(405, b"only GET and HEAD\n", (_TEXT, (b"Allow", b"GET, HEAD")))
        if path == b"/announce" or path.startswith(b"/announce/"):
            return self._tracker.announce(request)
        if path == b"/scrape" or path.startswith(b"/scrape/"):
            return self._tracker.scrape(request)
        if path == b"/":
            return self._root(request, bucket)
        return Response(404, b"not found; torrents are at /BUCKET/KEY?torrent\n", (_TEXT,))

    def _root(self, request: Request, bucket: str | None) -> Response:
        if self._listing is None:
            return Response(200, b"A BitTorrent tracker for objects in S3.\n", (_TEXT,))
        try:
            self._admit(request, LISTING_REQUESTS)
        except S3Error as error:
            return Response(error.status, f"{error.message}\n".encode(), (_TEXT,))
        return self._listing.listing(request, bucket)

    def _object(
        self, request: Request, page: bytes | None, may_read: bool
    ) -> Response | Awaitable[Response]:
        try:
            if not may_read:
                raise S3Error("MethodNotAllowed", "only GET and HEAD, without a body")
            source = self._admit(request)
        except S3Error as error:
            return self._objects.refuse(request, error)
        if page == b"torrent":
            return self._objects.torrent(request)
        if page == b"magnet":
            return self._objects.magnet(request)
        return self._objects.content(request, str(ip_address(source)))

    def _admit(self, request: Request, requests: int = 1) -> bytes:
        """Count a request of its client as so many, and return the client's packed IP address.

        S3Error when it has to wait.
        """
        try:
            source, _ = self._sources.source(request)
        except AnnounceError as error:
            raise S3Error("InvalidRequest", error.reason) from error
        if not self._sources.admit(source, requests):
            raise S3Error("SlowDown", "reduce your request rate")
        return source


def _object_page(request: Request) -> bytes | None:
    """Return which of an object's pages the query asks for, if any."""
    names = query_names(request.query)
    for page in (b"torrent", b"magnet"):
        if page in names:
            return page
    return None


def public_routes(
    config: Config,
    catalog: Catalog,
    swarms: Swarms,
    keyring: Keyring,
    announce: str,
    *,
    open_download: Open,
) -> PublicRoutes:
    """Return the handler; `announce` is the URL that torrents name.

    `open_download` gives what the web seed sends, where there is one.
    """
    before = web_seed_url(config, announce)
    face = PublicFace(catalog, announce, config.peer, config.origins, before)
    web_seed = None
    if before is not None:
        _LOG.info("web seed: torrents name %s/BUCKET/KEY", before)
        web_seed = WebSeed(face.content, open_download)
    return PublicRoutes(
        swarms,
        face,
        Authorisation(face, keyring, time.time),
        naming=Naming(config.gateway.domains),
        listing=_listing(config, catalog, announce) if config.gateway.listing else None,
        web_seed=web_seed,
        proxies=TrustedProxies([str(network) for network in config.tracker.trusted_proxies]),
        limiter=AddressLimiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE),
    )


def _listing(config: Config, catalog: Catalog, announce: str) -> ListingRoutes:
    base = gateway_url(config, announce)
    shown = PublicList(
        *(catalog, announce, base),
        peer=config.peer,
        web_seed=web_seed_url(config, announce),
        clock=trio.current_time,
    )
    return ListingRoutes(shown, url=f"{base}/")
