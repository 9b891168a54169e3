"""Gets the metainfo of one object: what is known of it, or what is made now, or anew of its bytes.

It is made anew where somebody wants that, and where pieces keep coming otherwise than it says.
"""

import logging
from collections.abc import Set
from functools import partial
from typing import Protocol

import trio

from seeder.config.objects import ObjectSettings
from seeder.metainfo.ladder import describe_wanted
from seeder.metainfo.library import Library
from seeder.metainfo.records import Record
from seeder.publish.current import CurrentTorrent
from seeder.publish.entries import Wanted
from seeder.publish.makers import Maker
from seeder.publish.replacing import HeldTorrent
from seeder.publish.serving import replaced
from seeder.torrent.info import Outline
from seeder.torrent.objects import PinnedBundle, PinnedObject, same_state
from seeder.torrent.publications import MADE_ELSEWHERE, Publication, State
from seeder.torrent.torrent import Torrent
from seeder.torrent.work import Work
from seeder.units import rounded_size

_LOG = logging.getLogger(__name__)

_OTHER_BYTES = "S3 gives other bytes than its torrent describes, under the same ETag"
LYING = "its metainfo was wrong; get its new torrent"


class Owner(Protocol):
    """Who wants the metainfo, and publishes by it."""

    wanted: Wanted

    async def publish(self, record: Record, outline: Outline) -> None:
        """Serve the object by this metainfo, unless its time has not come."""


class Acquiring:
    """What is known of the metainfo of one publication, and how more is got."""

    __slots__ = (
        "_current",
        "_library",
        "_maker",
        "_owner",
        "_publication",
        "_tries_anew",
        "anew",
        "record",
        "wrong",
    )

    def __init__(
        self,
        publication: Publication,
        record: Record | None,
        owner: Owner,
        current: CurrentTorrent,
        *,
        maker: Maker,
        library: Library,
    ) -> None:
        self.record = record
        """That of the object as it was seen last."""
        self.wrong = ""
        """What was said of the piece that came wrong last."""
        self.anew = False
        """Whether somebody wants it to be made anew, of the object's bytes."""
        self._tries_anew = False
        """Whether that was begun, and may be tried again."""
        self._publication = publication
        self._owner = owner
        self._current = current
        self._maker = maker
        self._library = library

    @property
    def _settings(self) -> ObjectSettings:
        return self._owner.wanted.settings

    @property
    def known(self) -> tuple[Record, Outline] | None:
        """The record, if it has the metainfo that the entry asks for."""
        record = self.record
        if record is None or record.outline is None or not self.fits(record):
            return None
        return record, record.outline

    async def acquire(self, pinned: PinnedObject) -> None:
        """Serve the object as it is now, by the metainfo that is known of it or made now."""
        settings, publication = self._of_bytes(), self._publication
        record = self.record
        if self.anew:
            record = self.record = await self._begin_anew(pinned)
        elif record is None or not same_state(record.pinned, pinned) or not self.fits(record):
            # What another listing finds of a bundle is in doubt all the same.
            doubted = record.doubted if record is not None else frozenset[PinnedObject]()
            record = self.record = await self._maker.begin(pinned, settings, doubted=doubted)
        if record.outline is not None:
            await self._owner.publish(record, record.outline)
            return
        former = self._current.former()

        def begin() -> None:
            publication.settle(State.BUILDING)
            publication.work = Work(trio.current_time())
            _LOG.debug("%s: getting the metainfo of %s", publication.ref, rounded_size(pinned.size))

        def wait() -> None:
            publication.settle(State.WAITING, MADE_ELSEWHERE)

        progress = self._note_progress
        if record.info is None and self.anew:
            await self._maker.make(record, settings, progress, begin=begin, former=former)
        elif record.info is None:
            await self._maker.obtain(
                record, settings, progress, begin=begin, wait=wait, former=former
            )
        else:
            # It was made in an earlier round, and couldn't be saved.
            await self._maker.save(record)
        self.anew = self._tries_anew = False
        info = record.info
        assert info is not None
        # Peers will ask for the info first: the library has it at hand, the record needn't.
        self._library.put(info)
        record.info, record.outline = None, info.outline
        await self._owner.publish(record, record.outline)

    async def rehash(self, torrent: Torrent, pinned: PinnedObject) -> None:
        """Hash the object of a torrent again, which is served meanwhile; if it turns out to have
        other bytes, that ends at once."""
        publication = self._publication
        differ = partial(self._current.end_if_served, torrent, LYING)
        settings = self._of_bytes()
        record = await self._begin_anew(pinned)
        publication.work = Work(trio.current_time())
        if not self._tries_anew:
            _LOG.info("%s: its metainfo is made anew, as was asked", publication.ref)
        self._tries_anew = True
        try:
            await self._maker.make(
                record, settings, self._note_progress, former=HeldTorrent(torrent, differ)
            )
        finally:
            publication.progress = publication.work = None
        self.anew = self._tries_anew = False
        self.record = record
        info = record.info
        assert info is not None
        self._library.put(info)
        record.info, record.outline = None, info.outline
        if publication.torrent is torrent and info.info_hash == torrent.info_hash:
            self._current.confirm(torrent, record)
            if self._current.is_live:
                publication.settle(State.SERVING)
            _LOG.info("%s: its metainfo is as it was", publication.ref)
        else:
            await self._owner.publish(record, record.outline)

    async def look_again(self, torrent: Torrent, pinned: PinnedObject) -> None:
        """Read a piece again that came wrong; see whether the object has other bytes by now."""
        doubts, publication = self._current.doubts, self._publication
        index = doubts.first
        if index is not None and trio.current_time() >= doubts.next_at:
            info = await torrent.fetch_info()
            digest = await self._maker.read_again(torrent, index)
            if publication.torrent is not torrent:
                return
            if digest == info.piece_hash(index):
                doubts.dispel(index)
            else:
                doubts.read_again(index, digest, trio.current_time())
        if doubts:
            # In an earlier round, S3 may have been out of reach.
            publication.settle(State.FAULTY, self.wrong)
        else:
            publication.settle(State.SERVING)
            _LOG.info("%s: S3 gives it right again", publication.ref)
        if doubts and torrent.rung != "torrent_file":
            now = trio.current_time()
            due = doubts.due(lambda index: torrent.section(index).cache_id, now)
            if due:
                doubts.make_anew(due, now)
                await self._make_anew(torrent, pinned, due)

    async def _make_anew(self, torrent: Torrent, pinned: PinnedObject, due: Set[str]) -> None:
        """Hash an object again, or those of a bundle whose cache ids are in `due`."""
        publication = self._publication
        _LOG.warning("%s: %s; its torrent is made anew", publication.ref, _OTHER_BYTES)
        assert self.record is not None
        if torrent.rung == "build":
            doubted = frozenset(each.pinned for each in torrent.sections if each.cache_id in due)
            self.record = await self._maker.begin(pinned, self._settings, doubted=doubted)
        else:
            self.record.refused[torrent.rung] = _OTHER_BYTES
            self.record.outline = None
        self._current.retire(replaced(torrent))
        await self._maker.strike(self.record)
        await self.acquire(pinned)

    def _of_bytes(self) -> ObjectSettings:
        """Return the entry, but as one that wants its metainfo made of the object's bytes alone."""
        update = {"metainfo": ("build",), "torrent_file": None}
        return self._settings.model_copy(update=update) if self.anew else self._settings

    async def _begin_anew(self, pinned: PinnedObject) -> Record:
        """Return a new record of the object, for which nothing is taken from an earlier one."""
        every = pinned.members if isinstance(pinned, PinnedBundle) else ()
        return await self._maker.begin(pinned, self._settings, doubted=frozenset(every))

    def _note_progress(self, done: int, size: int) -> None:
        publication = self._publication
        publication.progress = done / size if size else 1.0
        if publication.work is not None:
            publication.work.advance(done, size, trio.current_time())

    def fits(self, record: Record) -> bool:
        """Tell whether a record's metainfo is what the entry asks for."""
        return record.wanted == describe_wanted(self._settings)
