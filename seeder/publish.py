"""Keeps every configured object published: known, hashed, served, and replaced when it changes.

One keeper task an object. Each round asks S3 how the object stands (HEAD) and brings its torrent in
line with that; then it sleeps until the next refresh, or until a piece that S3 would not give wakes
it. What goes wrong is that object's state and reason, and is tried again; the others never notice.
"""

import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

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
)
from seeder.ledger.counters import Account, AccountKey, Ledger
from seeder.ledger.report import human
from seeder.origin.acquire import Ladder, describe_wish
from seeder.origin.s3 import S3Origin
from seeder.origin.store import MetainfoStore, Record
from seeder.settings import ObjectSettings
from seeder.torrent.catalog import (
    Catalog,
    ObjectRef,
    PinnedObject,
    Publication,
    State,
    Torrent,
    same_state,
)

_LOG = logging.getLogger(__name__)

METAINFO, BUILDS = "metainfo", "builds"
"""Below the state directory: what is known of each object, and what is being hashed."""
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
REFUSED_RETRY = 60.0
"""After a 403 or 404: it takes a person to change that."""
CLIMBS = 4
"""Objects of one origin that get their metainfo at a time; each reads in parallel by itself."""
SPREAD = 0.05
"""Seconds a known object, over which the first HEADs after a start are spread."""
REPLACED = "the object was replaced in S3; get its new torrent"
DELETED = "the object was deleted from S3"
WITHDRAWN = "the torrent is no longer published here"


class Audience(Protocol):
    """Who has to know when a torrent comes or goes."""

    def torrent_live(self, torrent: Torrent, account: Account) -> None: ...
    def torrent_gone(self, torrent: Torrent, reason: str) -> None: ...


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
    scope: trio.CancelScope
    woken: trio.Event
    record: Record | None = None
    mismatched: bool = False
    """The object isn't what its own hashes say: no HEAD can clear that."""
    told: str | None = None
    """The last trouble logged: the same one isn't logged every minute."""


class Publisher:
    """Every publication of the node and the tasks that keep them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        ledger: Ledger,
        store: MetainfoStore,
        sources: Mapping[str, Source],
        audience: Audience,
        rng: random.Random,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._store = store
        self._sources = sources
        self._audience = audience
        self._rng = rng
        self._keepers: dict[ObjectRef, _Keeper] = {}
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
        wanted = {settings.ref: settings for settings in objects}
        for ref, keeper in tuple(self._keepers.items()):
            settings = wanted.get(ref)
            if settings is not None and describe_wish(settings) == describe_wish(keeper.settings):
                keeper.settings = settings
            else:
                self._withdraw(keeper)
        added = [settings for ref, settings in wanted.items() if ref not in self._keepers]
        records = await trio.to_thread.run_sync(self._load, added)
        for settings, record in zip(added, records, strict=True):
            self._publish(settings, record, len(added))

    def _load(self, added: list[ObjectSettings]) -> list[Record | None]:
        return [self._store.load(settings.ref) for settings in added]

    def _publish(self, settings: ObjectSettings, record: Record | None, crowd: int) -> None:
        publication = Publication(settings.ref, private=settings.private)
        keeper = _Keeper(settings, publication, trio.CancelScope(), trio.Event(), record)
        self._keepers[settings.ref] = keeper
        self._catalog.add(publication)
        delay = 0.0
        if record is not None and record.info and record.wanted == describe_wish(settings):
            # Pinned by its ETag, it is safe to serve before S3 was asked: a 412 would tell.
            self._serve(keeper, Torrent(record.info, record.pinned, record.rung, record.tree))
            delay = self._rng.uniform(0, SPREAD * crowd)
        assert self._nursery is not None
        self._nursery.start_soon(self._keep, keeper, delay)

    def _withdraw(self, keeper: _Keeper) -> None:
        keeper.scope.cancel()
        del self._keepers[keeper.publication.ref]
        torrent = self._catalog.remove(keeper.publication.ref)
        if torrent is not None:
            self._gone(torrent, WITHDRAWN)

    def fault(self, torrent: Torrent, error: OriginError) -> None:
        """Take note that S3 didn't give a piece of `torrent` (the cache calls this)."""
        publication = self._catalog.owner(torrent)
        if publication is None or publication.torrent is not torrent:
            return
        keeper = self._keepers[publication.ref]
        if isinstance(error, ObjectChanged):
            self._retire(keeper, REPLACED)
        elif isinstance(error, PieceMismatch) and torrent.rung not in ("build", "torrent_file"):
            assert keeper.record is not None
            keeper.record.refused[torrent.rung] = str(error)
            keeper.record.info = None
            self._retire(keeper, "its metainfo was wrong; get its new torrent")
        else:
            keeper.mismatched |= isinstance(error, PieceMismatch)
            publication.settle(State.FAULTY, str(error))
        self._tell(keeper, logging.WARNING, str(error))
        keeper.woken.set()

    def read_on(self) -> None:
        """Wake those that waited for budget: there is some."""
        for keeper in self._short:
            keeper.woken.set()
        self._short.clear()

    # -- one keeper

    async def _keep(self, keeper: _Keeper, delay: float) -> None:
        with keeper.scope:
            retry = FIRST_RETRY
            while True:
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
                    retry, delay = FIRST_RETRY, keeper.settings.refresh
                delay *= self._rng.uniform(0.9, 1.1)

    def _note_failure(self, keeper: _Keeper, error: SeederError, retry: float) -> float:
        """Set the publication's state by what went wrong; return the seconds until a new try."""
        publication = keeper.publication
        delay = retry
        state = State.WAITING
        match error:
            case ObjectMissing():
                if publication.torrent is not None:
                    self._retire(keeper, DELETED)
                publication.pinned = None
                state, delay = State.FAILED, REFUSED_RETRY
            case AccessDenied():
                state, delay = State.FAILED, REFUSED_RETRY
            case MetainfoError() | StorageError():
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
        pinned = await self._head(publication.ref)
        torrent = publication.torrent
        if torrent is not None and same_state(torrent.pinned, pinned):
            if publication.state is State.FAULTY and not keeper.mismatched:
                publication.settle(State.SERVING)
            if publication.state is not State.DUPLICATE:
                return
        elif torrent is not None:
            self._retire(keeper, REPLACED)
            _LOG.info("%s: %s", publication.ref, REPLACED)
        publication.pinned = pinned
        await self._acquire(keeper, pinned)

    async def _head(self, ref: ObjectRef) -> PinnedObject:
        with self._ledger.tally() as tally:
            pinned = await self._sources[ref.origin].origin.head(ref, tally)
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
            keeper.record = record
        if record.info is not None:
            self._serve(keeper, Torrent(record.info, record.pinned, record.rung, record.tree))
            return
        source = self._sources[publication.ref.origin]

        def progress(done: int, size: int) -> None:
            publication.progress = done / size if size else 1.0

        async with source.climbs:
            source.origin.check_allowance()
            publication.settle(State.BUILDING)
            _LOG.info("%s: getting the metainfo of %s", publication.ref, human(pinned.size))
            torrent = await source.ladder.climb(record, settings, self._account(pinned), progress)
        await trio.to_thread.run_sync(self._store.save, record)
        source.ladder.journal_path(publication.ref).unlink(missing_ok=True)
        self._serve(keeper, torrent)

    def _serve(self, keeper: _Keeper, torrent: Torrent) -> None:
        publication = keeper.publication
        known = publication.state is State.DUPLICATE
        keeper.mismatched = False
        if not self._catalog.serve(publication, torrent):
            if not known:
                _LOG.info("%s: %s; one torrent serves both", publication.ref, publication.reason)
            return
        account = self._account(torrent.pinned)
        account.info_hash = torrent.info_hash.hex()
        account.size = torrent.layout.size
        account.pieces = torrent.layout.piece_count
        _LOG.info(
            "%s: serving %s%s, %d bytes in %d pieces, metainfo from %s",
            *(publication.ref, torrent.info_hash),
            f" (v2 {torrent.v2_hash.hex()})" if torrent.v2_hash else "",
            torrent.layout.size,
            *(torrent.layout.piece_count, torrent.rung),
        )
        self._audience.torrent_live(torrent, account)

    def _retire(self, keeper: _Keeper, reason: str) -> None:
        torrent = self._catalog.retire(keeper.publication, reason)
        if torrent is not None:
            self._gone(torrent, reason)

    def _gone(self, torrent: Torrent, reason: str) -> None:
        self._audience.torrent_gone(torrent, reason)
        for keeper in self._keepers.values():
            if keeper.publication.state is State.DUPLICATE:
                keeper.woken.set()  # one of them may take the torrent over


def account_key(pinned: PinnedObject) -> AccountKey:
    """Return the key of the account that a state of an object is booked on."""
    ref = pinned.ref
    return AccountKey(ref.origin, ref.bucket, ref.key, pinned.version)
