"""What the nodes of a cluster have in common, made one for the length of a block."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from seeder.cluster.entries import SharedEntries
from seeder.cluster.exchange import SwarmExchange
from seeder.config.added import source_of_added
from seeder.config.sections import Config
from seeder.daemon.bans import BanKeeper
from seeder.daemon.foundation import Foundation
from seeder.daemon.passkeys import PasskeyWatch
from seeder.daemon.tasks import running
from seeder.tracker.swarms import Swarms


@asynccontextmanager
async def shared_swarms(
    swarms: Swarms, foundation: Foundation
) -> AsyncIterator[SwarmExchange | None]:
    """Make the swarms one with those of the cluster's other nodes; None without a cluster."""
    if foundation.cluster is None:
        yield None
        return
    exchange = foundation.cluster.share(swarms)
    async with running(exchange.run):
        yield exchange


@asynccontextmanager
async def shared_passkeys(passkeys: PasskeyWatch, foundation: Foundation) -> AsyncIterator[None]:
    """Make what is known of passkeys one with what the cluster's other nodes know, if any."""
    if foundation.cluster is None:
        yield
        return
    register = foundation.cluster.share_register()
    passkeys.share(register)
    async with running(register.run):
        yield


@asynccontextmanager
async def kept_bans(config: Config, foundation: Foundation) -> AsyncIterator[BanKeeper]:
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
async def shared_entries(
    config: Config, foundation: Foundation
) -> AsyncIterator[SharedEntries | None]:
    """Make what is added at one node known to all of the cluster; None without a cluster."""
    if foundation.cluster is None:
        yield None
        return
    entries = foundation.cluster.share_entries(source_of_added(config))
    async with running(entries.run):
        yield entries


def time_of(foundation: Foundation) -> Callable[[], float]:
    """Return what tells how long we were down (Unix s): ours may be set meanwhile."""
    if foundation.cluster is None:
        return time.time
    clock = foundation.cluster.clock
    return lambda: clock.now() / 1e6


def clock_of(foundation: Foundation) -> Callable[[], int]:
    """Return what tells the time that all nodes share (Unix us)."""
    if foundation.cluster is None:
        return lambda: time.time_ns() // 1000
    return foundation.cluster.clock.now
