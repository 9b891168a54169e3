"""The keepers of all objects: made and withdrawn with the objects, and found by torrent."""

import logging
from collections.abc import Iterable, Mapping, Set
from functools import partial
from itertools import chain

import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import SeederError, StorageError
from seeder.metainfo.library import Library
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.net.slices import Slices
from seeder.publish.embargo import MOST_LOGGED
from seeder.publish.entries import Wanted
from seeder.publish.keeper import Keeper
from seeder.publish.makers import Maker
from seeder.publish.rounds import Rounds
from seeder.publish.serving import WITHDRAWN, Serving
from seeder.publish.timetable import Timetable
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.torrent.torrent import Torrent
from seeder.units import counted

_LOG = logging.getLogger(__name__)

_READERS = 4
_PART = 200
"""Records that are read at a time, each by so many threads: three times as fast where they aren't
in the kernel's memory."""


class Keepers:
    """A keeper for each object that is published."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: MetainfoStore,
        makers: Mapping[str, Maker],
        library: Library,
        serving: Serving,
        timetable: Timetable,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._makers = makers
        self._library = library
        self._serving = serving
        self._timetable = timetable
        self._keepers: dict[ObjectRef, Keeper] = {}
        self.lock = trio.Lock()
        """Held while the prefixes change, or which of the objects below them are published."""

    async def publish(self, wanted: Iterable[Wanted]) -> None:
        """Publish objects that aren't published yet; give the keepers of the others their entries.

        Objects whose metainfo is on disk are served when this returns. The caller holds the lock.
        """
        added: list[Wanted] = []
        slices = Slices()
        for each in wanted:
            if slices.is_over:
                await slices.turn()
            keeper = self._keepers.get(each.ref)
            if keeper is None:
                added.append(each)
            elif not keeper.may_go_on(each):
                self._withdraw(each.ref, WITHDRAWN)
                added.append(each)
            else:
                keeper.change(each)
        records = await self._recall_all([each.ref for each in added])
        served = 0
        for each, record in zip(added, records, strict=True):
            if slices.is_over:
                await slices.turn()
            served += self._add(each, record, len(added))
        if len(added) > MOST_LOGGED:
            _LOG.info(
                "%s; %d of them known from an earlier run, and served at once",
                counted(len(added), "new object"),
                served,
            )

    async def _recall_all(self, refs: list[ObjectRef]) -> list[Record | StorageError | None]:
        """Read what is known of objects, some at a time: a disk that is asked for one file after
        the other is idle most of the time."""
        parts = [refs[begin : begin + _PART] for begin in range(0, len(refs), _PART)]
        found: list[list[Record | StorageError | None]] = [[] for _ in parts]
        left = iter(enumerate(parts))

        async def read() -> None:
            for number, part in left:
                found[number] = await trio.to_thread.run_sync(self._recall, part)

        async with trio.open_nursery() as nursery:
            for _ in range(min(_READERS, len(parts))):
                nursery.start_soon(read)
        return [*chain.from_iterable(found)]

    def _recall(self, refs: list[ObjectRef]) -> list[Record | StorageError | None]:
        found: list[Record | StorageError | None] = []
        for ref in refs:
            try:
                found.append(self._store.recall(ref))
            except StorageError as error:
                found.append(error)
        return found

    def _add(self, wanted: Wanted, record: Record | StorageError | None, crowd: int) -> bool:
        """Begin to keep an object; tell whether it is served already."""
        keeper = Keeper(
            wanted,
            record,
            maker=self._makers[wanted.ref.origin],
            library=self._library,
            serving=self._serving,
            timetable=self._timetable,
        )
        self._keepers[wanted.ref] = keeper
        self._catalog.add(keeper.publication)
        keeper.attempt(partial(keeper.begin, crowd))
        return keeper.publication.torrent is not None

    async def withdraw(self, refs: Iterable[ObjectRef], reason: str) -> None:
        """End the torrents of the objects that have a keeper; the caller holds the lock."""
        slices = Slices()
        for ref in refs:
            if slices.is_over:
                await slices.turn()
            self._withdraw(ref, reason)

    def _withdraw(self, ref: ObjectRef, reason: str) -> None:
        keeper = self._keepers.pop(ref, None)
        if keeper is not None:
            keeper.withdraw(reason)

    async def withdraw_all_but(self, refs: Set[ObjectRef]) -> None:
        """Withdraw every object but these; the caller holds the lock."""
        keepers = self._keepers.keys()
        await self.withdraw(await trio.to_thread.run_sync(keepers.__sub__, refs), WITHDRAWN)

    def settings_of(self, ref: ObjectRef) -> ObjectSettings | None:
        """Return the entry by which an object is published, if it is."""
        keeper = self._keepers.get(ref)
        return None if keeper is None else keeper.wanted.settings

    def torrent_of(self, ref: ObjectRef) -> Torrent | None:
        """Return an object's torrent, also before its time; None while there is none."""
        keeper = self._keepers.get(ref)
        return None if keeper is None else keeper.torrent()

    def rounds_of(self, ref: ObjectRef) -> Rounds | None:
        """Return the rounds in which an object is looked at, if it is published."""
        return self._keepers.get(ref)

    def rehash(self, ref: ObjectRef) -> Rounds | None:
        """Have an object's metainfo made anew in its next round; None if it isn't published."""
        keeper = self._keepers.get(ref)
        if keeper is not None:
            keeper.rehash()
        return keeper

    def handle_fault(self, torrent: Torrent, error: SeederError) -> None:
        """Have a torrent's keeper take note that it can't be served as it is."""
        keeper = self._keeper_of(torrent)
        if keeper is not None:
            keeper.handle_fault(torrent, error)

    def handle_recovery(self, torrent: Torrent, index: int) -> None:
        """Have a torrent's keeper take note that a piece has come right."""
        keeper = self._keeper_of(torrent)
        if keeper is not None:
            keeper.handle_recovery(index)

    def _keeper_of(self, torrent: Torrent) -> Keeper | None:
        publication = self._catalog.owner(torrent)
        if publication is None or publication.torrent is not torrent:
            return None
        return self._keepers[publication.ref]
