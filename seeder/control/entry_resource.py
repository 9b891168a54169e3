"""What can be asked for of objects and of prefixes alike: lists, entries, what is done to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, ClassVar, Literal

import trio
from pydantic import BaseModel

from seeder.admin.rows import batched
from seeder.config.added import EntryName
from seeder.control.entries import (
    IN_THE_WAY,
    NOT_HERE,
    EntryPatch,
    PageQuery,
    check_own,
    location,
    missing,
    refusals,
    written,
)
from seeder.control.operations import (
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiMethod,
    ApiOperation,
    Nothing,
    OpenObject,
    Problem,
    QueryObject,
)
from seeder.net.slices import Slices
from seeder.publish.additions import Additions
from seeder.publish.prefix import Prefix
from seeder.publish.publisher import Publisher
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryKind:
    """How one kind of entries is asked for, and told of."""

    noun: Literal["Object", "Prefix"]
    """In the names of the operations."""
    places: Literal["objects", "prefixes"]
    """In the paths."""
    key: Literal["key", "prefix"]
    """Which key of an entry it has; in the paths, too."""
    pages: type[PageQuery]
    name: type[QueryObject]
    """Which of those with one name."""
    entry: type[OpenObject]
    state: type[BaseModel]
    page: type[BaseModel]
    listing: str
    """The summaries, of this and of the others."""
    adding: str
    getting: str
    changing: str
    removing: str
    refreshing: str
    rehashing: str
    warming: str


class EntryResource(ABC):
    """The entries of one kind; `warm` has some objects read into the cache."""

    kind: ClassVar[EntryKind]

    def __init__(
        self,
        catalog: Catalog,
        publisher: Publisher,
        additions: Additions,
        warm: Callable[[Iterable[ObjectRef]], None],
    ) -> None:
        self._catalog = catalog
        self._publisher = publisher
        self._additions = additions
        self._warm_up = warm

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        kind = self.kind
        return (
            ApiOperation(
                method="GET",
                template=f"/{kind.places}",
                name=f"list{kind.noun}{'s' if kind.noun == 'Object' else 'es'}",
                summary=kind.listing,
                query=kind.pages,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: kind.page},
            ),
            ApiOperation(
                method="POST",
                template=f"/{kind.places}",
                name=f"add{kind.noun}",
                summary=kind.adding,
                query=Nothing,
                body=kind.entry,
                act=self._add,
                answers={HTTPStatus.CREATED: kind.state, HTTPStatus.OK: kind.state},
                problems=IN_THE_WAY,
            ),
            self._of_one("GET", "get", kind.getting, self._get),
            ApiOperation(
                method="PATCH",
                template=self._one,
                name=f"change{kind.noun}",
                summary=kind.changing,
                query=kind.name,
                body=EntryPatch,
                act=self._change,
                answers={HTTPStatus.OK: kind.state},
                problems={**NOT_HERE, **IN_THE_WAY},
            ),
            ApiOperation(
                method="DELETE",
                template=self._one,
                name=f"remove{kind.noun}",
                summary=kind.removing,
                query=kind.name,
                body=Nothing,
                act=self._remove,
                answers={HTTPStatus.NO_CONTENT: None},
                problems={**NOT_HERE, **IN_THE_WAY},
            ),
            self._of_one("POST", "refresh", kind.refreshing, self._refresh),
            self._of_one("POST", "rehash", kind.rehashing, self._rehash),
            self._of_one("POST", "warm", kind.warming, self._warm),
        )

    @property
    def _one(self) -> str:
        return f"/{self.kind.places}/{{bucket}}/{{+{self.kind.key}}}"

    def _of_one(
        self,
        method: ApiMethod,
        verb: str,
        summary: str,
        act: Callable[[ApiCall[Any, Any]], Any],
    ) -> AnyOperation:
        """Return what tells how one stands, at once or after something was begun."""
        begins = method == "POST"
        return ApiOperation(
            method=method,
            template=f"{self._one}:{verb}" if begins else self._one,
            name=f"{verb}{self.kind.noun}",
            summary=summary,
            query=self.kind.name,
            body=Nothing,
            act=act,
            answers={HTTPStatus.ACCEPTED if begins else HTTPStatus.OK: self.kind.state},
            problems=NOT_HERE,
        )

    # -- what differs

    @abstractmethod
    async def _list(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        """Return a page."""

    @abstractmethod
    def _named(self, call: ApiCall[Any, Any]) -> EntryName:
        """Return what a call is about; Problem 404."""

    @abstractmethod
    def _published(self, call: ApiCall[Any, Any]) -> EntryName:
        """Return what a call is about, if there is something to do with it; Problem 404."""

    @abstractmethod
    def _describe(self, name: EntryName) -> BaseModel | None:
        """Return how one stands; None if there is none."""

    def _owner_of(self, _name: EntryName) -> ObjectRef | None:
        """Return the prefix by which something is published that has no entry of its own."""
        return None

    # -- what doesn't

    def _described(self, name: EntryName, status: int = HTTPStatus.OK) -> ApiAnswer:
        told = self._describe(name)
        if told is None:
            raise missing(name.ref)
        if status != HTTPStatus.CREATED:
            return ApiAnswer(told, status)
        is_bundle = self.kind.key == "prefix" and not name.is_followed
        return ApiAnswer(told, status, location(self.kind.places, name.ref, bundle=is_bundle))

    async def _changed(self, name: EntryName, status: int = HTTPStatus.OK) -> ApiAnswer:
        """Return how one stands after somebody changed it, with what he hardly meant."""
        warnings = await self._additions.warnings_of(name)
        told = self._described(name, status)
        assert told.body is not None
        return replace(told, body=told.body.model_copy(update={"warnings": [*warnings]}))

    async def _get(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        return self._described(self._named(call))

    async def _add(self, call: ApiCall[Nothing, Any]) -> ApiAnswer:
        entry = written(call.body, self.kind.key)
        with refusals():
            name, is_new = await self._additions.add(entry)
        return await self._changed(name, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def _change(self, call: ApiCall[Any, EntryPatch]) -> ApiAnswer:
        name = self._named(call)
        check_own(self._additions, name, self._owner_of(name))
        with refusals():
            after = await self._additions.change(name, call.body.model_extra or {})
        return await self._changed(after)

    async def _remove(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        name = self._named(call)
        check_own(self._additions, name, self._owner_of(name))
        await self._additions.remove(name)
        return ApiAnswer(status=HTTPStatus.NO_CONTENT, unwritten=self._additions.unwritten)

    async def _refresh(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        name = self._published(call)
        self._publisher.refresh(name)
        return self._described(name, HTTPStatus.ACCEPTED)

    async def _rehash(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        name, rehashing = self._published(call), self._publisher.rehashing
        prefix = self._followed(name)
        if prefix is None:
            rehashing.ask(name.ref)
        else:
            rehashing.ask_below(name.ref, prefix.objects)
        return self._described(name, HTTPStatus.ACCEPTED)

    async def _warm(self, call: ApiCall[Any, Nothing]) -> ApiAnswer:
        name = self._published(call)
        prefix = self._followed(name)
        if prefix is None:
            self._warm_up([name.ref])
        else:
            # All of them, whoever asked and went.
            with trio.CancelScope(shield=True):
                await self._warm_below(prefix)
        return self._described(name, HTTPStatus.ACCEPTED)

    def _followed(self, name: EntryName) -> Prefix | None:
        """Return the prefix whose objects are meant; Problem 503 while nobody knows them."""
        prefix = self._publisher.prefixes.find(name.ref) if name.is_followed else None
        if prefix is not None and not prefix.objects and prefix.listed_at is None:
            why = f"{name.ref}: isn't listed yet, so nothing is known below it"
            told = f"{why}{f' ({prefix.reason})' if prefix.reason else ''}; try again when it is"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, told)
        return prefix

    async def _warm_below(self, prefix: Prefix) -> None:
        slices = Slices()
        for some in batched(tuple(prefix.objects)):
            self._warm_up(map(prefix.below, some))
            if slices.is_over:
                await slices.turn()
