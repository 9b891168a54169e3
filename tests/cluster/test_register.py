"""The registers of passkeys of all nodes are one, whatever becomes of the store meanwhile."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from seeder.cluster import mapping as shared
from seeder.cluster.register import SharedRegister
from seeder.tracker.register import Register
from tests.cluster.support import MakeNode, RunningNode, Unsteady, until
from tests.support.handbook import page
from tests.support.redis import RedisServer

NOW, DAY = 1_800_000_000, 86_400
SECRETS = [letter * 32 for letter in "abc"]


class Site:
    """A node's register, as its state directory has it, and the part that shares it."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.shared: SharedRegister = node.cluster.share_register()
        self.shared.listeners.append(self.hear)
        self.register = Register()

    def hear(self) -> None:
        news = self.shared.take_news()
        if news is not None:
            self.register.join(news)
            self.offer()

    def offer(self) -> None:
        self.shared.offer(self.register)
        self.shared.hurry()

    def issue(self, holder: str, *, now: int = NOW, name: str = "b/k") -> None:
        self.register.issue(holder, name, now, DAY, by_operator=True)
        self.offer()

    def revoke(self, holder: str) -> None:
        self.register.revoke(holder, NOW)
        self.offer()

    def is_shut_out(self, holder: str) -> bool:
        return self.register.is_shut_out(holder)


MakeSite = Callable[[str], Awaitable[Site]]


@pytest.fixture
def site(node: MakeNode, nursery: trio.Nursery) -> MakeSite:
    async def make(name: str) -> Site:
        made = Site(await node(name))
        await nursery.start(made.node.run_also, made.shared.run)
        return made

    return make


async def test_what_one_node_makes_and_revokes_all_know(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    a.issue("alice")
    b.issue("bob")
    await until(lambda: a.register == b.register and set(a.register.made) == {"alice", "bob"})
    b.revoke("alice")
    await until(lambda: a.is_shut_out("alice"))
    a.issue("alice")
    await until(lambda: not b.is_shut_out("alice"))
    c = await site("c")
    await until(lambda: c.register == a.register == b.register)


async def test_many_more_than_a_batch_are_shared(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    for number in range(3 * shared.BATCH + 7):
        a.register.issue("alice", f"b/{number}", NOW + number, DAY, by_operator=False)
    a.offer()
    await until(lambda: a.register == b.register)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_revocation_while_the_store_is_away_holds_at_all_when_it_is_back(
    site: MakeSite, redis: RedisServer, lost: bool
) -> None:
    a, b = await site("a"), await site("b")
    a.issue("alice")
    await until(lambda: a.register == b.register)
    if lost:
        redis.ask("FLUSHALL")
    redis.stop()
    await until(lambda: not a.node.cluster.health.up)
    a.revoke("alice")
    b.issue("bob")
    redis.start()
    await until(lambda: b.is_shut_out("alice") and a.register == b.register)
    c = await site("c")
    await until(lambda: c.register == a.register)


async def test_a_store_that_was_set_back_is_told_again(site: MakeSite, redis: RedisServer) -> None:
    a, b = await site("a"), await site("b")
    a.issue("alice")
    await until(lambda: a.register == b.register)
    # As after a start with a snapshot of a minute ago, too soon to be seen as away.
    a.revoke("alice")
    await until(lambda: b.is_shut_out("alice"))
    keys = ["seeder:passkeys", "seeder:passkeys:changes"]
    for key in keys:
        redis.ask("HDEL" if key == keys[0] else "ZREM", key, "ralice")
    redis.ask("ZADD", keys[1], "1", "")
    c = await site("c")
    await until(lambda: c.is_shut_out("alice"))


async def test_what_is_lost_or_doubled_changes_nothing(site: MakeSite) -> None:
    a, b = await site("a"), await site("b")
    for each in (a, b):
        each.shared._entries._store = Unsteady(each.shared._entries._store)
    for number in range(20):
        a.issue(f"n{number}")
        b.revoke(f"n{number - 1}")
        await trio.sleep(0.01)
    await until(lambda: a.register == b.register and len(a.register.revoked) == 20)


async def test_what_is_none_is_left_out_and_the_rest_is_heard(
    site: MakeSite, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    a = await site("a")
    bad = {
        "x": "1 1",
        "ralice": "nan inf",
        "rbob": "1",
        "m": "1 2",
        "mbob": "5 99999999999",
        "wbob": "-1 0",
        "r\n": "1 1",
        "mbob\0" + "k" * 3000: "1 2",
        "rcarol": "9" * 5000 + " 1",
    }
    for number, (name, value) in enumerate(bad.items()):
        if "\0" not in name:
            redis.ask("HSET", "seeder:passkeys", name, value)
            redis.ask("ZADD", "seeder:passkeys:changes", str(number + 1), name)
    redis.ask("HSET", "seeder:passkeys", "rdora", "7 7")
    redis.ask("ZADD", "seeder:passkeys:changes", "99", "rdora")
    b = await site("b")
    a.revoke("alice")
    await until(lambda: set(b.register.revoked) == {"alice", "dora"})
    assert a.node.cluster.health.up
    lines = [each for each in caplog.messages if each.startswith("passkeys: the store of the")]
    assert 0 < len(lines) <= 2


async def test_a_stop_tells_what_is_left_and_needs_no_store(
    site: MakeSite, redis: RedisServer
) -> None:
    a, b = await site("a"), await site("b")
    a.shared._entries._hurried = trio.Event()
    a.register.revoke("alice", NOW)
    a.shared.offer(a.register)
    await a.node.stop()
    await until(lambda: b.is_shut_out("alice"))
    redis.stop()
    b.revoke("bob")
    await b.node.stop()


async def test_what_is_over_for_long_goes_and_every_key_expires(
    site: MakeSite, redis: RedisServer
) -> None:
    a = await site("a")
    a.shared.offer_secrets((SECRETS[0],))
    a.register.issue("alice", "b/k", 5, DAY, by_operator=False)
    a.register.revoke("bob", NOW)
    a.offer()
    await until(lambda: redis.ask("HGET", "seeder:passkeys", "rbob") != "")
    await until(lambda: redis.ask("HKEYS", "seeder:passkeys") == "rbob")
    a.issue("carol", now=NOW + 10 * DAY)
    await until(lambda: redis.ask("HLEN", "seeder:passkeys") == "3")
    names = [x for x in redis.ask("KEYS", "*").split() if "passkeys" in x or "signers" in x]
    assert len(names) == 5
    assert all(int(redis.ask("TTL", name)) > 0 for name in names)


async def test_all_nodes_have_the_secrets_of_all_in_one_order(
    site: MakeSite, redis: RedisServer
) -> None:
    a, b = await site("a"), await site("b")
    a.shared.offer_secrets((SECRETS[1],))
    await until(lambda: b.shared.secrets == (SECRETS[1],))
    b.shared.offer_secrets((SECRETS[0],))
    await until(lambda: a.shared.secrets == b.shared.secrets == (SECRETS[1], SECRETS[0]))
    redis.ask("HSET", "seeder:signers", "short", "0")
    redis.ask("ZADD", "seeder:signers:changes", "2000000000000000", "short")
    a.shared.offer_secrets((SECRETS[1], SECRETS[2]))
    await until(lambda: set(b.shared.secrets) == set(SECRETS))
    redis.ask("FLUSHALL")
    await until(lambda: set(a.shared.secrets) == set(SECRETS) == set(b.shared.secrets))


async def test_the_documented_user_may_do_all_of_it(site: MakeSite, redis: RedisServer) -> None:
    line = next(x for x in page("cluster").splitlines() if x.startswith("ACL SETUSER seeder "))
    commands = [word for word in line.split() if word[0] in "+-"]
    redis.ask("ACL", "SETUSER", "default", "resetkeys", "~seeder:*", *commands, "+acl")
    a, b = await site("a"), await site("b")
    a.shared.offer_secrets((SECRETS[0],))
    a.register.issue("alice", "b/k", 5, DAY, by_operator=False)
    a.issue("bob")
    await until(lambda: "bob" in b.register.made and b.shared.secrets == (SECRETS[0],))
    assert a.node.cluster.health.up
