"""How a node is put together: each part is given what it needs, complete, by those before it."""

import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from seeder.admin.accounts import Accounts
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
from seeder.daemon.foundation import open_foundation
from seeder.daemon.listeners import Listeners, address_of
from seeder.daemon.node import Node
from seeder.daemon.parts import (
    make_hub,
    make_publisher,
    make_sidecars,
    make_swarms,
    make_uploads,
    make_warmer,
)
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.placement import Placement
from seeder.daemon.public_address import PublicAddress
from seeder.daemon.restraint import Restraint
from seeder.daemon.sharing import (
    clock_of,
    kept_bans,
    shared_entries,
    shared_passkeys,
    shared_swarms,
    time_of,
)
from seeder.daemon.swarm_file import SwarmFile
from seeder.gateway.access import Keyring, ReadKey
from seeder.gateway.certificates import LiveCertificate
from seeder.gateway.clients import Clients
from seeder.gateway.datagrams import TrackerDatagrams
from seeder.gateway.downloads import Downloads
from seeder.gateway.issuing import Issuer
from seeder.gateway.keys import read_or_make_signer
from seeder.gateway.links import Links, announce_url
from seeder.gateway.register_file import RegisterFile
from seeder.gateway.routes import public_routes
from seeder.ledger.counters import Ledger
from seeder.ledger.spending import prices_of
from seeder.net.groups import Groups
from seeder.net.passes import Passes
from seeder.publish.additions import Additions
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash
from seeder.tracker.datagrams import ConnectionIds

NO_TOKENS: Mapping[str, str] = {}
SWARMS = "swarms.json"
"""Below the state directory: the swarms as they were at most a minute ago, for the next run."""


@asynccontextmanager
async def open_node(
    config: Config,
    listeners: Listeners,
    keys: Sequence[ReadKey],
    certificate: LiveCertificate | None = None,
    *,
    tokens: Mapping[str, str] = NO_TOKENS,
    token: str | None = None,
    configured_in: str,
) -> AsyncIterator[Node]:
    """Build a node, and run its foundation and its publisher for the length of the block.

    `tokens` are those of the webhooks, by name, `token` that of the control API, and
    `configured_in` is what the configuration is called. StorageError. The block runs what serves
    (see `seeder.daemon.run`), which so stops first.
    """
    rng = random.Random()
    catalog, ledger = Catalog(loading=True), Ledger()
    name = f"{socket.gethostname()}:{address_of(listeners.peer[0]).port}"
    ledger.groups.groups = Groups.named(config.tracker.groups)
    swarms = make_swarms(config, listeners, rng, ledger)
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
        shared_swarms(swarms, foundation) as exchange,
        shared_passkeys(passkeys, foundation),
        kept_bans(config, foundation) as bans,
        shared_entries(config, foundation) as entries,
        SwarmFile(swarms, config.state_directory / SWARMS, clock=time_of(foundation)).remembered(),
        trio.open_nursery() as nursery,
    ):
        accounts.split = foundation.split
        descriptors = Descriptors.of(config)
        uploads = make_uploads(config, foundation, swarms, descriptors, rng)
        doorway = Doorway(config, bans)
        doors = doorway.doors
        downloads = Downloads(uploads, doors.gateway)
        elsewhere: set[InfoHash] = set()
        clients = Clients.behind(config.tracker.trusted_proxies, trio.current_time, doors)
        passes = Passes(lambda: clients.asked_at)
        hub = make_hub(uploads, catalog, swarms, elsewhere, door=doors.peer, passes=passes)
        doorway.guard(swarms, hub, downloads)
        placement = Placement(foundation.split, catalog, swarms, hub, elsewhere)
        if exchange is not None:
            exchange.copies.share(uploads.slots.history)
            exchange.admits = doors.tracker.admits
        foundation.history.figures = partial(
            node_figures, foundation.origins, foundation.cache, hub
        )
        audience = NodeAudience(
            foundation,
            swarms,
            hub,
            downloads,
            settings=config.cache,
            placement=placement,
            for_members=catalog.for_members,
        )
        publisher = make_publisher(config, foundation, catalog, audience, nursery=nursery, rng=rng)
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
        sidecars = make_sidecars(config, foundation, catalog, publisher, links=links, issuer=issuer)
        warmer = make_warmer(config, foundation, catalog, publisher)
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
            feeds=events.feeds.values(),
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
                clock=clock_of(foundation),
                configured_in=configured_in,
                shared=entries,
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
            token_door=TokenDoor(
                token,
                config.admin.hosts,
                lambda request: clients.addresses(request)[0],
                trio.current_time,
            ),
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
