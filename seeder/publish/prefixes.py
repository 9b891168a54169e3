"""Prefixes: what is below each of them, asked of S3 again and again, and who an object belongs to.

A listing is taken in as a whole or not at all: what fails half-way, or has more objects than the
operator allows, leaves everything as it was, and is tried again. The last one is remembered on
disk, so that a start knows the objects before S3 has answered.
"""

import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path

import trio

from seeder.config.sections import ObjectSettings
from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    ObjectMissing,
    SeederError,
    TooManyObjects,
)
from seeder.files import replace_file, storage_errors
from seeder.ledger.counters import Ledger
from seeder.metainfo.bundles import list_objects
from seeder.metainfo.store import file_stem
from seeder.publish.entries import Allotment
from seeder.s3.client import S3Origin
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef, PinnedObject

_LOG = logging.getLogger(__name__)

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
REFUSED_RETRY = 60.0
"""After a 403 or 404: it takes a person to change that."""
EMPTY = "there is no object below it; it is looked at again"


class ListingStore:
    """The last listing of each prefix, a JSON document below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, prefix: ObjectRef) -> Path:
        return self._directory / f"{file_stem(prefix)}.json"

    def load(self, prefix: ObjectRef) -> dict[str, Listed] | None:
        """Return the objects below a prefix by key; None if they aren't known, or damaged."""
        path = self._path(prefix)
        with storage_errors(path, "read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            told = json.loads(data)
            if told["prefix"] != [prefix.origin, prefix.bucket, prefix.key]:
                return None
            return {str(key): Listed(str(etag), int(size)) for key, etag, size in told["objects"]}
        except (ValueError, KeyError, TypeError):
            return None

    def save(self, prefix: ObjectRef, objects: Mapping[str, Listed]) -> None:
        """Write a listing in one step; StorageError when the disk won't take it."""
        rows = [(key, listed.etag, listed.size) for key, listed in objects.items()]
        document = {"prefix": [prefix.origin, prefix.bucket, prefix.key], "objects": rows}
        path = self._path(prefix)
        with storage_errors(path, "written"):
            # Durable: without it a start waits for S3 to list the prefix.
            replace_file(path, json.dumps(document).encode(), durable=True)


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
