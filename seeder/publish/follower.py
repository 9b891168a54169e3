"""Lists one prefix again and again, and has published what changed below it.

A listing is taken in as a whole or not at all: what fails half-way, or has more objects than the
operator allows, leaves everything as it was, and is tried again.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    ObjectMissing,
    SeederError,
    StorageError,
    TooManyObjects,
)
from seeder.metainfo.bundles import Below, as_listed
from seeder.net.slices import Slices
from seeder.publish.entries import Entries
from seeder.publish.keepers import Keepers
from seeder.publish.listings import ListingStore
from seeder.publish.makers import Maker
from seeder.publish.prefix import Prefix, PrefixState
from seeder.publish.rounds import Rounds
from seeder.publish.serving import DELETED, WITHDRAWN
from seeder.publish.timetable import Timetable
from seeder.s3.answers import printable
from seeder.s3.listing import SIDECAR, Listed, publishable
from seeder.torrent.objects import ObjectRef
from seeder.units import counted

_LOG = logging.getLogger(__name__)

_MOST_NAMED = 3
EMPTY = (
    "there is no object below it; S3 is asked again at each refresh, and when an event tells of one"
)


@dataclass(frozen=True, slots=True)
class Change:
    """How a listing differs from the one before it."""

    updated: Mapping[str, Listed]
    """The new and the changed objects, by key."""
    gone: tuple[str, ...]
    """The keys that it has no longer."""


class Follower(Rounds):
    """Lists one prefix every `refresh`, and has what changed published."""

    def __init__(
        self,
        prefix: Prefix,
        entries: Entries,
        *,
        maker: Maker,
        listings: ListingStore,
        keepers: Keepers,
        timetable: Timetable,
        unlisted: set[ObjectRef],
    ) -> None:
        super().__init__(timetable)
        self.prefix = prefix
        self._entries = entries
        self._maker = maker
        self._listings = listings
        self._changes = 0
        """Grows when other objects may belong to it: a listing under way counts no more."""
        self._unsaved = False
        """Whether the last listing isn't on disk, with what was found since."""
        self._found: dict[str, Listed | None] = {}
        """What was asked about by itself since the present listing began; None is gone."""
        self._keepers = keepers
        self._unlisted = unlisted

    @property
    def name(self) -> str:
        return str(self.prefix.ref)

    @property
    def origin(self) -> str:
        return self.prefix.ref.origin

    @property
    def refresh(self) -> float:
        return self.prefix.settings.refresh

    def change(self, settings: ObjectSettings, entries: Entries) -> None:
        """Go on under another configuration, which may leave the prefix more objects, or fewer."""
        self.prefix.settings, self._entries = settings, entries
        self._changes += 1
        self.wake()

    def end(self) -> None:
        """List it no more; an object that is asked about at the moment is none of its own."""
        self._changes += 1
        super().end()

    async def sort_out(self) -> dict[str, Listed]:
        """Forget the objects that belong to another entry, and return them.

        The caller holds the keepers' lock.
        """
        belongs, slices = self._entries.belongs(self.prefix.ref), Slices()
        kept: dict[str, Listed] = {}
        left: dict[str, Listed] = {}
        for key, listed in self.prefix.objects.items():
            (kept if belongs(key) else left)[key] = listed
            if slices.is_over:
                await slices.turn()
        self.prefix.objects = kept
        return left

    def give_up(self, key: str) -> None:
        """Take note that an object has an entry of its own from now on."""
        self._unsaved |= self.prefix.objects.pop(key, None) is not None
        self._found[key] = None

    def take_over(self, key: str, listed: Listed) -> None:
        """Take note that an object has no entry of its own any more."""
        self._unsaved = True
        self.prefix.objects[key] = self._found[key] = listed

    async def look(self) -> float:
        """List the prefix and take the changes in."""
        settings, changes = self.prefix.settings, self._changes
        belongs = self._entries.belongs(settings.ref)
        self._found = {}
        found = await self._maker.list_below(settings, belongs, self.prefix.objects)
        async with self._keepers.lock:
            if changes == self._changes:  # else it was woken to list again
                await self._take_in(found)
        return settings.refresh

    async def _take_in(self, listing: Below) -> None:
        prefix, found = self.prefix, listing.objects
        for key, listed in self._found.items():
            # It was looked at after the listing had begun: that is newer.
            listing.left_out.pop(key, None)
            if listed is None:
                found.pop(key, None)
            else:
                found[key] = listed
        for key in [key for key in self._found if key.endswith(SIDECAR)]:
            if key.removesuffix(SIDECAR) in found:
                found.pop(key, None)  # it was asked about before its object was known
        for key in listing.left_out.keys() - listing.gone:
            # What was known of it is as good as it was: reads are pinned to its ETag.
            if key in prefix.objects:
                found[key] = prefix.objects[key]
        change = compare(prefix.objects, found)
        if change.updated or change.gone or self._unsaved:
            await self._save(found)
        if change.updated or change.gone:
            await self._keepers.withdraw(map(prefix.below, change.gone), DELETED)
            await self._keepers.publish(prefix.wanted(change.updated))
            _LOG.info(
                "%s: %s below it, new or changed: %d, gone: %d",
                prefix.ref,
                counted(len(found), "object"),
                len(change.updated),
                len(change.gone),
            )
        prefix.objects, prefix.listed_at = found, time.time()
        self._unlisted.discard(prefix.ref)
        prefix.left_out = listing.left_out
        if prefix.left_out:
            state = PrefixState.FOLLOWED if found else PrefixState.EMPTY
            self._settle(state, _left_out(prefix.left_out))
        elif found:
            prefix.state, prefix.reason, self.told = PrefixState.FOLLOWED, None, None
        else:
            self._settle(PrefixState.EMPTY, EMPTY)

    async def ask(self, key: str) -> None:
        """Ask S3 about one key, and have what it is published, or withdrawn; SeederError."""
        settings, changes, ref = self.prefix.settings, self._changes, self.prefix.below(key)
        began_at = trio.current_time()
        try:
            pinned = await self._maker.look(ref, settings, None, None)
            found = as_listed(pinned)
        except ObjectMissing:
            found = None
        except SeederError as error:
            self._note_look(ref, began_at, str(error))
            raise
        async with self._keepers.lock:
            is_ours = changes == self._changes and ref not in self._entries.objects
            if is_ours:  # else it may belong to another entry
                await self._take_in_one(key, found)
                self._note_look(ref, began_at)
                rounds = self._keepers.rounds_of(ref)
                if rounds is not None and rounds.is_put_off:
                    rounds.wake()  # what was refused may be granted now, though it is as it was

    def _note_look(self, ref: ObjectRef, began_at: float, fault: str | None = None) -> None:
        rounds = self._keepers.rounds_of(ref)
        if rounds is not None:
            rounds.note_look(began_at, fault)

    async def _take_in_one(self, key: str, found: Listed | None) -> None:
        prefix, objects = self.prefix, self.prefix.objects
        writes = prefix.settings.write_sidecar
        seen = objects.keys()
        if found is not None and not publishable([(key, found)], seen, writes_sidecars=writes):
            return
        if found is not None and key not in objects and len(objects) >= prefix.settings.max_objects:
            self.wake()  # the listing says that there are too many
            return
        self._found[key] = found
        if objects.get(key) == found:
            return
        self._unsaved = True
        if found is None:
            del objects[key]
            await self._keepers.withdraw([prefix.below(key)], DELETED)
        else:
            objects[key] = found
            # Its torrent may have been heard of first, and was an object by itself until now.
            if objects.pop(key + SIDECAR, None) is not None:
                await self._keepers.withdraw([prefix.below(key + SIDECAR)], WITHDRAWN)
                self._found.pop(key + SIDECAR, None)
            if prefix.state is PrefixState.EMPTY:
                prefix.state, prefix.reason = PrefixState.FOLLOWED, None
            await self._keepers.publish(prefix.wanted({key: found}))

    async def _save(self, found: Mapping[str, Listed]) -> None:
        """Save a listing; without it a start waits for S3, but nothing else is amiss."""
        try:
            await trio.to_thread.run_sync(self._listings.save, self.prefix.ref, found)
        except StorageError as error:
            if not self._unsaved:
                _LOG.warning("%s; saved with the next listing of %s", error, self.name)
            self._unsaved = True
        else:
            self._unsaved = False

    def lack_budget(self, error: BudgetSpent) -> None:
        """Say so: it waits."""
        self._settle(PrefixState.WAITING, error)

    def fail(self, error: SeederError, retry: float) -> float:
        """Set the prefix's state by what went wrong."""
        match error:
            case TooManyObjects():
                state, delay = PrefixState.FAILED, inf
            case AccessDenied() | ObjectMissing():
                state, delay = PrefixState.FAILED, self.put_off()
            case _:
                state, delay = PrefixState.WAITING, retry
        self._settle(state, error)
        return delay

    def break_down(self, reason: str) -> None:
        """Show it as failed."""
        self.prefix.state, self.prefix.reason = PrefixState.FAILED, reason

    def _settle(self, state: PrefixState, reason: SeederError | str) -> None:
        self.prefix.state, self.prefix.reason = state, str(reason)
        self.tell(logging.ERROR if state is PrefixState.FAILED else logging.WARNING, reason)


def _left_out(reasons: Mapping[str, str]) -> str:
    """Return the line about objects that are left out; it names the first ones."""
    named = [f"{printable(key)}: {reasons[key]}" for key in sorted(reasons)[:_MOST_NAMED]]
    more = len(reasons) - len(named)
    count = counted(len(reasons), "object is", "objects are")
    return f"{count} left out: {'; '.join(named)}{f'; and {more} more' if more else ''}"


def compare(before: Mapping[str, Listed], now: Mapping[str, Listed]) -> Change:
    """Return how two listings differ."""
    updated = {key: listed for key, listed in now.items() if before.get(key) != listed}
    return Change(updated, tuple(key for key in before if key not in now))
