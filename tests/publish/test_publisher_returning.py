"""An object that is deleted and comes back within minutes, and metainfo that is lost."""

import pytest

from seeder.config.objects import ObjectSettings
from seeder.publish import departures
from seeder.publish.serving import DELETED, REPLACED, WITHDRAWN
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from tests.metainfo.support import BODY, PIECE, make_torrent
from tests.publish.support import SOON, World, read_all, served, settings


async def deleted(world: World, key: str = "key") -> None:
    """Delete an object, and see that nothing is served of it from then on."""
    torrent = world.publication(key).torrent
    assert torrent is not None
    before = len(world.audience.away)
    del world.server.objects[key]
    await world.until_all(lambda: len(world.audience.away) > before)
    assert world.audience.away[-1] == (torrent, DELETED)
    assert world.catalog.by_hash(torrent.info_hash) is None
    assert world.audience.gone == []


async def back(world: World, torrent: Torrent, key: str = "key") -> Torrent:
    """Wait until an object has the torrent again that it had, and return that."""
    now = (await world.until(key, State.SERVING)).torrent
    assert now is not None
    assert now.info_hash == torrent.info_hash
    assert world.audience.live[-1] is now
    assert world.audience.gone == []
    return now


async def test_the_same_object_comes_back_with_its_torrent_and_its_pieces(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    for _ in range(2):
        await deleted(world)
        world.server.objects["key"] = BODY
        now = await back(world, torrent)
        assert await read_all(world, now) == BODY
    assert not world.server.body_bytes


async def test_the_same_bytes_come_back_under_another_etag(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    former = torrent.cache_id
    await deleted(world)
    world.server.etags["key"] = '"0123456789abcdef0123456789abcdef-2"'
    world.server.objects["key"] = BODY
    now = await back(world, torrent)
    assert await read_all(world, now) == BODY
    assert world.server.body_bytes == {"key": len(BODY)}
    assert not world.cache.on_disk(former)


async def test_pieces_that_are_kept_meanwhile_are_taken_over(world: World) -> None:
    world.server.torrents["key"] = make_torrent()
    torrent = await served(world, metainfo=["origin"], refresh=SOON)
    assert await read_all(world, torrent) == BODY
    await deleted(world)
    world.server.body_bytes.clear()
    world.server.etags["key"] = '"another"'
    world.server.objects["key"] = BODY
    now = await back(world, torrent)
    assert await read_all(world, now) == BODY
    assert world.server.body_bytes["key"] <= 10 * PIECE  # the sample


async def test_other_bytes_of_the_same_size_are_another_torrent(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    await deleted(world)
    world.server.objects["key"] = BODY[::-1]
    now = (await world.until("key", State.SERVING)).torrent
    assert now is not None
    assert world.audience.gone == [(torrent, REPLACED)]
    assert await read_all(world, now) == BODY[::-1]


async def test_another_size_ends_it_before_anything_is_read(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    await deleted(world)
    world.server.body_bytes.clear()
    world.server.sizes["key"] = len(BODY) + 1
    world.server.objects["key"] = BODY
    await world.until_all(lambda: bool(world.audience.gone))
    assert world.audience.gone == [(torrent, REPLACED)]


async def test_who_does_not_come_back_is_gone_for_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "GRACE", 0.5)
    torrent = await served(world, refresh=SOON)
    await deleted(world)
    await world.until_all(lambda: bool(world.audience.gone))
    assert world.audience.gone == [(torrent, DELETED)]
    world.server.objects["key"] = BODY
    await world.until("key", State.SERVING)


async def test_an_entry_that_is_taken_out_meanwhile_ends_it_at_once(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    await deleted(world)
    await world.publisher.apply([])
    assert world.audience.gone == [(torrent, WITHDRAWN)]


async def test_an_object_below_a_prefix_comes_back_too(world: World) -> None:
    world.server.objects |= {"d/a": BODY, "d/b": BODY[::-1]}
    entry = {"bucket": "bucket", "prefix": "d/", "metainfo": ["build"], "refresh": SOON}
    await world.publisher.apply([ObjectSettings.model_validate(entry)])
    await world.until_all(lambda: len(world.audience.live) == 2)
    torrent = world.publication("d/a").torrent
    assert torrent is not None
    world.server.body_bytes.clear()
    await deleted(world, "d/a")
    assert world.catalog.by_name("bucket", "d/a") is None
    world.server.objects["d/a"] = BODY
    await world.until_all(lambda: len(world.audience.live) == 3)
    now = await back(world, torrent, "d/a")
    assert await read_all(world, now) == BODY
    assert not world.server.body_bytes


async def test_a_bundle_whose_objects_come_back_goes_on(world: World) -> None:
    bodies = {f"d/{name}": BODY[: 3 * PIECE + at] for at, name in enumerate("ab")}
    world.server.objects.update(bodies)
    entry = {"bucket": "bucket", "prefix": "d/", "bundle": True, "refresh": SOON}
    await world.publisher.apply([ObjectSettings.model_validate(entry)])
    torrent = (await world.until("d/", State.SERVING)).torrent
    assert torrent is not None
    world.server.body_bytes.clear()
    for key in bodies:
        del world.server.objects[key]
    await world.until_all(lambda: bool(world.audience.away))
    world.server.objects.update(bodies)
    now = await back(world, torrent, "d/")
    assert world.cache.held(now) == frozenset(range(now.layout.piece_count))
    assert not world.server.body_bytes


async def test_a_duplicate_takes_a_deleted_objects_torrent_over_at_once(world: World) -> None:
    world.server.objects |= {"x/key": BODY, "y/key": BODY}
    entries = [settings(key, refresh=SOON) for key in ("x/key", "y/key")]
    await world.publisher.apply(entries)
    await world.until_all(
        lambda: {each.state for each in world.catalog} == {State.SERVING, State.DUPLICATE}
    )
    [first] = (each for each in world.catalog if each.state is State.SERVING)
    [second] = (each for each in world.catalog if each.state is State.DUPLICATE)
    torrent = first.torrent
    assert torrent is not None
    del world.server.objects[first.ref.key]
    now = await back(world, torrent, second.ref.key)
    assert await read_all(world, now) == BODY
