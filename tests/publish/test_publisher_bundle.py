"""Bundles followed: what is read, what is kept, what ends when the objects of a prefix change."""

import hashlib
import itertools
import logging
import random
from pathlib import Path

import pytest
import trio

from seeder.cache.memory import Piece
from seeder.config.objects import ObjectSettings
from seeder.errors import BudgetSpent, ObjectChanged, ObjectMissing
from seeder.metainfo.journal import HashJournal
from seeder.publish.serving import DELETED, REGROUPED, WITHDRAWN
from seeder.s3.listing import MOST_EMPTY_PAGES
from seeder.torrent import bundle as bundles
from seeder.torrent.bundle import padded, parse_bundle_info
from seeder.torrent.publications import State
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB
from tests.cache.fakes import drop_pieces, get_piece, pieces_on_disk
from tests.publish.support import World, make_world
from tests.s3.fault_server import FaultServer, Seen, answer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

PREFIX = "data/"
PIECE = 64 * KIB
SIZES = {
    "data/a": 3 * PIECE,
    "data/b/c": 20 * PIECE + 1,
    "data/b/d": 1,
    "data/b/empty": 0,
    "data/e": 10 * MIB + 77,
}
BODIES = {key: random.Random(key).randbytes(size) for key, size in SIZES.items()}


def settings(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate(
        {
            "bucket": "bucket",
            "prefix": PREFIX,
            "bundle": True,
            "piece_length": PIECE,
            "refresh": 600.0,
            **more,
        }
    )


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    markers = {"data/": b"", "data/b/": b"", "database": b"not below it"}
    server = ObjectsServer(objects={**BODIES, **markers}, page=2)
    faults.default = server.serve
    return server


async def serving(world: World) -> Torrent:
    publication = await world.until(PREFIX, State.SERVING)
    assert publication.torrent is not None
    return publication.torrent


async def replaced(world: World, old: Torrent) -> Torrent:
    """Wait for the torrent after `old` and return it."""

    def came() -> bool:
        torrent = world.publication(PREFIX).torrent
        return torrent is not None and torrent.info_hash != old.info_hash

    await world.until_true(came, PREFIX)
    return await serving(world)


async def download(world: World, torrent: Torrent) -> dict[str, bytes]:
    """Return the files by path, read from the cache as for a peer, with the pads checked."""
    stream = bytearray()
    for index in range(torrent.layout.piece_count):
        stream += await get_piece(world.cache, torrent, index)
    found, at = {}, 0
    for file in parse_bundle_info(torrent.raw_info)[1]:
        content = bytes(stream[at : at + file.length])
        if file.pad:
            assert content == bytes(file.length)
        else:
            found["/".join(file.path)] = content
        at += file.length
    return found


def expected(world: World) -> dict[str, bytes]:
    return {
        key.removeprefix(PREFIX): body
        for key, body in world.server.objects.items()
        if key.startswith(PREFIX) and not key.endswith("/")
    }


async def test_a_prefix_becomes_one_torrent_and_each_object_is_read_once(world: World) -> None:
    await world.publisher.apply([settings()])
    torrent = await serving(world)
    assert (
        await download(world, torrent)
        == expected(world)
        == {key.removeprefix(PREFIX): body for key, body in BODIES.items()}
    )
    assert world.server.body_bytes == {key: size for key, size in SIZES.items() if size}
    [account] = world.ledger.accounts
    assert str(account.key) == "bucket/data/"
    assert account.counters.origin_bytes_hashing == account.size == sum(SIZES.values())
    assert account.pieces == torrent.layout.piece_count == 3 + 21 + 1 + 161
    assert torrent.info.name == "data"
    assert torrent.pinned.size == sum(SIZES.values())


async def test_what_is_not_cached_is_read_by_the_piece_and_never_its_padding(world: World) -> None:
    await world.publisher.apply([settings()])
    torrent = await serving(world)
    for section in torrent.sections:
        await drop_pieces(world.cache, section.cache_id)
    world.server.body_bytes.clear()
    pieces: dict[int, Piece | None] = {}
    done = trio.Event()

    def waiter(index: int, piece: Piece | None, _: object) -> None:
        pieces[index] = piece
        if len(pieces) == torrent.layout.piece_count:
            done.set()

    # All at once, so that they come in as few GETs as may be: none crosses a border.
    for index in range(torrent.layout.piece_count):
        world.cache.request(torrent, index, waiter)
    with trio.fail_after(60):
        await done.wait()
    for index, piece in pieces.items():
        assert piece is not None
        assert hashlib.sha1(piece).digest() == torrent.piece_hash(index)
    assert world.server.body_bytes == {key: size for key, size in SIZES.items() if size}


async def test_one_object_replaced_leaves_the_others_unread_and_cached(world: World) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    world.server.body_bytes.clear()
    world.server.objects["data/b/c"] = changed = b"changed" * 50_000
    new = await replaced(world, old)
    assert world.audience.gone == [(old, REGROUPED)]
    assert await download(world, new) == expected(world)
    assert world.server.body_bytes == {"data/b/c": len(changed)}
    # The pieces of what is no more have left the cache, those of the others have not.
    [gone] = {section.cache_id for section in old.sections} - {
        section.cache_id for section in new.sections
    }
    assert not pieces_on_disk(world.cache, gone)
    assert world.cache.held(new) == frozenset(range(new.layout.piece_count))


async def test_objects_come_and_go(world: World) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    world.server.body_bytes.clear()
    del world.server.objects["data/a"]
    second = await replaced(world, old)
    assert await download(world, second) == expected(world)
    assert not world.server.body_bytes
    world.server.objects["data/A"] = b"new"
    third = await replaced(world, second)
    assert await download(world, third) == expected(world)
    assert world.server.body_bytes == {"data/A": 3}


async def test_a_torrent_whose_objects_are_all_there_stays_until_the_new_one_is_made(
    world: World,
) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    world.server.gate = trio.Event()
    world.server.objects["data/f"] = b"added"
    await world.until(PREFIX, State.BUILDING)
    assert world.catalog.by_hash(old.info_hash) is old
    assert world.audience.gone == []
    world.server.gate.set()
    new = await replaced(world, old)
    assert world.audience.gone == [(old, REGROUPED)]
    assert world.catalog.by_hash(old.info_hash) is None
    assert world.catalog.by_hash(new.info_hash) is new


async def test_a_torrent_of_which_an_object_has_gone_ends_before_the_new_one_is_made(
    world: World,
) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    world.server.gate = trio.Event()
    world.server.objects["data/a"] = b"replaced"
    publication = await world.until(PREFIX, State.BUILDING)
    assert publication.torrent is None
    assert world.audience.gone == [(old, REGROUPED)]
    world.server.gate.set()
    await replaced(world, old)


async def test_a_piece_that_meets_a_replaced_object_retires_the_bundle_at_once(
    world: World,
) -> None:
    await world.publisher.apply([settings()])
    old = await serving(world)
    world.server.objects["data/a"] = b"x" * SIZES["data/a"]
    await drop_pieces(world.cache, old.sections[0].cache_id)
    world.server.body_bytes.clear()
    with pytest.raises(ObjectChanged):
        await get_piece(world.cache, old, 0)
    assert world.audience.gone == [(old, REGROUPED)]
    new = await replaced(world, old)
    assert await download(world, new) == expected(world)
    assert world.server.body_bytes == {"data/a": SIZES["data/a"]}


async def test_a_piece_that_meets_no_object_has_the_prefix_listed_again(world: World) -> None:
    await world.publisher.apply([settings()])
    old = await serving(world)
    del world.server.objects["data/a"]
    await drop_pieces(world.cache, old.sections[0].cache_id)
    with pytest.raises(ObjectMissing):
        await get_piece(world.cache, old, 0)
    new = await replaced(world, old)
    assert await download(world, new) == expected(world)


async def test_a_restart_serves_the_bundle_at_once_and_lists_it_once(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    await world.publisher.apply([settings()])
    before = await serving(world)
    server.body_bytes.clear()
    server.requests.clear()
    other = tmp_path / "restarted"
    other.mkdir()
    (tmp_path / "metainfo").rename(other / "metainfo")
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply([settings()])
        [torrent] = again.audience.live
        assert torrent.raw_info == before.raw_info
        assert torrent.sections == before.sections
        await again.until_true(lambda: server.requests["LIST"] == 4, PREFIX)
        assert server.requests.total() == 4
        # An object that changed meanwhile is read, and no other.
        server.objects["data/a"] = b"changed"
        await again.publisher.apply([settings(refresh=0.05)])
        await again.publisher.apply([])
        await again.publisher.apply([settings(refresh=0.05)])
        new = await replaced(again, torrent)
        assert server.body_bytes == {"data/a": 7}
        assert await get_piece(again.cache, new, 0) == padded(bytearray(b"changed"), PIECE)


async def test_a_bundle_names_its_earlier_torrents_and_its_hash_goes_by_its_objects_alone(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    first = await serving(world)
    assert first.similar == ()
    body = server.objects["data/a"]
    server.objects["data/a"] = b"changed"
    second = await replaced(world, first)
    assert second.similar == (first.info_hash,)
    server.objects["data/a"] = b"changed again"
    third = await replaced(world, second)
    assert third.similar == (second.info_hash, first.info_hash)
    # What was there before has its hash again, and names the others.
    server.objects["data/a"] = body
    back = await replaced(world, third)
    assert back.info_hash == first.info_hash
    assert back.similar == (third.info_hash, second.info_hash)
    await world.publisher.apply([])
    other = tmp_path / "restarted"
    other.mkdir()
    (tmp_path / "metainfo").rename(other / "metainfo")
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply([settings()])
        assert (await serving(again)).similar == back.similar


async def test_hashing_that_broke_off_goes_on_though_the_objects_are_others_by_then(
    world: World, tmp_path: Path
) -> None:
    # More than are read at a time, so that some are hashed when the last one is refused.
    world.server.objects.update({f"data/k{number}": bytes([number]) for number in range(20)})
    world.server.objects["data/z"] = b"refused"
    world.server.refuse.add("data/z")
    await world.publisher.apply([settings(refresh=0.05)])
    publication = await world.until(PREFIX, State.FAILED)
    assert "data/z" in str(publication.reason)
    [journal] = (tmp_path / "builds").iterdir()
    hashed = set(HashJournal(journal, f"bundle-{PIECE}", 20).load().values())
    known = {
        key
        for key, body in world.server.objects.items()
        if 0 < len(body) <= PIECE
        and hashlib.sha1(padded(bytearray(body), PIECE)).digest() in hashed
    }
    assert known
    world.server.body_bytes.clear()
    world.server.objects["data/0"] = b"first"
    del world.server.objects["data/z"]
    torrent = await serving(world)
    assert await download(world, torrent) == expected(world)
    assert world.server.body_bytes["data/0"] == 5
    assert not known & world.server.body_bytes.keys()
    assert not journal.exists()


@pytest.mark.parametrize("becomes", [None, b"another"])
async def test_an_object_that_is_not_any_more_what_was_listed_has_the_prefix_listed_again(
    world: World, becomes: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    # More than are read at a time, so that the last one is asked for when the gate is open.
    world.server.objects.update({f"data/k{number}": bytes([number]) for number in range(20)})
    world.server.objects["data/z"] = b"as listed"
    world.server.gate = trio.Event()
    await world.publisher.apply([settings()])
    await world.until(PREFIX, State.BUILDING)
    if becomes is None:
        del world.server.objects["data/z"]
    else:
        world.server.objects["data/z"] = becomes
    world.server.gate.set()
    torrent = await serving(world)
    assert await download(world, torrent) == expected(world)
    [line] = [line for line in caplog.messages if "data/z" in line]
    assert line.endswith("; bucket/data/ is listed again")
    assert all(world.server.body_bytes[key] <= size for key, size in SIZES.items())


async def test_a_listing_that_fails_half_way_leaves_the_torrent_as_it_is(world: World) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    torrent = await serving(world)
    world.server.broken_pages.add(1)
    publication = await world.until(PREFIX, State.FAULTY)
    assert publication.torrent is torrent
    assert "s3:ListBucket" in str(publication.reason)
    assert await download(world, torrent) == expected(world)
    world.server.broken_pages.clear()
    assert await serving(world) is torrent
    assert world.audience.gone == []


async def test_a_prefix_with_nothing_below_it_says_so_until_something_comes(world: World) -> None:
    await world.publisher.apply([settings(prefix="nothing/", refresh=0.05)])
    publication = await world.until("nothing/", State.FAILED)
    assert publication.reason == ("bucket/nothing/: there is no object below it; check the prefix")
    world.server.objects["nothing/yet"] = b"something"
    await world.until("nothing/", State.SERVING)


async def test_when_everything_has_gone_the_torrent_ends(world: World) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    for key in BODIES:
        del world.server.objects[key]
    await world.until(PREFIX, State.FAILED)
    assert world.audience.away == [(old, DELETED)]


async def test_more_objects_than_allowed_are_not_published(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await world.publisher.apply([settings(max_objects=4, refresh=0.05)])
    publication = await world.until(PREFIX, State.FAILED)
    line = (
        "bucket/data/: has more than 4 objects below it; raise max_objects, or publish prefixes"
        " further down"
    )
    assert publication.reason == line
    assert line in caplog.messages
    await world.publisher.apply([settings(max_objects=5, refresh=0.05)])
    await serving(world)


async def test_a_budget_that_runs_out_keeps_the_old_torrent(world: World) -> None:
    await world.publisher.apply([settings(refresh=0.05)])
    old = await serving(world)
    world.purse.spent = True
    world.server.objects["data/f"] = b"added"
    await world.until_true(lambda: world.purse.refusals > 0, PREFIX)
    assert world.catalog.by_hash(old.info_hash) is old
    with pytest.raises(BudgetSpent):
        world.purse.check(1)
    world.purse.spent = False
    world.publisher.wake_waiting()
    await replaced(world, old)


async def test_a_bundle_beside_torrents_of_its_objects(world: World) -> None:
    one = ObjectSettings.model_validate(
        {"bucket": "bucket", "key": "data/a", "metainfo": ["build"]}
    )
    await world.publisher.apply([settings(), one])
    bundle = await serving(world)
    single = (await world.until("data/a", State.SERVING)).torrent
    assert single is not None
    assert single.cache_id != bundle.sections[0].cache_id
    await world.publisher.apply([one])
    assert world.audience.gone == [(bundle, WITHDRAWN)]


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (10**18, "it can't be published"),
        (2**63 - 1, "which nothing has"),
        (2**63, "which no object has"),
    ],
)
async def test_a_bundle_of_an_absurd_size_is_refused_in_a_line(
    world: World, size: int, problem: str
) -> None:
    world.server.sizes["data/a"] = size
    world.server.sizes["data/b/d"] = 5
    await world.publisher.apply([settings()])
    publication = await world.until_true(
        lambda: world.publication(PREFIX).reason is not None, PREFIX
    )
    assert publication.reason is not None
    assert publication.reason.startswith("bucket/data/: ")
    assert problem in publication.reason
    assert not world.server.body_bytes


@pytest.mark.parametrize("page", ["again", "in turns", "empty"])
async def test_a_listing_without_an_end_is_left_with_the_reason(
    world: World, faults: FaultServer, page: str
) -> None:
    turn = itertools.count()

    async def list_for_ever(seen: Seen, stream: trio.abc.Stream) -> None:
        number = next(turn)
        key = {"again": "a", "in turns": "ab"[number % 2], "empty": ""}[page]
        token = key or str(number)
        entry = f"<Key>data/{key}</Key><ETag>e</ETag><Size>1</Size>"
        body = (
            f"<ListBucketResult>{key and f'<Contents>{entry}</Contents>'}"
            f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            "</ListBucketResult>"
        )
        await answer(200, body.encode())(seen, stream)

    faults.default = list_for_ever
    await world.publisher.apply([settings()])
    publication = await world.until_true(
        lambda: world.publication(PREFIX).reason is not None, PREFIX
    )
    assert "its listing never ends" in (publication.reason or "")
    assert len(faults.seen) <= 1 + MOST_EMPTY_PAGES


async def test_a_torrent_too_large_for_clients_costs_no_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LARGEST_INFO", 100)
    await world.publisher.apply([settings()])
    publication = await world.until(PREFIX, State.FAILED)
    assert "the torrent of its 5 objects would have" in str(publication.reason)
    assert not world.server.body_bytes
