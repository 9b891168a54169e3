"""Entries that are added at one node are known at all, whatever becomes of the store meanwhile."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from seeder.cluster.entries import SharedEntries
from seeder.config.added import Addition, EntryName, WrittenEntry, read_addition
from seeder.config.fields import SourceFile
from seeder.torrent.objects import ObjectRef
from tests.cluster.support import MakeNode, RunningNode, until
from tests.support.redis import RedisServer

NOW = time.time_ns() // 1000
SOURCE = SourceFile(Path("/"), frozenset({"default"}))


class Site:
    """What a node has, and the part that shares it."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.shared: SharedEntries = node.cluster.share_entries(SOURCE)
        self.found: dict[EntryName, Addition] = {}
        self.shared.share(self.found)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(self.follow)
            await self.shared.run(task_status=task_status)

    async def follow(self) -> None:
        while True:
            for each in await self.shared.wait_news():
                if each.is_newer(self.found.get(each.name)):
                    self.found[each.name] = each

    def say(self, key: str, at: int, *, gone: bool = False, refresh: str = "1h") -> None:
        entry: WrittenEntry = {"bucket": "b", "key": key, "refresh": refresh}
        said = read_addition({"at": NOW + at, "removed" if gone else "entry": entry}, SOURCE)
        if said.is_newer(self.found.get(said.name)):
            self.found[said.name] = said
            self.shared.tell([said])

    def names(self) -> set[str]:
        return {name.ref.key for name, each in self.found.items() if each.entry is not None}


MakeSite = Callable[[str], Awaitable[Site]]


@pytest.fixture
def site(node: MakeNode, nursery: trio.Nursery) -> MakeSite:
    async def make(name: str) -> Site:
        made = Site(await node(name))
        await nursery.start(made.node.run_also, made.run)
        return made

    return make


async def test_what_one_node_adds_and_removes_all_know(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    a.say("x", 1)
    b.say("y", 1)
    await until(lambda: a.names() == b.names() == {"x", "y"})
    b.say("x", 2, gone=True)
    await until(lambda: a.names() == b.names() == {"y"})
    assert a.found == b.found


async def test_the_later_word_counts_however_late_it_is_told(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    a.say("x", 5, gone=True)
    await until(lambda: a.found == b.found)
    b.shared.tell([read_addition({"at": NOW + 4, "entry": {"bucket": "b", "key": "x"}}, SOURCE)])
    b.say("z", 1)
    await until(lambda: a.names() == {"z"})
    b.say("x", 6, refresh="2h")
    await until(lambda: a.names() == {"x", "z"})
    assert a.found == b.found


async def test_of_two_words_at_one_time_all_heed_the_same(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    a.say("x", 1, refresh="1h")
    b.say("x", 1, refresh="2h")
    a.say("y", 1)
    b.say("y", 1, gone=True)
    a.say("end", 2)
    await until(lambda: "end" in b.names() and a.found == b.found)
    assert a.names() == {"x", "end"}


async def test_who_was_away_and_a_store_that_lost_all_are_told(
    site: MakeSite, redis: RedisServer
) -> None:
    a, b = await site("a"), await site("b")
    for number in range(700):  # more than a batch
        a.say(f"k{number}", 1)
    await until(lambda: len(b.names()) == 700)
    redis.stop()
    a.say("x", 2)
    b.say("k0", 2, gone=True)
    await until(lambda: not a.node.cluster.health.up and not b.node.cluster.health.up)
    redis.start()
    await until(lambda: a.found == b.found and len(a.names()) == 700)
    c = await site("c")
    await until(lambda: c.found == a.found)


async def test_what_is_no_entry_keeps_nothing_else_out(
    site: MakeSite, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    a = await site("a")
    a.say("x", 1)
    keys = a.node.cluster.keys.entries
    await until(lambda: not a.shared._map.has_untold)
    redis.ask("HSET", keys.values.decode(), "bad", "1 0 nonsense")
    redis.ask("ZADD", keys.changes.decode(), "2000000000000000", "bad")
    b = await site("b")
    await until(lambda: b.names() == {"x"} and b.shared._map._doubted)
    assert caplog.text.count("has what is none") <= 2
    assert ObjectRef("default", "b", "x") in {name.ref for name in b.found}
