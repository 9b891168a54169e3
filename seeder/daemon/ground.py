"""What all of a node stands on, as the last run left it: foundation, swarms, accounts, bans."""

import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from seeder.admin.accounts import Accounts
from seeder.cluster.entries import SharedEntries
from seeder.cluster.exchange import SwarmExchange
from seeder.config.sections import Config
from seeder.daemon.bans import BanKeeper
from seeder.daemon.foundation import Foundation, open_foundation
from seeder.daemon.listeners import Listeners, address_of
from seeder.daemon.parts import (
    make_swarms,
)
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.sharing import (
    kept_bans,
    shared_entries,
    shared_passkeys,
    shared_swarms,
    time_of,
)
from seeder.daemon.swarm_file import SwarmFile
from seeder.gateway.issuing import Issuer
from seeder.gateway.keys import read_or_make_signer
from seeder.gateway.register_file import RegisterFile
from seeder.ledger.counters import Ledger
from seeder.net.groups import Groups
from seeder.torrent.catalog import Catalog
from seeder.tracker.swarms import Swarms

SWARMS = "swarms.json"
"""Below the state directory: the swarms as they were at most a minute ago, for the next run."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What all of a node stands on, and what it shares with the others of a cluster."""

    config: Config
    listeners: Listeners
    rng: random.Random
    nursery: trio.Nursery
    foundation: Foundation
    catalog: Catalog
    accounts: Accounts
    swarms: Swarms
    issuer: Issuer
    passkeys: PasskeyWatch
    exchange: SwarmExchange | None
    bans: BanKeeper
    entries: SharedEntries | None


@asynccontextmanager
async def open_ground(config: Config, listeners: Listeners) -> AsyncIterator[Ground]:
    """Open the foundation and the swarms, as the last run left them; StorageError."""
    rng, catalog, ledger = random.Random(), Catalog(loading=True), Ledger()
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
        foundation.database.is_settled = lambda: not catalog.loading
        yield Ground(
            config=config,
            listeners=listeners,
            rng=rng,
            nursery=nursery,
            foundation=foundation,
            catalog=catalog,
            accounts=accounts,
            swarms=swarms,
            issuer=issuer,
            passkeys=passkeys,
            exchange=exchange,
            bans=bans,
            entries=entries,
        )
