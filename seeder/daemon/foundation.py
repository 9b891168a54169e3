"""What a running node needs, and also the making of a single torrent; its files on disk."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from seeder.cache.pieces import PieceCache
from seeder.cluster.cluster import Cluster, make_cluster
from seeder.cluster.split import NodeCard, Split
from seeder.cluster.workshop import Workshop
from seeder.config.node import CacheSettings
from seeder.config.sections import Config
from seeder.daemon.tasks import locked_state, running
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import Account, Counters, Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.history import History
from seeder.ledger.spending import budget_of
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.library import Library
from seeder.metainfo.store import MetainfoStore
from seeder.publish.faults import Faults
from seeder.publish.makers import Maker
from seeder.publish.once import MadeOnce
from seeder.s3.calls import Allowance
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.torrent import Torrent

LEDGER, METAINFO, LISTINGS, BUILDS = "ledger.sqlite", "metainfo", "listings", "builds"
"""Below the state directory: what was counted, what is known of each object and of each prefix,
and what is being hashed."""


@dataclass(frozen=True, slots=True, eq=False)
class Foundation:
    """The ledger and its budget, S3, the cache, and metainfo: all of it runs."""

    ledger: Ledger
    database: LedgerDatabase
    history: History
    budget: Budget
    origins: Origins
    cache: PieceCache[Torrent]
    faults: Faults
    """What the cache and the library find wrong with torrents."""
    store: MetainfoStore
    library: Library
    makers: Mapping[str, Maker]
    """By the names of their origins."""
    cluster: Cluster | None
    """This node's part in it; None for a node by itself."""
    split: Split | None
    """Which objects it has there; None for a node by itself."""

    def account(self, torrent: Torrent) -> Account:
        """Return what the traffic of a torrent is booked on."""
        return self.ledger.account_of(torrent.pinned)


@asynccontextmanager
async def open_foundation(
    config: Config,
    ledger: Ledger,
    rng: random.Random,
    *,
    resume: bool = False,
    name: str | None = None,
    refresh: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> AsyncIterator[Foundation]:
    """Run a foundation for the length of the block; StorageError if others use its directories.

    What the block does is counted in `ledger`, an empty one, and written to disk; `refresh` is
    called before each write. With `resume` the ledger goes on from what former runs counted; their
    accounts begin as FORMER. The ledger stops last, with a last write.

    With a `name` the node takes part in the configured cluster, by this name if none is configured;
    ConfigError where that can't be.
    """
    state = config.state_directory
    async with AsyncExitStack() as stack:
        stack.enter_context(locked_state(state))
        cluster = None if name is None else make_cluster(config.cluster, name, state)
        books = await stack.enter_async_context(_open_books(config, ledger, resume=resume))
        budget = books.budget
        faults = Faults()
        origins = make_origins(config, rng, ledger, budget)
        cache = _make_cache(config.cache, origins, faults)
        store = MetainfoStore(state / METAINFO)
        split = workshop = once = None
        if cluster is not None:
            split = Split(cluster.membership.name, cluster.settings.replicas, NodeCard())
            workshop = Workshop(cluster.store, cluster.keys)
            once = MadeOnce(workshop, store, split.may_make)
        makers = {
            name: Maker(
                origin, Ladder(origin, cache, state / BUILDS, rng), store, ledger, cache, once=once
            )
            for name, origin in origins.items()
        }
        if cluster is not None:
            await stack.enter_async_context(running(cluster.run))
            # Limits may come with a reload.
            await stack.enter_async_context(running(cluster.spend(budget).run))
        if workshop is not None:
            await stack.enter_async_context(running(workshop.run))
        for task in (
            partial(books.database.run, ledger, refresh=refresh),
            books.history.run,
            origins.run,
            cache.run,
        ):
            await stack.enter_async_context(running(task))
        yield Foundation(
            ledger=ledger,
            database=books.database,
            history=books.history,
            budget=budget,
            origins=origins,
            cache=cache,
            faults=faults,
            store=store,
            library=Library(store, lost=faults.report),
            makers=makers,
            cluster=cluster,
            split=split,
        )


@dataclass(frozen=True, slots=True)
class _Books:
    """What is counted, and what may still be spent."""

    database: LedgerDatabase
    history: History
    budget: Budget


@asynccontextmanager
async def _open_books(config: Config, ledger: Ledger, *, resume: bool) -> AsyncIterator[_Books]:
    """Open the ledger's file; what stands in it is read, into `ledger` with `resume`.

    StorageError. Nothing is written before the database runs, whose end closes it.
    """
    path = config.state_directory / LEDGER
    database = await LedgerDatabase.open(path)
    try:
        if resume:
            await database.load(ledger)
        spent = await database.spent()
        budget = budget_of(config, totals=ledger.totals(), spent=spent, now=time.time())
        history = History(path, ledger)
        database.figures = history.latest

        def join(counted: Counters, spent: Spent) -> None:
            budget.join(counted, spent, ledger.totals(), time.time())
            history.begin()

        database.joined = join
        yield _Books(database, history, budget)
    finally:
        await database.aclose()  # where it wasn't run


def _make_cache(settings: CacheSettings, origins: Origins, faults: Faults) -> PieceCache[Torrent]:
    """Return a cache that reads pieces of the origins, and reports what is wrong with them."""
    return PieceCache(
        origins,
        settings.directory,
        memory=settings.memory,
        disk=settings.disk,
        on_fault=faults.report,
        on_recovery=faults.report_recovery,
        clock=trio.current_time,
    )


def make_origins(
    config: Config, rng: random.Random, ledger: Ledger, allowance: Allowance | None = None
) -> Origins:
    """Return every configured origin; what is read of pieces is booked in `ledger`."""
    made = {
        name: S3Origin(settings, rng=rng, allowance=allowance)
        for name, settings in config.origins.items()
    }
    return Origins(made, lambda torrent: ledger.account_of(torrent.pinned))
