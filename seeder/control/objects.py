"""The published objects: /api/v1/objects."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import trio
from pydantic import AfterValidator, WithJsonSchema

from seeder.config.added import EntryName
from seeder.control.describing import Describer, ObjectState
from seeder.control.entries import (
    NameQuery,
    ObjectToAdd,
    PageQuery,
    cursor,
    missing,
    read_cursor,
)
from seeder.control.entry_resource import EntryKind, EntryResource
from seeder.control.operations import (
    ApiAnswer,
    ApiCall,
    JsonObject,
    Nothing,
)
from seeder.net.slices import Slices
from seeder.publish.additions import Additions
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.torrent.order import NameKey, NameOrder, name_key
from seeder.torrent.publications import SHOWN_STATES, STALLED

MOST_LOOKED_AT = 20_000
"""Objects that are looked at for a page: where few are in a state, a page may have none of them."""
_AT_ONCE = 200


def _shown_state(state: str) -> str:
    if state not in SHOWN_STATES:
        raise ValueError(f"want one of {', '.join(SHOWN_STATES)}")
    return state


_ONE_OF_THEM = WithJsonSchema({"type": "string", "enum": list(SHOWN_STATES)})


class ObjectPageQuery(PageQuery):
    """Which part of the objects."""

    state: Annotated[str, AfterValidator(_shown_state), _ONE_OF_THEM] | None = None
    """Those in one state alone."""


class ObjectPage(JsonObject):
    """A part of the objects, by origin, bucket and key."""

    objects: list[ObjectState]
    next: str | None
    """`after` of the next page, which there may be also where this one has few or none; null at
    the end."""


class ObjectsResource(EntryResource):
    """The objects of a node; `warm` has some of them read into the cache."""

    kind = EntryKind(
        noun="Object",
        places="objects",
        key="key",
        pages=ObjectPageQuery,
        name=NameQuery,
        entry=ObjectToAdd,
        state=ObjectState,
        page=ObjectPage,
        listing="All published objects, a page at a time",
        adding="Publish an object; 200 if the very same entry is there already",
        getting="How an object stands",
        changing="Change the entry of an object that was added",
        removing="Publish an object no more that was added",
        refreshing="Look at an object in S3 now",
        rehashing="Make an object's metainfo anew, of its bytes; the swarm stays if they fit",
        warming="Read an object into the cache, once",
    )

    def __init__(
        self,
        catalog: Catalog,
        publisher: Publisher,
        additions: Additions,
        describer: Describer,
        warm: Callable[[Iterable[ObjectRef]], None],
    ) -> None:
        super().__init__(catalog, publisher, additions, warm)
        self._describer = describer
        self._ordering = trio.Lock()
        self._ordered: NameOrder | None = None

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
        return publication is None or state in (publication.state, STALLED)

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
        unfit = [
            name_key(each.name.ref)
            for each in self._additions.unfit()
            if each.name.ref not in self._catalog.publications  # else another entry has it
        ]
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

    def _named(self, call: ApiCall[NameQuery, Any]) -> EntryName:
        query, path = call.query, call.path
        ref = ObjectRef(query.origin, path["bucket"], path["key"], query.version_id)
        return EntryName(ref, False)

    def _published(self, call: ApiCall[NameQuery, Any]) -> EntryName:
        name = self._named(call)
        if name.ref not in self._catalog.publications:
            raise missing(name.ref)
        return name

    def _describe(self, name: EntryName) -> ObjectState | None:
        return self._describer.describe(name.ref, self._describer.stalled(), whole=True)

    def _owner_of(self, name: EntryName) -> ObjectRef | None:
        return self._publisher.prefix_of(name.ref)


def _is_below(name: NameKey, below: str, first: NameKey) -> bool:
    return not below or (name[:2] == first[:2] and name[2].startswith(first[2]))


def _ref(name: NameKey) -> ObjectRef:
    origin, bucket, key, version = name
    return ObjectRef(origin, bucket, key, version or None)
