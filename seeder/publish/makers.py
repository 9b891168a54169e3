"""What one origin is asked for its objects, and how their metainfo is made and saved."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.errors import StorageError
from seeder.ledger.counters import Ledger
from seeder.metainfo.bundles import Below, list_objects, look
from seeder.metainfo.hashing import LastTorrent, OnProgress
from seeder.metainfo.ladder import Ladder, describe_wanted
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.publish.once import MadeOnce
from seeder.s3.client import S3Origin
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject, described_by
from seeder.torrent.torrent import Torrent

CLIMBS = 4
"""Objects of one origin whose metainfo is made at a time; each is read in parallel by itself."""


class Maker:
    """Asks one origin, books what that costs in the ledger, and keeps what comes of it on disk."""

    def __init__(
        self,
        origin: S3Origin,
        ladder: Ladder,
        store: MetainfoStore,
        ledger: Ledger,
        cache: PieceCache[Torrent],
        *,
        once: MadeOnce | None = None,
    ) -> None:
        """`once` has other nodes make metainfo, too, where there are some."""
        self._origin = origin
        self._ladder = ladder
        self._store = store
        self._ledger = ledger
        self._cache = cache
        self._once = once
        self._climbs = trio.CapacityLimiter(CLIMBS)

    def is_cut_off(self) -> bool:
        """Tell whether the origin's S3 is away."""
        return not self._origin.statistics().reachable

    async def look(
        self,
        ref: ObjectRef,
        settings: ObjectSettings,
        listed: Listed | None,
        before: PinnedObject | None,
    ) -> PinnedObject:
        """Return how an object stands, or what is in a bundle; as `metainfo.bundles.look`."""
        with self._ledger.tally() as tally:
            pinned = await look(self._origin, ref, settings, tally, listed, before=before)
            self._ledger.account_of(pinned).absorb(tally)
        return pinned

    async def list_below(
        self,
        settings: ObjectSettings,
        belongs: Callable[[str], bool],
        before: Mapping[str, Listed],
    ) -> Below:
        """Return what is below a prefix and `belongs` to it; as `metainfo.bundles.list_objects`.

        The requests are booked on no object.
        """
        with self._ledger.tally() as tally:
            return await list_objects(self._origin, settings, belongs, tally, before)

    async def begin(
        self,
        pinned: PinnedObject,
        settings: ObjectSettings,
        *,
        doubted: frozenset[PinnedObject] = frozenset(),
    ) -> Record:
        """Return a new record of an object as it is now; a bundle's has the last one saved.

        Of `doubted`, some of the bundle's objects, nothing is taken from that.
        """
        record = Record(pinned, wanted=describe_wanted(settings), doubted=doubted)
        if isinstance(pinned, PinnedBundle):
            # The last one that was made, whatever has been tried since.
            record.earlier = await trio.to_thread.run_sync(self._store.load, pinned.ref)
        return record

    async def read_again(self, torrent: Torrent, index: int) -> bytes:
        """Return the SHA-1 of a piece as S3 gives it now; as `PieceCache.read_again`."""
        return await self._cache.read_again(torrent, index)

    async def make(
        self,
        record: Record,
        settings: ObjectSettings,
        progress: OnProgress,
        *,
        begin: Callable[[], None] = lambda: None,
        former: LastTorrent | None = None,
    ) -> Torrent:
        """Return a verified torrent of the record's object, once the record is saved.

        `begin` is called when its turn has come. OriginError, BudgetSpent, MetainfoError,
        StorageError. If it can't be saved, the record has its info all the same: see `save`.
        """
        async with self._climbs:
            self._origin.check_allowance()
            begin()
            account = self._ledger.account_of(record.pinned)
            torrent = await self._ladder.climb(record, settings, account, progress, former)
        record.earlier, record.doubted = None, frozenset()
        await self.save(record)
        return torrent

    async def obtain(
        self,
        record: Record,
        settings: ObjectSettings,
        progress: OnProgress,
        *,
        begin: Callable[[], None],
        wait: Callable[[], None],
        former: LastTorrent | None,
    ) -> None:
        """Have the record's metainfo made here, as `make` does, or by another node.

        `wait` is called when it is another one that makes it.
        """

        async def make() -> None:
            await self.make(record, settings, progress, begin=begin, former=former)

        if self._once is None:
            await make()
        else:
            await self._once.obtain(record, make, wait)

    async def adopt(self, torrent: Torrent, new: Torrent) -> None:
        """Have the pieces of a torrent kept as those of another with the same info hash."""
        for old, now in zip(torrent.sections, new.sections, strict=True):
            if old.cache_id != now.cache_id:
                await self._cache.adopt(old.cache_id, now.cache_id)

    def move(self, torrent: Torrent, new: Torrent) -> None:
        """Have a torrent go on as another whose pieces it was given by `adopt`."""
        gone = {each.cache_id for each in torrent.sections}
        gone -= {each.cache_id for each in new.sections}
        torrent.move(new)
        self._cache.follow(torrent)
        for name in gone:
            self._cache.discard(name)

    async def save(self, record: Record) -> None:
        """Save a record whose metainfo was made, and clear up after that; StorageError."""
        await trio.to_thread.run_sync(self._store.save, record)
        await trio.to_thread.run_sync(self._ladder.builds.clear, record.pinned.ref)

    async def describe(self, record: Record, pinned: PinnedObject) -> None:
        """Keep what S3 tells of an object beside its bytes, on disk as far as that takes it."""
        record.pinned = described_by(record.pinned, pinned)
        with suppress(StorageError):
            await trio.to_thread.run_sync(self._store.describe, record.pinned)

    async def strike(self, record: Record) -> None:
        """Keep on disk that the metainfo of an object is wrong, as far as the disk takes it.

        A restart would serve it else until it was found out once more. What a bundle's record tells
        of its other objects is of use: it stays, and so is found out again.
        """
        if not isinstance(record.pinned, PinnedBundle):
            with suppress(StorageError):
                await trio.to_thread.run_sync(self._store.save, record)

    async def recall(self, ref: ObjectRef) -> Record | None:
        """Return what is known of an object; as `MetainfoStore.recall`."""
        return await trio.to_thread.run_sync(self._store.recall, ref)
