"""Hashing an object: read once, journaled, resumed."""

import random
from pathlib import Path

import pytest
import trio

from seeder.errors import BudgetSpent, ObjectChanged
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import Counters
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.savings import Prices
from seeder.metainfo.hashing import Hasher
from seeder.metainfo.journal import HashJournal
from seeder.metainfo.trees import TreeBuilder
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.client import S3Origin
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject, cache_id
from seeder.units import KIB, MIB
from tests.metainfo.support import Shelf
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import CountingMeter, MakeOrigin
from tests.torrent.trees import WholeTree, sha1s

PIECE = 256 * KIB


class Bench:
    """An object in a server and what it takes to hash it."""

    def __init__(self, server: ObjectsServer, origin: S3Origin, path: Path, size: int) -> None:
        self.server = server
        self.body = random.Random(size).randbytes(size)
        server.objects["big"] = self.body
        self.pinned = PinnedObject(
            ObjectRef("default", "bucket", "big"), server.etag(self.body), size
        )
        self.meter = CountingMeter()
        self.shelf = Shelf()
        self.path = path / "big.journal"
        self.progress: list[tuple[int, int]] = []
        self.layout = Layout(size, PIECE)
        self.hasher = Hasher(
            origin, self.shelf, self.meter, self.pinned, self.layout, etags=EtagMeaning()
        )

    async def run(self) -> bytes:
        return await self.hasher.run(
            self.path, lambda done, size: self.progress.append((done, size))
        )

    async def run_half(self) -> None:
        """Hash until half of the object is done."""
        with trio.CancelScope() as scope:

            def stop_half_way(done: int, size: int) -> None:
                if done >= size // 2:
                    scope.cancel()

            await self.hasher.run(self.path, stop_half_way)


@pytest.fixture
async def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer()
    faults.default = server.serve
    return server


@pytest.mark.parametrize("size", [0, 1, PIECE, 20 * MIB + 5])
async def test_an_object_is_read_once_and_its_pieces_are_kept(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, size: int
) -> None:
    bench = Bench(server, await make_origin(path_style=True), tmp_path, size)
    assert await bench.run() == sha1s(bench.body, PIECE)
    assert server.body_bytes["big"] == size
    assert server.requests["GET big"] == -(-size // (8 * MIB))
    assert bench.meter.received == ({"hashing": size} if size else {})
    name = cache_id(bench.pinned, PIECE)
    kept = b"".join(bench.shelf.pieces[name, i] for i in range(bench.layout.piece_count))
    assert kept == bench.body
    assert bench.progress[0] == (0, size)
    assert bench.progress[-1] == (size, size)


async def test_an_interrupted_hashing_goes_on_where_it_stopped(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    origin = await make_origin(path_style=True)
    bench = Bench(server, origin, tmp_path, 40 * MIB)
    await bench.run_half()
    known = HashJournal(bench.path, cache_id(bench.pinned, PIECE)).load()
    before = sum(bench.layout.piece_size(index) for index in known)
    assert before >= 20 * MIB
    server.body_bytes.clear()
    assert await bench.run() == sha1s(bench.body, PIECE)
    assert bench.progress[0] == (before, 40 * MIB)
    assert server.body_bytes["big"] == 40 * MIB - before


async def test_a_budget_that_runs_out_wastes_nothing_of_what_was_under_way(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    limit = Limit(Resource.ORIGIN_BYTES, Period.DAY, 16 * MIB)
    budget = Budget([limit], Prices(0, 0), totals=Counters(), spent=Spent(), now=0)
    origin = await make_origin(path_style=True, allowance=budget)
    bench = Bench(server, origin, tmp_path, 32 * MIB)
    with pytest.raises(BudgetSpent):
        await bench.run()
    known = HashJournal(bench.path, cache_id(bench.pinned, PIECE)).load()
    assert len(known) * PIECE == server.body_bytes["big"] == 16 * MIB
    budget.change([], Prices(0, 0), totals=Counters(), now=0)
    assert await bench.run() == sha1s(bench.body, PIECE)
    assert server.body_bytes["big"] == 32 * MIB


async def test_an_object_that_changes_meanwhile_ends_the_hashing(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    bench = Bench(server, await make_origin(path_style=True), tmp_path, 20 * MIB)

    def overwrite(done: int, size: int) -> None:
        server.objects["big"] = b"another"

    with pytest.raises(ObjectChanged):
        await bench.hasher.run(bench.path, overwrite)


class HybridBench(Bench):
    """A bench whose object gets a tree, too."""

    def __init__(self, server: ObjectsServer, origin: S3Origin, path: Path, size: int) -> None:
        super().__init__(server, origin, path, size)
        self.tree = TreeBuilder(path / "big.tree", Shape(self.layout))
        self.hasher = Hasher(
            origin,
            self.shelf,
            self.meter,
            self.pinned,
            self.layout,
            etags=EtagMeaning(),
            tree=self.tree,
        )


@pytest.mark.parametrize("size", [0, 1, PIECE, 20 * MIB + 5])
async def test_a_hybrid_is_hashed_both_ways_of_one_reading(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, size: int
) -> None:
    bench = HybridBench(server, await make_origin(path_style=True), tmp_path, size)
    assert await bench.run() == sha1s(bench.body, PIECE)
    assert server.body_bytes["big"] == size
    made = bench.tree.finish()
    if not size:
        assert made.root == b""
        return
    whole = WholeTree(bench.body, PIECE)
    assert made.root == whole.root
    assert made.read(0, 0, made.shape.leaf_count) == whole.read(0, 0, made.shape.leaf_count)


async def test_an_interrupted_hybrid_reads_again_only_what_the_disk_has_lost(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    origin = await make_origin(path_style=True)
    bench = HybridBench(server, origin, tmp_path, 40 * MIB)
    await bench.run_half()
    known = bench.hasher.journal(bench.path).load()
    before = sum(bench.layout.piece_size(index) for index in known)
    assert before >= 20 * MIB
    lost = next(iter(known))
    tree = bytearray((tmp_path / "big.tree").read_bytes())
    tree[64 + lost * PIECE // 512] ^= 1
    (tmp_path / "big.tree").write_bytes(tree)
    server.body_bytes.clear()
    bench = HybridBench(server, origin, tmp_path, 40 * MIB)
    assert await bench.run() == sha1s(bench.body, PIECE)
    assert server.body_bytes["big"] == 40 * MIB - before + PIECE
    assert bench.tree.finish().root == WholeTree(bench.body, PIECE).root


async def test_a_journal_without_the_tree_is_of_no_use_to_a_hybrid(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    origin = await make_origin(path_style=True)
    await Bench(server, origin, tmp_path, 2 * MIB).run()
    server.body_bytes.clear()
    bench = HybridBench(server, origin, tmp_path, 2 * MIB)
    await bench.run()
    assert server.body_bytes["big"] == 2 * MIB
