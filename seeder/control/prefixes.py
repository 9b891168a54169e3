"""The prefixes, those of bundles too: /api/v1/prefixes."""

from collections.abc import Callable, Iterable
from typing import Any

from seeder.config.added import EntryName
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.spelling import spelled
from seeder.control.entries import (
    PageQuery,
    PrefixToAdd,
    cursor,
    missing,
    read_cursor,
)
from seeder.control.entry_resource import EntryKind, EntryResource
from seeder.control.looks import LookState, told_look
from seeder.control.operations import (
    ApiAnswer,
    ApiCall,
    JsonObject,
    Nothing,
    QueryObject,
)
from seeder.net.epoch import Epoch
from seeder.net.slices import Slices
from seeder.publish.additions import Additions, EntrySource
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef, PinnedBundle
from seeder.torrent.order import name_key
from seeder.torrent.publications import UNFIT


class PrefixQuery(QueryObject):
    """Which of the prefixes of one name."""

    origin: str = DEFAULT_ORIGIN
    """The origin's name."""
    bundle: bool | None = None
    """Whether the bundle is meant, or else the objects one by one; needed where there are both."""


class FollowedPrefix(LookState, JsonObject):
    """A prefix and what is below it."""

    origin: str
    bucket: str
    prefix: str
    bundle: bool
    """Whether there is one torrent of all objects below it."""
    state: str
    reason: str | None
    """Why the state is what it is."""
    configured_in: str | None
    """The file with its entry, or "the environment", if that is the configuration's."""
    source: EntrySource
    shadowed: bool
    """Whether an added entry of it waits for the configuration's to go."""
    added_at: float | None
    """When its entry was added (Unix s)."""
    objects: int
    """How many are below it, as far as is known."""
    listed_at: float | None
    """When S3 listed it last (Unix s); null for a bundle, and before the first time."""
    rehashing: int
    """How many of them still are to have their metainfo made anew, because somebody asked for it
    at the prefix."""
    settings: dict[str, Any]
    """The keys of its entry that differ from their defaults."""
    warnings: list[str] | None = None
    """What is legal of its entry, and hardly meant; with an answer to who adds or changes it."""


class PrefixPage(JsonObject):
    """A part of the prefixes, by origin, bucket and prefix."""

    prefixes: list[FollowedPrefix]
    next: str | None
    """`after` of the next page; null at the end."""


class PrefixesResource(EntryResource):
    """The prefixes of a node; `warm` has objects read into the cache."""

    kind = EntryKind(
        noun="Prefix",
        places="prefixes",
        key="prefix",
        pages=PageQuery,
        name=PrefixQuery,
        entry=PrefixToAdd,
        state=FollowedPrefix,
        page=PrefixPage,
        listing="All prefixes, a page at a time",
        adding="Publish what is below a prefix; 200 if the very same entry is there",
        getting="How a prefix stands",
        changing="Change the entry of a prefix that was added",
        removing="Publish no more what is below a prefix that was added",
        refreshing="List a prefix now",
        rehashing="Make the metainfo of all objects below a prefix anew, of their bytes",
        warming="Read all objects below a prefix into the cache, once",
    )

    def __init__(
        self,
        catalog: Catalog,
        publisher: Publisher,
        additions: Additions,
        warm: Callable[[Iterable[ObjectRef]], None],
        epoch: Epoch,
    ) -> None:
        super().__init__(catalog, publisher, additions, warm)
        self._epoch = epoch

    def _describe(self, name: EntryName) -> FollowedPrefix | None:
        """Return how a prefix stands; None if there is none."""
        ref, added = name.ref, self._additions.find(name)
        settings = self._additions.settings_of(name)
        prefix = self._publisher.prefixes.find(ref) if name.is_followed else None
        publication = None if name.is_followed else self._catalog.publications.get(ref)
        if prefix is not None:
            state, reason, count = str(prefix.state), prefix.reason, len(prefix.objects)
        elif publication is not None and publication.bundle:
            pinned = publication.pinned
            state, reason = str(publication.state), publication.reason
            count = len(pinned.members) if isinstance(pinned, PinnedBundle) else 0
        elif added is not None and added.fault is not None:
            state, reason, count = UNFIT, added.fault, 0
        else:
            return None
        return FollowedPrefix(
            origin=ref.origin,
            bucket=ref.bucket,
            prefix=ref.key,
            bundle=not name.is_followed,
            state=state,
            reason=reason,
            configured_in=self._additions.configuration_of(name),
            source=self._additions.source_of(name),
            shadowed=self._additions.is_shadowed(name),
            added_at=None if added is None else added.at / 1e6,
            objects=count,
            listed_at=None if prefix is None else prefix.listed_at,
            rehashing=self._publisher.rehashing.left(ref) if name.is_followed else 0,
            settings={} if settings is None else spelled(settings),
            **told_look(self._publisher.looked(name), self._epoch),
        )

    async def _list(self, call: ApiCall[PageQuery, Nothing]) -> ApiAnswer:
        query, place, slices = call.query, read_cursor(call.query.after), Slices()
        bucket, _, below = query.prefix.partition("/")
        entries = self._publisher.prefixes.entries
        names = [EntryName(ref, True) for ref in entries.prefixes]
        names += [EntryName(ref, False) for ref in entries.bundles]
        names += [each.name for each in self._additions.unfit() if _is_prefix(each.entry)]
        left: list[tuple[tuple[str, ...], EntryName]] = []
        for name in dict.fromkeys(names):  # an unfit one may be the configuration's, too
            key = (*name_key(name.ref)[:3], "" if name.is_followed else "b")
            is_below = not query.prefix or (
                name.ref.bucket == bucket and name.ref.key.startswith(below)
            )
            if is_below and (place is None or key > place):
                left.append((key, name))
            if slices.is_over:
                await slices.turn()
        left.sort()
        found = [self._describe(name) for _, name in left[: query.limit]]
        more = len(left) > query.limit
        last = left[query.limit - 1][0] if more else None
        return ApiAnswer(
            PrefixPage(
                prefixes=[each for each in found if each is not None],
                next=None if last is None else cursor((last[0], last[1], last[2], last[3])),
            )
        )

    def _named(self, call: ApiCall[PrefixQuery, Any]) -> EntryName:
        ref = ObjectRef(call.query.origin, call.path["bucket"], call.path["prefix"])
        wanted = call.query.bundle
        for name in (EntryName(ref, True), EntryName(ref, False)):
            is_meant = wanted is None or wanted is not name.is_followed
            if is_meant and self._describe(name) is not None:
                return name
        raise missing(ref)

    def _published(self, call: ApiCall[PrefixQuery, Any]) -> EntryName:
        return self._named(call)


def _is_prefix(entry: object) -> bool:
    return isinstance(entry, dict) and "prefix" in entry
