"""The parts of one running node, each built from those before it."""

import logging
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import trio

from seeder import __version__
from seeder.admin.accounts import Accounts
from seeder.admin.cockpit import Cockpit
from seeder.admin.overview import Overview
from seeder.admin.routes import AdminRoutes
from seeder.cluster.entries import SharedEntries
from seeder.cluster.exchange import SwarmExchange
from seeder.config.added import ADDED, AddedFile, source_of_added
from seeder.config.sections import Config
from seeder.control.access import TokenDoor
from seeder.daemon.audience import NodeAudience
from seeder.daemon.bans import BanKeeper
from seeder.daemon.descriptors import Descriptors
from seeder.daemon.doors import Doorway
from seeder.daemon.events import EventSources
from seeder.daemon.fellows import Fellows
from seeder.daemon.figures import node_figures
from seeder.daemon.foundation import LISTINGS, Foundation, open_foundation
from seeder.daemon.listeners import Listeners, address_of
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.placement import Placement
from seeder.daemon.public_address import PublicAddress
from seeder.daemon.restraint import Restraint
from seeder.daemon.sidecars import Sidecars
from seeder.daemon.swarm_file import SwarmFile
from seeder.daemon.tasks import running
from seeder.daemon.warming import Warmer
from seeder.errors import ConfigError
from seeder.gateway.access import Keyring, ReadKey
from seeder.gateway.certificates import LiveCertificate
from seeder.gateway.clients import Clients
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.gateway.downloads import Downloads
from seeder.gateway.issuing import Issuer
from seeder.gateway.keys import read_or_make_signer
from seeder.gateway.links import Links, announce_url
from seeder.gateway.published import PublishedObjects
from seeder.gateway.register_file import RegisterFile
from seeder.gateway.routes import PublicRoutes, public_routes
from seeder.http.tls import Security
from seeder.ledger.counters import Ledger
from seeder.ledger.spending import prices_of
from seeder.net.addresses import HostPort
from seeder.net.doors import Door
from seeder.net.groups import Groups
from seeder.net.passes import Passes
from seeder.peer.doorkeeper import Doorkeeper
from seeder.peer.hub import Hub
from seeder.publish.additions import Additions
from seeder.publish.listings import ListingStore
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog, Torrent
from seeder.torrent.info import InfoHash
from seeder.tracker.datagrams import ConnectionIds
from seeder.tracker.holders import Holders
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.swarms import OwnSeeder, Swarms
from seeder.upload.plans import SuperSeeds
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

CLIENT = f"seeder/{__version__}"
# Azureus style (BEP 20); no other client is SB.
_PEER_ID_PREFIX = b"-SB0100-"
NO_TOKENS: Mapping[str, str] = {}
SWARMS = "swarms.json"
"""Below the state directory: the swarms as they were at most a minute ago, for the next run."""


@dataclass(slots=True, eq=False)
class Node:
    """Everything that a running daemon consists of."""

    config: Config
    """The one in force: a reload changes parts of it."""
    foundation: Foundation
    catalog: Catalog
    swarms: Swarms
    uploads: Uploads
    downloads: Downloads
    hub: Hub
    publisher: Publisher
    additions: Additions
    """What is published: by the file, and by what was added at run time."""
    keyring: Keyring
    public: PublicRoutes
    datagrams: TrackerDatagrams
    fellows: Fellows | None
    """None for a node by itself."""
    admin: AdminRoutes
    doorway: Doorway
    bans: BanKeeper
    token_door: TokenDoor
    """Who may use the control API on the admin listener."""
    events: EventSources
    sidecars: Sidecars
    warmer: Warmer
    restraint: Restraint
    overview: Overview
    descriptors: Descriptors
    tracker_port: int
    links: Links
    public_address: PublicAddress
    passkeys: PasskeyWatch
    admin_address: HostPort | None
    clients: Clients
    certificate: LiveCertificate | None

    def security(self, listeners: Sequence[socket.socket]) -> Security | None:
        """Return what speaking TLS on these listeners takes; None if there is no certificate."""
        certificate = self.certificate
        if certificate is None:
            return None
        return Security(
            listeners,
            lambda: certificate.current.context,
            self.clients.admit_handshake,
            certificate.handshakes,
        )

    def announce_url(self, config: Config) -> str:
        """Return the URL that torrents name by a configuration; ConfigError."""
        names = () if self.certificate is None else self.certificate.current.names
        return announce_url(config, self.tracker_port, names)

    def follow_certificate(self) -> None:
        """Have torrents name the host that the certificate is for, if nothing else says which."""
        with suppress(ConfigError):
            if self.links.follow(self.config, self.announce_url(self.config)):
                _LOG.info("torrents name %s from now on", self.links.announce)


@asynccontextmanager
async def open_node(
    config: Config,
    listeners: Listeners,
    keys: Sequence[ReadKey],
    certificate: LiveCertificate | None = None,
    *,
    tokens: Mapping[str, str] = NO_TOKENS,
    token: str | None = None,
) -> AsyncIterator[Node]:
    """Build a node, and run its foundation and its publisher for the length of the block.

    `tokens` are those of the webhooks, by name, `token` that of the control API. StorageError. The
    block runs what serves (see `seeder.daemon.run`), which so stops first.
    """
    rng = random.Random()
    catalog, ledger = Catalog(loading=True), Ledger()
    name = f"{socket.gethostname()}:{address_of(listeners.peer[0]).port}"
    ledger.groups.groups = Groups.named(config.tracker.groups)
    swarms = _make_swarms(config, listeners, rng, ledger)
    issuer = Issuer(
        swarms.holders,
        partial(read_or_make_signer, config),
        config.tracker.passkey_valid,
        time.time,
    )
    passkeys = PasskeyWatch(RegisterFile(config.state_directory), issuer, swarms, config)
    accounts = Accounts(ledger, catalog, swarms)
    async with (
        open_foundation(
            config, ledger, rng, resume=True, name=name, refresh=accounts.refresh
        ) as foundation,
        _shared(swarms, foundation) as exchange,
        _shared_passkeys(passkeys, foundation),
        _kept_bans(config, foundation) as bans,
        _shared_entries(config, foundation) as shared_entries,
        SwarmFile(swarms, config.state_directory / SWARMS, clock=_time_of(foundation)).remembered(),
        trio.open_nursery() as nursery,
    ):
        accounts.split = foundation.split
        descriptors = Descriptors.of(config)
        uploads = _make_uploads(config, foundation, swarms, descriptors, rng)
        doorway = Doorway(config, bans)
        doors = doorway.doors
        downloads = Downloads(uploads, doors.gateway)
        elsewhere: set[InfoHash] = set()
        clients = Clients.behind(config.tracker.trusted_proxies, trio.current_time, doors)
        passes = Passes(lambda: clients.asked_at)
        hub = _make_hub(uploads, catalog, swarms, elsewhere, door=doors.peer, passes=passes)
        doorway.guard(swarms, hub, downloads)
        placement = Placement(foundation.split, catalog, swarms, hub, elsewhere)
        if exchange is not None:
            exchange.copies.share(uploads.slots.history)
            exchange.admits = doors.tracker.admits
        foundation.history.figures = partial(
            node_figures, foundation.origins, foundation.cache, hub
        )
        publisher = Publisher(
            nursery,
            catalog=catalog,
            ledger=ledger,
            store=foundation.store,
            listings=ListingStore(config.state_directory / LISTINGS),
            library=foundation.library,
            makers=foundation.makers,
            audience=NodeAudience(
                foundation,
                swarms,
                hub,
                downloads,
                settings=config.cache,
                placement=placement,
                for_members=catalog.for_members,
            ),
            rng=rng,
        )
        events = EventSources(config, tokens, publisher.news)
        keyring = Keyring(keys)
        tracker_port = address_of(listeners.main[0]).port
        names = () if certificate is None else certificate.current.names
        udp_port = address_of(listeners.tracker_udp[0]).port if listeners.tracker_udp else 0
        links = Links.of(config, announce_url(config, tracker_port, names), udp_port=udp_port)
        ids = ConnectionIds(secrets.token_bytes(32))
        fellows = None
        if foundation.cluster is not None and foundation.split is not None:
            fellows = Fellows(foundation.cluster, foundation.split, placement, swarms, ids)
        sidecars = Sidecars(
            origins=foundation.origins,
            catalog=catalog,
            ledger=ledger,
            settings_of=publisher.settings_of,
            published=PublishedObjects(catalog, links, config.origins, issuer),
            announce=lambda: links.announce,
            is_ours=foundation.split.is_first if foundation.split is not None else lambda _: True,
        )
        warmer = Warmer(
            catalog=catalog,
            cache=foundation.cache,
            capacity=config.cache.disk or config.cache.memory,
            settings_of=publisher.settings_of,
            torrent_of=publisher.torrent_of,
            is_ours=foundation.split.is_ours if foundation.split is not None else lambda _: True,
        )
        restraint = Restraint(
            foundation,
            swarms=swarms,
            uploads=uploads,
            downloads=downloads,
            hub=hub,
            publisher=publisher,
        )
        restraint.update()
        overview = Overview(
            accounts=accounts,
            database=foundation.database,
            history=foundation.history,
            budget=foundation.budget,
            origins=foundation.origins,
            cache=foundation.cache,
            hub=hub,
            uploads=uploads,
            downloads=downloads,
            prefixes=publisher.prefixes,
            rounds_of=publisher.rounds_of,
            listeners=listeners.addresses(),
            prices=prices_of(config),
            metrics_objects=config.admin.metrics_objects,
            doors=doors,
            cluster=foundation.cluster,
            certificate=certificate,
            seeded=lambda: placement.seeded,
            exchange=exchange,
            feeds=tuple(events.feeds.values()),
            sidecar_counts=sidecars.counts,
            sidecar_fault=lambda: sidecars.fault,
        )
        if fellows is not None:
            fellows.summary = lambda: overview.node_summary().document()
        node = Node(
            config=config,
            foundation=foundation,
            catalog=catalog,
            swarms=swarms,
            uploads=uploads,
            downloads=downloads,
            hub=hub,
            publisher=publisher,
            additions=Additions(
                AddedFile(config.state_directory / ADDED),
                source_of_added(config),
                publisher,
                prepare=passkeys.look,
                clock=_clock_of(foundation),
                shared=shared_entries,
            ),
            keyring=keyring,
            public=public_routes(
                config,
                catalog,
                swarms,
                keyring,
                clients=clients,
                links=links,
                uploads=uploads,
                downloads=downloads,
                url_of=placement.url_of,
                issuer=issuer,
            ),
            datagrams=TrackerDatagrams(
                swarms,
                clients,
                ids,
                uploads.overhead,
                trio.current_time,
                ids_clock=trio.current_time if fellows is None else time.time,
            ),
            fellows=fellows,
            admin=AdminRoutes(Cockpit(overview, links), events.webhooks, config.admin.hosts),
            doorway=doorway,
            bans=bans,
            token_door=TokenDoor(token, config.admin.hosts, trio.current_time),
            events=events,
            sidecars=sidecars,
            warmer=warmer,
            restraint=restraint,
            overview=overview,
            descriptors=descriptors,
            tracker_port=tracker_port,
            links=links,
            public_address=PublicAddress(swarms, swarms.seeder, config.peer.public_address, links),
            passkeys=passkeys,
            admin_address=address_of(listeners.admin[0]) if listeners.admin else None,
            clients=clients,
            certificate=certificate,
        )
        if certificate is not None:
            certificate.changed = node.follow_certificate
        with foundation.faults.handled_by(publisher.handle_fault, publisher.handle_recovery):
            yield node


def _make_swarms(
    config: Config, listeners: Listeners, rng: random.Random, ledger: Ledger
) -> Swarms:
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


@asynccontextmanager
async def _shared(swarms: Swarms, foundation: Foundation) -> AsyncIterator[SwarmExchange | None]:
    """Make the swarms one with those of the cluster's other nodes; None without a cluster."""
    if foundation.cluster is None:
        yield None
        return
    exchange = foundation.cluster.share(swarms)
    async with running(exchange.run):
        yield exchange


def _time_of(foundation: Foundation) -> Callable[[], float]:
    """Return what tells how long we were down (Unix s): ours may be set meanwhile."""
    if foundation.cluster is None:
        return time.time
    clock = foundation.cluster.clock
    return lambda: clock.now() / 1e6


@asynccontextmanager
async def _shared_passkeys(passkeys: PasskeyWatch, foundation: Foundation) -> AsyncIterator[None]:
    """Make what is known of passkeys one with what the cluster's other nodes know, if any."""
    if foundation.cluster is None:
        yield
        return
    register = foundation.cluster.share_register()
    passkeys.share(register)
    async with running(register.run):
        yield


@asynccontextmanager
async def _kept_bans(config: Config, foundation: Foundation) -> AsyncIterator[BanKeeper]:
    """Keep the bans, and make them one with those of the cluster's other nodes, if any."""
    bans = BanKeeper(config.state_directory)
    async with AsyncExitStack() as stack:
        if foundation.cluster is not None:
            bans.shared = foundation.cluster.share_bans(bans.hear)
            bans.shared.offer(bans.bans)
            await stack.enter_async_context(running(bans.shared.run))
        await stack.enter_async_context(running(bans.run))
        yield bans


@asynccontextmanager
async def _shared_entries(
    config: Config, foundation: Foundation
) -> AsyncIterator[SharedEntries | None]:
    """Make what is added at one node known to all of the cluster; None without a cluster."""
    if foundation.cluster is None:
        yield None
        return
    entries = foundation.cluster.share_entries(source_of_added(config))
    async with running(entries.run):
        yield entries


def _clock_of(foundation: Foundation) -> Callable[[], int]:
    """Return what tells the time that all nodes share (Unix us)."""
    if foundation.cluster is None:
        return lambda: time.time_ns() // 1000
    return foundation.cluster.clock.now


def _make_uploads(
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


def _make_hub(
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
