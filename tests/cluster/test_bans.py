"""What one node says of a network holds at all, whatever becomes of the store meanwhile."""

import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
import trio

from seeder.cluster import mapping as shared
from seeder.net.addresses import IPNetwork
from seeder.net.bans import KEPT_FOR, Ban, Bans
from tests.cluster.support import MakeNode, RunningNode, Unsteady, until
from tests.support.redis import RedisServer


class Site:
    """A node's bans, as its state directory has them, and the part that shares them."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.bans = Bans()
        self.shared = node.cluster.share_bans(lambda heard: [*map(self.bans.hear, heard)])

    def say(self, network: IPNetwork, **said: Any) -> None:
        ban = self.bans.after(Ban(network, **{"at": round(time.time(), 6), **said}))
        self.bans.hear(ban)
        self.shared.offer([ban])

    def held(self) -> set[IPNetwork]:
        return {each.network for each in self.bans.in_force(time.time())}


MakeSite = Callable[[str], Awaitable[Site]]
A, B, C = (ip_network(text) for text in ("203.0.113.0/24", "192.0.2.7", "2001:db8::/32"))


@pytest.fixture
def site(node: MakeNode, nursery: trio.Nursery) -> MakeSite:
    async def make(name: str) -> Site:
        made = Site(await node(name))
        await nursery.start(made.node.run_also, made.shared.run)
        return made

    return make


async def test_what_one_node_says_holds_at_all(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    a.say(A, note="rude")
    b.say(C)
    await until(lambda: a.bans == b.bans and a.held() == {A, C})
    b.say(A, lifted=True)
    await until(lambda: a.held() == {C})
    c = await site("c")
    await until(lambda: c.bans == a.bans)


async def test_many_more_than_a_batch_are_shared(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    for number in range(3 * shared.BATCH + 7):
        a.say(ip_network(number))
    await until(lambda: a.bans == b.bans)


@pytest.mark.parametrize("lost", [False, True])
async def test_what_is_said_while_the_store_is_away_holds_at_all_when_it_is_back(
    site: MakeSite, redis: RedisServer, lost: bool
) -> None:
    a, b = await site("a"), await site("b")
    a.say(A)
    await until(lambda: b.held() == {A})
    if lost:
        redis.ask("FLUSHALL")
    redis.stop()
    await until(lambda: not a.node.cluster.health.up)
    b.say(A, lifted=True)
    a.say(B)
    redis.start()
    await until(lambda: a.held() == b.held() == {B})
    # Whoever is left tells a newcomer, also what others have said.
    await a.node.stop()
    redis.ask("FLUSHALL")
    c = await site("c")
    await until(lambda: c.held() == {B})


async def test_what_is_lost_or_doubled_changes_nothing(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    for each in (a, b):
        each.shared._map._store = Unsteady(each.shared._map._store)
    for number in range(20):
        a.say(ip_network(number))
        b.say(ip_network(number), lifted=number % 2 == 0)
        await trio.lowlevel.checkpoint()
    await until(lambda: a.bans == b.bans and len(list(a.bans)) == 20)


async def test_what_is_over_for_a_day_leaves_the_store_and_isnt_told_again(
    site: MakeSite, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await site("a")
    begun: list[bool] = []
    monkeypatch.setattr(a.shared._map, "begin_anew", lambda: begun.append(True))
    a.say(A, at=1.0, until=time.time() - KEPT_FOR - 5)
    a.say(B)
    a.say(C, at=2.0, until=time.time() - KEPT_FOR + 2)
    await until(lambda: set(redis.ask("HKEYS", "seeder:banned").split()) == {str(B), str(C)})
    await until(lambda: redis.ask("HKEYS", "seeder:banned") == str(B))
    a.say(A)
    await until(lambda: str(A) in redis.ask("HKEYS", "seeder:banned"))
    assert not begun


async def test_what_is_none_is_left_out_and_the_rest_is_heard(
    site: MakeSite, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = {"x": "1", "y": "1 0 [5]", "z": "x y z", "w": "1 0 nonsense"}
    for number, (name, value) in enumerate(bad.items()):
        redis.ask("HSET", "seeder:banned", name, value)
        redis.ask("ZADD", "seeder:banned:changes", str(number + 1), name)
    a, b = await site("a"), await site("b")
    a.say(A)
    await until(lambda: b.held() == {A})
    assert a.node.cluster.health.up
    lines = [each for each in caplog.messages if each.startswith("bans: the store of the")]
    assert 0 < len(lines) <= 2
