"""Metainfo is made by one node of a cluster and taken by the others, whoever dies meanwhile."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from seeder.cluster import workshop as workshops
from seeder.cluster.cluster import make_cluster
from seeder.cluster.redis import RedisStore
from seeder.cluster.store import Reply
from seeder.cluster.workshop import Workshop
from seeder.config.node import ClusterSettings
from seeder.errors import BudgetSpent
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.metainfo.trees import TreeBuilder
from seeder.publish.once import MadeOnce
from seeder.torrent.info import InfoV2, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject
from tests.support.redis import RedisServer

REF = ObjectRef("default", "bucket", "a key/with ünïcode")
PIECE = 64 * 1024
BODY = random.Random(1).randbytes(3 * PIECE + 5)
INFO = parse_info(build_info(name="n", layout=Layout(7, 16384), pieces=b"p" * 20))


@dataclass
class Node:
    """What one node has for it; `makes` counts how often it has made the object's metainfo."""

    store: MetainfoStore
    workshop: Workshop
    directory: Path
    ours: bool = True
    makes: int = 0
    waits: int = 0
    finish: trio.Event = field(default_factory=trio.Event)
    once: MadeOnce = field(init=False)

    def __post_init__(self) -> None:
        self.once = MadeOnce(self.workshop, self.store, lambda _: self.ours)

    async def obtain(self, record: Record) -> Record:
        async def make() -> None:
            self.makes += 1
            await self.finish.wait()
            record.info, record.outline, record.rung = INFO, INFO.outline, "build"
            self.store.save(record)

        def wait() -> None:
            self.waits += 1

        await self.once.obtain(record, make, wait)
        return record


def a_record(**more: object) -> Record:
    return Record(PinnedObject(REF, '"etag"', 7), wanted="build", **more)  # type: ignore[arg-type]


@pytest.fixture
async def nodes(
    redis: RedisServer, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Node]]:
    monkeypatch.setattr(workshops, "POLL", 0.02)
    made: dict[str, Node] = {}
    for name in "abc":
        cluster = make_cluster(ClusterSettings(store=redis.url), name, tmp_path / name)
        assert cluster is not None
        await nursery.start(cluster.run)
        workshop = Workshop(cluster.store, cluster.keys)
        nursery.start_soon(workshop.run)
        made[name] = Node(MetainfoStore(tmp_path / name / "m"), workshop, tmp_path / name)
    yield made.__getitem__
    nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


async def test_one_node_makes_what_all_have(nodes: Callable[[str], Node]) -> None:
    a, b, c = map(nodes, "abc")
    c.ours = False
    found: list[Record] = []

    async def obtain(node: Node) -> None:
        found.append(await node.obtain(a_record()))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for node in (c, a, b):
                nursery.start_soon(obtain, node)
            await until(lambda: a.makes + b.makes == 1 and a.waits + b.waits + c.waits >= 2)
            for node in (a, b, c):
                node.finish.set()
    assert a.makes + b.makes + c.makes == 1
    assert len(found) == 3
    assert all(each.info == INFO and each.outline == INFO.outline for each in found)
    # Each finds it on its own disk after a restart, without asking anybody.
    assert {str(node.store.load(REF)) for node in (a, b, c)} == {str(a.store.load(REF))}
    assert a.store.load(REF) == found[0]


async def test_another_owner_goes_on_where_one_died(
    nodes: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshops, "LEASE_SECONDS", 0.5)
    a, b = map(nodes, "ab")
    b.finish.set()
    with trio.fail_after(60):
        # It has the lease, and says nothing any more.
        name = await _claimed(a)
        await b.obtain(a_record())
    assert (a.makes, b.makes) == (0, 1)
    assert b.waits == 1
    assert await a.workshop.claim(name, may_make=True) not in (True, False)


async def _claimed(node: Node) -> str:
    """Have a node hold the lease of the object; return what its metainfo is called."""
    names: list[str] = []
    claim = node.workshop.claim

    async def note(name: str, *, may_make: bool) -> bytes | bool:
        names.append(name)
        return await claim(name, may_make=may_make)

    node.workshop.claim = note  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.obtain, a_record())
        await until(lambda: node.makes == 1)
        nursery.cancel_scope.cancel()
    node.makes = 0
    assert await claim(names[0], may_make=True) is True
    return names[0]


async def test_a_lease_is_kept_while_it_takes_long(
    nodes: Callable[[str], Node], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshops, "LEASE_RENEWED", 0.05)
    a, b = map(nodes, "ab")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.obtain, a_record())
            await until(lambda: a.makes == 1)
            nursery.start_soon(b.obtain, a_record())
            await until(lambda: b.waits == 1)
            [lease] = redis.ask("KEYS", "*:lease:*").splitlines()
            half = int(1000 * workshops.LEASE_SECONDS / 2)
            for _ in range(3):
                # As if two thirds of it had passed.
                assert redis.ask("PEXPIRE", lease, str(half * 2 // 3)) == "1"
                await until(lambda: int(redis.ask("PTTL", lease)) > half)
            assert b.makes == 0
            a.finish.set()
    assert (a.makes, b.makes) == (1, 0)


async def test_who_becomes_an_owner_makes_it(nodes: Callable[[str], Node]) -> None:
    c = nodes("c")
    c.ours = False
    c.finish.set()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.obtain, a_record())
            await until(lambda: c.waits == 1)
            assert c.makes == 0
            c.ours = True
    assert c.makes == 1


async def test_what_the_store_has_no_more_is_put_there_again_for_a_newcomer(
    nodes: Callable[[str], Node], redis: RedisServer
) -> None:
    a, c = map(nodes, "ac")
    c.ours = False
    a.finish.set()
    with trio.fail_after(60):
        await a.obtain(a_record())
        for key in redis.ask("keys", "*:made:*").split():
            redis.ask("del", key)
        assert (await c.obtain(a_record())).info == INFO
    assert (a.makes, c.makes) == (1, 0)


async def test_without_the_store_an_owner_makes_it_by_itself(
    nodes: Callable[[str], Node], redis: RedisServer
) -> None:
    a, c = map(nodes, "ac")
    c.ours = False
    a.finish.set()
    redis.stop()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.obtain, a_record())
            await a.obtain(a_record())
            assert a.makes == 1
            await until(lambda: c.waits == 1)
            redis.start()
    assert c.makes == 0
    assert c.store.load(REF) == a.store.load(REF)


@pytest.mark.parametrize("garbage", [b"", b"\0" * 8, b"\0" * 8 + b"{}", b"x" * 100])
async def test_what_is_no_metainfo_is_not_taken(
    nodes: Callable[[str], Node], garbage: bytes
) -> None:
    a, b = map(nodes, "ab")
    b.finish.set()
    name = await _claimed(a)
    await a.workshop.put(name, garbage)
    with trio.fail_after(60):
        assert (await b.obtain(a_record())).info == INFO
    assert b.makes == 1


async def test_another_state_of_the_object_is_made_by_itself(
    nodes: Callable[[str], Node],
) -> None:
    a, b = map(nodes, "ab")
    a.finish.set()
    b.finish.set()
    with trio.fail_after(60):
        await a.obtain(a_record())
        await b.obtain(Record(PinnedObject(REF, '"other"', 7), wanted="build"))
        await b.obtain(Record(PinnedObject(REF, '"etag"', 7), wanted="build 16384"))
    assert (a.makes, b.makes) == (1, 2)


async def test_what_turned_out_wrong_is_made_anew(nodes: Callable[[str], Node]) -> None:
    a = nodes("a")
    a.finish.set()
    with trio.fail_after(60):
        await a.obtain(a_record())
        await a.obtain(a_record(refused={"sidecar": "it lied"}))
        await a.obtain(a_record(doubted=frozenset({PinnedObject(REF, '"etag"', 7)})))
    assert a.makes == 3


async def test_the_tree_of_a_hybrid_comes_along(nodes: Callable[[str], Node]) -> None:
    a, b = map(nodes, "ab")
    layout = Layout(len(BODY), PIECE)
    builder = TreeBuilder(a.directory / "tree", Shape(layout))
    builder.add(0, [BODY[at : at + PIECE] for at in range(0, len(BODY), PIECE)])
    tree = builder.finish()
    layers = tree.piece_layers()
    info = parse_info(build_info(name="n", layout=layout, pieces=b"p" * 80, root=tree.root))
    assert isinstance(info.v2, InfoV2)
    record = Record(PinnedObject(REF, '"etag"', len(BODY)), info, info.outline, "build", "hybrid")
    record.tree = tree
    a.store.save(record)
    b.ours = False
    with trio.fail_after(60):
        wanted = Record(PinnedObject(REF, '"etag"', len(BODY)), wanted="hybrid")
        found = await b.obtain(wanted)
    assert found.info == info
    assert found.tree is not None
    assert found.tree.piece_layers() == layers
    assert found.tree.read(0, 0, 4) == tree.read(0, 0, 4)


async def test_who_waits_for_others_makes_it_when_the_store_goes_away(
    nodes: Callable[[str], Node], redis: RedisServer
) -> None:
    b = nodes("b")
    b.ours = False
    b.finish.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.obtain, a_record())
        await until(lambda: b.waits == 1)
        redis.stop()
        b.ours = True
        await until(lambda: b.makes == 1)


async def test_what_goes_wrong_while_one_makes_it_comes_out_as_it_is(
    nodes: Callable[[str], Node],
) -> None:
    """A round acts by the kind of an error: it waits for budget, or for S3 to be back."""
    a = nodes("a")

    async def make() -> None:
        raise BudgetSpent("spent")

    with trio.fail_after(60):
        with pytest.raises(BudgetSpent, match="spent"):
            await a.once.obtain(a_record(), make, lambda: None)
        a.finish.set()
        assert (await a.obtain(a_record())).info == INFO


@pytest.mark.parametrize("reply", [7, b"7", None, [b"x"], [3, None]])
async def test_a_store_that_says_what_no_node_wrote_ends_nothing(
    reply: Reply, nodes: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = nodes("a")

    async def run(*_: object) -> Reply:
        await trio.lowlevel.checkpoint()
        return reply

    a.finish.set()
    with monkeypatch.context() as patch, trio.fail_after(60):
        patch.setattr(RedisStore, "run", run)
        with trio.move_on_after(0.2):
            await a.workshop.wait("name", lambda: False)
    with trio.fail_after(60):
        assert (await a.obtain(a_record())).info == INFO
