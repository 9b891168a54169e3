"""The published objects: /api/v1/objects."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import trio
from pydantic import Field

from seeder.config.added import EntryName
from seeder.control.describing import Describer, ObjectState
from seeder.control.entries import (
    IN_THE_WAY,
    NOT_HERE,
    EntryPatch,
    NameQuery,
    ObjectToAdd,
    PageQuery,
    check_own,
    cursor,
    location,
    missing,
    read_cursor,
    refusals,
    written,
)
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
)
from seeder.net.slices import Slices
from seeder.publish.additions import Additions
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.torrent.order import NameKey, NameOrder, name_key

MOST_LOOKED_AT = 20_000
"""Objects that are looked at for a page: where few are in a state, a page may have none of them."""
_AT_ONCE = 200


class ObjectPageQuery(PageQuery):
    """Which part of the objects."""

    state: Annotated[str, Field(min_length=1)] | None = None
    """Those in one state alone."""


class ObjectPage(JsonObject):
    """A part of the objects, by origin, bucket and key."""

    objects: list[ObjectState]
    next: str | None
    """`after` of the next page, which there may be also where this one has few or none; null at
    the end."""


class ObjectsResource:
    """The objects of a node; `warm` has some of them read into the cache."""

    def __init__(
        self,
        catalog: Catalog,
        publisher: Publisher,
        additions: Additions,
        describer: Describer,
        warm: Callable[[Iterable[ObjectRef]], None],
    ) -> None:
        self._catalog = catalog
        self._publisher = publisher
        self._additions = additions
        self._describer = describer
        self._warm_up = warm
        self._ordering = trio.Lock()
        self._ordered: NameOrder | None = None

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        one = "/objects/{bucket}/{+key}"
        conflicts = {**NOT_HERE, **IN_THE_WAY}
        accepted: Mapping[int, type[ObjectState]] = {HTTPStatus.ACCEPTED: ObjectState}
        return (
            ApiOperation(
                method="GET",
                template="/objects",
                name="listObjects",
                summary="All published objects, a page at a time",
                query=ObjectPageQuery,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: ObjectPage},
            ),
            ApiOperation(
                method="POST",
                template="/objects",
                name="addObject",
                summary="Publish an object; 200 if the very same entry is there already",
                query=Nothing,
                body=ObjectToAdd,
                act=self._add,
                answers={HTTPStatus.CREATED: ObjectState, HTTPStatus.OK: ObjectState},
                problems=IN_THE_WAY,
            ),
            ApiOperation(
                method="GET",
                template=one,
                name="getObject",
                summary="How an object stands",
                query=NameQuery,
                body=Nothing,
                act=self._get,
                answers={HTTPStatus.OK: ObjectState},
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="PATCH",
                template=one,
                name="changeObject",
                summary="Change the entry of an object that was added",
                query=NameQuery,
                body=EntryPatch,
                act=self._change,
                answers={HTTPStatus.OK: ObjectState},
                problems=conflicts,
            ),
            ApiOperation(
                method="DELETE",
                template=one,
                name="removeObject",
                summary="Publish an object no more that was added",
                query=NameQuery,
                body=Nothing,
                act=self._remove,
                answers={HTTPStatus.NO_CONTENT: None},
                problems=conflicts,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:refresh",
                name="refreshObject",
                summary="Look at an object in S3 now",
                query=NameQuery,
                body=Nothing,
                act=self._refresh,
                answers=accepted,
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:rehash",
                name="rehashObject",
                summary="Make an object's metainfo anew, of its bytes; the swarm stays if they fit",
                query=NameQuery,
                body=Nothing,
                act=self._rehash,
                answers=accepted,
                problems=NOT_HERE,
            ),
            ApiOperation(
                method="POST",
                template=f"{one}:warm",
                name="warmObject",
                summary="Read an object into the cache, once",
                query=NameQuery,
                body=Nothing,
                act=self._warm,
                answers=accepted,
                problems=NOT_HERE,
            ),
        )

    # -- lists

    async def _list(self, call: ApiCall[ObjectPageQuery, Nothing]) -> ApiAnswer:
        query, order = call.query, await self._order()
        place, stalled, slices = read_cursor(query.after), self._describer.stalled(), Slices()
        found: list[ObjectState] = []
        for _ in range(0, MOST_LOOKED_AT, _AT_ONCE):
            names = self._some(order, query.prefix, place)
            for name in names:
                place = name
                ref = _ref(name)
                if query.state is None or self._may_be(ref, query.state):
                    told = self._describer.describe(ref, stalled)
                    if told is not None and query.state in (None, told.state):
                        found.append(told)
                if len(found) == query.limit:
                    break
                if slices.is_over:
                    await slices.turn()
            if len(names) < _AT_ONCE and (not names or place == names[-1]):
                return ApiAnswer(ObjectPage(objects=found, next=None))
            if len(found) == query.limit:
                break
        assert place is not None
        return ApiAnswer(ObjectPage(objects=found, next=cursor(place)))

    def _may_be(self, ref: ObjectRef, state: str) -> bool:
        """Tell whether it is worth the while to describe an object that has to be in a state."""
        publication = self._catalog.publications.get(ref)
        return publication is None or state in (publication.state, "stalled")

    def _some(self, order: NameOrder, below: str, place: NameKey | None) -> list[NameKey]:
        """Return the next names after a place, of those below BUCKET/PREFIX; fewer at the end."""
        bucket, _, prefix = below.partition("/")
        found: list[NameKey] = []
        for origin in sorted(self._publisher.origins) if below else [""]:
            first: NameKey = (origin, bucket, prefix, "")
            start = first if place is None else max(first, place)
            for name in order.after(start, inclusive=start != place):
                if len(found) == _AT_ONCE or not _is_below(name, below, first):
                    break
                found.append(name)
        unfit = [name_key(each.name.ref) for each in self._additions.unfit()]
        last = found[-1] if len(found) == _AT_ONCE else None
        found += [
            name
            for name in unfit
            if (place is None or name > place)
            and (last is None or name < last)
            and _is_below(name, below, (name[0], bucket, prefix, ""))
        ]
        return sorted(found)

    async def _order(self) -> NameOrder:
        """Return all objects in order, which is kept so once it is made."""
        async with self._ordering:
            if self._ordered is None:
                # It hears of who comes and goes meanwhile.
                order = self._catalog.order = NameOrder()
                slices = Slices()
                for ref in tuple(self._catalog.publications):
                    if ref in self._catalog.publications:
                        order.add(ref)
                    if slices.is_over:
                        await slices.turn()
                self._ordered = order
            return self._ordered

    # -- one

    def _described(self, ref: ObjectRef, status: int = HTTPStatus.OK) -> ApiAnswer:
        told = self._describer.describe(ref, self._describer.stalled(), whole=True)
        if told is None:
            raise missing(ref)
        where = location("objects", ref) if status == HTTPStatus.CREATED else None
        return ApiAnswer(told, status, where)

    async def _get(self, call: ApiCall[NameQuery, Nothing]) -> ApiAnswer:
        return self._described(_named(call))

    async def _add(self, call: ApiCall[Nothing, ObjectToAdd]) -> ApiAnswer:
        entry = written(call.body, "key", "prefix")
        with refusals():
            name, is_new = await self._additions.add(entry)
        return self._described(name.ref, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def _change(self, call: ApiCall[NameQuery, EntryPatch]) -> ApiAnswer:
        name = EntryName(_named(call), False)
        check_own(self._additions, name, self._publisher.prefix_of(name.ref))
        with refusals():
            after = await self._additions.change(name, call.body.model_extra or {})
        return self._described(after.ref)

    async def _remove(self, call: ApiCall[NameQuery, Nothing]) -> ApiAnswer:
        name = EntryName(_named(call), False)
        check_own(self._additions, name, self._publisher.prefix_of(name.ref))
        await self._additions.remove(name)
        return ApiAnswer(status=HTTPStatus.NO_CONTENT)

    # -- actions

    def _published(self, call: ApiCall[NameQuery, Nothing]) -> ObjectRef:
        ref = _named(call)
        if ref not in self._catalog.publications:
            raise missing(ref)
        return ref

    async def _refresh(self, call: ApiCall[NameQuery, Nothing]) -> ApiAnswer:
        ref = self._published(call)
        self._publisher.refresh(EntryName(ref, False))
        return self._described(ref, HTTPStatus.ACCEPTED)

    async def _rehash(self, call: ApiCall[NameQuery, Nothing]) -> ApiAnswer:
        ref = self._published(call)
        self._publisher.rehashing.ask(ref)
        return self._described(ref, HTTPStatus.ACCEPTED)

    async def _warm(self, call: ApiCall[NameQuery, Nothing]) -> ApiAnswer:
        ref = self._published(call)
        self._warm_up([ref])
        return self._described(ref, HTTPStatus.ACCEPTED)


def _named(call: ApiCall[NameQuery, Any]) -> ObjectRef:
    return ObjectRef(
        call.query.origin, call.path["bucket"], call.path["key"], call.query.version_id
    )


def _is_below(name: NameKey, below: str, first: NameKey) -> bool:
    return not below or (name[:2] == first[:2] and name[2].startswith(first[2]))


def _ref(name: NameKey) -> ObjectRef:
    origin, bucket, key, version = name
    return ObjectRef(origin, bucket, key, version or None)
