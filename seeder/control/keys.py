"""Passkeys of private torrents: /api/v1/keys."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import trio
from pydantic import AfterValidator

from seeder.config.sections import Config
from seeder.control.operations import (
    API_ROOT,
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    Problem,
    QueryObject,
)
from seeder.control.values import Duration, ListLimit
from seeder.errors import StorageError
from seeder.gateway.passkeys import (
    ListedKey,
    doubt_clock,
    key_document,
    last_seen,
    listed_keys,
    make_key,
)
from seeder.gateway.register_file import RegisterFile, RegisterStore
from seeder.torrent.catalog import Catalog
from seeder.torrent.publications import Publication
from seeder.tracker.passkeys import check_holder
from seeder.units import MINUTE

_LOG = logging.getLogger(__name__)


def _at_least_a_minute(seconds: float) -> float:
    if seconds < MINUTE:
        raise ValueError("want a minute at least")
    return seconds


class KeyQuery(QueryObject):
    """Which keys are asked for."""

    limit: ListLimit = 1000
    """How many."""
    after: str | None = None
    """What `next` said: those behind it."""


class KeyObject(JsonObject):
    """A passkey; the key itself isn't kept, and can't be told again."""

    name: str
    """Whose it is."""
    object: str | None
    """BUCKET/KEY; null of a name whose keys were revoked, and have been over for long."""
    made: int | None
    """Unix s, of the last one."""
    until: int | None
    """When the last one ends (Unix s)."""
    last_seen: int | None
    """When a client with any key of this name was seen last (Unix s)."""
    state: Literal["good", "expired", "revoked"]


class KeyObjects(JsonObject):
    """Passkeys in the order of names."""

    keys: list[KeyObject]
    next: str | None
    """What to ask for the rest with; null: this is all."""


class KeyRequest(JsonObject):
    """A passkey that is to be made."""

    name: Annotated[str, AfterValidator(check_holder)]
    """Whom it is for."""
    object: str
    """BUCKET/KEY: a key opens one torrent."""
    origin: str | None = None
    """Of the object, where several have one of that name."""
    valid: Annotated[Duration, AfterValidator(_at_least_a_minute)] | None = None
    """How long, such as "30d"; null: as tracker.passkey_valid says."""


class MadeKey(JsonObject):
    """A passkey that was made."""

    name: str
    object: str
    passkey: str
    """What follows /announce/ in the torrent; it is told only now."""
    expires: int
    """Unix s."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyResource:
    """The passkeys: `look` has the node take up what became of the register, `revoke` revokes those
    of a name, and returns why that isn't on disk yet, if it isn't."""

    config: Callable[[], Config]
    catalog: Catalog
    ledger: Path
    look: Callable[[], Awaitable[None]]
    revoke: Callable[[str], Awaitable[str | None]]

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        return (
            ApiOperation(
                method="GET",
                template="/keys",
                name="listKeys",
                summary="For whom passkeys were made, and what became of them",
                query=KeyQuery,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: KeyObjects},
            ),
            ApiOperation(
                method="POST",
                template="/keys",
                name="makeKey",
                summary="Make somebody a passkey for a private torrent",
                query=Nothing,
                body=KeyRequest,
                act=self._make,
                answers={HTTPStatus.CREATED: MadeKey},
                problems={
                    HTTPStatus.NOT_FOUND: "There is no such object.",
                    HTTPStatus.CONFLICT: "It has no torrent yet.",
                },
            ),
            ApiOperation(
                method="DELETE",
                template="/keys/{name}",
                name="revokeKeys",
                summary="Revoke all passkeys that somebody has by now, and let go who has one",
                query=Nothing,
                body=Nothing,
                act=self._revoke,
                answers={HTTPStatus.NO_CONTENT: None},
                problems={HTTPStatus.NOT_FOUND: "No passkey was made for that name."},
            ),
        )

    async def _list(self, call: ApiCall[KeyQuery, Nothing]) -> ApiAnswer:
        found = await trio.to_thread.run_sync(
            partial(_listed, self._store(), self.ledger, call.query.limit, call.query.after)
        )
        return ApiAnswer(found)

    async def _make(self, call: ApiCall[Nothing, KeyRequest]) -> ApiAnswer:
        asked, config = call.body, self.config()
        publication = self._find(asked)
        torrent = publication.torrent
        if torrent is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"{asked.object}: has no torrent yet: it is {publication.state}",
            )
        if not publication.for_members:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{asked.object}: needs no passkey: anybody may have it",
            )
        valid = config.tracker.passkey_valid if asked.valid is None else asked.valid
        passkey, made = await trio.to_thread.run_sync(make_key, config, torrent, asked.name, valid)
        if (doubt := doubt_clock(torrent, made)) is not None:
            _LOG.warning("%s", doubt)
        await self.look()
        return ApiAnswer(
            MadeKey(name=asked.name, object=asked.object, passkey=passkey, expires=made.expires),
            HTTPStatus.CREATED,
            location=f"{API_ROOT}/keys/{quote(asked.name, safe='')}",
        )

    def _find(self, asked: KeyRequest) -> Publication:
        bucket, _, key = asked.object.partition("/")
        found = self.catalog.by_name(bucket, key)
        if asked.origin is not None:
            of_origin = (
                each
                for each in self.catalog.all_by_name(bucket, key)
                if each.ref.origin == asked.origin
            )
            found = next(of_origin, None)
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"{asked.object[:200]}: is not published here")
        return found

    async def _revoke(self, call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        name = call.path["name"]
        signers = {key.access_key_id for key in self.config().gateway.keys}
        if name not in signers:
            try:
                knows = (await trio.to_thread.run_sync(self._store().load)).knows(name)
            except StorageError:
                knows = True  # nobody can tell, and it may have to end at once
            if not knows:
                why = f"{name[:80]}: no passkey was made for that name"
                raise Problem(HTTPStatus.NOT_FOUND, why)
        return ApiAnswer(status=HTTPStatus.NO_CONTENT, unwritten=await self.revoke(name))

    def _store(self) -> RegisterStore:
        return RegisterFile(self.config().state_directory)


def _listed(store: RegisterStore, ledger: Path, limit: int, after: str | None) -> KeyObjects:
    """Return a part of the list; StorageError."""
    keys = list(listed_keys(store.load(), last_seen([ledger]), time.time()))
    if after is not None:
        keys = [key for key in keys if _cursor(key) > after]
    keys.sort(key=_cursor)
    rest = _cursor(keys[limit - 1]) if len(keys) > limit else None
    shown = [KeyObject.model_validate(key_document(key)) for key in keys[:limit]]
    return KeyObjects(keys=shown, next=rest)


def _cursor(key: ListedKey) -> str:
    return f"{quote(key.name, safe='')}/{key.object or ''}"
