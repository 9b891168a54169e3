"""A web seed on loopback: the public listener before a hub a cache, and an origin to turn."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from seeder.gateway.access import Keyring, ReadKey
from seeder.gateway.documents import Documents
from seeder.gateway.downloads import Downloads
from seeder.gateway.index import Index
from seeder.gateway.links import Links
from seeder.http.service import ServerLimits
from seeder.ledger.limits import Level
from seeder.net.buckets import AddressLimiter
from seeder.net.doors import Door, Doors
from seeder.torrent.catalog import Catalog
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.announce import ScrapeCounts
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.register import Register
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.units import MIB
from tests.gateway.support import make_routes, objects_of
from tests.http.serving import Reply, ask, get, serving
from tests.peer.node import Limits, Node
from tests.peer.node import serving as serving_peers
from tests.support.passkeys import Keys
from tests.tracker.announcing import OWN_PORT

ANNOUNCE = "http://127.0.0.1:6969/announce"
GATEWAY = "http://127.0.0.1:6969"
PATH = "/b/object-0"


@dataclass
class Seed:
    """A running web seed of the bucket `b`; its first object is at PATH."""

    node: Node
    downloads: Downloads
    documents: Documents
    catalog: Catalog
    keyring: Keyring
    passkeys: Keys
    register: Register
    """Of the passkeys that were made and revoked."""
    door: Door
    """Of the gateway; `follow` changes it."""
    port: int

    @property
    def torrent(self) -> Torrent:
        return self.node.torrent

    @property
    def counted(self) -> tuple[int, int]:
        """What the ledger has of the first object: bytes uploaded and delivered."""
        counters = self.node.tally.counters
        return counters.uploaded_bytes, counters.delivered_verified_bytes

    def hold_back(self, level: Level) -> None:
        """Keep to a level of the budget, as the daemon does."""
        self.node.hold_back(level)
        self.downloads.allow(allowed=level < Level.TRACKER_ONLY)

    def retire(self) -> None:
        """Let the first object go, as the daemon does when it has changed."""
        self.node.hub.remove_torrent(self.torrent, "retired")
        self.downloads.end(self.torrent)

    async def ask(self, target: str, *headers: str, method: str = "GET") -> Reply:
        """Return the answer to one request on a connection of its own."""
        return await ask(self.port, get(target, *headers, "Connection: close", method=method))


@asynccontextmanager
async def seeding(
    directory: Path,
    *objects: tuple[bytes, int],
    limits: Limits | None = None,
    server: ServerLimits = ServerLimits(),  # noqa: B008  (frozen)
    memory: int = 64 * MIB,
    disk: int = 0,
    public: bool = True,
    keys: Sequence[ReadKey] = (),
    proxies: Sequence[str] = (),
    limiter: AddressLimiter | None = None,
    ranges: AddressLimiter | None = None,
    **options: Any,
) -> AsyncIterator[Seed]:
    """Serve objects, each (bytes, piece length), at /b/object-0, /b/object-1 and so on."""
    catalog = Catalog()
    async with (
        serving_peers(
            directory, *objects, limits=limits, memory=memory, disk=disk, **options
        ) as node,
        trio.open_nursery() as nursery,
    ):
        keyring, passkeys, door = Keyring(keys), Keys(), Door()
        issuer = passkeys.issuer()
        documents, downloads = Documents(node.uploads, door), Downloads(node.uploads, door)
        links = Links(ANNOUNCE, GATEWAY, web_seed=True)
        nursery.start_soon(downloads.run)
        for torrent in node.torrents.values():
            publication = Publication(torrent.pinned.ref, public)
            catalog.add(publication)
            catalog.serve(publication, torrent)
        routes = make_routes(
            Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1)),
            objects_of(catalog, links, issuer),
            proxies=proxies,
            limiter=limiter,
            ranges=ranges,
            keyring=keyring,
            documents=documents,
            downloads=downloads,
            index=Index(catalog, links, lambda info_hash: ScrapeCounts(), trio.current_time),
            catalog=catalog,
            doors=Doors(Door(), Door(), door),
        )
        async with serving(routes, server, meter=node.uploads.overhead) as port:
            yield Seed(
                node, downloads, documents, catalog, keyring, passkeys, issuer.register, door, port
            )
        assert len(downloads) == len(documents) == 0
        nursery.cancel_scope.cancel()
