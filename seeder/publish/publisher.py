"""Publishes what the configuration names: entries of objects and bundles, and of prefixes."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from math import inf

import trio

from seeder.config.added import EntryName, name_of
from seeder.config.objects import ObjectSettings
from seeder.errors import SeederError
from seeder.ledger.counters import Ledger
from seeder.metainfo.library import Library
from seeder.metainfo.store import MetainfoStore
from seeder.net.slices import Slices
from seeder.publish.embargo import Embargoes
from seeder.publish.entries import Entries, Wanted
from seeder.publish.keepers import Keepers
from seeder.publish.listings import ListingStore
from seeder.publish.makers import Maker
from seeder.publish.news import NewsDesk
from seeder.publish.prefixes import Prefixes
from seeder.publish.rehashing import Rehashing
from seeder.publish.rounds import Looked, Rounds
from seeder.publish.serving import WITHDRAWN, Audience, Serving
from seeder.publish.timetable import Timetable
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent


class Publisher:
    """Every publication of the node and every prefix, kept in tasks of `nursery`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        catalog: Catalog,
        ledger: Ledger,
        store: MetainfoStore,
        listings: ListingStore,
        library: Library,
        makers: Mapping[str, Maker],
        audience: Audience,
        rng: random.Random,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        embargoes = Embargoes(wall_clock)
        nursery.start_soon(embargoes.run)
        self._timetable = Timetable(nursery, rng, embargoes)
        self.origins: Collection[str] = makers.keys()
        """The names of those that are asked."""
        for name, maker in makers.items():
            nursery.start_soon(self._timetable.watch, name, maker.is_cut_off)
        self._keepers = Keepers(
            catalog=catalog,
            store=store,
            makers=makers,
            library=library,
            serving=Serving(catalog, ledger, library, audience, nursery),
            timetable=self._timetable,
        )
        self.prefixes = Prefixes(
            keepers=self._keepers,
            makers=makers,
            listings=listings,
            timetable=self._timetable,
            unlisted=catalog.unlisted,
        )
        self.news = NewsDesk(catalog, self._keepers, self.prefixes)
        """Hears what S3 tells of its own accord."""
        nursery.start_soon(self.news.run)
        self.rehashing = Rehashing(self._keepers)
        """Has metainfo made anew that somebody doubts."""
        nursery.start_soon(self.rehashing.run)

    async def apply(self, objects: Iterable[ObjectSettings]) -> None:
        """Publish exactly these objects; those that ask for the same metainfo as before go on.

        Objects whose metainfo is on disk are served when this returns.
        """
        self._catalog.loading = True
        try:
            await self._apply(await trio.to_thread.run_sync(Entries, objects))
        finally:
            self._catalog.loading = False

    async def _apply(self, entries: Entries) -> None:
        async with self._keepers.lock:
            await self.prefixes.apply(entries)
            slices = Slices()
            for publication in tuple(self._catalog):
                if publication.pinned is not None:
                    self.prefixes.adopt(publication.pinned)
                if slices.is_over:
                    await slices.turn()
            # Nothing of it changes while the lock is held.
            wanted = await trio.to_thread.run_sync(self._wanted, entries)
            await self._keepers.withdraw_all_but(wanted.keys())
            await self._keepers.publish(wanted.values())

    def _wanted(self, entries: Entries) -> dict[ObjectRef, Wanted]:
        """Return all objects that are to be published; of a million that takes a second."""
        found = {ref: Wanted(settings, ref) for ref, settings in entries.objects.items()}
        return found | {each.ref: each for each in self.prefixes.wanted()}

    async def put(self, settings: ObjectSettings) -> None:
        """Publish by one entry more, or by another one of the same name; the others go on."""
        async with self._keepers.lock:
            self.prefixes.entries.put(settings)
            ref, is_followed = name_of(settings)
            if is_followed:
                wanted = await self.prefixes.put(settings)
            else:
                self.prefixes.give_up(ref)
                wanted = [Wanted(settings, ref)]
            await self._keepers.publish(wanted)

    async def drop(self, name: EntryName) -> None:
        """Publish no more by one entry; what is below another prefix goes on by that."""
        async with self._keepers.lock:
            before = self.prefixes.entries.objects.get(name.ref)
            self.prefixes.entries.drop(name)
            if name.is_followed:
                gone, wanted = await self.prefixes.drop(name.ref)
                await self._keepers.withdraw(gone, WITHDRAWN)
                await self._keepers.publish(wanted)
                return
            owner = self.prefixes.entries.prefix_of(name.ref)
            publication = self._catalog.publications.get(name.ref)
            pinned = None if publication is None else publication.pinned
            is_bundle = before is not None and before.bundle
            if before is not None and owner is not None and pinned is not None and not is_bundle:
                await self._keepers.publish([self.prefixes.take_over(pinned, owner)])
                return
            await self._keepers.withdraw([name.ref], WITHDRAWN)
            if owner is not None and not is_bundle:
                self.news.ask(name.ref, owner)

    def refresh(self, name: EntryName) -> bool:
        """Have S3 asked soon how an object stands, or what is below a prefix, and for what it
        refused of that; False for others."""
        ref = name.ref
        prefix = None if name.is_followed else self.prefixes.entries.prefix_of(ref)
        rounds = self._rounds_of(name)
        if rounds is None:
            return False
        if prefix is not None:
            rounds.note_asked()
            self.news.ask(ref, prefix)
        if prefix is None or self._keepers.torrent_of(ref) is None:
            rounds.wake()
        if name.is_followed:
            self._timetable.nursery.start_soon(self.prefixes.ask_for_refused, ref)
        return True

    def _rounds_of(self, name: EntryName) -> Rounds | None:
        kind = self.prefixes if name.is_followed else self._keepers
        return kind.rounds_of(name.ref)

    def looked(self, name: EntryName) -> Looked:
        """Return what came of the last look at an object, or at what is below a prefix.

        What stands below a prefix was looked at when that was listed.
        """
        rounds = self._rounds_of(name)
        if rounds is None:
            return Looked()
        own, prefix = rounds.looked, None if name.is_followed else self.prefix_of(name.ref)
        listing = None if prefix is None else self.prefixes.rounds_of(prefix)
        listed = Looked() if listing is None else listing.looked
        if rounds.is_due or (listed.began_at or -inf) < (own.began_at or -inf):
            return own
        return replace(listed, asked_at=own.asked_at)

    def prefix_of(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the prefix by which an object is published, if it has no entry of its own."""
        settings = self._keepers.settings_of(ref)
        if settings is None or not name_of(settings).is_followed:
            return None
        return settings.ref

    def settings_of(self, ref: ObjectRef) -> ObjectSettings | None:
        """Return the entry by which an object is published, if it is."""
        return self._keepers.settings_of(ref)

    def torrent_of(self, ref: ObjectRef) -> Torrent | None:
        """Return an object's torrent, also before its time; None while there is none."""
        return self._keepers.torrent_of(ref)

    def rounds_of(self, ref: ObjectRef) -> Rounds | None:
        """Return the rounds in which an object is looked at; None if it isn't published."""
        return self._keepers.rounds_of(ref)

    def handle_fault(self, torrent: Torrent, error: SeederError) -> None:
        """Take note that S3 gave no piece of `torrent`, or that its metainfo can't be read."""
        self._keepers.handle_fault(torrent, error)

    def handle_recovery(self, torrent: Torrent, index: int) -> None:
        """Take note that a piece of `torrent` that came wrong from S3 has come right."""
        self._keepers.handle_recovery(torrent, index)

    def wake_waiting(self) -> None:
        """Wake the rounds that wait for budget: there is some."""
        self._timetable.wake_waiting()

    async def is_loading(self) -> bool:
        """Tell whether torrents may come: some objects or prefixes haven't been looked at yet."""
        slices = Slices()
        for publication in tuple(self._catalog):
            if (
                publication.torrent is None
                and not publication.hidden
                and publication.state in (State.WAITING, State.BUILDING)
            ):
                return True
            if slices.is_over:
                await slices.turn()
        return any(
            prefix.listed_at is None and prefix.ref in self._catalog.unlisted
            for prefix in self.prefixes
        )
