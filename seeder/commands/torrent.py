"""`seeder torrent` and `seeder magnet`: the torrent of one object, made here if need be."""

import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from seeder.commands.keys import moment_text
from seeder.commands.links import links_of
from seeder.commands.waiting import FOR_A_BUILD, FOR_A_QUESTION, Patience
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.config.texts import closest
from seeder.daemon.foundation import METAINFO, make_origins, open_foundation
from seeder.daemon.tasks import running
from seeder.errors import ConfigError, MetainfoError, OriginUnreachable, StateUnusable, StorageError
from seeder.gateway.passkeys import doubt_clock, make_key
from seeder.ledger.counters import Ledger, Tally
from seeder.metainfo.bundles import look
from seeder.metainfo.hashing import OnProgress
from seeder.metainfo.ladder import describe_wanted
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.publish.entries import Entries
from seeder.publish.serving import enter_torrent
from seeder.torrent.objects import PinnedObject, same_state
from seeder.torrent.torrent import Torrent
from seeder.units import rounded_size

_LOG = logging.getLogger(__name__)


async def write_torrent(
    config: Config,
    bucket: str,
    key: str,
    *,
    output: Path | None,
    holder: str | None,
    valid: float,
    complain: Callable[[str], None],
) -> None:
    """Write the torrent file of an object to `output`, None is stdout; SeederError.

    That of a private object is for `holder`, for `valid` seconds.
    """
    links, name = links_of(config), f"{bucket}/{key}"
    found = await find_torrent(config, bucket, key)
    public = configured(config, bucket, key).is_public
    passkey, whose = None, ""
    if found.private and not public:
        if holder is None:
            raise ConfigError([f"{name}: is private: say whom its torrent is for, with --for NAME"])
        passkey, made = await trio.to_thread.run_sync(make_key, config, found, holder, valid)
        whose = f", for {holder} until {moment_text(made.expires)} (UTC)"
        if (doubt := doubt_clock(found, made)) is not None:
            complain(doubt)
    elif holder is not None:
        raise ConfigError([f"{name}: needs no passkey: anybody may have it; leave out --for"])
    data = links.torrent_file(found, public=public, passkey=passkey)
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        mode = 0o666 if passkey is None else 0o600
        await trio.to_thread.run_sync(_write_file, output, data, mode)
    except OSError as error:
        raise StorageError(f"{output}: can't be written: {error.strerror}") from error
    complain(f"{output}: {_told(found)}{whose}")


async def magnet_link(config: Config, bucket: str, key: str) -> str:
    """Return the magnet link of an object; ConfigError where it is private, SeederError."""
    links = links_of(config)
    found = await find_torrent(config, bucket, key)
    public = configured(config, bucket, key).is_public
    if found.private and not public:
        why = "is private, and has no magnet link: make a torrent with --for NAME"
        raise ConfigError([f"{bucket}/{key}: {why}"])
    return links.magnet(found, public=public)


def _told(found: Torrent) -> str:
    return f"{found.info_hash}, {rounded_size(found.pinned.size)}, metainfo from {found.rung}"


def _write_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file; a new one gets `mode`, less the umask."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)


async def find_torrent(config: Config, bucket: str, key: str) -> Torrent:
    """Return the torrent of a configured object; made now if no daemon has made it yet."""
    settings = configured(config, bucket, key)
    # No other origin is asked, so that no other needs credentials.
    origins = {settings.origin: config.origins[settings.origin]}
    config = config.model_copy(update={"origins": origins})
    known = MetainfoStore(config.state_directory / METAINFO).load(settings.ref)
    if known is not None and known.wanted != describe_wanted(settings):
        known = None
    tally = Tally()
    pinned = await _look(config, settings, known, tally)
    if known is not None and known.info is not None and same_state(known.pinned, pinned):
        try:
            if known.tree is not None:
                await trio.to_thread.run_sync(known.tree.piece_layers)
            return Torrent(known.info, known.pinned, known.rung, known.tree)
        except MetainfoError as error:
            _LOG.warning("%s: %s", settings.ref, error)
    return await _make(config, settings, pinned, tally)


def configured(config: Config, bucket: str, key: str) -> ObjectSettings:
    """Return the entry that an object belongs to; ConfigError."""
    settings = Entries(config.objects).find(bucket, key)
    if settings is not None:
        return settings
    name = f"{bucket}/{key}"
    guess = closest(name, [str(settings.ref) for settings in config.objects])
    hint = f'; did you mean "{guess}"?' if guess else ""
    raise ConfigError([f"{name}: is not among the configured objects{hint}"])


async def _look(
    config: Config, settings: ObjectSettings, known: Record | None, tally: Tally
) -> PinnedObject:
    """Return how the object stands; if S3 is out of reach, how it stood when last seen."""
    origins = make_origins(config, random.Random(), Ledger())
    origin, ref = origins[settings.origin], settings.ref
    patience, ask = Patience(origin), partial(look, origin, ref, settings, tally)
    async with running(origins.run), running(patience.run):
        try:
            return await patience.wait(str(ref), FOR_A_QUESTION, ask)
        except OriginUnreachable as error:
            if known is None:
                raise
            _LOG.warning("%s; this is the torrent of the state last seen", error)
            return known.pinned


async def _make(
    config: Config, settings: ObjectSettings, pinned: PinnedObject, tally: Tally
) -> Torrent:
    """Make the torrent as the daemon would, with the daemon's cache, store and ledger."""
    async with AsyncExitStack() as stack:
        try:
            foundation = await stack.enter_async_context(
                open_foundation(config, Ledger(), random.Random())
            )
        except StateUnusable as error:
            raise StorageError(
                f"{settings.ref}: has no torrent yet, and only one seeder can make it: {error}"
            ) from error
        ledger = foundation.ledger
        ledger.account_of(pinned).absorb(tally)
        maker = foundation.makers[settings.origin]
        record = await maker.begin(pinned, settings)
        patience = Patience(foundation.origins[settings.origin])
        await stack.enter_async_context(running(patience.run))
        with _progress_bar(str(settings.ref)) as progress:
            make = partial(maker.make, record, settings, progress)
            torrent = await patience.wait(str(settings.ref), FOR_A_BUILD, make)
        enter_torrent(ledger, torrent)
        return torrent
    raise AssertionError("an exit stack that swallows errors")


@contextmanager
def _progress_bar(name: str) -> Iterator[OnProgress]:
    """Yield a progress function; it draws a bar where stderr is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with ProgressBar(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"hashing {name}", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
