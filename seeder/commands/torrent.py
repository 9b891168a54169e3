"""What the command line does with S3 by itself: checking objects, making a torrent."""

import logging
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

import trio
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from seeder.cache.pieces import PieceCache
from seeder.config.sections import Config, ObjectSettings
from seeder.config.texts import closest
from seeder.daemon.run import LEDGER
from seeder.daemon.tasks import locked_state, running
from seeder.errors import ConfigError, OriginUnreachable, StorageError
from seeder.ledger.counters import Ledger, Tally, account_key
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.spending import budget_of
from seeder.metainfo.bundles import list_bundle
from seeder.metainfo.hashing import Progress
from seeder.metainfo.ladder import Ladder, describe_wish
from seeder.metainfo.store import MetainfoStore, Record
from seeder.publish.entries import Allotment
from seeder.publish.publisher import BUILDS, METAINFO
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.catalog import Torrent
from seeder.torrent.objects import Meter, PinnedBundle, PinnedObject, same_state

_LOG = logging.getLogger(__name__)


async def _look(origin: S3Origin, settings: ObjectSettings, meter: Meter) -> PinnedObject:
    if settings.bundle:
        return await list_bundle(origin, settings, meter)
    return await origin.head(settings.ref, meter)


async def find_torrent(config: Config, bucket: str, key: str) -> Torrent:
    """Return the torrent of a configured object; made now if no daemon has made it yet."""
    settings = configured(config, bucket, key)
    store = MetainfoStore(config.state_directory / METAINFO)
    origin = S3Origin(config.origins[settings.origin], rng=random.Random())
    async with running(origin.run):
        earlier = known = store.load(settings.ref)
        if known is not None and known.wanted != describe_wish(settings):
            known = None
        tally = Tally()
        pinned = await _head(origin, settings, known, tally)
        if known is not None and known.info is not None and same_state(known.pinned, pinned):
            return Torrent(known.info, known.pinned, known.rung, known.tree)
        return await _make(config, settings, store, origin, pinned, earlier=earlier, tally=tally)


def configured(config: Config, bucket: str, key: str) -> ObjectSettings:
    """Return the entry that an object belongs to; ConfigError."""
    settings = Allotment(config.objects).find(bucket, key)
    if settings is not None:
        return settings
    name = f"{bucket}/{key}"
    guess = closest(name, [str(settings.ref) for settings in config.objects])
    hint = f'; did you mean "{guess}"?' if guess else ""
    raise ConfigError([f"{name}: is not among the configured objects{hint}"])


async def _head(
    origin: S3Origin, settings: ObjectSettings, known: Record | None, tally: Tally
) -> PinnedObject:
    try:
        return await _look(origin, settings, tally)
    except OriginUnreachable as error:
        if known is None:
            raise
        _LOG.warning("%s; this is the torrent of the state last seen", error)
        return known.pinned


async def _make(
    config: Config,
    settings: ObjectSettings,
    store: MetainfoStore,
    origin: S3Origin,
    pinned: PinnedObject,
    *,
    earlier: Record | None,
    tally: Tally,
) -> Torrent:
    """Climb the ladder as the daemon would: into its cache, its store and its ledger."""
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(locked_state(config.state_directory))
        except StorageError as error:
            raise StorageError(
                f"{settings.ref}: has no torrent yet, and only one seeder can make it: {error}"
            ) from error
        ledger = Ledger()
        account = ledger.account(account_key(pinned))
        account.absorb(tally)
        database = await LedgerDatabase.open(config.state_directory / LEDGER)
        await stack.enter_async_context(running(partial(database.run, ledger)))
        spent = await database.spent()
        origin.allowance = budget_of(config, totals=ledger.totals(), spent=spent, now=time.time())
        cache: PieceCache[Torrent] = PieceCache(
            Origins({settings.origin: origin}, lambda _: account),
            config.cache.directory,
            memory=config.cache.memory,
            disk=config.cache.disk,
            on_fault=lambda _, error: _LOG.warning("%s", error),
            clock=trio.current_time,
        )
        await stack.enter_async_context(running(cache.run))
        ladder = Ladder(origin, cache, config.state_directory / BUILDS, random.Random())
        record = Record(pinned, wanted=describe_wish(settings))
        if isinstance(pinned, PinnedBundle):
            record.earlier = earlier
        with _progress_bar(str(settings.ref)) as progress:
            torrent = await ladder.climb(record, settings, account, progress)
        await trio.to_thread.run_sync(store.save, record)
        ladder.builds.clear(settings.ref)
        account.info_hash, account.size = torrent.info_hash.hex(), torrent.pinned.size
        account.pieces = torrent.layout.piece_count
        return torrent
    raise AssertionError("an exit stack that swallows errors")


@contextmanager
def _progress_bar(name: str) -> Iterator[Progress]:
    """Yield a progress function; it draws a bar where stderr is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with ProgressBar(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"hashing {name}", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
