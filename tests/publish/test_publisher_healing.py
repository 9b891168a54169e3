"""What S3 gives wrong heals: the piece comes right, or the torrent is made anew."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from seeder.config.objects import ObjectSettings
from seeder.errors import ObjectChanged, PieceMismatch
from seeder.publish import doubts
from seeder.publish.makers import Maker
from seeder.publish.serving import REGROUPED, REPLACED
from seeder.torrent.layout import sha1
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.cache.fakes import drop_pieces, get_piece
from tests.metainfo.support import BODY, PIECE
from tests.publish.support import World, make_world, settings
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

SAME = '"the-same"'
OTHER = BODY[: 5 * PIECE] + bytes(PIECE) + BODY[6 * PIECE :]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "FIRST_PAUSE", 0.02)


async def served(world: World, key: str = "key") -> Torrent:
    torrent = (await world.until(key, State.SERVING)).torrent
    assert torrent is not None
    return torrent


async def met(world: World, torrent: Torrent, index: int) -> None:
    """Have a piece come wrong."""
    await drop_pieces(world.cache, torrent.cache_id)
    with pytest.raises(PieceMismatch):
        await get_piece(world.cache, torrent, index)


async def test_other_bytes_under_the_same_etag_get_a_torrent_of_their_own(
    world: World, server: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.etags["key"] = SAME
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    old = await served(world)
    server.objects["key"] = OTHER
    await met(world, old, 5)
    assert world.publication("key").state is State.FAULTY
    assert bytes(await get_piece(world.cache, old, 6)) == BODY[6 * PIECE : 7 * PIECE]
    world.cache.discard(old.cache_id)
    await world.until_true(lambda: len(world.audience.live) == 2, "key")
    new = await served(world)
    assert world.audience.gone == [(old, REPLACED)]
    assert new.info_hash != old.info_hash
    assert "under the same ETag; its torrent is made anew" in caplog.text
    await drop_pieces(world.cache, new.cache_id)
    assert bytes(await get_piece(world.cache, new, 5)) == bytes(PIECE)


async def test_it_is_not_made_anew_again_and_again(world: World, server: ObjectsServer) -> None:
    server.etags["key"] = SAME
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    await served(world)
    for body, count in ((OTHER, 2), (BODY, 2)):
        torrent = await served(world)
        server.objects["key"] = body
        await met(world, torrent, 5)
        server.body_bytes.clear()
        world.cache.discard(torrent.cache_id)
        if count > len(world.audience.live):
            await world.until_true(lambda: len(world.audience.live) == 2, "key")
    reads = server.requests["GET key"]
    await world.until_true(lambda: server.requests["GET key"] >= reads + 4, "key")
    assert server.body_bytes["key"] < len(BODY) // 2
    assert len(world.audience.live) == 2
    assert world.publication("key").state is State.FAULTY


@pytest.mark.parametrize("peers_ask", [False, True])
async def test_a_piece_that_comes_right_later_heals_its_torrent(
    world: World,
    server: ObjectsServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    peers_ask: bool,
) -> None:
    caplog.set_level(logging.INFO)
    if peers_ask:
        monkeypatch.setattr(doubts, "FIRST_PAUSE", 600.0)
        monkeypatch.setattr("seeder.cache.reading.REFUSED_FOR", 0.0)
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    torrent = await served(world)
    server.corrupt.add(("key", 5 * PIECE))
    await met(world, torrent, 5)
    assert world.publication("key").state is State.FAULTY
    server.corrupt.clear()
    if peers_ask:
        await get_piece(world.cache, torrent, 5)
    assert await served(world) is torrent
    assert world.publication("key").reason is None
    assert "bucket/key: S3 gives it right again" in caplog.text
    assert bytes(await get_piece(world.cache, torrent, 5)) == BODY[5 * PIECE : 6 * PIECE]
    assert world.audience.gone == []


async def test_one_objects_bytes_are_of_no_concern_to_the_others(
    world: World, server: ObjectsServer
) -> None:
    server.objects |= {"d/a": BODY, "d/b": BODY[::-1], "d/c": BODY[: 9 * PIECE]}
    server.etags["d/b"] = SAME
    bundle = {"prefix": "d/", "bundle": True, "piece_length": PIECE, "refresh": 600.0}
    entry = settings("key").model_validate({"bucket": "bucket", **bundle})
    await world.publisher.apply([entry, settings("key")])
    old = await served(world, "d/")
    alone = await served(world)
    server.objects["d/b"] = OTHER
    [section] = [each for each in old.sections if each.pinned.ref.key == "d/b"]
    await drop_pieces(world.cache, section.cache_id)
    with pytest.raises(PieceMismatch):
        await get_piece(world.cache, old, section.first)
    server.body_bytes.clear()
    await world.until_true(lambda: len(world.audience.live) == 3, "d/")
    new = await served(world, "d/")
    assert world.audience.gone == [(old, REGROUPED)]
    assert set(server.body_bytes) == {"d/b"}
    for index in range(section.count):
        piece = await get_piece(world.cache, new, section.first + index)
        assert bytes(piece)[:PIECE] == OTHER[index * PIECE : (index + 1) * PIECE].ljust(
            PIECE, b"\0"
        )
    assert await served(world) is alone


@pytest.mark.parametrize("rounds", [1, 4])
async def test_what_was_in_doubt_says_nothing_of_an_object_that_comes_in_its_place(
    world: World, server: ObjectsServer, caplog: pytest.LogCaptureFixture, rounds: int
) -> None:
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    old = await served(world)
    server.corrupt.add(("key", 38 * PIECE))
    await met(world, old, 38)
    server.corrupt.clear()
    server.objects["key"] = bytes(range(64)) * KIB
    await world.until_true(lambda: len(world.audience.live) == 2, "key")
    new = await served(world)
    assert new.layout.piece_count == 1
    heads = server.requests["HEAD key"]
    for _ in range(rounds):
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert server.requests["HEAD key"] <= heads + 1
    assert world.publication("key").state is State.SERVING
    assert "internal error" not in caplog.text


async def test_a_piece_that_comes_right_for_a_peer_while_it_is_read_again_and_wrong(
    world: World,
    server: ObjectsServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    torrent = await served(world)
    server.corrupt.add(("key", 5 * PIECE))
    read_again, reading, done = Maker.read_again, trio.Event(), trio.Event()

    async def read_late(self: Maker, torrent: Torrent, index: int) -> bytes:
        digest = await read_again(self, torrent, index)
        reading.set()
        await done.wait()
        return digest

    monkeypatch.setattr(Maker, "read_again", read_late)
    await met(world, torrent, 5)
    with trio.fail_after(60):
        await reading.wait()
    server.corrupt.clear()
    monkeypatch.setattr("seeder.cache.reading.REFUSED_FOR", 0.0)
    await get_piece(world.cache, torrent, 5)
    done.set()
    assert await served(world) is torrent
    assert "internal error" not in caplog.text


def bundle_entry() -> ObjectSettings:
    bundle = {"prefix": "d/", "bundle": True, "piece_length": PIECE, "refresh": 600.0}
    return ObjectSettings.model_validate({"bucket": "bucket", **bundle})


async def met_in(world: World, torrent: Torrent, key: str) -> None:
    """Have the first piece of an object in a bundle come wrong."""
    [section] = [each for each in torrent.sections if each.pinned.ref.key == key]
    await drop_pieces(world.cache, section.cache_id)
    with pytest.raises(PieceMismatch):
        await get_piece(world.cache, torrent, section.first)


async def test_all_objects_of_a_bundle_that_were_found_wrong_are_hashed_again_at_once(
    world: World, server: ObjectsServer
) -> None:
    keys = ["d/a", "d/b", "d/c", "d/d"]
    server.objects |= {key: BODY[len(key) + place :] for place, key in enumerate(keys)}
    server.etags |= dict.fromkeys(keys, SAME)
    await world.publisher.apply([bundle_entry()])
    old = await served(world, "d/")
    changed = {key: server.objects[key][::-1] for key in keys[:3]}
    server.objects |= changed
    server.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for key in changed:
            nursery.start_soon(met_in, world, old, key)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.gate.set()
    server.body_bytes.clear()
    await world.until_true(lambda: len(world.audience.live) == 2, "d/")
    new = await served(world, "d/")
    assert set(server.body_bytes) == set(changed)
    for section in new.sections:
        assert sha1(server.objects[section.pinned.ref.key][:PIECE]) == new.piece_hash(section.first)


async def test_what_is_in_doubt_of_a_bundle_stays_so_when_others_change(
    world: World, server: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects |= {"d/a": BODY[1:], "d/b": BODY, "d/c": BODY[2:]}
    server.etags["d/b"] = SAME
    await world.publisher.apply([bundle_entry()])
    old = await served(world, "d/")
    server.objects["d/b"] = BODY[::-1]
    make, tries = Maker.make, 0

    async def fail_once(self: Maker, *arguments: Any, **more: Any) -> Torrent:
        nonlocal tries
        tries += 1
        if tries == 1:
            del server.objects["d/c"]
            raise ObjectChanged("bucket/d/c is gone")
        return await make(self, *arguments, **more)

    monkeypatch.setattr(Maker, "make", fail_once)
    await met_in(world, old, "d/b")
    await world.until_true(lambda: len(world.audience.live) == 2, "d/")
    new = await served(world, "d/")
    assert tries == 2
    assert [each.pinned.ref.key for each in new.sections] == ["d/a", "d/b"]
    for section in new.sections:
        body = server.objects[section.pinned.ref.key]
        for index in range(section.count):
            piece = body[index * PIECE : (index + 1) * PIECE].ljust(PIECE, b"\0")
            assert sha1(piece) == new.piece_hash(section.first + index)


async def test_a_torrent_that_is_made_anew_is_not_served_by_a_restart_meanwhile(
    world: World,
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.etags["key"] = SAME
    wanted = settings("key", piece_length=PIECE)
    await world.publisher.apply([wanted])
    old = await served(world)
    tell = world.audience.torrent_gone

    def tell_and_spend(torrent: Torrent, reason: str) -> None:
        # From now on S3 can't be read: the purse is empty before the object was read again.
        world.purse.spent = True
        tell(torrent, reason)

    monkeypatch.setattr(world.audience, "torrent_gone", tell_and_spend)
    server.objects["key"] = OTHER
    await met(world, old, 5)
    await world.until_true(lambda: world.purse.refusals > 0, "key")
    assert world.audience.gone == [(old, REPLACED)]
    (tmp_path / "restarted").mkdir()
    (tmp_path / "metainfo").rename(tmp_path / "restarted" / "metainfo")
    async with make_world(server, make_origin, tmp_path / "restarted") as again:
        await again.publisher.apply([wanted])
        assert again.audience.live == []
        assert (await served(again)).info_hash != old.info_hash


async def test_one_piece_after_another_that_comes_wrong_is_said_once_and_looked_into_once(
    world: World,
    server: ObjectsServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doubts, "FIRST_PAUSE", 600.0)
    server.etags["key"] = SAME
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    torrent = await served(world)
    server.objects["key"] = BODY[::-1]
    await drop_pieces(world.cache, torrent.cache_id)
    heads = server.requests["HEAD key"]
    for index in range(20):
        with pytest.raises(PieceMismatch):
            await get_piece(world.cache, torrent, index)
        await trio.testing.wait_all_tasks_blocked(0.005)
    assert server.requests["HEAD key"] <= heads + 1
    assert caplog.text.count("came wrong from S3 twice") == 1


async def test_the_reason_is_the_piece_again_once_s3_is_back(
    world: World, server: ObjectsServer
) -> None:
    await world.publisher.apply([settings("key", piece_length=PIECE)])
    torrent = await served(world)
    server.corrupt.add(("key", 5 * PIECE))
    await met(world, torrent, 5)
    why = world.publication("key").reason
    assert why is not None
    assert "piece 5 came wrong" in why
    server.refuse.add("key")
    await world.until_true(lambda: world.publication("key").reason != why, "key")
    server.refuse.clear()
    keeper = world.publisher._keepers._keepers[world.publication("key").ref]
    keeper.wake()
    await world.until_true(lambda: world.publication("key").reason == why, "key")
    assert world.publication("key").state is State.FAULTY


async def test_two_versions_with_the_same_etag_are_not_taken_for_each_other(
    world: World, server: ObjectsServer
) -> None:
    server.objects |= {"key?one": OTHER, "key?two": BODY[::-1]}
    server.etags |= dict.fromkeys(server.objects, SAME)
    versions = {"one": OTHER, "two": BODY[::-1], None: BODY}
    await world.publisher.apply(
        [settings("key", piece_length=PIECE, version_id=version) for version in versions]
    )
    await world.until_all(lambda: len(world.audience.live) == 3)
    for torrent in world.audience.live:
        body = versions[torrent.pinned.ref.version_id]
        for index in (0, 5):
            piece = await get_piece(world.cache, torrent, index)
            assert bytes(piece) == body[index * PIECE : (index + 1) * PIECE]
    assert world.audience.gone == []
