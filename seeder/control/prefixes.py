"""The prefixes, those of bundles too: /api/v1/prefixes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import trio

from seeder.admin.rows import batched
from seeder.config.added import EntryName
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.spelling import spelled
from seeder.control.entries import (
    IN_THE_WAY,
    NOT_HERE,
    EntryPatch,
    PageQuery,
    PrefixToAdd,
    check_own,
    cursor,
    location,
    missing,
    read_cursor,
    refusals,
    written,
)
from seeder.control.looks import LookState, told_look
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    QueryObject,
)
from seeder.net.slices import Slices
from seeder.publish.additions import Additions, EntrySource
from seeder.publish.prefixes import Prefix
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


class PrefixPage(JsonObject):
    """A part of the prefixes, by origin, bucket and prefix."""

    prefixes: list[FollowedPrefix]
    next: str | None
    """`after` of the next page; null at the end."""


class PrefixesResource:
    """The prefixes of a node; `warm` has objects read into the cache."""

    def __init__(
        self,
        catalog: Catalog,
        publisher: Publisher,
        additions: Additions,
        warm: Callable[[Iterable[ObjectRef]], None],
        epoch: float,
    ) -> None:
        """`epoch` is what trio's clock began at (Unix s)."""
        self._epoch = epoch
        self._catalog = catalog
        self._publisher = publisher
        self._additions = additions
        self._warm_up = warm

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        one = "/prefixes/{bucket}/{+prefix}"
        conflicts = {**NOT_HERE, **IN_THE_WAY}
        accepted: Mapping[int, type[FollowedPrefix]] = {HTTPStatus.ACCEPTED: FollowedPrefix}
        return (
            ApiOperation(
                method="GET",
                template="/prefixes",
                name="listPrefixes",
                summary="All prefixes, a page at a time",
                query=PageQuery,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: PrefixPage},
            ),
            ApiOperation(
                method="POST",
                template="/prefixes",
                name="addPrefix",
                summary="Publish what is below a prefix; 200 if the very same entry is there",
                query=Nothing,
                body=PrefixToAdd,
                act=self._add,
                answers={HTTPStatus.CREATED: FollowedPrefix, HTTPStatus.OK: FollowedPrefix},
                problems=IN_THE_WAY,
            ),
            ApiOperation(
                method="GET",
                template=one,
                name="getPrefix",
                summary="How a prefix stands",
                query=PrefixQuery,
                body=Nothing,
                act=self._get,
                answers={HTTPStatus.OK: FollowedPrefix},
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="PATCH",
                template=one,
                name="changePrefix",
                summary="Change the entry of a prefix that was added",
                query=PrefixQuery,
                body=EntryPatch,
                act=self._change,
                answers={HTTPStatus.OK: FollowedPrefix},
                problems=conflicts,
            ),
            ApiOperation(
                method="DELETE",
                template=one,
                name="removePrefix",
                summary="Publish no more what is below a prefix that was added",
                query=PrefixQuery,
                body=Nothing,
                act=self._remove,
                answers={HTTPStatus.NO_CONTENT: None},
                problems=conflicts,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:refresh",
                name="refreshPrefix",
                summary="List a prefix now",
                query=PrefixQuery,
                body=Nothing,
                act=self._refresh,
                answers=accepted,
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:rehash",
                name="rehashPrefix",
                summary="Make the metainfo of all objects below a prefix anew, of their bytes",
                query=PrefixQuery,
                body=Nothing,
                act=self._rehash,
                answers=accepted,
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:warm",
                name="warmPrefix",
                summary="Read all objects below a prefix into the cache, once",
                query=PrefixQuery,
                body=Nothing,
                act=self._warm,
                answers=accepted,
                problems=NOT_HERE,
            ),
        )

    # -- what there is

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
        for name in names:
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

    def _find(self, call: ApiCall[PrefixQuery, Any]) -> EntryName:
        """Return the prefix that is meant; Problem 404."""
        ref = ObjectRef(call.query.origin, call.path["bucket"], call.path["prefix"])
        wanted = call.query.bundle
        for name in (EntryName(ref, True), EntryName(ref, False)):
            is_meant = wanted is None or wanted is not name.is_followed
            if is_meant and self._describe(name) is not None:
                return name
        raise missing(ref)

    def _described(self, name: EntryName, status: int = HTTPStatus.OK) -> ApiAnswer:
        told = self._describe(name)
        if told is None:
            raise missing(name.ref)
        if status != HTTPStatus.CREATED:
            return ApiAnswer(told, status)
        where = location("prefixes", name.ref, bundle=not name.is_followed)
        return ApiAnswer(told, status, where)

    async def _get(self, call: ApiCall[PrefixQuery, Nothing]) -> ApiAnswer:
        return self._described(self._find(call))

    # -- changes

    async def _add(self, call: ApiCall[Nothing, PrefixToAdd]) -> ApiAnswer:
        entry = written(call.body, "prefix", "key")
        with refusals():
            name, is_new = await self._additions.add(entry)
        return self._described(name, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def _change(self, call: ApiCall[PrefixQuery, EntryPatch]) -> ApiAnswer:
        name = self._find(call)
        check_own(self._additions, name, None)
        with refusals():
            after = await self._additions.change(name, call.body.model_extra or {})
        return self._described(after)

    async def _remove(self, call: ApiCall[PrefixQuery, Nothing]) -> ApiAnswer:
        name = self._find(call)
        check_own(self._additions, name, None)
        await self._additions.remove(name)
        return ApiAnswer(status=HTTPStatus.NO_CONTENT)

    # -- actions

    async def _refresh(self, call: ApiCall[PrefixQuery, Nothing]) -> ApiAnswer:
        name = self._find(call)
        self._publisher.refresh(name)
        return self._described(name, HTTPStatus.ACCEPTED)

    async def _rehash(self, call: ApiCall[PrefixQuery, Nothing]) -> ApiAnswer:
        name, rehashing = self._find(call), self._publisher.rehashing
        prefix = self._publisher.prefixes.find(name.ref) if name.is_followed else None
        if prefix is None:
            rehashing.ask(name.ref)
        else:
            rehashing.ask_below(name.ref, prefix.objects)
        return self._described(name, HTTPStatus.ACCEPTED)

    async def _warm(self, call: ApiCall[PrefixQuery, Nothing]) -> ApiAnswer:
        name = self._find(call)
        prefix = self._publisher.prefixes.find(name.ref) if name.is_followed else None
        if prefix is None:
            self._warm_up([name.ref])
        else:
            # All of them, whoever asked and went.
            with trio.CancelScope(shield=True):
                await self._warm_below(prefix)
        return self._described(name, HTTPStatus.ACCEPTED)

    async def _warm_below(self, prefix: Prefix) -> None:
        slices = Slices()
        for some in batched(tuple(prefix.objects)):
            self._warm_up(map(prefix.below, some))
            if slices.is_over:
                await slices.turn()


def _is_prefix(entry: object) -> bool:
    return isinstance(entry, dict) and "prefix" in entry
