"""A budget is spent together: nobody waits for the store, and all keep to the limit."""

import random
import time

import pytest
import trio

from seeder.cluster import budgets
from seeder.errors import BudgetSpent
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import Tally
from seeder.ledger.limits import Level, Limit, Period, Resource
from seeder.ledger.savings import Prices
from seeder.units import MIB
from tests.cluster.support import MakeNode, RunningNode, until
from tests.support.redis import RedisServer

SIZE = MIB


class Spender:
    """A node that reads from S3 as fast as its budget allows."""

    def __init__(self, node: RunningNode, limits: list[Limit], spent: int = 0) -> None:
        self.node = node
        self.tally = Tally()
        self.tally.counters.origin_bytes_pieces = spent
        before = Spent(self.tally.counters.copy(), self.tally.counters.copy())
        self.budget = Budget(
            limits,
            Prices(0.09, 0.0004),
            totals=self.tally.counters,
            spent=before,
            now=time.time(),
        )
        self.lease = node.cluster.spend(self.budget)

    @property
    def read(self) -> int:
        return self.tally.counters.origin_bytes_pieces

    def try_read(self) -> bool:
        """Read a piece, if that is allowed now; nothing is waited for."""
        try:
            with self.budget.admit(self.tally, SIZE) as reading:
                reading.origin_request("pieces")
                reading.origin_received("pieces", SIZE)
        except BudgetSpent:
            return False
        return True

    def update(self) -> Level:
        return self.budget.update(self.tally.counters, time.time())


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "LEASE_EVERY", 0.05)
    monkeypatch.setattr(budgets, "LEAST_BYTES", 2 * MIB)


def per_day(amount: int) -> list[Limit]:
    return [Limit(Resource.ORIGIN_BYTES, Period.DAY, amount * MIB)]


async def spend_all(spenders: list[Spender], seconds: float) -> None:
    """Have all read as fast as they may, until none may for a while and many attempts."""
    quiet, idle, rng = trio.current_time(), 0, random.Random(1)
    while trio.current_time() - quiet < seconds or idle < 50:
        idle += 1
        for each in spenders:
            for _ in range(rng.randrange(20)):
                if each.try_read():
                    quiet, idle = trio.current_time(), 0
            each.update()
        await trio.sleep(0.001)


async def test_nodes_spend_all_of_a_budget_and_no_more(
    node: MakeNode, nursery: trio.Nursery
) -> None:
    spenders = [Spender(await node(name), per_day(1000)) for name in "abc"]
    for each in spenders:
        await nursery.start(each.lease.run)
    await spend_all(spenders, 1.0)
    total = sum(each.read for each in spenders)
    assert 990 * MIB <= total <= 1000 * MIB + len(spenders) * SIZE
    await until(lambda: all(each.update() is Level.CACHE_ONLY for each in spenders))
    (left,) = spenders[0].budget.left()
    assert left.spent == total


async def test_one_node_may_spend_nearly_all_of_it(node: MakeNode, nursery: trio.Nursery) -> None:
    busy, idle = [Spender(await node(name), per_day(500)) for name in "ab"]
    for each in (busy, idle):
        await nursery.start(each.lease.run)
    await spend_all([busy], 1.0)
    assert busy.read >= 490 * MIB
    assert busy.read + idle.read <= 501 * MIB


async def test_while_the_store_is_away_all_together_keep_to_the_limit(
    node: MakeNode, nursery: trio.Nursery, redis: RedisServer
) -> None:
    spenders = [Spender(await node(name), per_day(1000)) for name in "abc"]
    for each in spenders:
        await nursery.start(each.lease.run)
    for each in spenders:
        assert all(each.try_read() for _ in range(50))
        each.update()
    await until(lambda: all(each.budget.left()[0].spent == 150 * MIB for each in spenders))
    redis.stop()
    await until(lambda: not any(each.node.cluster.health.up for each in spenders))
    await spend_all(spenders, 0.5)
    total = sum(each.read for each in spenders)
    assert 800 * MIB <= total <= 1000 * MIB + len(spenders) * SIZE
    # A store that has lost all hears it again.
    redis.start()
    await until(lambda: all(each.node.cluster.health.up for each in spenders))
    await until(lambda: not any(each.node.cluster.membership.is_patient for each in spenders))
    await spend_all(spenders, 0.5)
    assert 990 * MIB <= sum(each.read for each in spenders) <= 1000 * MIB + len(spenders) * SIZE


async def test_a_node_that_never_met_the_store_spends_its_part(
    node: MakeNode, nursery: trio.Nursery, redis: RedisServer
) -> None:
    redis.stop()
    alone = Spender(await node("a", replicas=4), per_day(400))
    await nursery.start(alone.lease.run)
    await spend_all([alone], 0.3)
    assert 100 * MIB <= alone.read <= 101 * MIB


async def test_what_was_spent_before_counts_and_levels_go_by_all(
    node: MakeNode, nursery: trio.Nursery
) -> None:
    a = Spender(await node("a"), per_day(1000), spent=850 * MIB)
    b = Spender(await node("b"), per_day(1000))
    for each in (a, b):
        await nursery.start(each.lease.run)
    await until(lambda: b.update() is Level.FEWER_SLOTS)
    await spend_all([b], 0.5)
    assert 140 * MIB <= b.read <= 151 * MIB


async def test_a_node_that_died_holds_nothing_for_ever(
    node: MakeNode, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "LEASE_HOLDS", 1)
    dead, alive = [Spender(await node(name), per_day(1000)) for name in "ab"]
    await dead.lease._try_lease()  # once, and never again
    await nursery.start(alive.lease.run)
    await spend_all([alive], 2.5)
    assert alive.read >= 990 * MIB


async def test_money_and_requests_are_leased_too(node: MakeNode, nursery: trio.Nursery) -> None:
    limits = [
        Limit(Resource.ORIGIN_REQUESTS, Period.DAY, 300),
        Limit(Resource.ORIGIN_MONEY, Period.MONTH, 1.0),
    ]
    spenders = [Spender(await node(name), limits) for name in "ab"]
    for each in spenders:
        await nursery.start(each.lease.run)
    await spend_all(spenders, 0.7)
    assert 295 <= sum(each.tally.counters.origin_requests for each in spenders) <= 302


async def test_nonsense_under_a_budget_changes_nothing(
    node: MakeNode, nursery: trio.Nursery, redis: RedisServer
) -> None:
    one = Spender(await node("a"), per_day(100))
    await nursery.start(one.lease.run)
    assert one.try_read()
    (key,) = [name for name in redis.ask("KEYS", "*").split() if ":budget:" in name]
    for number, said in enumerate(
        ("nan nan nan", "1 nan 5", "1 inf 5", "1 -1e18 5", "x 5 5", "1 1e999 1", "", "1 2")
    ):
        redis.ask("HSET", key, f"bad{number}", said)
    await until(lambda: redis.ask("HLEN", key) == "1")
    assert one.lease._health.up
    await spend_all([one], 0.5)
    (left,) = one.budget.left()
    assert 90 * MIB <= left.spent == one.read <= 100 * MIB + SIZE
