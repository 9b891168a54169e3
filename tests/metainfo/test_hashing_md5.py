"""An object whose bytes haven't the MD5 in its ETag is read again: nothing is believed at once."""

import itertools
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from seeder.errors import MetainfoError, OriginFault
from seeder.metainfo.hashing import MOST_LOOKS, Hasher
from seeder.metainfo.trees import TreeBuilder
from seeder.metainfo.whole import MOST_HELD, EtagMeaning, WholeDigest
from seeder.s3.client import S3Origin
from seeder.torrent.bundle import bundle_layout
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject, cache_id
from seeder.units import KIB, MIB
from tests.metainfo.support import Shelf
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import CountingMeter, MakeOrigin
from tests.torrent.trees import sha1s

PIECE = 256 * KIB
SIZE = 20 * MIB + 5
BODY = random.Random(9).randbytes(SIZE)
FLIPPED = 11 * MIB
OTHER = f'"{7:032x}"'


class Desk:
    """An object, and what hashes it."""

    def __init__(self, server: ObjectsServer, origin: S3Origin, path: Path) -> None:
        self.server = server
        self.origin = origin
        self.path = path
        self.meter = CountingMeter()
        self.shelf = Shelf()
        self.etags = EtagMeaning()
        self.tree: TreeBuilder | None = None

    async def hash(self, key: str = "big") -> bytes:
        body = self.server.objects[key]
        etag = self.server.etags.get(key) or self.server.etag(body)
        pinned = PinnedObject(ObjectRef("default", "bucket", key), etag, len(body))
        layout = Layout(len(body), PIECE)
        hasher = Hasher(
            self.origin,
            self.shelf,
            self.meter,
            pinned,
            layout,
            etags=self.etags,
            tree=self.tree,
        )
        pieces = await hasher.run(self.path / f"{key}.journal", lambda *_: None)
        name = cache_id(pinned, PIECE)
        self.kept = b"".join(self.shelf.pieces[name, i] for i in range(layout.piece_count))
        return pieces


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer(objects={"big": BODY, "small": BODY[:MIB]})
    faults.default = server.serve
    return server


@pytest.fixture
async def desk(server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path) -> Desk:
    return Desk(server, await make_origin(path_style=True), tmp_path)


@pytest.mark.parametrize("offset", [0, FLIPPED, SIZE - 1])
async def test_a_bit_that_flips_once_costs_a_second_reading_and_no_more(
    desk: Desk, server: ObjectsServer, caplog: pytest.LogCaptureFixture, offset: int
) -> None:
    server.flips["big", offset] = 1
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert desk.kept == BODY
    assert server.body_bytes["big"] == 2 * SIZE
    assert "bucket/big: its bytes haven't the MD5 in its ETag" in caplog.text


async def test_so_do_the_leaves_of_a_hybrid(desk: Desk, server: ObjectsServer) -> None:
    server.flips["big", FLIPPED] = 1
    desk.tree = TreeBuilder(desk.path / "big.tree", Shape(Layout(SIZE, PIECE)))
    assert await desk.hash() == sha1s(BODY, PIECE)
    found = desk.tree.finish().root
    server.flips.clear()
    other = Desk(server, desk.origin, desk.path / "other")
    other.path.mkdir()
    other.tree = TreeBuilder(other.path / "big.tree", Shape(Layout(SIZE, PIECE)))
    await other.hash()
    assert found == other.tree.finish().root


async def test_an_etag_that_is_no_md5_is_learnt_once(
    desk: Desk, server: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.etags |= {"big": OTHER, "small": OTHER}
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert server.body_bytes["big"] == 2 * SIZE
    assert "its ETag is not the MD5 of its bytes" in caplog.text
    await desk.hash("small")
    assert server.body_bytes["small"] == MIB


async def test_one_such_object_doesnt_discredit_the_others(
    desk: Desk, server: ObjectsServer
) -> None:
    await desk.hash("small")
    server.etags["big"] = OTHER
    await desk.hash()
    server.body_bytes.clear()
    del server.etags["big"]
    server.flips["big", FLIPPED] = 1
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert server.body_bytes["big"] == 2 * SIZE


@pytest.mark.parametrize(
    ("etag", "headers"),
    [
        (f'"{7:032x}-3"', {}),
        ('"an-etag"', {}),
        (OTHER, {"x-amz-server-side-encryption": "aws:kms"}),
        (OTHER, {"x-amz-server-side-encryption": "aws:kms:dsse"}),
        (OTHER, {"x-amz-server-side-encryption-customer-algorithm": "AES256"}),
    ],
)
async def test_what_cannot_be_an_md5_is_read_once(
    desk: Desk, server: ObjectsServer, etag: str, headers: dict[str, str]
) -> None:
    server.etags["big"] = etag
    server.headers |= headers
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert server.body_bytes["big"] == SIZE


async def test_a_weak_etag_is_an_md5_all_the_same(desk: Desk, server: ObjectsServer) -> None:
    server.etags["big"] = f"W/{server.etag(BODY)}"
    server.flips["big", FLIPPED] = 1
    assert EtagMeaning().md5_of(
        PinnedObject(ObjectRef("", "", ""), server.etags["big"], 1)
    ) == bytes.fromhex(server.etag(BODY).strip('"'))


async def test_bytes_that_are_others_each_time_are_not_published(
    desk: Desk, server: ObjectsServer
) -> None:
    server.flips["big", FLIPPED] = 99
    with pytest.raises(MetainfoError, match="other bytes each time"):
        await desk.hash()
    assert server.body_bytes["big"] == MOST_LOOKS * SIZE


async def test_nor_those_of_two_stores_of_which_neither_is_right(
    desk: Desk, server: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = itertools.cycle([{("big", 0)}, {("big", FLIPPED)}])
    look = Hasher._look

    async def go_to_the_other(self: Hasher, *arguments: Any) -> bool:
        server.corrupt = next(stores)
        return await look(self, *arguments)

    monkeypatch.setattr(Hasher, "_look", go_to_the_other)
    server.corrupt = next(stores)
    with pytest.raises(MetainfoError, match="other bytes each time"):
        await desk.hash()
    # It says nothing of what the ETags mean either.
    server.corrupt = set()
    server.flips["small", 0] = 1
    assert await desk.hash("small") == sha1s(server.objects["small"], PIECE)


async def test_bytes_that_are_wrong_by_the_range_are_read_in_others(
    desk: Desk, server: ObjectsServer
) -> None:
    server.corrupt_ranges = {(8 * MIB, 16 * MIB - 1)}
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert desk.kept == BODY


@pytest.mark.parametrize("kept", [True, False])
async def test_what_is_in_doubt_is_not_believed_after_an_error(
    desk: Desk, server: ObjectsServer, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    server.flips["big", FLIPPED] = 1

    async def fail(*_: object) -> bool:
        raise OriginFault("S3 is away")

    with monkeypatch.context() as patch:
        patch.setattr(S3Origin, "is_md5", fail)
        with pytest.raises(OriginFault):
            await desk.hash()
    if not kept:
        desk.shelf.pieces.clear()
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert desk.kept == BODY


async def test_an_interrupted_hashing_is_checked_as_a_whole(
    desk: Desk, server: ObjectsServer
) -> None:
    server.flips["big", 0] = 1
    with trio.CancelScope() as scope:
        got = 0

        async def stop_half_way() -> None:
            nonlocal got
            while got < SIZE // 2:
                await trio.lowlevel.checkpoint()
                got = server.body_bytes["big"]
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_half_way)
            await desk.hash()
    assert 0 < server.body_bytes["big"] < 2 * SIZE
    server.body_bytes.clear()
    assert await desk.hash() == sha1s(BODY, PIECE)
    assert desk.kept == BODY


async def test_of_a_bundle_only_the_doubtful_object_is_read_again(
    desk: Desk, server: ObjectsServer
) -> None:
    bodies = {"d/a": BODY[:MIB], "d/b": BODY[: 9 * MIB + 1], "d/c": b"", "d/e": BODY[5:77]}
    server.objects |= bodies
    server.flips["d/b", 3 * MIB] = 1
    members = [
        PinnedObject(ObjectRef("default", "bucket", key), server.etag(body), len(body))
        for key, body in bodies.items()
    ]
    bundle = PinnedBundle.of(ObjectRef("default", "bucket", "d/"), members)
    layout = bundle_layout([member.size for member in bundle.members], PIECE)
    hasher = Hasher(desk.origin, desk.shelf, desk.meter, bundle, layout, etags=desk.etags)
    pieces = await hasher.run(desk.path / "journal", lambda *_: None)
    padded = [body.ljust(-(-len(body) // PIECE) * PIECE, b"\0") for body in bodies.values()]
    assert pieces == b"".join(sha1s(body, PIECE) for body in padded)
    assert server.body_bytes == {
        key: len(body) * (2 if key == "d/b" else 1) for key, body in bodies.items() if body
    }


async def test_runs_come_in_any_order_and_wait_in_a_bounded_space(
    autojump_clock: trio.testing.MockClock,
) -> None:
    count, length = 24, 8 * MIB
    piece = bytearray(length)
    layout = Layout(count * length, length)

    async def recall(index: int) -> None:
        raise AssertionError(index)

    def whole() -> WholeDigest:
        return WholeDigest(bytes(16), layout, recall, lambda _: False)

    digest, waiting = whole(), 0

    async def add(index: int, to: WholeDigest) -> None:
        nonlocal waiting
        waiting += 1
        await to.add(index, [piece])
        waiting -= 1

    async with trio.open_nursery() as nursery:
        for index in reversed(range(1, count)):
            nursery.start_soon(add, index, digest)
        await trio.sleep(1)
        assert waiting == count - 1 - MOST_HELD // length
        await digest.add(0, [piece])
    assert digest.differs
    # What will never be whole keeps nobody waiting.
    broken = whole()
    async with trio.open_nursery() as nursery:
        for index in range(1, count):
            nursery.start_soon(add, index, broken)
        await trio.sleep(1)
        broken.give_up()
    assert not broken.differs
    assert not broken.fits


def test_what_an_etag_means_is_read_from_it() -> None:
    def read(etag: str, meaning: EtagMeaning) -> bytes | None:
        return meaning.md5_of(PinnedObject(ObjectRef("", "", ""), etag, 1))

    digits = "0123456789abcdef" * 2
    meaning = EtagMeaning()
    learn: list[Callable[[], None]] = [meaning.misfits, meaning.fits]
    assert read(f'"{digits}"', meaning) == read(f'"{digits.upper()}"', meaning)
    assert read(digits, meaning) is None
    assert read(f'"{digits}-1"', meaning) is None
    learn[0]()
    assert read(f'"{digits}"', meaning) is None
    learn[1]()
    assert read(f'"{digits}"', meaning) == bytes.fromhex(digits)
