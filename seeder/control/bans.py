"""Networks that are kept out of tracker, seeder and gateway: /api/v1/bans."""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Protocol
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from seeder.config.texts import parse_network
from seeder.control.operations import (
    API_ROOT,
    AnyOperation,
    ApiAnswer,
    ApiCall,
    ApiOperation,
    JsonObject,
    Nothing,
    Problem,
)
from seeder.control.values import Duration
from seeder.net.addresses import IPNetwork
from seeder.net.bans import LONGEST_NOTE, MOST_BANS, Ban, Bans


class BanList(Protocol):
    """Who keeps them."""

    @property
    def bans(self) -> Bans:
        """What was last said of each network."""

    async def ban(self, network: IPNetwork, until: float | None, note: str) -> Ban:
        """Keep a network out until a moment (Unix s)."""

    async def lift(self, network: IPNetwork) -> None:
        """Let a network in again."""

    @property
    def unwritten(self) -> str | None:
        """Why what was said isn't on disk yet, if it isn't."""


def _network_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('want a network such as "203.0.113.0/24", or one address')
    return str(parse_network(value))


def _in_one_line(note: str) -> str:
    if not note.isprintable():
        raise ValueError("want one line of characters that can be seen")
    return note


class BanRequest(JsonObject):
    """A network that is to be kept out."""

    network: Annotated[str, BeforeValidator(_network_text)]
    """Such as "203.0.113.0/24", or one address."""
    for_: Duration | None = Field(default=None, alias="for")
    """How long, such as "1h"; null: until it is lifted."""
    note: Annotated[
        str, StringConstraints(max_length=LONGEST_NOTE), AfterValidator(_in_one_line)
    ] = ""
    """Why, for people."""


class BanObject(JsonObject):
    """A network that is kept out."""

    network: str
    until: float | None
    """When it ends (Unix s); null: when it is lifted."""
    note: str
    at: float
    """When it began (Unix s)."""


class BanObjects(JsonObject):
    """The networks that are kept out, in their order."""

    bans: list[BanObject]


class BanResource:
    """The bans."""

    def __init__(self, keeper: BanList) -> None:
        self._keeper = keeper

    def operations(self) -> Sequence[AnyOperation]:
        """Return what can be asked for."""
        return (
            ApiOperation(
                method="GET",
                template="/bans",
                name="listBans",
                summary="The networks that are kept out",
                query=Nothing,
                body=Nothing,
                act=self._list,
                answers={HTTPStatus.OK: BanObjects},
            ),
            ApiOperation(
                method="POST",
                template="/bans",
                name="addBan",
                summary="Keep a network out of tracker, seeder and gateway, and let go who is in",
                query=Nothing,
                body=BanRequest,
                act=self._add,
                answers={HTTPStatus.CREATED: BanObject, HTTPStatus.OK: BanObject},
                problems={HTTPStatus.CONFLICT: "There are too many."},
            ),
            ApiOperation(
                method="DELETE",
                template="/bans/{network}",
                name="liftBan",
                summary="Let a network in again, as far as the configuration does",
                query=Nothing,
                body=Nothing,
                act=self._lift,
                answers={HTTPStatus.NO_CONTENT: None},
                problems={HTTPStatus.NOT_FOUND: "It isn't banned."},
            ),
        )

    async def _list(self, _call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        held = self._keeper.bans.in_force(time.time())
        return ApiAnswer(BanObjects(bans=list(map(_told, held))))

    async def _add(self, call: ApiCall[Nothing, BanRequest]) -> ApiAnswer:
        asked, now, bans = call.body, time.time(), self._keeper.bans
        network = parse_network(asked.network)
        known = bans.find(network, now)
        if known is None and len(bans.in_force(now)) >= MOST_BANS:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"there are {MOST_BANS} bans, which is the most: lift some, or ban wider networks",
            )
        until = None if asked.for_ is None else now + asked.for_
        ban = await self._keeper.ban(network, until, asked.note)
        return ApiAnswer(
            _told(ban),
            HTTPStatus.CREATED if known is None else HTTPStatus.OK,
            location=f"{API_ROOT}/bans/{quote(asked.network, safe='')}" if known is None else None,
            unwritten=self._keeper.unwritten,
        )

    async def _lift(self, call: ApiCall[Nothing, Nothing]) -> ApiAnswer:
        text = call.path["network"]
        try:
            network = parse_network(text)
        except ValueError:
            network = None
        if network is None or self._keeper.bans.find(network, time.time()) is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, f"{text[:80]} isn't banned; see GET {API_ROOT}/bans"
            )
        await self._keeper.lift(network)
        return ApiAnswer(status=HTTPStatus.NO_CONTENT, unwritten=self._keeper.unwritten)


def _told(ban: Ban) -> BanObject:
    return BanObject(network=str(ban.network), until=ban.until, note=ban.note, at=ban.at)
