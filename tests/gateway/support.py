"""What tests of several modules of the gateway use."""

import random
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from xml.etree import ElementTree

import pytest
import trio

from seeder.config.origins import OriginSettings
from seeder.gateway.access import Keyring, Terms
from seeder.gateway.announces import TrackerRoutes
from seeder.gateway.buckets import BucketRoutes
from seeder.gateway.clients import Clients, TrustedProxies
from seeder.gateway.documents import Documents
from seeder.gateway.downloads import Downloads
from seeder.gateway.index import Index, IndexEntry, IndexPage, IndexQuery
from seeder.gateway.index_routes import IndexRoutes
from seeder.gateway.issuing import Issuer
from seeder.gateway.keyed import Visitor
from seeder.gateway.links import Links
from seeder.gateway.naming import Naming
from seeder.gateway.objects import ObjectRoutes, make_request_id
from seeder.gateway.published import PublishedObjects, TorrentFile
from seeder.gateway.routes import PublicRoutes
from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request, Response, split_target
from seeder.net.addresses import HostPort
from seeder.net.buckets import AddressLimiter
from seeder.net.doors import Door, Doors
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.announce import ScrapeCounts
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.support.passkeys import Keys
from tests.tracker.announcing import HASH, OWN_PORT, SIZE, Ledger

ANNOUNCE = "http://tracker.example.org:6969/announce"
GATEWAY = "http://tracker.example.org:6969"
OWNER = "111122223333"
REQUEST_ID = "7CD745EBB7AB5ED9"
TORRENT = TorrentFile(b"d4:infodee", '"0123"', "Nelson.torrent")
MAGNET = "magnet:?xt=urn:btih:6868"
ENTRY = IndexEntry(
    bucket="quotes",
    key="Nelson",
    size=3 * 2**30,
    info_hash="68" * 20,
    torrent_url="https://t.example.org/quotes/Nelson?torrent",
    magnet="magnet:?xt=urn:btih:6868&dn=Nelson&tr=http%3A%2F%2Ft.example.org%2Fannounce",
)


def publish(
    catalog: Catalog, key: str, *, origin: str = "default", public: bool = True, live: bool = True
) -> Publication:
    """Add bucket/KEY, an object of 5 bytes, to a catalog."""
    publication = Publication(ObjectRef(origin, "bucket", key), public)
    catalog.add(publication)
    if live:
        info = parse_info(build_info(name=key, layout=Layout(5, 16384), pieces=b"h" * 20))
        catalog.serve(publication, Torrent(info, PinnedObject(publication.ref, '"e"', 5), "build"))
    return publication


def objects_of(
    catalog: Catalog, links: Links | None = None, issuer: Issuer | None = None
) -> PublishedObjects:
    """Return the objects of a catalog with two origins."""
    origins = {
        "default": OriginSettings(),
        "payer": OriginSettings(request_payer=True, expected_bucket_owner=OWNER),
    }
    links = links or Links(ANNOUNCE, GATEWAY, peers=[HostPort("203.0.113.7", 6881)])
    return PublishedObjects(catalog, links, origins, issuer or Keys().issuer())


class AnyObjects(PublishedObjects):
    """Has whatever is asked for, but for some, and notes it; there are no torrents behind it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.issuer = Keys().issuer()

    def find(self, bucket: str, key: str) -> Publication:
        if bucket == "missing":
            raise S3Error("NoSuchBucket", "none")
        if key.startswith("missing"):
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        hidden = key.startswith(("private", "secret"))
        return Publication(ObjectRef("default", bucket, key), public=not hidden)

    def has_bucket(self, bucket: str) -> bool:
        return False

    def terms(self, publication: Publication) -> Terms:
        paid = publication.ref.bucket == "paid"
        return Terms(publication.public, OWNER if paid else None, paid)

    def _give(self, publication: Publication) -> None:
        ref = publication.ref
        self.asked.append((ref.bucket, ref.key))
        if ref.key == "soon":
            raise S3Error("ServiceUnavailable", "being made")

    async def torrent_file(
        self, publication: Publication, holder: str | None = None
    ) -> TorrentFile:
        self._give(publication)
        return TORRENT

    async def magnet_link(self, publication: Publication) -> str:
        self._give(publication)
        return MAGNET


class Unlimited(Documents):
    """Lets every body go as it is."""

    def __init__(self) -> None:
        pass

    def limited(
        self,
        request: Request,
        response: Response,
        client: bytes,
        torrent: Torrent | None = None,
        *,
        visitor: Visitor | None = None,
    ) -> Response:
        return response


class OnePage(Index):
    """Answers with one page, and notes what was asked."""

    def __init__(self, page: IndexPage) -> None:
        links = Links(ANNOUNCE, "https://t.example.org")
        super().__init__(Catalog(), links, lambda info_hash: ScrapeCounts(), float)
        self.asked: list[IndexQuery] = []
        self._page = page

    async def page(self, query: IndexQuery) -> IndexPage:
        self.asked.append(query)
        return self._page


def page_of(
    *entries: IndexEntry, previous: str | None = None, after: str | None = None
) -> IndexPage:
    """Return a page that shows these torrents."""
    return IndexPage(entries, first=1, total=len(entries), previous=previous, next=after)


def make_routes(
    swarms: Swarms,
    objects: PublishedObjects,
    *,
    proxies: Sequence[str] = (),
    limiter: AddressLimiter | None = None,
    ranges: AddressLimiter | None = None,
    domains: Sequence[str] = (),
    keyring: Keyring | None = None,
    documents: Documents | None = None,
    downloads: Downloads | None = None,
    index: Index | None = None,
    catalog: Catalog | None = None,
    doors: Doors | None = None,
    clock: Callable[[], float] = trio.current_time,
    unix_clock: Callable[[], float] = time.time,
    request_id: Callable[[], str] = make_request_id,
) -> PublicRoutes:
    """Put the public listener's handler together; without a limiter nobody asks too often."""
    trusted = TrustedProxies([ip_network(network) for network in proxies])
    if limiter is None:
        limiter = AddressLimiter(rate=1e9, burst=1e9)
    clients = Clients(trusted, limiter, ranges or AddressLimiter(rate=1e9, burst=1e9), clock, doors)
    naming = Naming(domains)
    if documents is None:
        documents = Unlimited()
    routes = ObjectRoutes(
        objects,
        naming,
        keyring or Keyring(),
        documents,
        downloads,
        clock=unix_clock,
        request_id=request_id,
    )
    return PublicRoutes(
        clients,
        TrackerRoutes(swarms, clients, clock),
        naming,
        routes,
        BucketRoutes(
            catalog or Catalog(),
            objects,
            keyring or Keyring(),
            listed=index is not None,
            clock=unix_clock,
        ),
        documents=documents,
        index=IndexRoutes(index) if index is not None else None,
    )


def answer_at_once(routes: PublicRoutes, request: Request) -> Response:
    """Return what the routes answer without waiting for anything."""
    response = routes(request)
    if isinstance(response, Response):
        return response
    steps = response.__await__()
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert isinstance(ended.value.value, Response)
    return ended.value.value


class Public:
    """The routes, asked without a socket in between."""

    def __init__(
        self,
        *,
        proxies: Sequence[str] = (),
        limiter: AddressLimiter | None = None,
        domains: Sequence[str] = (),
        keyring: Keyring | None = None,
        index: Index | None = None,
        now: float = 0.0,
    ) -> None:
        self.ledger, self.objects, self.now = Ledger(), AnyObjects(), now
        self.swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
        self.swarms.open(HASH, size=SIZE, claims=self.ledger)
        self.doors = Doors(Door(), Door(), Door())
        self.routes = make_routes(
            self.swarms,
            self.objects,
            proxies=proxies,
            limiter=limiter,
            domains=domains,
            keyring=keyring,
            index=index,
            doors=self.doors,
            clock=lambda: self.now,
            unix_clock=lambda: self.now,
            request_id=lambda: REQUEST_ID,
        )

    def get(
        self,
        target: str,
        *headers: tuple[str, str],
        method: str = "GET",
        peer: str = "192.0.2.1",
        local: str = "203.0.113.7",
        has_body: bool = False,
    ) -> Response:
        path, query = split_target(target.encode())
        return self.ask(
            Request(
                method.encode(),
                path,
                query,
                [(name.lower().encode(), value.encode()) for name, value in headers],
                (peer, 4711),
                (local, 6969),
                has_body=has_body,
            )
        )

    def ask(self, request: Request) -> Response:
        """Return what the routes answer without waiting for anything."""
        return answer_at_once(self.routes, request)


def header(response: Response, name: bytes) -> bytes | None:
    """Return a header of a response."""
    return dict(response.headers).get(name)


def error_code(response: Response) -> str | None:
    """Return the code of an error as S3 words it."""
    assert isinstance(response.body, bytes)
    assert header(response, b"Content-Type") == b"application/xml"
    root = ElementTree.fromstring(response.body)
    assert root.tag == "Error"
    assert root.findtext("RequestId") == REQUEST_ID
    assert header(response, b"x-amz-request-id") == REQUEST_ID.encode()
    return root.findtext("Code")
