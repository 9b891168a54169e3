"""Groups: an asker hears of its own group first, then of near ones, and always of a few others."""

import ipaddress
import random
from array import array
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.net.addresses import compact_endpoint
from seeder.net.groups import Groups
from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.handout import OwnPlace
from seeder.tracker.locality import ENOUGH, NEAR_FOR_ONE_FAR, GroupedCrowd
from seeder.tracker.neighbours import StrangerLimits
from seeder.tracker.policy import SwarmPolicy
from tests.tracker.announcing import HASH, OWN, SIZE, Tracker, cut, packed


def groups_of(**networks: list[str]) -> Groups:
    """Return groups; `eu_a` stands for the name "eu/a"."""
    return Groups(
        {
            name.replace("_", "/"): [ipaddress.ip_network(each) for each in texts]
            for name, texts in networks.items()
        }
    )


GROUPS = groups_of(
    eu_a=["50.1.0.0/16", "2001:db8:a::/48", "10.1.0.0/16"],
    eu_b=["50.2.0.0/16", "2001:db8:b::/48"],
    us=["60.0.0.0/8"],
)
PLACES = {"eu/a": "50.1", "eu/b": "50.2", "us": "60.1", "others": "70.1"}


def grouped(policy: SwarmPolicy = SwarmPolicy(), *, seed: int = 1) -> Tracker:  # noqa: B008
    return Tracker(policy, seed, groups=GROUPS)


def fill(tracker: Tracker, group: str, count: int, *, left: int = SIZE) -> None:
    """Let so many peers of a group announce, each in a network of its own."""
    for number in range(count):
        address = f"{PLACES[group]}.{number % 250}.{number // 250 + (10 if left else 100)}"
        tracker.announce(f"{group}-{number}-{left}", address, left=left)


def heard(endpoints: Iterable[bytes]) -> Counter[str]:
    """Return how many there are of each group, ours apart."""
    return Counter(
        "us ourselves" if endpoint == OWN else GROUPS.names[GROUPS.of(endpoint[:-2])]
        for endpoint in endpoints
    )


def asked(tracker: Tracker, group: str, numwant: int | None = None) -> Counter[str]:
    reply = tracker.announce("asker", f"{PLACES[group]}.251.9", numwant=numwant)
    return heard(reply.endpoints())


def test_an_asker_hears_of_its_own_group_first_then_of_near_ones_and_of_a_few_others() -> None:
    tracker = grouped()
    for group in ("eu/a", "eu/b", "us", "others"):
        fill(tracker, group, 100)
    found = asked(tracker, "eu/a")
    assert sum(found.values()) == 50
    assert found["us ourselves"] == 1
    assert found["eu/a"] >= 44
    assert found["us"] + found["others"] in (4, 5)
    assert found["eu/b"] == 0


def test_near_groups_fill_what_the_own_one_leaves() -> None:
    tracker = grouped()
    fill(tracker, "eu/a", 20)
    fill(tracker, "eu/b", 100)
    fill(tracker, "us", 100)
    found = asked(tracker, "eu/a")
    assert found["eu/a"] == 20
    assert found["eu/b"] >= 24
    assert found["us"] in (4, 5)


@pytest.mark.parametrize("group", ["us", "others"])
def test_who_is_near_nobody_hears_of_its_own_group_first(group: str) -> None:
    tracker = grouped()
    for each in PLACES:
        fill(tracker, each, 60)
    found = asked(tracker, group)
    assert found[group] >= 44
    assert sum(found.values()) == 50


@pytest.mark.parametrize("near", [0, 1, 3, 9, 30])
def test_a_small_group_hears_of_enough_others_and_a_large_one_of_few(near: int) -> None:
    """A link between groups stays free though the answer has room for all of the others."""
    tracker = grouped()
    fill(tracker, "us", near)
    fill(tracker, "eu/a", 100)
    fill(tracker, "others", 100)
    found = asked(tracker, "us")
    assert found["us"] == near
    far = found["eu/a"] + found["others"]
    if near:
        least = max(ENOUGH - near, near // NEAR_FOR_ONE_FAR)
        assert far in (least, least + 1) if least >= near // NEAR_FOR_ONE_FAR else far == least
    else:
        # Alone in its group, it must not be alone in the swarm.
        assert far == 49


def test_seeds_far_away_are_no_more_than_a_few_either() -> None:
    tracker = grouped()
    fill(tracker, "eu/a", 30)
    fill(tracker, "us", 200, left=0)
    found = asked(tracker, "eu/a")
    assert found["eu/a"] == 30
    assert found["us"] in (3, 4)


def test_in_each_ring_a_leecher_hears_of_seeds_and_leechers() -> None:
    tracker = grouped()
    for group in ("eu/a", "us"):
        fill(tracker, group, 100)
        fill(tracker, group, 100, left=0)
    reply = tracker.announce("asker", "50.1.251.9", numwant=101)
    seeds = Counter(
        GROUPS.names[GROUPS.of(endpoint[:-2])]
        for endpoint in reply.endpoints()
        if endpoint != OWN and endpoint[3] >= 100
    )
    assert seeds == {"eu/a": 45, "us": 5}
    seeder = tracker.announce("seed", "50.1.252.9", left=0, event=AnnounceEvent.COMPLETED)
    assert all(endpoint[3] < 100 for endpoint in seeder.endpoints())


def test_who_asks_for_few_at_a_time_hears_of_others_in_time() -> None:
    tracker = grouped()
    for group in ("eu/a", "us"):
        fill(tracker, group, 50)
    found = Counter[str]()
    for _ in range(200):
        found += asked(tracker, "eu/a", numwant=3)
    # Two of three are peers; one of ten of these is far away.
    assert 10 <= found["us"] <= 90
    assert found["eu/a"] + found["us"] == 400


def test_an_island_of_one_group_is_told_to_the_others() -> None:
    """Somebody hears of each peer of a small group, and it hears of others."""
    tracker = grouped()
    fill(tracker, "eu/a", 3)
    fill(tracker, "us", 300)
    known = Counter[bytes]()
    for number in range(300):
        reply = tracker.announce(f"us-{number}-{SIZE}", f"60.1.{number % 250}.{number // 250 + 10}")
        known.update(each for each in reply.endpoints() if heard([each])["eu/a"])
    assert len(known) == 3
    assert min(known.values()) > 100


def test_the_own_address_family_comes_before_the_own_group() -> None:
    """An asker without IPv6 has no use for neighbours that it can't reach."""
    tracker = grouped()
    for number in range(60):
        tracker.announce(f"six-{number}", f"2001:db8:a:{number}::1")
    fill(tracker, "eu/a", 20)
    fill(tracker, "eu/b", 20)
    reply = tracker.announce("asker", "50.1.251.9")
    assert heard(cut(reply.peers))["eu/a"] == 20
    assert heard(cut(reply.peers))["eu/b"] == 20
    assert heard(cut(reply.peers6, 18)) == {"eu/a": len(reply.peers6) // 18}


def test_private_addresses_are_told_to_their_like_alone_also_within_a_group() -> None:
    tracker = grouped()
    for number in range(20):
        tracker.announce(f"private-{number}", f"10.1.{number}.1")
    fill(tracker, "eu/a", 5)
    public = tracker.announce("asker", "50.1.251.9")
    assert len(public.peers) // 6 == 5 + 1
    private = tracker.announce("other", "10.1.251.9")
    assert heard(cut(private.peers)) == {"eu/a": 25 + 1, "us ourselves": 1}


def test_many_strangers_of_a_network_of_ones_own_group_stay_behind_those_of_others() -> None:
    """Who is near isn't trusted for it: announced ghosts fill no answer."""
    tracker = grouped(SwarmPolicy(strangers=StrangerLimits(2, 4, 20)))
    for number in range(100):
        tracker.announce(f"ghost-{number}", f"50.1.7.{number % 20 + 1}", 3000 + number)
    fill(tracker, "eu/a", 20)
    fill(tracker, "us", 100)
    tracker.swarms.visited(HASH, packed("50.1.0.10"), 1, tracker.now)
    found = tracker.announce("asker", "50.1.251.9")
    ghosts = [each for each in cut(found.peers) if each.startswith(bytes([50, 1, 7]))]
    assert len(ghosts) <= len(cut(found.peers)) // 9
    assert heard(found.endpoints())["us"] <= 6


def test_where_upload_is_saved_other_peers_come_before_us_though_they_are_left_out() -> None:
    tracker = grouped()
    fill(tracker, "eu/a", 20)
    fill(tracker, "us", 20)
    tracker.swarms.own_place = OwnPlace.SPARE
    assert asked(tracker, "eu/a", numwant=30)["us ourselves"] == 0
    tracker.swarms.own_place = OwnPlace.ALONE
    assert asked(tracker, "eu/a", numwant=50)["us ourselves"] == 0
    tracker.swarms.own_place = OwnPlace.SPARE
    # All that there are, and still a free place.
    assert asked(tracker, "eu/a", numwant=50)["us ourselves"] == 1


def test_other_groups_from_a_reload_on_lose_no_peer() -> None:
    tracker = grouped()
    fill(tracker, "eu/a", 60)
    fill(tracker, "us", 60, left=0)
    for groups, near in ((None, None), (groups_of(we=["50.0.0.0/8", "60.0.0.0/8"]), 120)):
        for _ in tracker.swarms.regroup(groups):
            pass
        counts = tracker.swarms.counts(HASH)
        assert (counts.complete - 1, counts.incomplete) == (60, 60)
        reply = tracker.announce("asker", "50.1.251.9", numwant=200)
        assert len(set(cut(reply.peers))) == 120 + 1, near
        tracker.announce("asker", "50.1.251.9", event=AnnounceEvent.STOPPED)
    for _ in tracker.swarms.regroup(GROUPS):
        pass
    assert asked(tracker, "eu/a")["us"] in (4, 5)
    # What comes, goes on and leaves finds its place by the new groups.
    fill(tracker, "eu/a", 60)
    tracker.announce(f"us-0-{0}", "60.1.0.100", event=AnnounceEvent.STOPPED)
    assert tracker.swarms.statistics(HASH).peers == 120


def test_saved_swarms_are_restored_whatever_the_groups_are_then() -> None:
    before = grouped()
    fill(before, "eu/a", 30)
    fill(before, "us", 30)
    rows = list(before.swarms.export(before.now))
    for groups in (None, GROUPS, groups_of(a=["60.1.0.0/16"])):
        after = Tracker(opened=False, groups=groups)
        after.swarms.restore(rows, after.now, elapsed=60)
        after.open()
        assert after.swarms.statistics(HASH).peers == 60
        reply = after.announce("asker", "60.1.251.9", numwant=200)
        assert len(cut(reply.peers)) in ((61,) if groups is None else (30 + 1 + 3, 30 + 1 + 4))


ADDRESSES = [f"{place}.{number}.1" for place in PLACES.values() for number in range(6)]
ADDRESSES += [f"2001:db8:{place}:{number}::1" for place in "abc" for number in range(4)]
ADDRESSES += [f"10.1.{number}.1" for number in range(3)] + ["192.168.1.1", "50.1.0.2", "50.1.0.3"]


@settings(deadline=None, max_examples=100)
@given(
    announces=st.lists(
        st.tuples(
            st.sampled_from(ADDRESSES),
            st.integers(1, 3),
            st.sampled_from([0, 1, SIZE]),
            st.sampled_from([AnnounceEvent.NONE, AnnounceEvent.STOPPED, AnnounceEvent.PAUSED]),
            st.sampled_from([0, 1, 2, 5, 20, 200]),
            st.booleans(),
        ),
        max_size=40,
    ),
    place=st.sampled_from(OwnPlace),
    seed=st.integers(0, 9),
)
def test_whoever_announces_hears_of_listed_peers_once_and_not_of_itself(
    announces: list[tuple[str, int, int, AnnounceEvent, int, bool]], place: OwnPlace, seed: int
) -> None:
    tracker = grouped(SwarmPolicy(strangers=StrangerLimits(1, 2, 3)), seed=seed)
    tracker.swarms.own_place = place
    listed: dict[bytes, bool] = {}
    for number, (address, port, left, event, numwant, visits) in enumerate(announces):
        reply = tracker.announce(
            "p", address, port, left=left, event=event, numwant=numwant, key=b"%d" % number
        )
        endpoint = compact_endpoint(packed(address), port)
        peers = [each for each in reply.endpoints() if each != OWN]
        assert len(set(peers)) == len(peers) <= numwant
        assert endpoint not in peers
        satisfied = left == 0 or event is AnnounceEvent.PAUSED
        assert all(not (satisfied and listed[each]) for each in peers)
        if event is AnnounceEvent.STOPPED:
            listed.pop(endpoint, None)
        else:
            listed[endpoint] = satisfied
        if visits:
            tracker.swarms.visited(HASH, packed(address), 1, tracker.now)
        # Who could be told of somebody isn't left alone.
        others = (each for each in listed if each != endpoint and each[0] not in (10, 192))
        if numwant and not satisfied and any(others):
            assert event is AnnounceEvent.STOPPED or any(reply.endpoints())


@pytest.mark.parametrize("numwant", [6, 10, 23, 45, 50])
def test_no_place_of_an_answer_is_nobodys_while_there_are_enough(numwant: int) -> None:
    tracker = grouped()
    for group in ("eu/a", "eu/b", "us"):
        fill(tracker, group, 100)
    far = 0
    for _ in range(200):
        found = asked(tracker, "eu/a", numwant)
        assert sum(found.values()) == numwant
        assert found["us"] <= max(-(-numwant // (NEAR_FOR_ONE_FAR + 1)), ENOUGH)
        far += found["us"]
    # We are one of them.
    assert far >= 0.9 * 200 * (numwant - 1) / (NEAR_FOR_ONE_FAR + 1)


@pytest.mark.parametrize("family", ["50.1.9.1", "2001:db8:a:9::1"])
@pytest.mark.parametrize("seeds", [0, 3])
def test_the_asker_is_not_counted_among_those_that_it_can_hear_of(family: str, seeds: int) -> None:
    """Where its own is one of several crowds of its group, by kinds of addresses."""
    tracker = grouped(SwarmPolicy(strangers=StrangerLimits(20, 20, 20)))
    tracker.swarms.own_place = OwnPlace.ALONE
    private = [f"10.1.{number}.1" for number in range(4)]
    public = [f"50.1.{number}.1" for number in range(4)]
    for number, address in enumerate(private + public):
        tracker.announce(f"{number}", address)
    for number in range(seeds):
        tracker.announce(f"s{number}", f"50.1.{100 + number}.1", left=0)
    # Those of its kind are one crowd, public ones the other; it hears of all but itself.
    for asker, others in (("10.1.0.1", 7), ("10.1.3.1", 7), ("50.1.0.1", 3), (family, 4)):
        for count in range(1, others + seeds + 1):
            for _ in range(20):
                reply = tracker.announce("asker", asker, 2000, numwant=count)
                found = list(reply.endpoints())
                assert compact_endpoint(packed(asker), 2000) not in found
                assert len(set(found)) == len(found) == count
            tracker.announce("asker", asker, 2000, event=AnnounceEvent.STOPPED)
            tracker.announce("asker", asker, 2000)


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=2, max_size=12),
    count=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_of_several_groups_each_peer_has_the_same_chance(
    sizes: list[int], count: int, seed: int
) -> None:
    groups = Groups(
        {f"g/{at:02}": [ipaddress.ip_network(f"20.{at}.0.0/16")] for at in range(len(sizes))}
    )
    crowd = GroupedCrowd(6, random.Random(seed), groups, array("i", bytes(4 * sum(sizes))))
    everybody = [
        compact_endpoint(bytes([20, at, 0, peer]), 1)
        for at, size in enumerate(sizes)
        for peer in range(size)
    ]
    for number, endpoint in enumerate(everybody):
        crowd.add(number, endpoint)
    ring = crowd.around(len(sizes))[-1]
    assert ring.size == len(everybody) == len(crowd)
    found = Counter[bytes]()
    rounds = 300
    for _ in range(rounds):
        for part in ring.parts:
            sample = cut(crowd.sample(part, count, without=-1))
            assert len(set(sample)) == len(sample) == min(count, len(everybody))
            found.update(sample)
        for number, endpoint in enumerate(everybody):
            crowd.stir(number, endpoint)
    share = min(1, count / len(everybody)) if everybody else 0
    for endpoint in everybody:
        spread = (rounds * share * (1 - share)) ** 0.5
        assert abs(found[endpoint] - rounds * share) <= 7 * spread + 1
