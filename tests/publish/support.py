"""A publisher with all that it stands on, and an S3 server below it."""

import random
import time
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.errors import (
    BudgetSpent,
)
from seeder.ledger.counters import Account, Ledger
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.library import Library
from seeder.metainfo.store import MetainfoStore
from seeder.publish.faults import Faults
from seeder.publish.listings import ListingStore
from seeder.publish.makers import Maker
from seeder.publish.publisher import Publisher
from seeder.s3.origins import Origins
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import Meter
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from seeder.units import GIB, MIB
from tests.cache.fakes import get_piece
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

SOON = 0.02
"""Seconds between two looks at an object."""
SPENT = "budget.origin_bytes_per_day is spent"


@dataclass
class Audience:
    live: list[Torrent] = field(default_factory=list)
    moved: list[Torrent] = field(default_factory=list)
    publicity: list[Torrent] = field(default_factory=list)
    away: list[tuple[Torrent, str]] = field(default_factory=list)
    gone: list[tuple[Torrent, str]] = field(default_factory=list)

    def torrent_live(self, torrent: Torrent, account: Account) -> None:
        assert account.info_hash == torrent.info_hash.hex()
        self.live.append(torrent)

    def publicity_changed(self, torrent: Torrent) -> None:
        self.publicity.append(torrent)

    def torrent_moved(self, torrent: Torrent, account: Account) -> None:
        assert account.info_hash == torrent.info_hash.hex()
        self.moved.append(torrent)

    def torrent_away(self, torrent: Torrent, reason: str) -> None:
        why, advice = reason.split("; ", 1)
        assert "try again in a minute" in advice
        self.away.append((torrent, why))

    def torrent_gone(self, torrent: Torrent, reason: str, keep: Set[str] = frozenset()) -> None:
        self.gone.append((torrent, reason))


class Purse:
    """An allowance that is there or not, and never for HEADs only."""

    def __init__(self) -> None:
        self.spent = False
        self.heads_too = False
        self.refusals = 0

    def check(self, size: int) -> None:
        if self.spent and (size or self.heads_too):
            self.refusals += 1
            raise BudgetSpent(SPENT)

    def admit(self, meter: Meter, size: int) -> AbstractContextManager[Meter]:
        self.check(size)
        return nullcontext(meter)


@dataclass
class World:
    """A publisher with all that it stands on."""

    purse: Purse
    server: ObjectsServer
    publisher: Publisher
    catalog: Catalog
    ledger: Ledger
    cache: PieceCache[Torrent]
    library: Library
    faults: Faults
    audience: Audience

    def publication(self, key: str) -> Publication:
        found = self.catalog.by_name("bucket", key)
        assert found is not None
        return found

    async def until(self, key: str, state: State) -> Publication:
        """Wait until an object's publication is in `state`."""
        return await self.until_true(lambda: self.publication(key).state is state, key)

    async def until_true(self, condition: Callable[[], bool], key: str) -> Publication:
        await self.until_all(condition)
        return self.publication(key)

    async def until_all(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not condition():  # noqa: ASYNC110  (the publisher has no event for tests)
                await trio.sleep(0.005)


def settings(key: str, **more: object) -> ObjectSettings:
    return ObjectSettings.model_validate({"bucket": "bucket", "key": key, "refresh": 600.0, **more})


@asynccontextmanager
async def make_world(
    server: ObjectsServer,
    make_origin: MakeOrigin,
    path: Path,
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator[World]:
    rng = random.Random(3)
    purse = Purse()
    origin = await make_origin(path_style=True, allowance=purse)
    catalog, ledger, audience, faults = Catalog(), Ledger(), Audience(), Faults()
    cache: PieceCache[Torrent] = PieceCache(
        Origins({"default": origin}, lambda _: ledger.unattributed),
        path / "cache",
        memory=256 * MIB,
        disk=50 * GIB,
        on_fault=faults.report,
        on_recovery=faults.report_recovery,
        clock=trio.current_time,
    )
    store = MetainfoStore(path / "metainfo")
    library = Library(store, lost=faults.report)
    maker = Maker(origin, Ladder(origin, cache, path / "builds", rng), store, ledger, cache)
    maker._climbs = trio.CapacityLimiter(2)
    async with trio.open_nursery() as nursery:
        publisher = Publisher(
            nursery,
            catalog=catalog,
            ledger=ledger,
            store=store,
            listings=ListingStore(path / "listings"),
            library=library,
            makers={"default": maker},
            audience=audience,
            rng=rng,
            wall_clock=wall_clock,
        )
        await nursery.start(cache.run)
        with faults.handled_by(publisher.handle_fault, publisher.handle_recovery):
            yield World(purse, server, publisher, catalog, ledger, cache, library, faults, audience)
        nursery.cancel_scope.cancel()


async def served(world: World, key: str = "key", **more: object) -> Torrent:
    """Publish an object, and return its torrent once nothing has to be read for it any more."""
    await world.publisher.apply([settings(key, **more)])
    torrent = (await world.until(key, State.SERVING)).torrent
    assert torrent is not None
    world.server.body_bytes.clear()
    return torrent


async def moved(world: World, torrent: Torrent, times: int = 1, key: str = "key") -> None:
    """Wait until a torrent has gone on in another state so often, and see that it is whole."""
    await world.until_true(lambda: len(world.audience.moved) == times, key)
    assert world.publication(key).torrent is torrent
    assert world.publication(key).state is State.SERVING
    assert world.audience.gone == []
    assert world.catalog.by_hash(torrent.info_hash) is torrent
    assert torrent.held is None


async def read_all(world: World, torrent: Torrent) -> bytes:
    pieces = [await get_piece(world.cache, torrent, at) for at in range(torrent.layout.piece_count)]
    return b"".join(pieces)
