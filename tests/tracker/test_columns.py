"""What peers cost: their memory, when it comes back, and how long others wait for it."""

import gc
import itertools
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import HASH, LOCAL, OWN_PORT, SIZE, Ledger, Tracker, cut, packed

STARTED, NONE, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.NONE, AnnounceEvent.STOPPED
ROOT = Path(__file__).parents[2]
COUNT = 5000
OTHER = InfoHash(b"o" * 20)


def v4(number: int) -> bytes:
    """Return an address in a /24 of its own."""
    return (0x10000007 + 256 * number).to_bytes(4)


def v4_near(number: int) -> bytes:
    """Return an address that four share a /24 with."""
    return (0x10000000 + 256 * (number // 5) + number % 5).to_bytes(4)


def v6(number: int) -> bytes:
    """Return an address in a /48 of its own."""
    return (0x20010000 << 96 | number << 80 | 7).to_bytes(16)


def swarms_of(policy: SwarmPolicy | None = None) -> Swarms:
    policy = policy or SwarmPolicy(peers=20 * COUNT)
    swarms = Swarms(policy, OwnSeeder(OWN_PORT), rng=random.Random(1))
    swarms.open(HASH, size=1 << 30, claims=Ledger())
    return swarms


def announce(
    swarms: Swarms, number: int, address: bytes, event: AnnounceEvent, info_hash: InfoHash = HASH
) -> None:
    request = AnnounceRequest(
        info_hash,
        b"-LT20B0-%012d" % number,
        1024 + number % 60_000,
        number << 14,
        number % 10,
        event,
        50,
        key=number.to_bytes(4),
    )
    swarms.announce(request, address, LOCAL, number / 100)


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Give the bytes that our code has allocated; threads of the tests' runner do so, too."""
    ours = [tracemalloc.Filter(True, f"{ROOT / each}/*") for each in ("seeder", "tests")]

    def size() -> int:
        gc.collect()
        found = tracemalloc.take_snapshot().filter_traces(ours)
        return sum(each.size for each in found.traces)

    tracemalloc.start()
    yield size
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("where", "most", "kept"), [(v4, 250, 20_000), (v6, 250, 20_000), (v4_near, 500, 250_000)]
)
def test_a_peer_takes_few_bytes_and_gives_them_back(
    where: Callable[[int], bytes], most: int, kept: int, traced: Callable[[], int]
) -> None:
    swarms = swarms_of()
    leaving = random.Random(1).sample(range(COUNT), COUNT - 100)
    before = traced()
    for number in range(COUNT):
        announce(swarms, number, where(number), STARTED)
    assert (traced() - before) / COUNT <= most
    assert swarms.statistics(HASH).peers == COUNT
    # All but a hundred go, in another order than they came.
    swarms._past._limit = 0
    for number in leaving:
        announce(swarms, number, where(number), STOPPED)
    assert swarms.statistics(HASH).peers == 100
    assert traced() - before <= 100 * most + kept
    sum(swarms.expire(10**9))
    assert traced() - before <= 10_000


def test_a_torrent_without_peers_takes_little(traced: Callable[[], int]) -> None:
    swarms, ledger = swarms_of(), Ledger()
    before = traced()
    for number in range(1000):
        swarms.open(InfoHash(number.to_bytes(20)), size=1, claims=ledger)
    # It was 2,280 when each had its heads from the beginning.
    assert (traced() - before) / 1000 <= 1000


@pytest.mark.parametrize("stopped", [0, COUNT // 2])
def test_a_large_swarm_is_closed_in_slices(stopped: int) -> None:
    swarms = swarms_of()
    for number in range(COUNT):
        announce(swarms, number, v4(number), STARTED)
    for number in range(stopped):
        announce(swarms, number, v4(number), STOPPED)
    left = [len(swarms._past)]
    assert left == [stopped]
    swarms.close(HASH, "gone")
    assert swarms._room.used == 0
    left.append(len(swarms._past))
    for _ in swarms.expire(0.0):
        left.append(len(swarms._past))
    assert left[-1] == 0
    assert max(before - after for before, after in itertools.pairwise(left)) <= 200
    assert not swarms._leaving


def test_peers_that_fell_silent_are_let_go_in_slices() -> None:
    swarms = swarms_of()
    for number in range(COUNT):
        announce(swarms, number, v4(number), STARTED)
    gone = list(swarms.expire(10**9))
    assert sum(gone) == COUNT
    assert max(gone) <= 500


def test_the_room_of_a_closed_swarm_is_free_at_once() -> None:
    swarms = swarms_of(SwarmPolicy(peers=1000))
    swarms.open(OTHER, size=1, claims=Ledger())
    for number in range(1000):
        announce(swarms, number, v4(number), STARTED)
    swarms.close(HASH, "gone")
    # Nobody has more than one peer of a network, so nobody would make room.
    for number in range(1000):
        announce(swarms, number, v4(number), STARTED, OTHER)
    assert swarms.statistics(OTHER).peers == 1000
    assert swarms._room.used == 1000


def test_a_client_with_many_endpoints_is_one_session_whoever_goes_first() -> None:
    tracker = Tracker()
    rng = random.Random(3)
    places = [(f"198.51.{number}.1", 1000 + number) for number in range(60)]
    places += [(f"2001:db8:{number:x}::1", 1000 + number) for number in range(60)]
    for number, (address, port) in enumerate(places):
        tracker.announce("many", address, port, key=b"k", downloaded=number)
        tracker.announce(f"{number}", address, port + 1, key=b"o")
    claims = tracker.swarms._swarms[HASH].claims
    assert len(claims) == 1 + len(places)
    assert tracker.ledger.delivered == len(places) - 1
    rng.shuffle(places)
    for number, (address, port) in enumerate(places, 1):
        tracker.announce("many", address, port, key=b"k", event=STOPPED)
        assert len(tracker.swarms._past) == (number == len(places))
        assert tracker.swarms.statistics(HASH).peers == 2 * len(places) - number
    left = set()
    for told in tracker.swarms.export(tracker.now):
        left |= {bytes.fromhex(str(peer[0])) for peer in told["peers"]}
    assert left == {compact_endpoint(packed(address), port + 1) for address, port in places}


def test_a_long_key_is_as_good_as_a_short_one() -> None:
    tracker = Tracker()
    long = b"a client may send up to 64 bytes of it"
    tracker.announce("a", "192.0.2.1", 1111, key=long, downloaded=0)
    tracker.announce("a", "198.51.100.1", 1111, key=long, downloaded=SIZE)
    assert len(tracker.swarms._swarms[HASH].claims) == 1
    assert tracker.ledger.delivered == SIZE
    rows = list(tracker.swarms.export(tracker.now))
    fresh = Tracker(opened=False)
    fresh.swarms.restore(rows, fresh.now)
    fresh.open()
    fresh.announce("a", "203.0.113.1", 1111, event=STOPPED, key=long + b"!")
    assert fresh.swarms.statistics(HASH).peers == 2
    fresh.announce("a", "203.0.113.1", 1111, event=STOPPED, key=long)
    assert fresh.swarms.statistics(HASH).peers == 1


def test_what_is_saved_is_of_one_moment() -> None:
    tracker = Tracker()
    there = tracker.crowd(600)
    rows = []
    for row in tracker.swarms.export(tracker.now):
        rows.append(row)
        # Meanwhile the first ones go, and the last ones take their numbers.
        for endpoint in sorted(there)[:50]:
            tracker.swarms._swarms[HASH].dismiss(endpoint, tracker.now)
    saved = [str(peer[0]) for row in rows for peer in row["peers"]]
    assert sorted(saved) == sorted(endpoint.hex() for endpoint in there)
    assert cut(bytes.fromhex("".join(saved)))
