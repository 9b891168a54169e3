"""All prefixes: who follows which, and what each has when entries come and go.

The last listing of each is remembered on disk, so that a start knows the objects before S3 has
answered.
"""

from collections.abc import Iterator, Mapping

import trio

from seeder.config.objects import ObjectSettings
from seeder.metainfo.bundles import as_listed
from seeder.net.slices import Slices
from seeder.publish.entries import Entries, Wanted
from seeder.publish.follower import Follower
from seeder.publish.keepers import Keepers
from seeder.publish.listings import ListingStore
from seeder.publish.makers import Maker
from seeder.publish.prefix import Prefix
from seeder.publish.rounds import Rounds
from seeder.publish.timetable import Timetable
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject


class Prefixes:
    """The prefixes of the node, each with a task that follows it.

    `unlisted` has those that S3 hasn't listed since the start, for others to read.
    """

    def __init__(
        self,
        *,
        keepers: Keepers,
        makers: Mapping[str, Maker],
        listings: ListingStore,
        timetable: Timetable,
        unlisted: set[ObjectRef],
    ) -> None:
        self._keepers = keepers
        self._makers = makers
        self._listings = listings
        self._timetable = timetable
        self._unlisted = unlisted
        self.entries = Entries(())
        """All that are in force, those of objects too; who changes them holds the keepers' lock."""
        self._followers: dict[ObjectRef, Follower] = {}

    def __iter__(self) -> Iterator[Prefix]:
        return (follower.prefix for follower in self._followers.values())

    def wanted(self) -> Iterator[Wanted]:
        """Yield all objects below the prefixes."""
        for prefix in self:
            yield from prefix.wanted(prefix.objects)

    async def apply(self, entries: Entries) -> None:
        """Follow exactly these prefixes; on return, new ones have the objects last listed.

        The caller holds the keepers' lock.
        """
        self.entries = entries
        for ref, follower in tuple(self._followers.items()):
            settings = entries.prefixes.get(ref)
            if settings is None:
                follower.end()
                del self._followers[ref]
                self._unlisted.discard(ref)
            else:
                follower.change(settings, entries)
        await self._follow([ref for ref in entries.prefixes if ref not in self._followers])
        for follower in self._followers.values():
            await follower.sort_out()

    async def _follow(self, added: list[ObjectRef]) -> None:
        """Follow further prefixes of the entries; they have the objects last listed."""
        entries = self.entries
        wanted = [(ref, entries.prefixes[ref].max_objects) for ref in added]
        remembered = await trio.to_thread.run_sync(self._load, wanted)
        for ref, objects in zip(added, remembered, strict=True):
            follower = self._followers[ref] = Follower(
                Prefix(entries.prefixes[ref], objects or {}),
                entries,
                maker=self._makers[ref.origin],
                listings=self._listings,
                keepers=self._keepers,
                timetable=self._timetable,
                unlisted=self._unlisted,
            )
            if not self._timetable.embargoes.holds(entries.prefixes[ref].publish_at):
                self._unlisted.add(ref)
            follower.start()

    async def put(self, settings: ObjectSettings) -> list[Wanted]:
        """Follow one prefix more, or one by other settings; return how its objects are wanted.

        Its entry is among the entries already. The caller holds the keepers' lock.
        """
        ref, follower = settings.ref, self._followers.get(settings.ref)
        if follower is not None:
            follower.change(settings, self.entries)
            return follower.prefix.wanted(follower.prefix.objects)
        await self._follow([ref])
        follower = self._followers[ref]
        await follower.sort_out()
        around = self._followers.get(self.entries.prefix_around(ref) or ref, follower)
        if around is not follower:
            sorted_out = await around.sort_out()
            follower.prefix.objects |= sorted_out
            around.change(around.prefix.settings, self.entries)
        return follower.prefix.wanted(follower.prefix.objects)

    async def drop(self, ref: ObjectRef) -> tuple[list[ObjectRef], list[Wanted]]:
        """Follow one prefix no more; return its objects: whose end it is, and who are wanted still.

        Its entry is not among the entries any more. The caller holds the keepers' lock.
        """
        follower = self._followers.pop(ref)
        follower.end()
        self._unlisted.discard(ref)
        prefix, owner = follower.prefix, self.entries.prefix_around(ref)
        if owner is None:
            return [prefix.below(key) for key in prefix.objects], []
        around = self._followers[owner]
        around.prefix.objects |= prefix.objects
        around.change(around.prefix.settings, self.entries)
        return [], around.prefix.wanted(prefix.objects)

    def give_up(self, ref: ObjectRef) -> None:
        """Take note that an object has an entry of its own, which is among the entries already."""
        if ref.version_id is None:  # else it is below no prefix
            for prefix in self.entries.prefixes_over(ref):
                self._followers[prefix].give_up(ref.key)

    def take_over(self, pinned: PinnedObject, prefix: ObjectRef) -> Wanted:
        """Return how an object is wanted that has no entry of its own any more."""
        follower, listed = self._followers[prefix], as_listed(pinned)
        follower.take_over(pinned.ref.key, listed)
        return Wanted(follower.prefix.settings, pinned.ref, listed)

    def find(self, ref: ObjectRef) -> Prefix | None:
        """Return a prefix that is followed."""
        follower = self._followers.get(ref)
        return None if follower is None else follower.prefix

    def objects_below(self, prefix: ObjectRef) -> Mapping[str, Listed]:
        """Return the objects below a prefix, by key; none of one that isn't followed yet."""
        follower = self._followers.get(prefix)
        return {} if follower is None else follower.prefix.objects

    async def ask_for_refused(self, prefix: ObjectRef) -> None:
        """Have S3 asked soon for the objects below a prefix that it refused."""
        slices = Slices()
        for key in tuple(self.objects_below(prefix)):
            rounds = self._keepers.rounds_of(ObjectRef(prefix.origin, prefix.bucket, key))
            if rounds is not None and rounds.is_put_off:
                rounds.wake()
            if slices.is_over:
                await slices.turn()

    def rounds_of(self, prefix: ObjectRef) -> Rounds | None:
        """Return the rounds in which a prefix is listed, if it is followed."""
        return self._followers.get(prefix)

    async def ask(self, prefix: ObjectRef, key: str) -> None:
        """Bring one key below a prefix up to date, if that is followed still; SeederError."""
        follower = self._followers.get(prefix)
        if follower is not None:
            await follower.ask(key)

    def _load(self, prefixes: list[tuple[ObjectRef, int]]) -> list[dict[str, Listed] | None]:
        return [self._listings.load(ref, most) for ref, most in prefixes]

    def adopt(self, pinned: PinnedObject) -> None:
        """Count an object that had an entry of its own as listed, if a prefix has it by now."""
        if isinstance(pinned, PinnedBundle):
            return  # what is in it is
        owner = self.entries.prefix_of(pinned.ref)
        if owner is not None:
            listed = Listed(pinned.etag, pinned.size)
            self._followers[owner].prefix.objects.setdefault(pinned.ref.key, listed)
