"""Objects all of whose pieces are read into the cache ahead.

Those whose entries say `warm = true` are kept so; others are read once when somebody asks for it.
Those whose time has not come are read as well. It is one object at a time, within the budgets and
as far as the cache reaches; what fails is tried again later.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from seeder.cache.memory import Piece
from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.errors import SeederError
from seeder.net.guards import Lapses
from seeder.net.scarcity import why_it_failed
from seeder.net.slices import Slices
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.torrent.torrent import Torrent
from seeder.units import MIB, rounded_size

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks for objects that aren't warm."""
RETRY = 60.0
"""Seconds until one is tried again that couldn't be read."""
NO_ROOM = "the cache has no room for it beside what is kept warm: set cache.disk higher"
AT_ONCE = 8 * MIB
"""Bytes that are read at a time, but one piece at least."""


@dataclass(slots=True)
class Warming:
    """How far the pieces of an object are read ahead, because somebody asked for it."""

    done: int = 0
    """Bytes that were looked at, and are in the cache."""
    fault: str | None = None
    """Why they aren't read, or not yet."""


@dataclass(slots=True, kw_only=True, eq=False)
class Warmer:
    """Reads ahead what entries want in the cache, of `capacity` bytes."""

    catalog: Catalog
    cache: PieceCache[Torrent]
    capacity: int
    settings_of: Callable[[ObjectRef], ObjectSettings | None]
    """Returns the entry of what is published."""
    torrent_of: Callable[[ObjectRef], Torrent | None]
    """Returns its torrent, also before its time; None while there is none."""
    is_ours: Callable[[ObjectRef], bool] = lambda _: True
    """Tells whether this node of the cluster seeds an object."""
    asked: dict[ObjectRef, Warming] = field(default_factory=dict)
    """What is read once, or couldn't be; who is read goes from here."""
    _once: int = 0
    """Bytes that were read once since there was last nothing to be read."""
    _hurried: trio.Event = field(default_factory=trio.Event)
    _done: dict[ObjectRef, tuple[bytes, int]] = field(default_factory=dict)
    """The info hash of what was read, or doesn't fit, and the bytes of it that are kept."""
    _kept: int = 0
    """The sum of those bytes."""
    _due_at: dict[ObjectRef, float] = field(default_factory=dict)
    """When what failed is tried again."""

    def ask(self, refs: Iterable[ObjectRef]) -> None:
        """Read objects once, as soon as each has a torrent; those of other nodes are left."""
        if all(each.fault is not None for each in self.asked.values()):
            self._once = 0
        for ref in refs:
            if self.is_ours(ref):
                self.asked[ref] = Warming()
                self._due_at.pop(ref, None)
        self._hurried.set()

    def progress_of(self, ref: ObjectRef) -> tuple[int, str | None] | None:
        """Return how many bytes of what was asked for are read, and why no more, if so."""
        found = self.asked.get(ref)
        return None if found is None else (found.done, found.fault)

    async def run(self) -> None:
        """Read until cancelled."""
        lapses = Lapses(_LOG, "what is read ahead")
        while True:
            pause = LOOK_EVERY
            async with lapses.spared():
                pause = await self._look()
            with trio.move_on_after(pause):
                await self._hurried.wait()
            self._hurried = trio.Event()

    async def _look(self) -> float:
        """Read what is wanted; return the seconds until the next look."""
        slices = Slices()
        for ref in (*self.asked, *self.catalog.publications):
            if slices.is_over:
                await slices.turn()
            torrent = self._wanted(ref)
            if torrent is not None:
                await self._warm(ref, torrent)
                if self._hurried.is_set() and ref not in self.asked:
                    return 0.0  # what was asked for comes before all that is kept
        for ref in (*self._done, *self._due_at, *self.asked):
            if slices.is_over:
                await slices.turn()
            if ref not in self.catalog.publications:
                self._let_go(ref)
                self._due_at.pop(ref, None)
                self.asked.pop(ref, None)
        return slices.pause(LOOK_EVERY)

    def _wanted(self, ref: ObjectRef) -> Torrent | None:
        """Return an object's torrent if its pieces are to be read."""
        settings = self.settings_of(ref)
        is_kept = settings is not None and settings.warm and self.is_ours(ref)
        if not is_kept:
            self._let_go(ref)
        asked = self.asked.get(ref)
        is_asked = asked is not None and asked.fault != NO_ROOM
        if settings is None or not (is_kept or is_asked):
            return None
        if trio.current_time() < self._due_at.get(ref, 0.0):
            return None
        torrent = self.torrent_of(ref)
        done = self._done.get(ref)
        is_done = torrent is not None and done is not None and done[0] == torrent.info_hash
        return None if is_done and not is_asked else torrent

    def _keep(self, ref: ObjectRef, torrent: Torrent, size: int) -> None:
        """Take note that so many bytes of an object are kept, and that there is no more to do."""
        self._done[ref] = torrent.info_hash, size
        self._kept += size

    def _let_go(self, ref: ObjectRef) -> None:
        _, size = self._done.pop(ref, (b"", 0))
        self._kept -= size

    async def _warm(self, ref: ObjectRef, torrent: Torrent) -> None:
        self._let_go(ref)
        settings, asked = self.settings_of(ref), self.asked.get(ref)
        is_kept = settings is not None and settings.warm
        size = torrent.pinned.size
        kept = self._kept + self._once
        if kept + size > self.capacity:
            if is_kept:
                self._keep(ref, torrent, 0)
            told = asked is not None and asked.fault is not None
            if asked is not None:
                asked.fault = NO_ROOM
            _LOG.log(
                logging.DEBUG if told else logging.WARNING,
                "%s: the cache has no room to keep it warm: it has %s, of which %s are warm; set"
                " cache.disk higher",
                ref,
                rounded_size(self.capacity),
                rounded_size(kept),
            )
            return
        try:
            await self._read(ref, torrent)
        except SeederError as error:
            self._due_at[ref] = trio.current_time() + RETRY
            if asked is not None:
                asked.fault = str(error)
            _LOG.debug("%s: not warm yet: %s", ref, error)
        except Exception as error:
            self._due_at[ref] = trio.current_time() + RETRY
            if asked is not None:
                asked.fault = why_it_failed(error)
            _LOG.exception("%s: internal error", ref)
        else:
            self._due_at.pop(ref, None)
            if is_kept:
                self._keep(ref, torrent, size)
            else:
                self._once += size
            if self.asked.get(ref) is asked:
                self.asked.pop(ref, None)
            _LOG.info("%s: all of it is in the cache", ref)

    async def _read(self, ref: ObjectRef, torrent: Torrent) -> None:
        """Read what isn't in the cache; SeederError. It ends early if the torrent does."""
        step = max(1, AT_ONCE // max(1, torrent.layout.piece_length))
        count = torrent.layout.piece_count
        for first in range(0, count, step):
            current = self.torrent_of(ref)
            if current is None or current.info_hash != torrent.info_hash:
                raise SeederError("it has another torrent by now")
            cold = [
                index
                for index in range(first, min(first + step, count))
                if not self.cache.is_on_disk(torrent, index)
                and not self.cache.is_cached(torrent, index)
            ]
            await _read_all(self.cache, torrent, cold)
            if ref in self.asked:
                read = min(first + step, count) * torrent.layout.piece_length
                self.asked[ref].done = min(read, torrent.pinned.size)
            await trio.lowlevel.checkpoint()


async def _read_all(cache: PieceCache[Torrent], torrent: Torrent, indices: list[int]) -> None:
    """Have pieces in the cache; adjacent ones are read by one request. SeederError."""
    left, settled = set(indices), trio.Event()
    errors: list[str] = []

    def take(index: int, _: Piece | None, error: SeederError | None) -> None:
        left.discard(index)
        if error is not None:
            errors.append(str(error))
        if not left:
            settled.set()

    if not left:
        return
    for index in indices:
        cache.request(torrent, index, take)
    try:
        await settled.wait()
    finally:
        for index in tuple(left):
            cache.forget(torrent, index, take)
    if errors:
        raise SeederError(errors[0])
