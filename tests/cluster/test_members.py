"""Who is a member: who comes, goes, falls silent, and who has whose name."""

import json
import logging

import pytest

from seeder.cluster.members import FORMAT, LARGEST
from tests.cluster.support import MakeNode, until
from tests.support.redis import RedisServer


async def test_nodes_find_each_other_and_what_they_tell(node: MakeNode) -> None:
    one = await node("one")
    two = await node("two")
    two.cluster.membership.reached_at(peer=["10.0.0.2:6881"], http=["10.0.0.2:6969"])
    two.cluster.membership.tell("load", {"peers": 3})
    await until(lambda: one.names == ("one", "two"))
    told = {"load": {"peers": 3}}
    await until(lambda: [each.told for each in one.cluster.membership.members] == [{}, told])
    other = one.cluster.membership.members[1]
    assert (other.peer, other.http, other.admin) == (("10.0.0.2:6881",), ("10.0.0.2:6969",), ())
    assert two.names == ("one", "two")
    two.cluster.membership.tell("load", None)
    await until(lambda: one.cluster.membership.members[1].told == {})


async def test_who_stops_is_no_member_from_then_on(node: MakeNode) -> None:
    one, two = await node("one"), await node("two")
    await until(lambda: one.names == ("one", "two"))
    changes: list[tuple[str, ...]] = []
    one.cluster.membership.listeners.append(lambda: changes.append(one.names))
    await two.stop()
    await until(lambda: changes == [("one",)])
    assert one.names == ("one",)
    assert two.cluster.health.up


async def test_who_falls_silent_is_no_member_after_a_while(
    node: MakeNode, redis: RedisServer
) -> None:
    one = await node("one")
    seconds, micro = redis.ask("TIME").split()
    for name, age in (("old", 9), ("young", 1)):
        said = f"{int(seconds) * 1000 + int(micro) // 1000 - 1000 * age} token run {{}}"
        redis.ask("HSET", "seeder:nodes", name, said)
    redis.ask("HSET", "seeder:nodes", "odd", "nonsense")
    await until(lambda: "young" in one.names)
    assert one.names == ("one", "young")
    await until(lambda: one.names == ("one",))
    assert redis.ask("HKEYS", "seeder:nodes") == "one"


async def test_two_nodes_by_one_name_are_noticed(
    node: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    one = await node("one")
    one.cluster.membership.reached_at(peer=[], http=["10.0.0.1:6969"])
    twin = await node("one", state="elsewhere")
    problem = (
        'another node at 10.0.0.1:6969 calls itself "one": give each a cluster.name of its own'
    )
    await until(lambda: twin.cluster.fault == problem)
    assert one.cluster.fault is None
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR].count(
        f"this node takes no part in the cluster: {problem}"
    ) == 1
    await one.stop()
    await until(lambda: twin.cluster.fault is None)
    assert twin.names == ("one",)


async def test_who_starts_anew_takes_over_its_own_name_at_once(node: MakeNode) -> None:
    first = await node("one")
    # As a kill -9 does: nothing is said.
    first.cluster.membership._holds = False
    await first.stop()
    second = await node("one")
    assert second.cluster.fault is None
    assert second.names == ("one",)


async def test_a_node_that_was_copied_with_its_state_is_noticed(node: MakeNode) -> None:
    first = await node("one", state="same")
    second = await node("one", state="same")
    await until(lambda: first.cluster.fault is not None)
    assert second.cluster.fault is None


async def test_a_node_tells_no_more_than_it_may(node: MakeNode) -> None:
    one = await node("one")
    with pytest.raises(ValueError, match="more than 4096 bytes"):
        one.cluster.membership.tell("long", "x" * LARGEST)
    one.cluster.membership.tell("short", "x")
    assert [each.told for each in one.cluster.membership.members] == [{"short": "x"}]


async def test_clusters_of_other_prefixes_share_a_redis(node: MakeNode, redis: RedisServer) -> None:
    one, other = await node("one"), await node("two", prefix="other")
    await until(lambda: one.cluster.health.up and other.cluster.health.up)
    assert one.names == ("one",)
    assert other.names == ("two",)
    names = redis.ask("KEYS", "*").split()
    assert {name.partition(":")[0] for name in names} == {"seeder", "other"}


async def test_all_keys_expire_by_themselves(node: MakeNode, redis: RedisServer) -> None:
    await node("one")
    names = redis.ask("KEYS", "*").split()
    assert names
    assert all(int(redis.ask("TTL", name)) > 0 for name in names)


async def test_what_others_say_of_themselves_is_taken_as_far_as_it_is_right(
    node: MakeNode, redis: RedisServer
) -> None:
    one = await node("one")
    seconds, _ = redis.ask("TIME").split()
    for name, text in (
        ("list", "[1]"),
        ("torn", '{"peer": ["10.'),
        ("types", json.dumps({"peer": "x", "http": [1, "h:1"], "told": 3})),
        ("deep", "[" * 100_000),
        ("nan", '{"http": ["h:1"], "told": {"summary": {"peers": NaN}}}'),
        ("inf", '{"http": ["h:1"], "told": {"summary": {"peers": 1e999}}}'),
    ):
        redis.ask("HSET", "seeder:nodes", name, f"{int(seconds) * 1000} token run {text}")
    await until(lambda: len(one.names) == 7)
    found = {each.name: each for each in one.cluster.membership.members}
    assert found["types"].http == ("h:1",)
    assert found["types"].peer == ()
    assert found["types"].told == {}
    for name in ("nan", "inf"):
        assert (found[name].http, found[name].told) == ((), {})


async def test_of_a_node_of_another_version_it_is_said_once(
    node: MakeNode, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "seeder.cluster.members")
    one = await node("one")

    def say(name: str, **more: object) -> None:
        # So far ahead that nobody falls silent while this runs.
        seconds = int(redis.ask("TIME").split()[0]) + 60
        said = json.dumps({"peer": [], "told": {}, **more})
        redis.ask("HSET", "seeder:nodes", name, f"{1000 * seconds} t run {said}")

    say("old")
    say("new", format=FORMAT + 1)
    say("odd", format="2")
    say("same", format=FORMAT)
    await until(lambda: len(one.names) == 5)
    say("old", peer=["10.0.0.1:6881"])
    await until(lambda: any(each.peer for each in one.cluster.membership.members))
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sorted(line.partition(":")[0] for line in lines) == [
        f'node "new" is of a newer version of seeder (it tells by format {FORMAT + 1}, this one by'
        f" {FORMAT})",
        f'node "odd" is of an older version of seeder (it tells by format 1, this one by {FORMAT})',
        f'node "old" is of an older version of seeder (it tells by format 1, this one by {FORMAT})',
    ]
    # Brought up to this one's, and down again.
    say("old", format=FORMAT)
    await until(lambda: one.cluster.membership.members[2].format == FORMAT)
    say("old")
    await until(lambda: sum("older version" in r.getMessage() for r in caplog.records) == 3)
