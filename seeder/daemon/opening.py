"""How a node is put together: each part is given what it needs, complete, by those before it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from secrets import token_bytes

import trio

from seeder.admin.cockpit import Cockpit
from seeder.admin.overview import Overview
from seeder.admin.routes import AdminRoutes
from seeder.config.added import ADDED, AddedFile, source_of_added
from seeder.config.sections import Config
from seeder.control.access import TokenDoor
from seeder.daemon.audience import NodeAudience
from seeder.daemon.descriptors import Descriptors
from seeder.daemon.doors import Doorway
from seeder.daemon.events import EventSources
from seeder.daemon.fellows import Fellows
from seeder.daemon.figures import node_figures
from seeder.daemon.ground import Ground, open_ground
from seeder.daemon.listeners import Listeners, address_of
from seeder.daemon.node import Node
from seeder.daemon.parts import (
    make_hub,
    make_publisher,
    make_sidecars,
    make_uploads,
    make_warmer,
)
from seeder.daemon.placement import Placement
from seeder.daemon.public_address import PublicAddress
from seeder.daemon.restraint import Restraint
from seeder.daemon.secret_files import Secrets
from seeder.daemon.sharing import (
    clock_of,
    time_of,
)
from seeder.daemon.sidecars import Sidecars
from seeder.daemon.warming import Warmer
from seeder.gateway.access import Keyring
from seeder.gateway.certificates import LiveCertificate
from seeder.gateway.clients import Clients
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.gateway.downloads import Downloads
from seeder.gateway.links import Links, announce_url
from seeder.gateway.routes import PublicRoutes, public_routes
from seeder.ledger.spending import prices_of
from seeder.net.passes import Passes
from seeder.peer.hub import Hub
from seeder.publish.additions import Additions
from seeder.publish.publisher import Publisher
from seeder.torrent.info import InfoHash
from seeder.tracker.datagrams import ConnectionIds
from seeder.upload.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Givers:
    """Who gives pieces away, and to whom."""

    descriptors: Descriptors
    doorway: Doorway
    clients: Clients
    uploads: Uploads
    downloads: Downloads
    hub: Hub
    placement: Placement


def _open_givers(ground: Ground) -> _Givers:
    """Return what peers and downloads are served by, behind the doors."""
    config, foundation, swarms = ground.config, ground.foundation, ground.swarms
    descriptors = Descriptors.of(config)
    uploads = make_uploads(config, foundation, swarms, descriptors, ground.rng)
    doorway = Doorway(config, ground.bans)
    doors = doorway.doors
    downloads = Downloads(uploads, doors.gateway)
    elsewhere: set[InfoHash] = set()
    clients = Clients.behind(config.tracker.trusted_proxies, trio.current_time, doors)
    passes = Passes(lambda: clients.asked_at)
    hub = make_hub(uploads, ground.catalog, swarms, elsewhere, door=doors.peer, passes=passes)
    doorway.guard(swarms, hub, downloads)
    if ground.exchange is not None:
        ground.exchange.copies.share(uploads.slots.history)
        ground.exchange.admits = doors.tracker.admits
    foundation.history.figures = partial(node_figures, foundation.origins, foundation.cache, hub)
    return _Givers(
        descriptors=descriptors,
        doorway=doorway,
        clients=clients,
        uploads=uploads,
        downloads=downloads,
        hub=hub,
        placement=Placement(foundation.split, ground.catalog, swarms, hub, elsewhere),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Publishing:
    """What is published, by what S3 and people say of it."""

    publisher: Publisher
    additions: Additions
    events: EventSources
    sidecars: Sidecars
    warmer: Warmer
    restraint: Restraint


def _open_publishing(
    ground: Ground,
    givers: _Givers,
    links: Links,
    *,
    tokens: Mapping[str, str],
    configured_in: str,
) -> _Publishing:
    """Return the publisher, which runs, and what goes by it."""
    config, foundation, catalog = ground.config, ground.foundation, ground.catalog
    audience = NodeAudience(
        foundation,
        ground.swarms,
        givers.hub,
        givers.downloads,
        settings=config.cache,
        placement=givers.placement,
        for_members=catalog.for_members,
    )
    publisher = make_publisher(
        config, foundation, catalog, audience, nursery=ground.nursery, rng=ground.rng
    )
    additions = Additions(
        AddedFile(config.state_directory / ADDED),
        source_of_added(config),
        publisher,
        prepare=ground.passkeys.look,
        clock=clock_of(foundation),
        configured_in=configured_in,
        shared=ground.entries,
    )
    restraint = Restraint(
        foundation,
        swarms=ground.swarms,
        uploads=givers.uploads,
        downloads=givers.downloads,
        hub=givers.hub,
        publisher=publisher,
    )
    restraint.update()
    return _Publishing(
        publisher=publisher,
        additions=additions,
        events=EventSources(config, tokens, publisher.news),
        sidecars=make_sidecars(
            config, foundation, catalog, publisher, links=links, issuer=ground.issuer
        ),
        warmer=make_warmer(config, foundation, catalog, publisher),
        restraint=restraint,
    )


def _open_overview(
    ground: Ground,
    givers: _Givers,
    publishing: _Publishing,
    certificate: LiveCertificate | None,
) -> Overview:
    """Return what tells of all that."""
    config, foundation, listeners = ground.config, ground.foundation, ground.listeners
    publisher, sidecars = publishing.publisher, publishing.sidecars
    return Overview(
        accounts=ground.accounts,
        database=foundation.database,
        history=foundation.history,
        budget=foundation.budget,
        origins=foundation.origins,
        cache=foundation.cache,
        hub=givers.hub,
        uploads=givers.uploads,
        downloads=givers.downloads,
        prefixes=publisher.prefixes,
        rounds_of=publisher.rounds_of,
        listeners=listeners.addresses(),
        prices=prices_of(config),
        metrics_objects=config.admin.metrics_objects,
        doors=givers.doorway.doors,
        cluster=foundation.cluster,
        certificate=certificate,
        seeded=lambda: givers.placement.seeded,
        exchange=ground.exchange,
        feeds=publishing.events.feeds.values(),
        sidecar_counts=sidecars.counts,
        sidecar_fault=lambda: sidecars.fault,
    )


def _links(ground: Ground, certificate: LiveCertificate | None) -> Links:
    """Return how the node is called in torrents and links."""
    config, listeners = ground.config, ground.listeners
    names = () if certificate is None else certificate.current.names
    udp_port = address_of(listeners.tracker_udp[0]).port if listeners.tracker_udp else 0
    announce = announce_url(config, address_of(listeners.main[0]).port, names)
    return Links.of(config, announce, udp_port=udp_port)


def _meet(
    ground: Ground, placement: Placement, ids: ConnectionIds, overview: Overview
) -> Fellows | None:
    """Return what goes by the other nodes; None for a node by itself."""
    cluster, split = ground.foundation.cluster, ground.foundation.split
    if cluster is None or split is None:
        return None
    fellows = Fellows(cluster, split, placement, ground.swarms, ids)
    fellows.summary = lambda: overview.node_summary().document()
    return fellows


def _answer_by_http(
    ground: Ground, givers: _Givers, keyring: Keyring, links: Links
) -> PublicRoutes:
    """Return the pages of the public listeners."""
    return public_routes(
        ground.config,
        ground.catalog,
        ground.swarms,
        keyring,
        clients=givers.clients,
        links=links,
        uploads=givers.uploads,
        downloads=givers.downloads,
        url_of=givers.placement.url_of,
        issuer=ground.issuer,
    )


def _make_node(
    ground: Ground,
    givers: _Givers,
    publishing: _Publishing,
    links: Links,
    *,
    secrets: Secrets,
    certificate: LiveCertificate | None,
) -> Node:
    """Return the node: all that was opened, and who answers for it."""
    config, listeners = ground.config, ground.listeners
    foundation, swarms = ground.foundation, ground.swarms
    overview = _open_overview(ground, givers, publishing, certificate)
    clients, keyring = givers.clients, Keyring(secrets.keys)
    ids = ConnectionIds(token_bytes(32))
    fellows = _meet(ground, givers.placement, ids, overview)
    return Node(
        config=config,
        foundation=foundation,
        catalog=ground.catalog,
        swarms=swarms,
        uploads=givers.uploads,
        downloads=givers.downloads,
        hub=givers.hub,
        publisher=publishing.publisher,
        additions=publishing.additions,
        keyring=keyring,
        public=_answer_by_http(ground, givers, keyring, links),
        datagrams=TrackerDatagrams(
            swarms,
            clients,
            ids,
            givers.uploads.overhead,
            trio.current_time,
            ids_clock=trio.current_time if fellows is None else time_of(foundation),
        ),
        fellows=fellows,
        admin=AdminRoutes(Cockpit(overview, links), publishing.events.webhooks, config.admin.hosts),
        doorway=givers.doorway,
        bans=ground.bans,
        token_door=TokenDoor(
            secrets.token,
            config.admin.hosts,
            lambda request: clients.addresses(request)[0],
            trio.current_time,
        ),
        events=publishing.events,
        sidecars=publishing.sidecars,
        warmer=publishing.warmer,
        restraint=publishing.restraint,
        overview=overview,
        descriptors=givers.descriptors,
        tracker_port=address_of(listeners.main[0]).port,
        links=links,
        public_address=PublicAddress(swarms, swarms.seeder, config.peer.public_address, links),
        passkeys=ground.passkeys,
        admin_address=address_of(listeners.admin[0]) if listeners.admin else None,
        clients=clients,
        certificate=certificate,
    )


@asynccontextmanager
async def open_node(
    config: Config,
    listeners: Listeners,
    secrets: Secrets,
    certificate: LiveCertificate | None = None,
    *,
    configured_in: str,
) -> AsyncIterator[Node]:
    """Build a node, and run its foundation and its publisher for the length of the block.

    `configured_in` is what the configuration is called. StorageError. The block runs what serves
    (see `seeder.daemon.run`), which so stops first.
    """
    async with open_ground(config, listeners) as ground:
        givers = _open_givers(ground)
        links = _links(ground, certificate)
        publishing = _open_publishing(
            ground, givers, links, tokens=secrets.tokens, configured_in=configured_in
        )
        node = _make_node(
            ground, givers, publishing, links, secrets=secrets, certificate=certificate
        )
        if certificate is not None:
            certificate.changed = node.follow_certificate
        publisher, faults = publishing.publisher, ground.foundation.faults
        with faults.handled_by(publisher.handle_fault, publisher.handle_recovery):
            yield node
