"""Prefixes: what is below each of them, asked of S3 again and again, and who an object belongs to.

A listing is taken in as a whole or not at all: what fails half-way, or has more objects than the
operator allows, leaves everything as it was, and is tried again. The last one is remembered on
disk, so that a start knows the objects before S3 has answered.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

import trio

from seeder.config.sections import ObjectSettings
from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    ObjectMissing,
    SeederError,
    TooManyObjects,
)
from seeder.ledger.counters import Ledger
from seeder.metainfo.store import ListingStore
from seeder.s3.answers import label
from seeder.s3.client import Meter, S3Origin
from seeder.s3.listing import Listed, publishable
from seeder.torrent.catalog import ObjectRef, PinnedObject

_LOG = logging.getLogger(__name__)

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
REFUSED_RETRY = 60.0
"""After a 403 or 404: it takes a person to change that."""
EMPTY = "there is no object below it; it is looked at again"


class PrefixState(StrEnum):
    """How a prefix stands; the values are those of `state` in /status.json."""

    WAITING = "waiting"
    """Not listed since the start, or tried and to be tried again; `reason` says why."""
    FOLLOWED = "followed"
    EMPTY = "empty"
    FAILED = "failed"
    """Useless to try again before somebody changes something."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a listing has that the one before it had not, or had otherwise, and what has gone."""

    present: Mapping[str, Listed]
    gone: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Prefix:
    """One configured prefix and what was found below it."""

    settings: ObjectSettings
    objects: dict[str, Listed] = field(default_factory=dict)
    """By key, as the last whole listing had it."""
    state: PrefixState = PrefixState.WAITING
    reason: str | None = None
    listed_at: float | None = None
    """When S3 gave that listing (Unix s); None if that was in an earlier run."""
    told: str | None = None
    """The last trouble logged."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    woken: trio.Event = field(default_factory=trio.Event)

    @property
    def ref(self) -> ObjectRef:
        return self.settings.ref

    def document(self) -> dict[str, object]:
        """Return it in the form of /status.json."""
        return {
            "origin": self.ref.origin,
            "bucket": self.ref.bucket,
            "prefix": self.ref.key,
            "state": self.state,
            "reason": self.reason,
            "objects": len(self.objects),
            "bytes": sum(listed.size for listed in self.objects.values()),
            "listed_at": self.listed_at,
        }


class Allotment:
    """Which entry an object belongs to: its own, else that with the longest prefix of its key."""

    def __init__(self, entries: Iterable[ObjectSettings]) -> None:
        self.objects: dict[ObjectRef, ObjectSettings] = {}
        self.prefixes: dict[ObjectRef, ObjectSettings] = {}
        for settings in entries:
            alone = settings.key is not None or settings.bundle
            kind = self.objects if alone else self.prefixes
            kind[settings.ref] = settings

    def belongs(self, prefix: ObjectRef) -> Callable[[str], bool]:
        """Return a test for keys below `prefix`: whether they belong to it and to no other."""
        place = prefix.origin, prefix.bucket
        named = {ref.key for ref in self.objects if _place(ref) == place and not ref.version_id}
        longer = tuple(
            ref.key
            for ref in self.prefixes
            if _place(ref) == place and ref != prefix and ref.key.startswith(prefix.key)
        )
        return lambda key: key not in named and not key.startswith(longer)

    def find(self, bucket: str, key: str) -> ObjectSettings | None:
        """Return the section of BUCKET/KEY, as if it were written for that key alone."""
        for ref, settings in self.objects.items():
            if (ref.bucket, ref.key) == (bucket, key):
                return settings
        covering = _longest(ref for ref in self.prefixes if _covers(ref, bucket, key))
        return None if covering is None else self.prefixes[covering].of(key)

    def prefix_of(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the prefix that an object without an entry of its own belongs to."""
        if ref in self.objects or ref.version_id is not None:
            return None
        return _longest(
            prefix
            for prefix in self.prefixes
            if prefix.origin == ref.origin and _covers(prefix, ref.bucket, ref.key)
        )


def _covers(prefix: ObjectRef, bucket: str, key: str) -> bool:
    return prefix.bucket == bucket and key.startswith(prefix.key)


def _longest(prefixes: Iterable[ObjectRef]) -> ObjectRef | None:
    return max(prefixes, key=lambda ref: len(ref.key), default=None)


def _place(ref: ObjectRef) -> tuple[str, str]:
    return ref.origin, ref.bucket


async def list_objects(
    origin: S3Origin, settings: ObjectSettings, belongs: Callable[[str], bool], meter: Meter
) -> dict[str, Listed]:
    """Return the objects below a prefix that `belongs` lets pass, by key, from all its pages.

    OriginError, BudgetSpent; TooManyObjects as soon as there are more than `max_objects`.
    """
    found: dict[str, Listed] = {}
    seen: set[str] = set()
    token: str | None = None
    while True:
        page = await origin.list_page(settings.ref, token, meter)
        ours = publishable(page.objects, seen)
        found.update((key, listed) for key, listed in ours.items() if belongs(key))
        if len(found) > settings.max_objects:
            raise TooManyObjects(
                f"{label(settings.ref)}: has more than {settings.max_objects} objects, and none"
                " of them is published anew; raise max_objects, or name longer prefixes"
            )
        token = page.next_token
        if token is None:
            return found


Taker = Callable[[Prefix, Change], Awaitable[None]]


class Followers:
    """The prefixes of the node, each listed every `refresh`; `take` hears what has changed."""

    def __init__(
        self,
        origins: Callable[[str], S3Origin],
        ledger: Ledger,
        store: ListingStore,
        rng: random.Random,
        take: Taker,
    ) -> None:
        self._origins = origins
        self._ledger = ledger
        self._store = store
        self._rng = rng
        self._take = take
        self._prefixes: dict[ObjectRef, Prefix] = {}
        self._allotment = Allotment(())
        self.lock = trio.Lock()
        """Held by whoever changes what is below the prefixes, or the prefixes."""
        self._short: set[Prefix] = set()
        """Those that go on when there is budget again."""

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._prefixes.values())

    async def apply(self, allotment: Allotment, nursery: trio.Nursery) -> None:
        """Follow exactly these prefixes; what is remembered of new ones is there on return.

        The caller holds the lock.
        """
        self._allotment = allotment
        for ref, prefix in tuple(self._prefixes.items()):
            settings = allotment.prefixes.get(ref)
            if settings is None:
                prefix.scope.cancel()
                del self._prefixes[ref]
                self._short.discard(prefix)
            else:
                # The one before or after a change of the others may have left it more, or less.
                prefix.settings = settings
                prefix.woken.set()
        added = [ref for ref in allotment.prefixes if ref not in self._prefixes]
        remembered = await trio.to_thread.run_sync(lambda: [*map(self._store.load, added)])
        for ref, objects in zip(added, remembered, strict=True):
            prefix = Prefix(allotment.prefixes[ref], objects or {})
            self._prefixes[ref] = prefix
            nursery.start_soon(self._follow, prefix)
        for prefix in self:
            belongs = allotment.belongs(prefix.ref)
            prefix.objects = {key: each for key, each in prefix.objects.items() if belongs(key)}

    def adopt(self, pinned: PinnedObject) -> None:
        """Count an object that had an entry of its own as listed, if a prefix has it by now."""
        owner = self._allotment.prefix_of(pinned.ref)
        if owner is not None:
            listed = Listed(pinned.etag, pinned.size)
            self._prefixes[owner].objects.setdefault(pinned.ref.key, listed)

    def read_on(self) -> None:
        """Wake those that waited for budget: there is some."""
        for prefix in self._short:
            prefix.woken.set()
        self._short.clear()

    async def _follow(self, prefix: Prefix) -> None:
        with prefix.scope:
            retry = FIRST_RETRY
            while True:
                prefix.woken = trio.Event()
                refresh = prefix.settings.refresh
                try:
                    await self._look(prefix)
                except BudgetSpent as error:
                    self._short.add(prefix)
                    self._tell(prefix, PrefixState.WAITING, str(error))
                    delay = refresh
                except SeederError as error:
                    delay = min(refresh, self._failed(prefix, error, retry))
                    retry = min(retry * 2, LONGEST_RETRY)
                except Exception as error:
                    # A fault of ours with one prefix: the others must not pay for it.
                    _LOG.exception("%s: internal error", prefix.ref)
                    prefix.state, prefix.reason = PrefixState.FAILED, f"internal error: {error!r}"
                    delay = refresh
                else:
                    retry, delay = FIRST_RETRY, refresh
                with trio.move_on_after(delay * self._rng.uniform(0.9, 1.1)):
                    await prefix.woken.wait()

    def _failed(self, prefix: Prefix, error: SeederError, retry: float) -> float:
        """Note what went wrong; return the seconds until a new try."""
        match error:
            case TooManyObjects():
                state, delay = PrefixState.FAILED, inf
            case AccessDenied() | ObjectMissing():
                state, delay = PrefixState.FAILED, REFUSED_RETRY
            case _:
                state, delay = PrefixState.WAITING, retry
        self._tell(prefix, state, str(error))
        return delay

    def _tell(self, prefix: Prefix, state: PrefixState, reason: str) -> None:
        prefix.state, prefix.reason = state, reason
        if reason != prefix.told:
            prefix.told = reason
            level = logging.ERROR if state is PrefixState.FAILED else logging.WARNING
            name = str(prefix.ref)
            _LOG.log(level, "%s", reason if name in reason else f"{name}: {reason}")

    async def _look(self, prefix: Prefix) -> None:
        """List a prefix and have the changes taken in; OriginError, BudgetSpent, StorageError."""
        settings, allotment = prefix.settings, self._allotment
        origin = self._origins(settings.origin)
        with self._ledger.tally() as tally:
            found = await list_objects(origin, settings, allotment.belongs(prefix.ref), tally)
        async with self.lock:
            if allotment is self._allotment:  # else it was woken to look anew
                await self._take_in(prefix, found)

    async def _take_in(self, prefix: Prefix, found: dict[str, Listed]) -> None:
        change = compare(prefix.objects, found)
        if change.present or change.gone:
            await trio.to_thread.run_sync(self._store.save, prefix.ref, found)
            await self._take(prefix, change)
            _LOG.info(
                "%s: %d objects below it, %d of them new or changed; %d have gone",
                *(prefix.ref, len(found), len(change.present), len(change.gone)),
            )
        prefix.objects, prefix.listed_at = found, time.time()
        if found:
            prefix.state, prefix.reason, prefix.told = PrefixState.FOLLOWED, None, None
        else:
            self._tell(prefix, PrefixState.EMPTY, EMPTY)


def compare(before: Mapping[str, Listed], now: Mapping[str, Listed]) -> Change:
    """Return how two listings differ."""
    present = {key: listed for key, listed in now.items() if before.get(key) != listed}
    return Change(present, tuple(key for key in before if key not in now))
