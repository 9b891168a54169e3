"""The swarms of all nodes are one: whoever announces anywhere is known everywhere, once."""

import signal
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import trio

from seeder.cluster import link, members
from seeder.cluster.store import StreamEntry
from seeder.errors import StoreAway
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent
from tests.cluster.support import POLICY, MakeTracker, Tracker, until
from tests.support.passkeys import Keys
from tests.support.redis import RedisServer
from tests.tracker.announcing import Ledger

ONE, OTHER = InfoHash(b"1" * 20), InfoHash(b"2" * 20)
STARTED, COMPLETED = AnnounceEvent.STARTED, AnnounceEvent.COMPLETED
STOPPED, PAUSED = AnnounceEvent.STOPPED, AnnounceEvent.PAUSED


async def pair(tracker: MakeTracker) -> tuple[Tracker, Tracker]:
    """Return two nodes that know each other and have a torrent open."""
    a, b = await tracker("a"), await tracker("b")
    for each in (a, b):
        each.open(ONE)
    await until(lambda: a.node.names == b.node.names == ("a", "b"))
    await until(lambda: a.exchange.statistics.reloads > 0 < b.exchange.statistics.reloads)
    return a, b


async def test_who_announces_at_one_node_is_handed_out_by_the_other(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    a.announce(ONE, 1, STARTED)
    await until(lambda: b.clients(ONE) == {1})
    reply = b.announce(ONE, 2, STARTED)
    assert bytes((10, 0, 0, 1, *(7000).to_bytes(2, "big"))) in list(reply.endpoints())
    await until(lambda: a.clients(ONE) == {1, 2})
    assert (a.swarms.counts(ONE).complete, a.swarms.counts(ONE).incomplete) == (1, 2)
    a.announce(ONE, 1, COMPLETED, left=0, downloaded=1000)
    await until(lambda: b.swarms.counts(ONE).complete == 2)
    b.announce(ONE, 2, PAUSED)
    await until(lambda: not a.announce(ONE, 3, left=0).peers.count(bytes((10, 0, 0, 2))))
    b.announce(ONE, 2, STOPPED)
    await until(lambda: 2 not in a.clients(ONE))


async def test_a_completion_counts_once_wherever_it_is_told(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    for client in range(1, 9):
        for each in (a, b):
            each.announce(ONE, client, STARTED)
    await until(lambda: min(each.exchange.statistics.heard for each in (a, b)) >= 8)
    for client in range(1, 9):
        first, second = (a, b) if client % 2 else (b, a)
        first.announce(ONE, client, COMPLETED, left=0, downloaded=1000)
        if client % 4 < 2:
            second.announce(ONE, client, COMPLETED, left=0, downloaded=1000)

    def count() -> tuple[int, int]:
        counts = (a.counts[ONE], b.counts[ONE])
        return sum(c.completions for c in counts), sum(c.delivered for c in counts)

    await until(lambda: count() == (8, 8000), "all was counted")
    await until(lambda: a.swarms.counts(ONE).downloaded == b.swarms.counts(ONE).downloaded == 8)
    await trio.sleep(0.3)
    assert count() == (8, 8000)
    assert a.counts[ONE].completions > 0 < b.counts[ONE].completions


async def test_a_client_that_goes_from_node_to_node_claims_each_byte_once(
    tracker: MakeTracker,
) -> None:
    a, b = await pair(tracker)
    a.announce(ONE, 1, STARTED)
    await until(lambda: b.clients(ONE) == {1})
    for step in range(1, 11):
        event = AnnounceEvent.NONE if step < 10 else COMPLETED
        node = a if step % 2 else b
        node.announce(ONE, 1, event, left=1000 - 100 * step, downloaded=100 * step)
    await until(lambda: b.counts[ONE].completions + a.counts[ONE].completions == 1)
    assert a.counts[ONE].delivered + b.counts[ONE].delivered == 1000


async def test_what_holders_claim_at_several_nodes_counts_once_by_name(
    tracker: MakeTracker,
) -> None:
    a, b = await pair(tracker)
    sums: Counter[str] = Counter()

    class Names:
        def announced(
            self, holder: str, *, uploaded: int, downloaded: int, completed: bool
        ) -> None:
            sums.update({f"{holder} up": uploaded, f"{holder} down": downloaded, holder: completed})

    keys = Keys(Names(), now=time.time())
    for each in (a, b):
        each.swarms.holders = keys.holders
        each.swarms.open(OTHER, size=1000, claims=Ledger(), private=True)
    await until(lambda: not (a.exchange._journal.opened or b.exchange._journal.opened))
    passkeys = [keys.make(f"n{client}", OTHER, issued=int(keys.now)) for client in range(8)]

    def claim(client: int, node: Tracker, event: AnnounceEvent, done: int) -> None:
        node.announce(
            OTHER,
            client,
            event,
            left=1000 - done,
            downloaded=done,
            uploaded=3 * done,
            passkey=passkeys[client],
        )

    for client in range(8):
        claim(client, (a, b)[client % 2], STARTED, 0)
    await until(lambda: len(a.clients(OTHER)) == len(b.clients(OTHER)) == 8)
    for client in range(8):
        # The second one may hear of the first one's words before, after, or in between.
        for step, done in enumerate((100, 300, 600)):
            claim(client, (a, b)[(client + step) % 2], AnnounceEvent.NONE, done)
        await trio.sleep(0.01 * (client % 3))
        claim(client, b, COMPLETED, 1000)
        claim(client, a, COMPLETED, 1000)
        claim(client, b, STOPPED, 1000)
    await until(lambda: sum(sums[f"n{client}"] for client in range(8)) == 8)
    await until(lambda: a.exchange.untold == b.exchange.untold == 0)
    await trio.sleep(0.3)
    for client in range(8):
        name = f"n{client}"
        assert (sums[name], sums[f"{name} down"], sums[f"{name} up"]) == (1, 1000, 3000)


async def test_a_node_that_starts_finds_all_and_counts_nothing_again(
    tracker: MakeTracker, redis: RedisServer
) -> None:
    a, b = await pair(tracker)
    for client in range(1, 6):
        a.announce(ONE, client, STARTED)
        a.announce(ONE, client, COMPLETED, left=0, downloaded=1000)
    a.announce(ONE, 6, STARTED)
    a.announce(ONE, 6, STOPPED)
    await until(lambda: b.clients(ONE) == set(range(1, 6)))
    await until(lambda: a.swarms.counts(ONE).downloaded == 5)
    c = await tracker("c")
    c.open(ONE)
    await until(lambda: c.clients(ONE) == set(range(1, 6)))
    await until(lambda: c.swarms.counts(ONE).downloaded == 5)
    assert c.counts[ONE].completions == 0
    for client in range(1, 6):
        c.announce(ONE, client, COMPLETED, left=0, downloaded=1000)
    await trio.sleep(0.3)
    assert sum(each.counts[ONE].completions for each in (a, b, c)) == 5


async def test_a_torrent_that_is_opened_later_finds_its_peers(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    a.open(OTHER)
    a.announce(OTHER, 1, STARTED)
    a.announce(ONE, 2, STARTED)
    await until(lambda: b.clients(ONE) == {2})
    b.open(OTHER)
    await until(lambda: b.clients(OTHER) == {1})


async def test_redis_away_costs_nothing_and_all_is_told_afterwards(
    tracker: MakeTracker, redis: RedisServer
) -> None:
    a, b = await pair(tracker)
    a.announce(ONE, 1, STARTED)
    await until(lambda: b.clients(ONE) == {1})
    redis.stop()
    a.announce(ONE, 2, STARTED)
    b.announce(ONE, 3, STARTED)
    b.announce(ONE, 1, STOPPED)
    b.announce(ONE, 3, COMPLETED, left=0, downloaded=1000)
    await until(lambda: not (a.node.cluster.health.up or b.node.cluster.health.up))
    assert (a.clients(ONE), b.clients(ONE)) == ({1, 2}, {3})
    redis.start()
    await until(lambda: a.clients(ONE) == b.clients(ONE) == {2, 3})
    await until(lambda: a.swarms.counts(ONE).downloaded == b.swarms.counts(ONE).downloaded == 1)


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_a_stop_while_redis_is_away_ends_soon_and_in_good_order(
    tracker: MakeTracker, redis: RedisServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "FAREWELL", 0.2)
    a, _ = await pair(tracker)
    if how == "gone":
        redis.stop()
    else:
        redis.child.signal(signal.SIGSTOP)
    a.announce(ONE, 1, STARTED)
    began = trio.current_time()
    await a.node.stop()
    assert trio.current_time() - began < link.PATIENCE
    assert a.clients(ONE) == {1}
    redis.child.signal(signal.SIGCONT)


@pytest.mark.parametrize("how", ["flushed", "restarted"])
async def test_a_redis_that_lost_all_is_filled_from_the_nodes(
    tracker: MakeTracker, redis: RedisServer, how: str
) -> None:
    a, b = await pair(tracker)
    a.announce(ONE, 1, STARTED)
    b.announce(ONE, 2, COMPLETED, left=0, downloaded=1000)
    await until(lambda: a.clients(ONE) == b.clients(ONE) == {1, 2})
    if how == "flushed":
        redis.ask("FLUSHALL")
    else:
        redis.stop()
        redis.start()
    await until(lambda: "seeder:peers:" in redis.ask("KEYS", "*"))
    await until(lambda: a.exchange.untold == b.exchange.untold == 0)
    b.announce(ONE, 3, STARTED)
    await until(lambda: a.clients(ONE) == {1, 2, 3})
    c = await tracker("c")
    c.open(ONE)
    await until(lambda: c.clients(ONE) == {1, 2, 3})


async def test_who_misses_a_part_of_the_stream_reads_all(
    tracker: MakeTracker, redis: RedisServer
) -> None:
    a, b = await pair(tracker)
    before = b.exchange.statistics.reloads
    whole = b.exchange._store

    class Deaf:
        async def read(self, *_: object, **__: object) -> list[StreamEntry]:
            raise StoreAway("can't be heard")

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

    b.exchange._store = Deaf()
    await until(lambda: not b.node.cluster.health.up)
    a.announce(ONE, 1, STARTED)
    await until(lambda: a.exchange.untold == 0)
    redis.ask("XTRIM", "seeder:news", "MAXLEN", "0")
    a.announce(ONE, 2, STARTED)
    await until(lambda: a.exchange.untold == 0)
    b.exchange._store = whole
    await until(lambda: b.clients(ONE) == {1, 2})
    await until(lambda: b.exchange.statistics.reloads > before)
    await until(lambda: b.node.cluster.health.up)


async def test_caps_hold_for_what_other_nodes_tell(tracker: MakeTracker) -> None:
    a = await tracker("a")
    small = await tracker("small", replace(POLICY, peers=20, peers_per_swarm=15,
                                           peers_per_address=3))  # fmt: skip
    for each in (a, small):
        each.open(ONE)
        each.open(OTHER)
    for port in range(7000, 7020):
        a.announce(ONE, 1, STARTED, port=port)
    for client in range(1, 60):
        a.announce(OTHER, client * 1000, STARTED)
        a.announce(ONE, client * 1000, STARTED)
    await until(lambda: small.exchange.statistics.heard >= 138)
    statistics = [small.swarms.statistics(each).peers for each in (ONE, OTHER)]
    assert sum(statistics) <= 20
    assert max(statistics) <= 15
    assert len([x for x in small.clients(ONE) if x == 1]) <= 3
    assert a.swarms.statistics(OTHER).peers == 59


async def test_who_isnt_let_in_here_isnt_listed_here(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    b.exchange.admits = lambda address: address != bytes((10, 0, 0, 1))
    for client in (1, 2):
        a.announce(ONE, client, STARTED)
    await until(lambda: 2 in b.clients(ONE))
    assert b.clients(ONE) == {2}


async def test_visits_at_one_seeder_are_known_at_all_trackers(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    for client in range(1, 30):
        b.announce(ONE, client, STARTED)
    swarm = b.swarms._kept_swarm(ONE)
    assert swarm is not None
    a.swarms.visited(ONE, bytes((10, 0, 0, 7)), 1, trio.current_time())
    await until(lambda: swarm._list().neighbours._known == 1)


async def test_what_isnt_a_peer_is_left_out(tracker: MakeTracker, redis: RedisServer) -> None:
    a, _ = await pair(tracker)
    for field in ("p", "v", "c"):
        redis.ask("XADD", "seeder:news", "*", "n", "x", field, "nonsense")
    now = a.node.cluster.clock.now()
    key = a.exchange._keys.peers(now // 900_000_000, 0).decode()
    redis.ask("HSET", key, "short", "value")
    before = a.exchange.statistics.damaged
    a.exchange._wants_all = True
    await until(lambda: a.exchange.statistics.damaged > before)
    a.announce(ONE, 1, STARTED)
    await until(lambda: a.node.cluster.health.up)


async def test_no_bad_record_keeps_the_rest_from_being_read(
    tracker: MakeTracker, redis: RedisServer
) -> None:
    a, _ = await pair(tracker)
    a.announce(ONE, 1, COMPLETED, left=0, downloaded=1000)
    await until(lambda: a.exchange.untold == 0)
    redis.ask("ZADD", "seeder:counters", "1", "\udcff", "1", "nobody")
    counted = {"x": "9" * 5000, "y": "-1", "z": "nan", "u": str(2**40)}
    for number, (node, count) in enumerate(counted.items()):
        name = chr(ord("A") + number) * 20
        redis.ask("ZADD", "seeder:counters", "1", node)
        redis.ask("HSET", f"seeder:completed:{node}", "1" * 20, count, name, count)
    redis.ask("XADD", "seeder:news", "*", "n", "u", "c", "\x14\x0d" + "1" * 20 + str(2**40))
    c = await tracker("c")
    c.open(ONE)
    await until(lambda: c.clients(ONE) == {1})
    await until(lambda: c.swarms.counts(ONE).downloaded == 1)
    assert c.node.cluster.health.up


async def test_every_key_of_the_swarms_expires(tracker: MakeTracker, redis: RedisServer) -> None:
    a, b = await pair(tracker)
    a.announce(ONE, 1, STARTED)
    await until(lambda: b.clients(ONE) == {1})
    names = redis.ask("KEYS", "*").split()
    assert len(names) >= 6
    assert {
        name: redis.ask("TTL", name) for name in names if int(redis.ask("TTL", name)) <= 0
    } == {}


async def test_each_session_is_counted_by_one_member(tracker: MakeTracker) -> None:
    a, b = await pair(tracker)
    names = [b"session %d" % number for number in range(200)]
    for name in names:
        assert a.exchange.counts(name) is not b.exchange.counts(name)
    assert 50 < sum(map(a.exchange.counts, names)) < 150
