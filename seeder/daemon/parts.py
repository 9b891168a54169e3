"""The making of those parts of a node that take values from several places."""

import random
import secrets
import time
from collections.abc import Container
from functools import partial

import trio

from seeder import __version__
from seeder.config.sections import Config
from seeder.daemon.audience import NodeAudience
from seeder.daemon.descriptors import Descriptors
from seeder.daemon.foundation import LISTINGS, Foundation
from seeder.daemon.listeners import Listeners, address_of
from seeder.daemon.sidecars import Sidecars
from seeder.daemon.warming import Warmer
from seeder.daemon.writer import writer_of
from seeder.gateway.issuing import Issuer
from seeder.gateway.links import Links
from seeder.gateway.published import PublishedObjects
from seeder.ledger.counters import Ledger
from seeder.net.doors import Door
from seeder.net.passes import Passes
from seeder.peer.doorkeeper import Doorkeeper
from seeder.peer.hub import Hub
from seeder.publish.listings import ListingStore
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash
from seeder.torrent.torrent import Torrent
from seeder.tracker.holders import Holders
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.upload.plans import SuperSeeds
from seeder.upload.uploads import Uploads

CLIENT = f"seeder/{__version__}"
# Azureus style (BEP 20); no other client is SB.
_PEER_ID_PREFIX = b"-SB0100-"


def make_swarms(config: Config, listeners: Listeners, rng: random.Random, ledger: Ledger) -> Swarms:
    """Return the tracker's swarms; each hands out the address of our own peer listener."""
    tracker = config.tracker
    policy = SwarmPolicy(interval=tracker.interval, peers_per_address=tracker.peers_per_address)
    v4, v6 = 0, 0
    for address in map(address_of, listeners.peer):
        if ":" in address.host:
            v6 = v6 or address.port
        else:
            v4 = v4 or address.port
    own = OwnSeeder(v4, port_v6=v6)
    by_group = ledger.groups
    swarms = Swarms(
        policy,
        own,
        rng=rng,
        groups=by_group.groups,
        by_group=by_group,
        holders=Holders(time.time, ledger.holders),
    )
    swarms.loading = True
    return swarms


def make_uploads(
    config: Config,
    foundation: Foundation,
    swarms: Swarms,
    descriptors: Descriptors,
    rng: random.Random,
) -> Uploads:
    """Return the uploads; as many connections as there are `descriptors` for."""
    super_seeds = SuperSeeds(
        enabled=config.peer.super_seeding == "auto",
        other_seeds=lambda info_hash: swarms.statistics(InfoHash(info_hash)).seeds,
        cache_bytes=config.cache.memory + config.cache.disk,
        held=foundation.cache.held,
        rng=rng,
    )
    return Uploads(
        descriptors.fit(config.peer),
        cache=foundation.cache,
        account=foundation.account,
        unattributed=foundation.ledger.unattributed,
        super_seeds=super_seeds,
        origins=foundation.origins,
        group_at=foundation.ledger.groups.at,
        sent_to=foundation.ledger.holders.sent,
    )


def make_hub(
    uploads: Uploads,
    catalog: Catalog,
    swarms: Swarms,
    elsewhere: Container[InfoHash],
    *,
    door: Door,
    passes: Passes,
) -> Hub:
    """Return the hub, whose visitors the swarms hear of; it has a new peer id.

    It knows nothing of the torrents that are `elsewhere`.
    """

    def find(info_hash: bytes) -> Torrent | None:
        torrent = catalog.by_hash(info_hash)
        return None if torrent is None or torrent.info_hash in elsewhere else torrent

    return Hub(
        uploads,
        find=find,
        visited=lambda info_hash, address, at_once: swarms.visited(
            InfoHash(info_hash), address, at_once, trio.current_time()
        ),
        membership=Doorkeeper(swarms.members, swarms.holders),
        peer_id=_PEER_ID_PREFIX + secrets.token_hex(6).encode(),
        client=CLIENT,
        door=door,
        passes=passes,
    )


def make_publisher(
    config: Config,
    foundation: Foundation,
    catalog: Catalog,
    audience: NodeAudience,
    *,
    nursery: trio.Nursery,
    rng: random.Random,
) -> Publisher:
    """Return the publisher, whose tasks run in `nursery`; the audience hears of each torrent."""
    return Publisher(
        nursery,
        catalog=catalog,
        ledger=foundation.ledger,
        store=foundation.store,
        listings=ListingStore(config.state_directory / LISTINGS),
        library=foundation.library,
        makers=foundation.makers,
        audience=audience,
        rng=rng,
    )


def make_sidecars(
    config: Config,
    foundation: Foundation,
    catalog: Catalog,
    publisher: Publisher,
    *,
    links: Links,
    issuer: Issuer,
) -> Sidecars:
    """Return what puts torrents beside their objects: those of which this node is the first."""
    split = foundation.split
    return Sidecars(
        origins=foundation.origins,
        catalog=catalog,
        ledger=foundation.ledger,
        settings_of=publisher.settings_of,
        published=PublishedObjects(catalog, links, config.origins, issuer),
        announce=lambda: links.announce,
        who=partial(writer_of, config),
        is_ours=split.is_first if split is not None else lambda _: True,
    )


def make_warmer(
    config: Config, foundation: Foundation, catalog: Catalog, publisher: Publisher
) -> Warmer:
    """Return what reads objects into the cache ahead: those that are this node's."""
    split = foundation.split
    return Warmer(
        catalog=catalog,
        cache=foundation.cache,
        capacity=config.cache.disk or config.cache.memory,
        settings_of=publisher.settings_of,
        torrent_of=publisher.torrent_of,
        is_ours=split.is_ours if split is not None else lambda _: True,
    )
