"""One swarm: who is listed, who is handed out to whom, who is dropped."""

import pytest

from seeder.net.addresses import compact_endpoint
from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.handout import OwnPlace
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.swarm import HANDOUT_GAP
from tests.tracker.announcing import HASH, OWN, SIZE, Tracker, cut, packed

STOPPED, COMPLETED, STARTED, PAUSED = (
    AnnounceEvent.STOPPED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.STARTED,
    AnnounceEvent.PAUSED,
)


NONE = AnnounceEvent.NONE


def at(address: str, port: int = 2000) -> bytes:
    return compact_endpoint(packed(address), port)


def peers_of(tracker: Tracker) -> int:
    return tracker.swarms.statistics(HASH).peers


def test_the_first_leecher_hears_of_our_own_seeder_only() -> None:
    reply = Tracker().announce("a")
    assert list(reply.endpoints()) == [OWN]
    assert not reply.peers6
    assert (reply.complete, reply.incomplete, reply.downloaded) == (1, 1, 0)
    assert reply.source == packed("192.0.2.1")


def test_a_peer_is_where_its_announce_came_from_and_never_handed_to_itself() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", 1111)
    reply = tracker.announce("b", "192.0.2.2", 2222)
    assert set(reply.endpoints()) == {at("192.0.2.1", 1111), OWN}
    assert set(tracker.announce("a", "192.0.2.1", 1111).endpoints()) == {at("192.0.2.2", 2222), OWN}


def test_a_leecher_gets_complete_peers_then_us_then_leechers() -> None:
    tracker = Tracker()
    seeds = tracker.crowd(100, left=0, network=10)
    leechers = tracker.crowd(100, network=11)
    peers = list(tracker.announce("x", numwant=51).endpoints())
    assert len(peers) == 51
    assert set(peers[:25]) <= seeds
    assert peers[25] == OWN
    assert set(peers[26:]) <= leechers
    assert len(set(peers)) == 51


@pytest.mark.parametrize(
    ("seed_count", "leecher_count"), [(3, 100), (100, 3), (3, 3), (0, 9), (9, 0)]
)
def test_an_answer_is_filled_with_whoever_is_there(seed_count: int, leecher_count: int) -> None:
    tracker = Tracker()
    seeds = tracker.crowd(seed_count, left=0, network=10)
    leechers = tracker.crowd(leecher_count, network=11)
    peers = list(tracker.announce("x", numwant=21).endpoints())
    assert len(peers) == min(21, seed_count + leecher_count + 1)
    got_seeds, got_leechers = len(seeds & set(peers)), len(leechers & set(peers))
    assert got_seeds == min(seed_count, max(10, 20 - leecher_count))
    assert got_leechers == min(leecher_count, 20 - got_seeds)
    assert OWN in peers


@pytest.mark.parametrize(("others", "named"), [(0, True), (20, True), (21, False), (100, False)])
def test_we_come_last_where_there_are_too_few_others(others: int, named: bool) -> None:
    tracker = Tracker()
    tracker.swarms.own_place = OwnPlace.SPARE
    tracker.crowd(others // 2, left=0, network=10)
    tracker.crowd(others - others // 2, network=11)
    peers = list(tracker.announce("x", numwant=21).endpoints())
    assert len(peers) == min(21, others + 1)
    assert (peers[-1] == OWN) == named
    assert OWN not in peers[:-1]


@pytest.mark.parametrize("left", [0, SIZE])
def test_we_are_named_to_who_is_alone_and_to_nobody_else(left: int) -> None:
    tracker = Tracker()
    tracker.swarms.own_place = OwnPlace.ALONE
    assert list(tracker.announce("x", numwant=1).endpoints()) == [OWN]
    # Its own announce doesn't make it somebody else.
    assert list(tracker.announce("x", numwant=1).endpoints()) == [OWN]
    tracker.announce("y", "192.0.2.2", left=left)
    assert list(tracker.announce("x").endpoints()) == [at("192.0.2.2")]


@pytest.mark.parametrize("place", OwnPlace)
def test_a_seed_never_hears_of_us_wherever_we_stand(place: OwnPlace) -> None:
    tracker = Tracker()
    tracker.swarms.own_place = place
    assert not list(tracker.announce("s", left=0, downloaded=SIZE).endpoints())


def test_seeds_hear_of_leechers_only() -> None:
    tracker = Tracker()
    tracker.crowd(5, left=0, network=10)
    leechers = tracker.crowd(5, network=11)
    assert set(tracker.announce("s", left=0, downloaded=SIZE).endpoints()) == leechers
    assert set(tracker.announce("p", left=10, event=PAUSED).endpoints()) == leechers


def test_who_starts_with_nothing_left_and_nothing_downloaded_hears_of_us() -> None:
    tracker = Tracker()
    tracker.crowd(5, left=0, network=10)
    leechers = tracker.crowd(5, network=11)
    # aria2 with a magnet link announces so: it doesn't know the size yet.
    reply = tracker.announce("a", left=0, event=STARTED)
    assert set(reply.endpoints()) == leechers | {OWN}
    assert list(tracker.announce("b", left=0, event=STARTED, numwant=1).endpoints()) == [OWN]
    assert OWN not in tracker.announce("s", left=0, event=STARTED, downloaded=SIZE).endpoints()


def test_who_has_no_metadata_yet_hears_of_us_each_time() -> None:
    tracker = Tracker()
    for event in (STARTED, NONE, NONE):
        assert set(tracker.announce("a", left=0, event=event).endpoints()) == {OWN}
    # Then it knows what it lacks, and at last it has it.
    assert OWN in tracker.announce("a", downloaded=0).endpoints()
    done = tracker.announce("a", left=0, event=COMPLETED, downloaded=SIZE)
    assert OWN not in done.endpoints()
    assert OWN not in tracker.announce("b", left=0, event=PAUSED).endpoints()
    assert OWN not in tracker.announce("c", left=0, event=COMPLETED).endpoints()


def test_a_partial_seed_is_handed_out_before_us_but_counts_as_incomplete() -> None:
    tracker = Tracker()
    tracker.announce("p", "192.0.2.5", left=10, event=PAUSED)
    reply = tracker.announce("x")
    assert list(reply.endpoints()) == [at("192.0.2.5"), OWN]
    assert (reply.complete, reply.incomplete) == (1, 2)


def test_a_leecher_that_is_done_becomes_a_seed() -> None:
    tracker = Tracker()
    tracker.announce("a")
    assert tracker.swarms.statistics(HASH).seeds == 0
    reply = tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    assert (reply.complete, reply.incomplete, reply.downloaded) == (2, 0, 1)
    assert not reply.peers
    assert tracker.swarms.statistics(HASH).seeds == 1
    # And back: it has deleted a piece.
    assert tracker.announce("a", left=5).complete == 1


@pytest.mark.parametrize(("numwant", "given"), [(None, 50), (0, 0), (1, 1), (30, 30), (10**9, 200)])
def test_numwant_is_clamped(numwant: int | None, given: int) -> None:
    tracker = Tracker()
    tracker.crowd(300)
    peers = list(tracker.announce("x", numwant=numwant).endpoints())
    assert len(peers) == given
    assert (OWN in peers) == (given > 0)


def test_an_answer_is_a_random_sample() -> None:
    tracker = Tracker()
    everybody = tracker.crowd(300)
    seen: set[bytes] = set()
    for number in range(60):
        seen.update(
            tracker.announce(f"x{number}", "192.0.2.9", numwant=30, event=STARTED).endpoints()
        )
        tracker.announce(f"x{number}", "192.0.2.9", event=STOPPED)
    assert len(seen & everybody) > 0.95 * len(everybody)


def test_who_is_handed_out_together_changes_as_peers_announce_again() -> None:
    tracker, companions = Tracker(), set[bytes]()
    places = [f"16.0.{number}.1" for number in range(50)]
    for _ in range(200):
        for address in places:
            tracker.announce(address, address)
        answer = cut(tracker.announce("asker", "192.0.2.9", numwant=10).peers)
        if at(places[0]) in answer:
            companions.update(answer)
    assert companions >= set(map(at, places))


def test_both_families_hear_of_each_other_their_own_first() -> None:
    tracker = Tracker()
    v4 = tracker.crowd(5)
    for number in range(5):
        tracker.announce(f"six{number}", f"2001:db8:{number}::1", 6000)
    reply = tracker.announce("four", "192.0.2.1", numwant=8)
    assert (len(v4 & set(cut(reply.peers))), len(reply.peers6) // 18) == (5, 2)
    assert OWN in cut(reply.peers)
    reply = tracker.announce("six", "2001:db8:f::1", numwant=8)
    assert len(set(cut(reply.peers6, 18))) == 5
    assert len(set(cut(reply.peers)) & (v4 | {at("192.0.2.1")})) == 2


def test_stopped_removes_the_peer_and_is_answered_without_peers() -> None:
    tracker = Tracker()
    tracker.crowd(3)
    tracker.announce("a")
    reply = tracker.announce("a", event=STOPPED)
    assert (reply.peers, reply.peers6) == (b"", b"")
    assert reply.incomplete == 3
    assert at("192.0.2.1") not in tracker.announce("b", "192.0.2.2").endpoints()


def test_nobody_stops_somebody_else() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", 1111, key=b"secret")
    tracker.announce("a", "192.0.2.2", 1111, event=STOPPED)
    tracker.announce("a", "192.0.2.2", 1111, event=STOPPED, key=b"guess")
    tracker.announce("b", "192.0.2.1", 1111, event=STOPPED)
    tracker.announce("a", "192.0.2.1", 2222, event=STOPPED, key=b"guess")
    assert peers_of(tracker) == 1


def test_a_client_that_moved_stops_its_old_place_with_its_key() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", 1111, key=b"secret")
    tracker.announce("a", "192.0.2.2", 1111, event=STOPPED, key=b"secret")
    assert peers_of(tracker) == 0


def test_a_client_that_names_no_port_is_stopped_at_its_address() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", 1111)
    tracker.announce("a", "192.0.2.2", 0, event=STOPPED)
    assert peers_of(tracker) == 1
    tracker.announce("a", "192.0.2.1", 0, event=STOPPED)
    assert peers_of(tracker) == 0


def test_stopping_by_one_family_leaves_the_other() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", key=b"k")
    tracker.announce("a", "2001:db8::1", key=b"k")
    tracker.announce("a", "2001:db8::1", event=STOPPED, key=b"k")
    assert set(tracker.announce("b", "192.0.2.2").endpoints()) == {at("192.0.2.1"), OWN}
    assert tracker.swarms.statistics(HASH).peers == 2


def test_stopping_twice_is_harmless() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STOPPED)
    tracker.announce("a")
    for _ in range(2):
        tracker.announce("a", event=STOPPED)
    assert peers_of(tracker) == 0


def test_who_asks_every_second_gets_peers_only_now_and_then() -> None:
    tracker = Tracker()
    tracker.crowd(3)
    assert tracker.announce("a", event=STARTED).peers
    tracker.now -= 9
    assert not tracker.announce("a").peers
    tracker.now += HANDOUT_GAP - 10 - 1
    assert tracker.announce("a").peers


def test_who_starts_gets_peers_whatever_was_told_a_second_ago() -> None:
    tracker = Tracker()
    tracker.crowd(3)
    for _ in range(3):
        assert len(list(tracker.announce("a", event=STARTED).endpoints())) == 4
        tracker.now -= 9


def test_who_wants_peers_and_gets_none_may_soon_ask_again() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STARTED)
    tracker.now -= 9
    for reply in (tracker.announce("a"), tracker.announce("b", local=None)):
        assert not reply.peers
        assert 54 <= reply.interval <= 66
        assert reply.min_interval == 30
    # An operator's interval that is shorter stays as it is.
    short = Tracker(SwarmPolicy(interval=20))
    reply = short.announce("b", local=None)
    assert (18 <= reply.interval <= 22, reply.min_interval) == (True, 10)


@pytest.mark.parametrize(
    ("left", "event", "numwant"),
    [(0, NONE, None), (5, PAUSED, None), (5, NONE, 0), (5, STOPPED, None), (0, COMPLETED, None)],
)
def test_who_would_dial_nobody_is_not_asked_to_come_sooner(
    left: int, event: AnnounceEvent, numwant: int | None
) -> None:
    tracker = Tracker()
    reply = tracker.announce(
        "s", left=left, event=event, numwant=numwant, downloaded=SIZE, local=None
    )
    assert not reply.peers
    assert reply.interval >= 1620
    assert reply.min_interval == 900


def test_a_client_that_was_restarted_gets_peers_at_once() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STARTED)
    tracker.now -= 9
    assert tracker.announce("b", event=STARTED).peers


def test_who_has_learnt_what_it_lacks_gets_peers_at_once() -> None:
    tracker = Tracker()
    tracker.announce("a", left=0, event=STARTED)
    tracker.now -= 9
    assert tracker.announce("a", left=SIZE, event=STARTED).peers


def test_one_address_has_few_places() -> None:
    tracker = Tracker(SwarmPolicy(peers_per_address=3))
    for number in range(10):
        assert OWN in tracker.announce(f"a{number}", port=1000 + number).endpoints()
    assert peers_of(tracker) == 3
    tracker.announce("a1", port=1001, event=STOPPED)
    tracker.announce("a9", port=1009)
    assert peers_of(tracker) == 3
    tracker.announce("b", "192.0.2.2")
    assert peers_of(tracker) == 4


def test_a_64_of_ipv6_has_as_few_places_as_an_address() -> None:
    tracker = Tracker(SwarmPolicy(peers_per_address=2))
    for number in range(5):
        tracker.announce(f"a{number}", f"2001:db8:0:1::{number}")
    assert peers_of(tracker) == 2
    tracker.announce("b", "2001:db8:0:2::1")
    assert peers_of(tracker) == 3


def test_who_is_not_listed_claims_nothing() -> None:
    tracker = Tracker(SwarmPolicy(peers_per_address=1))
    tracker.announce("a", port=1000)
    for event in (STARTED, COMPLETED):
        tracker.announce("b", port=1001, left=0, event=event, downloaded=SIZE)
        tracker.announce("b", port=1001, left=0, event=event, downloaded=SIZE * 2)
    assert (tracker.ledger.delivered, tracker.ledger.completions) == (0, 0)


def test_a_client_that_changes_its_port_keeps_its_place_at_a_full_address() -> None:
    tracker = Tracker(SwarmPolicy(peers_per_address=2))
    tracker.announce("a", port=1000)
    tracker.announce("b", port=1001)
    tracker.announce("a", port=1002)
    reply = tracker.announce("x", "192.0.2.2")
    assert set(reply.endpoints()) == {at("192.0.2.1", 1001), at("192.0.2.1", 1002), OWN}


def test_a_swarm_has_a_limit_and_everybody_is_still_answered() -> None:
    tracker = Tracker(SwarmPolicy(peers_per_swarm=5))
    for network in range(5):
        tracker.crowd(1, network=10 + network)
    assert len(list(tracker.announce("x").endpoints())) == 6
    assert peers_of(tracker) == 5
    assert len(list(tracker.announce("x", left=0, downloaded=SIZE).endpoints())) == 5


def test_a_peer_that_is_silent_for_too_long_is_dropped() -> None:
    policy = SwarmPolicy(interval=100)
    assert policy.expiry == 500
    tracker = Tracker(policy)
    tracker.announce("a", "192.0.2.1")
    first = tracker.now
    tracker.announce("b", "192.0.2.2")
    tracker.announce("a", "192.0.2.1")
    assert sum(tracker.swarms.expire(first + 20 + policy.expiry - 10)) == 0
    assert sum(tracker.swarms.expire(first + 10 + policy.expiry + 1)) == 1
    assert set(tracker.announce("x", "192.0.2.9").endpoints()) == {at("192.0.2.1"), OWN}


def test_expiry_gives_its_room_back() -> None:
    tracker = Tracker(SwarmPolicy(peers=3, peers_per_address=3))
    for number in range(3):
        tracker.announce(f"a{number}", port=1000 + number)
    tracker.announce("b", "192.0.2.2")
    assert peers_of(tracker) == 3
    assert sum(tracker.swarms.expire(tracker.now + 10**6)) == 3
    tracker.now += 10**6
    for number in range(3):
        tracker.announce(f"b{number}", port=2000 + number)
    assert peers_of(tracker) == 3


def test_intervals_differ_by_a_tenth_and_the_minimum_is_half() -> None:
    tracker = Tracker()
    replies = [tracker.announce("a") for _ in range(200)]
    intervals = {reply.interval for reply in replies}
    assert 1620 <= min(intervals) < 1650
    assert 1950 < max(intervals) <= 1980
    assert {reply.min_interval for reply in replies} == {900}


PRIVATE = {
    "site": ["10.1.2.3", "172.17.0.1", "192.168.1.1", "fd00::1"],
    "host": ["127.0.0.1", "127.9.9.9", "::1"],
    "link": ["169.254.1.1", "fe80::1"],
    "provider": ["100.64.0.1", "100.127.255.254"],
}
PUBLIC = [
    "9.255.255.255",
    "11.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.0.1",
    "100.63.0.1",
    "100.128.0.1",
]
PUBLIC += ["169.253.0.1", "126.0.0.1", "128.0.0.1", "2001:db8::1", "fec0::1", "fe00::1", "::2"]


def test_private_addresses_are_named_to_their_own_kind_alone() -> None:
    tracker = Tracker()
    everybody = {kind: {at6(address) for address in found} for kind, found in PRIVATE.items()}
    public = {at6(address) for address in PUBLIC}
    private = [address for addresses in PRIVATE.values() for address in addresses]
    for address in PUBLIC + private:
        tracker.announce(address, address)
    for kind, addresses in PRIVATE.items():
        for address in addresses:
            heard = set(tracker.announce(address, address, numwant=200).endpoints())
            assert heard == (everybody[kind] | public | {OWN}) - {at6(address)}
    for address in PUBLIC:
        heard = set(tracker.announce(address, address, numwant=200).endpoints())
        assert heard == (public | {OWN}) - {at6(address)}
    # Nothing is left of them once they are gone.
    for address in private:
        tracker.announce(address, address, event=STOPPED)
    assert set(tracker.announce("x", "192.0.2.9", numwant=200).endpoints()) == public | {OWN}


@pytest.mark.parametrize("place", OwnPlace)
def test_private_peers_take_nobodys_place_in_an_answer(place: OwnPlace) -> None:
    tracker = Tracker()
    tracker.swarms.own_place = place
    seeds, leechers = tracker.crowd(15, left=0, network=10), tracker.crowd(15, network=11)
    for number in range(100):
        tracker.announce(f"p{number}", f"10.{number}.0.1", left=number % 2)
    heard = list(tracker.announce("x", "192.0.2.9", numwant=20).endpoints())
    assert len(heard) == len(set(heard)) == 20
    assert set(heard) <= seeds | leechers | {OWN}
    assert min(len(seeds & set(heard)), len(leechers & set(heard))) >= 5
    assert (OWN in heard) is (place is OwnPlace.ALWAYS)
    assert len(list(tracker.announce("y", "10.9.9.9", numwant=20).endpoints())) == 20


def at6(address: str) -> bytes:
    return compact_endpoint(packed(address), 2000)
