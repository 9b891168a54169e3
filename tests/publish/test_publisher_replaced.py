"""An object that S3 has another ETag of: with the same bytes, its torrent goes on as it was."""

from pathlib import Path

import pytest
import trio

from seeder.cache.memory import Piece
from seeder.config.objects import ObjectSettings
from seeder.publish.serving import DELETED, REGROUPED, REPLACED
from seeder.torrent.publications import State
from tests.cache.fakes import drop_pieces, get_piece, pieces_on_disk
from tests.metainfo.support import BODY, PIECE, make_torrent
from tests.publish.support import SOON, World, make_world, moved, read_all, served, settings
from tests.s3.fault_server import FaultServer, Seen, answer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

FURTHER_PIECES = 10
"""The sample that metainfo from outside is checked by."""


async def test_the_same_bytes_under_another_etag_keep_the_torrent_and_its_pieces(
    world: World,
) -> None:
    torrent = await served(world, refresh=SOON)
    former = torrent.cache_id
    world.server.etags["key"] = '"0123456789abcdef0123456789abcdef-2"'
    await moved(world, torrent)
    assert torrent.pinned.etag == world.server.etags["key"]
    assert torrent.cache_id != former
    assert not pieces_on_disk(world.cache, former)
    assert world.cache.held(torrent) == frozenset(range(torrent.layout.piece_count))
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes == {"key": len(BODY)}


async def test_metainfo_from_outside_has_the_sample_read_and_nothing_else(world: World) -> None:
    world.server.torrents["key"] = make_torrent()
    torrent = await served(world, metainfo=["origin"], refresh=SOON)
    assert await read_all(world, torrent) == BODY
    world.server.body_bytes.clear()
    world.server.etags["key"] = '"another"'
    await moved(world, torrent)
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes["key"] <= FURTHER_PIECES * torrent.layout.piece_length


async def test_an_etag_that_only_turned_weak_changes_nothing(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    world.server.etags["key"] = f"W/{world.server.etag(BODY)}"
    before = world.server.requests["HEAD key"]
    await world.until_true(lambda: world.server.requests["HEAD key"] > before + 3, "key")
    assert world.publication("key").torrent is torrent
    assert (world.audience.moved, world.audience.gone) == ([], [])
    assert not world.server.body_bytes


async def test_a_weak_etag_that_if_match_never_matches_is_no_hindrance(world: World) -> None:
    # The server compares as RFC 9110 wants it: nothing that is weak matches.
    world.server.etags["key"] = 'W/"weak"'
    torrent = await served(world)
    await drop_pieces(world.cache, torrent.cache_id)
    assert await read_all(world, torrent) == BODY
    assert world.audience.gone == []


async def test_a_cold_piece_waits_for_the_new_hashes_and_a_cached_one_does_not(
    world: World,
) -> None:
    torrent = await served(world)
    await drop_pieces(world.cache, torrent.cache_id)
    assert await get_piece(world.cache, torrent, 0)
    world.server.etags["key"] = '"another"'
    world.server.gate = trio.Event()
    got: list[Piece] = []

    async def cold() -> None:
        got.append(await get_piece(world.cache, torrent, 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cold)
        await world.until("key", State.BUILDING)
        assert world.catalog.by_hash(torrent.info_hash) is torrent
        assert await get_piece(world.cache, torrent, 0) == BODY[: torrent.layout.piece_length]
        assert not got
        world.server.gate.set()
    await moved(world, torrent)
    length = torrent.layout.piece_length
    assert got == [BODY[length : 2 * length]]


async def test_another_byte_ends_the_torrent_as_soon_as_it_is_read(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    world.server.objects["key"] = bytes([BODY[0] ^ 1]) + BODY[1:]
    await world.until_true(lambda: len(world.audience.live) == 2, "key")
    assert world.audience.gone == [(torrent, REPLACED)]
    assert world.audience.moved == []
    assert world.catalog.by_hash(torrent.info_hash) is None


async def test_another_size_ends_the_torrent_before_anything_is_read(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    world.server.gate = trio.Event()
    world.server.objects["key"] = BODY + b"x"
    await world.until("key", State.BUILDING)
    assert world.audience.gone == [(torrent, REPLACED)]
    world.server.gate.set()
    await world.until("key", State.SERVING)


async def test_a_new_state_that_gets_no_metainfo_ends_the_torrent(world: World) -> None:
    world.server.torrents["key"] = make_torrent()
    torrent = await served(world, metainfo=["origin"], refresh=SOON)
    del world.server.torrents["key"]
    world.server.etags["key"] = '"another"'
    await world.until("key", State.FAILED)
    assert world.audience.gone == [(torrent, REPLACED)]


async def test_another_etag_of_a_version_keeps_the_torrent_of_that_version(world: World) -> None:
    name = "key?third"
    world.server.objects[name] = BODY
    torrent = await served(world, version_id="third", refresh=SOON)
    world.server.etags[name] = '"another"'
    await world.until_true(lambda: len(world.audience.moved) == 1, "key")
    assert world.audience.gone == []
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes == {name: len(BODY)}


async def test_servers_that_disagree_about_the_etag_have_the_object_read_once_for_each(
    world: World,
) -> None:
    torrent = await served(world, refresh=SOON)
    own = world.server.etag(BODY)
    for times, etag in enumerate(['"other"', own, '"other"', own], 1):
        world.server.etags["key"] = etag
        await moved(world, torrent, times)
    assert await read_all(world, torrent) == BODY
    assert world.server.body_bytes == {"key": len(BODY)}


async def test_an_object_replaced_twice_in_a_row_goes_on_in_its_last_state(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    world.server.gate = trio.Event()
    world.server.etags["key"] = '"second"'
    await world.until("key", State.BUILDING)
    world.server.etags["key"] = '"third"'
    world.server.gate.set()
    await world.until_true(lambda: torrent.pinned.etag == '"third"', "key")
    assert world.audience.gone == []
    assert await read_all(world, torrent) == BODY


async def test_an_object_whose_etag_comes_back_before_it_was_read_is_not_read(
    world: World, faults: FaultServer
) -> None:
    torrent = await served(world, refresh=SOON)

    async def deny_reading(seen: Seen, stream: trio.abc.Stream) -> None:
        if seen.method == "GET":
            await answer(403)(seen, stream)
        else:
            await world.server.serve(seen, stream)

    faults.default = deny_reading
    world.server.etags["key"] = '"another"'
    await world.until("key", State.FAULTY)
    assert world.catalog.by_hash(torrent.info_hash) is torrent
    # What is cached is served all the while.
    assert await get_piece(world.cache, torrent, 2)
    del world.server.etags["key"]
    await world.until("key", State.SERVING)
    assert torrent.held is None
    assert (world.audience.moved, world.audience.gone) == ([], [])
    assert not world.server.body_bytes


async def test_an_object_deleted_while_it_is_looked_at_ends_its_torrent(world: World) -> None:
    torrent = await served(world, refresh=SOON)
    world.server.gate = trio.Event()
    world.server.etags["key"] = '"another"'
    await world.until("key", State.BUILDING)
    del world.server.objects["key"], world.server.etags["key"]
    world.server.gate.set()
    await world.until_true(lambda: bool(world.audience.away), "key")
    assert world.audience.away == [(torrent, DELETED)]
    world.server.objects["key"] = BODY


async def test_a_restart_before_the_new_hashes_are_known_goes_on_with_the_torrent(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    torrent = await served(world)
    other = tmp_path / "restarted"
    other.mkdir()
    (tmp_path / "metainfo").rename(other / "metainfo")
    server.etags["key"] = '"another"'
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply([settings("key")])
        [live] = again.audience.live
        assert live.info_hash == torrent.info_hash
        await moved(again, live)
        assert await read_all(again, live) == BODY
        assert server.body_bytes == {"key": len(BODY)}


async def test_a_hybrid_goes_on_with_its_tree(world: World) -> None:
    torrent = await served(world, refresh=SOON, format="hybrid", piece_length=PIECE)
    world.server.etags["key"] = '"another"'
    await moved(world, torrent)
    assert torrent.hashes is not None
    assert torrent.short_v2_hash is not None
    assert world.catalog.by_hash(torrent.short_v2_hash) is torrent


async def test_objects_of_a_bundle_under_other_etags_keep_its_torrent(world: World) -> None:
    bodies = {f"data/{name}": BODY[: 5 * PIECE + at] for at, name in enumerate("abc")}
    world.server.objects.update(bodies)
    entry = {"bucket": "bucket", "prefix": "data/", "bundle": True, "piece_length": PIECE}
    await world.publisher.apply([ObjectSettings.model_validate({**entry, "refresh": SOON})])
    torrent = (await world.until("data/", State.SERVING)).torrent
    assert torrent is not None
    world.server.body_bytes.clear()
    world.server.gate = trio.Event()
    world.server.etags["data/b"] = '"another"'
    await world.until("data/", State.BUILDING)
    # What hasn't changed is read from S3 as ever.
    assert torrent.question_of(0) is None
    assert torrent.question_of(torrent.sections[1].first) is not None
    world.server.gate.set()
    await moved(world, torrent, key="data/")
    assert world.server.body_bytes == {"data/b": len(bodies["data/b"])}
    assert world.cache.held(torrent) == frozenset(range(torrent.layout.piece_count))
    world.server.objects["data/c"] = bodies["data/c"][::-1]
    await world.until_true(lambda: len(world.audience.live) == 2, "data/")
    assert world.audience.gone == [(torrent, REGROUPED)]


@pytest.mark.parametrize("etag", ['"other"', 'W/"other"'])
async def test_a_read_that_meets_another_etag_goes_on_with_the_same_bytes(
    world: World, etag: str
) -> None:
    torrent = await served(world)
    await drop_pieces(world.cache, torrent.cache_id)
    world.server.etags["key"] = etag
    assert await read_all(world, torrent) == BODY
    await moved(world, torrent)


async def test_another_byte_ends_a_bundle_before_the_rest_of_it_is_read(
    world: World, faults: FaultServer
) -> None:
    bodies = {f"data/{name}": BODY[: 5 * PIECE] for name in "ab"}
    world.server.objects.update(bodies)
    entry = {"bucket": "bucket", "prefix": "data/", "bundle": True, "piece_length": PIECE}
    await world.publisher.apply([ObjectSettings.model_validate({**entry, "refresh": SOON})])
    torrent = (await world.until("data/", State.SERVING)).torrent
    readable = trio.Event()

    async def hold_up(seen: Seen, stream: trio.abc.Stream) -> None:
        if seen.method == "GET" and seen.path.endswith("/b"):
            await readable.wait()
        await world.server.serve(seen, stream)

    faults.default = hold_up
    world.server.objects["data/a"] = bodies["data/a"][::-1]
    world.server.etags["data/b"] = '"another"'
    await world.until_true(lambda: bool(world.audience.gone), "data/")
    assert world.audience.gone == [(torrent, REGROUPED)]
    assert world.publication("data/").state is State.BUILDING
    readable.set()
    await world.until("data/", State.SERVING)
