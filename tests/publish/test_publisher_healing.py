"""What S3 gives wrong heals: the piece comes right, or the torrent is made anew."""

import logging

import pytest

from seeder.errors import PieceMismatch
from seeder.publish import doubts
from seeder.publish.serving import REGROUPED, REPLACED
from seeder.torrent.catalog import State, Torrent
from tests.cache.fakes import drop_pieces, get_piece
from tests.metainfo.support import BODY, PIECE
from tests.publish.support import World, settings
from tests.s3.objects_server import ObjectsServer

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
