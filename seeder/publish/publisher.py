"""Keeps every configured object published: known, hashed, served, and replaced when it changes.

One keeper an object, with a task as long as it has something to wait for. Each round asks S3 how
the object stands (HEAD) and brings its torrent in line with that; then it sleeps until the next
refresh, or until a piece that S3 would not give wakes it. An object below a prefix is looked at
when its line in the listing has changed, and not before.
What goes wrong is that object's state and reason, and is tried again; the others never notice.
"""

import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

import trio

from seeder.config.sections import ObjectSettings
from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    MetainfoError,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    PieceMismatch,
    SeederError,
    StorageError,
    TooManyObjects,
)
from seeder.ledger.counters import Account, Ledger, account_key
from seeder.metainfo.bundles import list_bundle
from seeder.metainfo.ladder import Ladder, describe_wish
from seeder.metainfo.library import Library
from seeder.metainfo.store import MetainfoStore, Record
from seeder.publish.entries import Allotment
from seeder.publish.prefixes import Change, Followers, ListingStore, Prefix
from seeder.publish.serving import DELETED, LOST, WITHDRAWN, Audience, Serving, replaced
from seeder.s3.client import S3Origin
from seeder.s3.listing import Listed
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.info import Outline
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject, same_state, still_there
from seeder.units import rounded_size

_LOG = logging.getLogger(__name__)

METAINFO, LISTINGS, BUILDS = "metainfo", "listings", "builds"
"""Below the state directory: what is known of each object, of each prefix, what is being hashed."""
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
REFUSED_RETRY = 60.0
"""After a 403 or 404: it takes a person to change that."""
CLIMBS = 4
"""Objects of one origin that get their metainfo at a time; each reads in parallel by itself."""
SPREAD = 0.05
"""Seconds a known object, over which the first HEADs after a start are spread."""
MOST_TOLD = 100
"""Known objects that are told of one by one when they come together."""


@dataclass(slots=True)
class Source:
    """An origin and the way to metainfo in it."""

    origin: S3Origin
    ladder: Ladder
    climbs: trio.CapacityLimiter


@dataclass(slots=True, eq=False)
class _Keeper:
    settings: ObjectSettings
    publication: Publication
    record: Record | None = None
    listed: Listed | None = None
    """What the listing of its prefix says; None for an object that has an entry of its own."""
    mismatched: bool = False
    """The object isn't what its own hashes say: no HEAD can clear that."""
    told: str | None = None
    """The last trouble logged: the same one isn't logged every minute."""
    scope: trio.CancelScope | None = None
    """Around its task; None while it has none."""
    woken: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An object that is to be published, with its entry, or that of its prefix."""

    settings: ObjectSettings
    ref: ObjectRef
    listed: Listed | None = None


def _below(prefix: Prefix, objects: Mapping[str, Listed]) -> list[_Wanted]:
    origin, bucket = prefix.ref.origin, prefix.ref.bucket
    return [
        _Wanted(prefix.settings, ObjectRef(origin, bucket, key), listed)
        for key, listed in objects.items()
    ]


class Publisher:
    """Every publication of the node and the tasks that keep them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        ledger: Ledger,
        store: MetainfoStore,
        listings: ListingStore,
        sources: Mapping[str, Source],
        audience: Audience,
        rng: random.Random,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._store = store
        self.library = Library(store, lost=self._metainfo_lost)
        self._sources = sources
        self._serving = Serving(
            catalog=catalog,
            ledger=ledger,
            library=self.library,
            audience=audience,
            wake=lambda ref: self._wake(self._keepers[ref]),
        )
        self._rng = rng
        self._keepers: dict[ObjectRef, _Keeper] = {}
        self.prefixes = Followers(
            lambda name: self._sources[name].origin, ledger, listings, rng, self._take_listing
        )
        self._short: set[_Keeper] = set()
        """Those that go on when there is budget again."""
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the keepers' nursery until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def apply(self, objects: Iterable[ObjectSettings]) -> None:
        """Publish exactly these objects; those that stay as they are notice nothing.

        Objects whose metainfo is on disk are served when this returns.
        """
        assert self._nursery is not None
        async with self.prefixes.lock:
            allotment = Allotment(objects)
            await self.prefixes.apply(allotment, self._nursery)
            for publication in self._catalog:
                if publication.pinned is not None:
                    self.prefixes.adopt(publication.pinned)
            wanted = [_Wanted(settings, ref) for ref, settings in allotment.objects.items()]
            for prefix in self.prefixes:
                wanted += _below(prefix, prefix.objects)
            refs = {each.ref for each in wanted}
            for ref, keeper in tuple(self._keepers.items()):
                if ref not in refs:
                    self._withdraw(keeper, WITHDRAWN)
            await self._publish_all(wanted)

    async def _take_listing(self, prefix: Prefix, change: Change) -> None:
        """Publish what a listing has shown to be new, look at what it shows to have changed."""
        ref = prefix.ref
        for key in change.gone:
            keeper = self._keepers.get(ObjectRef(ref.origin, ref.bucket, key))
            if keeper is not None:
                self._withdraw(keeper, DELETED)
        await self._publish_all(_below(prefix, change.present))

    async def _publish_all(self, wanted: Iterable["_Wanted"]) -> None:
        """Publish objects that aren't, and tell the keepers of the others how they are wanted."""
        added: list[_Wanted] = []
        for each in wanted:
            keeper = self._keepers.get(each.ref)
            if keeper is None:
                added.append(each)
            elif describe_wish(each.settings) != describe_wish(keeper.settings):
                self._withdraw(keeper, WITHDRAWN)
                added.append(each)
            else:
                keeper.settings = each.settings
                keeper.publication.public = each.settings.is_public
                if keeper.listed != each.listed:
                    keeper.listed = each.listed
                    self._wake(keeper)
        records = await trio.to_thread.run_sync(self._load, [each.ref for each in added])
        for each, record in zip(added, records, strict=True):
            self._publish(each, record, len(added))
        served = sum(self._keepers[each.ref].publication.torrent is not None for each in added)
        if len(added) > MOST_TOLD:
            _LOG.info("%d new objects, %d of them known and served", len(added), served)

    def _load(self, refs: list[ObjectRef]) -> list[Record | None]:
        return [self._store.recall(ref) for ref in refs]

    def _publish(self, wanted: "_Wanted", record: Record | None, crowd: int) -> None:
        settings, listed = wanted.settings, wanted.listed
        publication = Publication(wanted.ref, public=settings.is_public)
        keeper = _Keeper(settings, publication, record, listed)
        self._keepers[wanted.ref] = keeper
        self._catalog.add(publication)
        delay = 0.0
        if record is not None and record.outline and record.wanted == describe_wish(settings):
            # Pinned by its ETag, it is safe to serve before S3 was asked: a 412 would tell.
            torrent = self._torrent(record, record.outline)
            self._serve(keeper, torrent, quiet=crowd > MOST_TOLD)
            known = listed is not None and listed == Listed(record.pinned.etag, record.pinned.size)
            delay = inf if known else self._rng.uniform(0, SPREAD * crowd)
        if delay < inf:
            self._start(keeper, delay)

    def _start(self, keeper: _Keeper, delay: float) -> None:
        assert self._nursery is not None
        keeper.scope = trio.CancelScope()
        self._nursery.start_soon(self._keep, keeper, keeper.scope, delay)

    def _wake(self, keeper: _Keeper) -> None:
        """Have the next round begin now, or as soon as the present one is over."""
        keeper.woken.set()
        if keeper.scope is None and self._keepers.get(keeper.publication.ref) is keeper:
            self._start(keeper, 0)

    def _withdraw(self, keeper: _Keeper, reason: str) -> None:
        if keeper.scope is not None:
            keeper.scope.cancel()
        del self._keepers[keeper.publication.ref]
        self._serving.withdraw(keeper.publication, reason)

    def fault(self, torrent: Torrent, error: OriginError) -> None:
        """Take note that S3 didn't give a piece of `torrent` (the cache calls this)."""
        publication = self._catalog.owner(torrent)
        if publication is None or publication.torrent is not torrent:
            return
        keeper = self._keepers[publication.ref]
        if isinstance(error, ObjectChanged):
            self._serving.retire(keeper.publication, replaced(torrent))
        elif isinstance(error, PieceMismatch) and torrent.rung not in ("build", "torrent_file"):
            assert keeper.record is not None
            keeper.record.refused[torrent.rung] = str(error)
            keeper.record.outline = None
            self._serving.retire(keeper.publication, "its metainfo was wrong; get its new torrent")
        else:
            keeper.mismatched |= isinstance(error, PieceMismatch)
            publication.settle(State.FAULTY, str(error))
        self._tell(keeper, logging.WARNING, str(error))
        self._wake(keeper)

    def _metainfo_lost(self, torrent: Torrent, error: SeederError) -> None:
        """Take note that the metainfo of `torrent` can't be read from disk any more."""
        publication = self._catalog.owner(torrent)
        if publication is None or publication.torrent is not torrent:
            return
        keeper = self._keepers[publication.ref]
        if isinstance(error, MetainfoError):
            assert keeper.record is not None
            keeper.record.outline = None
            self._serving.retire(keeper.publication, LOST)
        else:
            publication.settle(State.FAULTY, str(error))
        self._tell(keeper, logging.WARNING, str(error))
        self._wake(keeper)

    def read_on(self) -> None:
        """Wake those that waited for budget: there is some."""
        for keeper in self._short:
            self._wake(keeper)
        self._short.clear()
        self.prefixes.read_on()

    # -- one keeper

    async def _keep(self, keeper: _Keeper, scope: trio.CancelScope, delay: float) -> None:
        with scope:
            retry = FIRST_RETRY
            while delay < inf or keeper.woken.is_set():
                with trio.move_on_after(delay):
                    await keeper.woken.wait()
                keeper.woken = trio.Event()
                try:
                    await self._bring_up_to_date(keeper)
                except BudgetSpent as error:
                    self._wait_for_budget(keeper, error)
                    delay = keeper.settings.refresh
                except SeederError as error:
                    delay = self._note_failure(keeper, error, retry)
                    retry = min(retry * 2, LONGEST_RETRY)
                except Exception as error:
                    # A fault of ours with one object: the others must not pay for it.
                    _LOG.exception("%s: internal error", keeper.publication.ref)
                    keeper.publication.settle(State.FAILED, f"internal error: {error!r}")
                    delay = keeper.settings.refresh
                else:
                    keeper.told = None
                    retry = FIRST_RETRY
                    delay = inf if keeper.listed is not None else keeper.settings.refresh
                delay *= self._rng.uniform(0.9, 1.1)
            keeper.scope = None

    def _note_failure(self, keeper: _Keeper, error: SeederError, retry: float) -> float:
        """Set the publication's state by what went wrong; return the seconds until a new try."""
        publication = keeper.publication
        delay = retry
        state = State.WAITING
        match error:
            case ObjectMissing():
                if publication.torrent is not None:
                    self._serving.retire(keeper.publication, DELETED)
                publication.pinned = None
                state, delay = State.FAILED, REFUSED_RETRY
            case AccessDenied():
                state, delay = State.FAILED, REFUSED_RETRY
            case MetainfoError() | StorageError() | TooManyObjects():
                state, delay = State.FAILED, keeper.settings.refresh
        if publication.torrent is not None:
            state = State.FAULTY
        publication.settle(state, str(error))
        self._tell(keeper, logging.ERROR if state is State.FAILED else logging.WARNING, str(error))
        return min(delay, keeper.settings.refresh)

    def _wait_for_budget(self, keeper: _Keeper, error: BudgetSpent) -> None:
        """Have the keeper woken when there is budget; what is served stays as it is."""
        self._short.add(keeper)
        if keeper.publication.torrent is None:
            keeper.publication.settle(State.WAITING, str(error))
            self._tell(keeper, logging.WARNING, str(error))

    def _tell(self, keeper: _Keeper, level: int, text: str) -> None:
        name = str(keeper.publication.ref)
        if text != keeper.told:
            keeper.told = text
            _LOG.log(level, "%s", text if name in text else f"{name}: {text}")

    async def _bring_up_to_date(self, keeper: _Keeper) -> None:
        publication = keeper.publication
        pinned = await self._look(keeper)
        torrent = publication.torrent
        if torrent is not None and same_state(torrent.pinned, pinned):
            publication.pinned = torrent.pinned
            if publication.state is State.FAULTY and not keeper.mismatched:
                publication.settle(State.SERVING)
            if publication.state is not State.DUPLICATE:
                return
        elif torrent is not None and not still_there(torrent.pinned, pinned):
            reason = replaced(torrent)
            self._serving.retire(keeper.publication, reason)
            _LOG.info("%s: %s", publication.ref, reason)
        publication.pinned = pinned
        await self._acquire(keeper, pinned)

    async def _look(self, keeper: _Keeper) -> PinnedObject:
        """Ask S3 how the object stands, or what is in the bundle."""
        ref, settings = keeper.publication.ref, keeper.settings
        origin = self._sources[ref.origin].origin
        pinned: PinnedObject
        with self._ledger.tally() as tally:
            if settings.bundle:
                pinned = await list_bundle(origin, settings, tally)
            else:
                pinned = await origin.head(ref, tally)
            self._account(pinned).absorb(tally)
        return pinned

    def _account(self, pinned: PinnedObject) -> Account:
        return self._ledger.account(account_key(pinned))

    async def _acquire(self, keeper: _Keeper, pinned: PinnedObject) -> None:
        """Get the metainfo of the object as it is now, keep it on disk, and serve it."""
        settings, publication = keeper.settings, keeper.publication
        wanted = describe_wish(settings)
        record = keeper.record
        if record is None or not same_state(record.pinned, pinned) or record.wanted != wanted:
            record = Record(pinned, wanted=wanted)
            if isinstance(pinned, PinnedBundle):
                # The last one that was made, whatever has been tried since.
                record.earlier = await trio.to_thread.run_sync(self._store.load, pinned.ref)
            keeper.record = record
        if record.outline is not None:
            self._serve(keeper, self._torrent(record, record.outline))
            return
        source = self._sources[publication.ref.origin]

        def progress(done: int, size: int) -> None:
            publication.progress = done / size if size else 1.0

        async with source.climbs:
            source.origin.check_allowance()
            publication.settle(State.BUILDING)
            _LOG.info("%s: getting the metainfo of %s", publication.ref, rounded_size(pinned.size))
            torrent = await source.ladder.climb(record, settings, self._account(pinned), progress)
        record.earlier = None
        await trio.to_thread.run_sync(self._store.save, record)
        source.ladder.builds.clear(publication.ref)
        # What peers will ask for first is at hand, and only that long.
        self.library.put(torrent.info)
        record.info, record.outline = None, torrent.info.outline
        self._serve(keeper, self._torrent(record, record.outline))

    def _torrent(self, record: Record, outline: Outline) -> Torrent:
        return Torrent(outline, record.pinned, record.rung, record.tree, shelf=self.library)

    def _serve(self, keeper: _Keeper, torrent: Torrent, *, quiet: bool = False) -> None:
        keeper.mismatched = False
        self._serving.serve(keeper.publication, torrent, quiet=quiet)
