"""Metainfo that is made anew because somebody asks for it."""

import logging

import pytest

from seeder.config.objects import ObjectSettings
from seeder.publish.acquiring import LYING
from seeder.publish.rehashing import REHASHED_AT_ONCE
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from seeder.units import MIB
from tests.metainfo.support import BODY
from tests.publish.support import World, served
from tests.support.objects import content, make_torrent

REF = ObjectRef("default", "bucket", "key")


@pytest.mark.parametrize("metainfo", [("build",), ("origin", "build")])
async def test_the_swarm_stays_if_the_bytes_are_the_same(
    world: World, metainfo: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.server.torrents["key"] = make_torrent(BODY, name="key", piece_length=64 * 1024).file()
    torrent = await served(world, metainfo=metainfo)
    assert world.publisher.rehashing.ask(REF)
    await world.until_true(lambda: "its metainfo is as it was" in caplog.text, "key")
    assert world.server.body_bytes["key"] == len(BODY)
    publication = world.publication("key")
    assert publication.torrent is torrent
    assert (publication.state, publication.progress) == (State.SERVING, None)
    assert (torrent.rung, world.audience.gone) == ("build", [])
    assert world.catalog.by_hash(torrent.info_hash) is torrent


async def test_wrong_metainfo_ends_and_the_right_one_is_served(world: World) -> None:
    right = world.server.objects["key"] = content(4 * MIB)
    wrong = right[: 2 * MIB] + b"wrong" + right[2 * MIB + 5 :]
    made = make_torrent(wrong, name="key", piece_length=16 * 1024)
    world.server.torrents["key"] = made.file()
    torrent = await served(world, metainfo=("origin", "build"))
    assert torrent.rung == "origin"
    assert world.publisher.rehashing.ask(REF)
    await world.until_all(lambda: world.publication("key").torrent not in (torrent, None))
    assert world.audience.gone == [(torrent, LYING)]
    now = world.publication("key").torrent
    assert now is not None
    assert (now.rung, now.layout.piece_length) == ("build", torrent.layout.piece_length)


async def test_one_that_fails_is_tried_again_and_touches_nothing(world: World) -> None:
    torrent = await served(world)
    world.purse.spent = True
    assert world.publisher.rehashing.ask(REF)
    await world.until_true(lambda: world.purse.refusals > 0, "key")
    assert world.publication("key").torrent is torrent
    world.purse.spent = False
    world.publisher.wake_waiting()
    await world.until_true(lambda: world.server.body_bytes["key"] == len(BODY), "key")
    await world.until("key", State.SERVING)
    assert world.audience.gone == []


async def test_a_bundle_is_read_whole(world: World) -> None:
    entry = {"bucket": "bucket", "prefix": "k", "bundle": True, "refresh": 600.0}
    below = ObjectSettings.model_validate(entry)
    await world.publisher.apply([below])
    torrent = (await world.until("k", State.SERVING)).torrent
    world.server.body_bytes.clear()
    assert world.publisher.rehashing.ask(ObjectRef("default", "bucket", "k"))
    await world.until_true(lambda: world.server.body_bytes["key"] == len(BODY), "k")
    await world.until("k", State.SERVING)
    assert world.publication("k").torrent is torrent
    assert world.audience.gone == []
    assert not world.publisher.rehashing.ask(ObjectRef("default", "bucket", "other"))


async def test_a_prefix_is_hashed_anew_a_few_objects_at_a_time(world: World) -> None:
    keys = [f"d/{number}" for number in range(5 * REHASHED_AT_ONCE)]
    world.server.objects |= {key: key.encode() * 1000 for key in keys}
    prefix = ObjectRef("default", "bucket", "d/")
    below = {"bucket": "bucket", "prefix": "d/", "refresh": 600.0}
    await world.publisher.apply([ObjectSettings.model_validate(below)])
    states = world.catalog.publications
    refs = [ObjectRef("default", "bucket", key) for key in keys]
    await world.until_all(
        lambda: all(ref in states and states[ref].state is State.SERVING for ref in refs)
    )
    world.server.body_bytes.clear()
    publisher, crowds = world.publisher, []
    publisher.rehashing.ask_below(prefix, keys)
    assert publisher.rehashing.left(prefix) == len(keys)

    def is_over() -> bool:
        rounds = [publisher.rounds_of(ref) for ref in refs]
        crowds.append(sum(each is not None and each.is_due for each in rounds))
        return publisher.rehashing.left(prefix) == 0

    await world.until_all(is_over)
    assert 0 < max(crowds) <= REHASHED_AT_ONCE
    assert all(world.server.body_bytes[key] == len(key) * 1000 for key in keys)
