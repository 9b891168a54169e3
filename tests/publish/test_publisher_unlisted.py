"""Listings that lack objects: what was there before goes only if HEAD says so, too."""

from collections.abc import Iterable

import pytest

from seeder.config.objects import ObjectSettings
from seeder.metainfo import bundles
from seeder.publish.prefix import Prefix, PrefixState
from seeder.publish.serving import DELETED, REGROUPED
from seeder.torrent.publications import State
from tests.publish.support import World
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer

QUICK = 0.02
KEYS = [f"d/{number}" for number in range(5)]


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({key: key.encode() * 20_000 for key in KEYS})
    faults.default = server.serve
    return server


def below(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate(
        {"bucket": "bucket", "prefix": "d/", "refresh": QUICK, **more}
    )


def serving(world: World) -> list[str]:
    return sorted(each.ref.key for each in world.catalog if each.state is State.SERVING)


async def until_served(world: World, keys: Iterable[str]) -> Prefix:
    await world.until_all(lambda: serving(world) == list(keys))
    [prefix] = world.publisher.prefixes
    return prefix


async def listed_again(world: World) -> None:
    """Wait until a listing that began later has been taken in."""
    before = world.server.requests["LIST"]
    await world.until_all(lambda: world.server.requests["LIST"] > before + 2)


@pytest.mark.parametrize("unlisted", [KEYS, KEYS[3:]], ids=["all", "the second half"])
async def test_what_a_listing_lacks_and_head_has_stays_published(
    world: World, unlisted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    await world.publisher.apply([below()])
    prefix = await until_served(world, KEYS)
    world.server.unlisted.update(unlisted)
    await world.until_all(lambda: list(prefix.left_out) == unlisted)
    assert "S3 doesn't list it any more, but HEAD has it; it stays published" in str(prefix.reason)
    assert prefix.state is PrefixState.FOLLOWED
    await listed_again(world)
    assert serving(world) == KEYS
    assert caplog.text.count("S3 doesn't list it any more, but HEAD has it: its listings") < 5
    world.server.unlisted.clear()
    await world.until_all(lambda: prefix.reason is None)
    assert world.audience.gone == world.audience.away == []
    # What HEAD doesn't have, either, is gone.
    del world.server.objects[KEYS[4]]
    await until_served(world, KEYS[:4])
    assert [reason for _, reason in world.audience.away] == [DELETED]


async def test_what_neither_a_listing_nor_head_gives_us_is_gone(world: World) -> None:
    await world.publisher.apply([below()])
    await until_served(world, KEYS)
    world.server.unlisted.add(KEYS[0])
    world.server.refuse.add(KEYS[0])
    await until_served(world, KEYS[1:])


async def test_a_bundle_keeps_the_files_that_its_listing_lacks(world: World) -> None:
    await world.publisher.apply([below(bundle=True)])
    [bundle] = world.catalog
    await world.until_all(lambda: bundle.state is State.SERVING)
    torrent = bundle.torrent
    world.server.unlisted.update(KEYS[2:])
    await listed_again(world)
    world.server.unlisted.update(KEYS)
    await listed_again(world)
    assert bundle.torrent is torrent
    assert bundle.state is State.SERVING
    del world.server.objects[KEYS[0]]
    await world.until_all(lambda: len(world.audience.gone) == 1)
    assert world.audience.gone[0][1] == REGROUPED
    await world.until_all(lambda: bundle.state is State.SERVING)
    assert bundle.torrent is not None
    assert bundle.torrent.pinned.size == sum(len(world.server.objects[key]) for key in KEYS[1:])


async def test_a_listing_that_lacks_very_many_is_not_taken_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_MOST_ASKED", 2)
    await world.publisher.apply([below()])
    prefix = await until_served(world, KEYS)
    before = world.server.requests.total()
    world.server.unlisted.update(KEYS)
    await world.until_all(lambda: prefix.state is PrefixState.WAITING)
    assert "its listing lacks 5 objects that were there before, and HEAD has" in str(prefix.reason)
    assert serving(world) == KEYS
    assert world.server.requests.total() - before <= 3 * world.server.requests["LIST"]
    # Where some are gone, the others are believed to be.
    world.server.objects.clear()
    await until_served(world, [])
