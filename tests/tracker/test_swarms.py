"""The tracker is closed to what we don't serve, and a restart loses and doubles nothing."""

import json
import random
from typing import Any

import pytest

from seeder.errors import AnnounceError
from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest, ScrapeCounts
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import Cell, Counted, SwarmRow
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms, SwarmStatistics
from tests.tracker.announcing import (
    HASH,
    LOCAL,
    OWN,
    OWN_PORT,
    SIZE,
    Ledger,
    Tracker,
    cut,
    packed,
    peer_id,
)

OTHER = InfoHash(b"o" * 20)
COMPLETED, STOPPED = AnnounceEvent.COMPLETED, AnnounceEvent.STOPPED


def refused(tracker: Tracker, info_hash: InfoHash = HASH) -> tuple[str, str | None]:
    with pytest.raises(AnnounceError) as caught:
        tracker.announce("a", info_hash=info_hash)
    return caught.value.reason, caught.value.retry_in


def test_a_torrent_that_is_not_served_is_refused_for_good() -> None:
    assert refused(Tracker(), OTHER) == ("torrent not registered with this tracker", "never")


def test_while_torrents_are_loading_an_unknown_one_is_refused_for_a_minute() -> None:
    tracker = Tracker()
    tracker.swarms.loading = True
    reason, retry_in = refused(tracker, OTHER)
    assert retry_in == "1"
    assert "registered" not in reason
    assert tracker.announce("a").peers


def test_a_random_hash_leaves_no_trace() -> None:
    tracker = Tracker()
    for number in range(100):
        refused(tracker, InfoHash(number.to_bytes(20, "big")))
    assert [row["info_hash"] for row in tracker.swarms.export(tracker.now)] == [HASH.hex()]


def test_a_closed_torrent_tells_why_and_drops_its_peers() -> None:
    tracker = Tracker()
    tracker.announce("a")
    reason = "torrent not registered: the object was replaced"
    tracker.swarms.close(HASH, reason)
    assert refused(tracker) == (reason, "never")
    assert tracker.swarms.statistics(HASH) == SwarmStatistics(0, 0, 0)
    assert tracker.swarms.scrape([HASH]) == {HASH: ScrapeCounts()}


def test_a_resting_torrent_is_refused_for_a_minute_and_comes_back_with_its_swarm() -> None:
    tracker = Tracker()
    tracker.announce("a", downloaded=0)
    tracker.announce("b", "192.0.2.2", left=0)
    tracker.swarms.rest(HASH, "it was deleted")
    assert refused(tracker) == ("it was deleted", "1")
    assert tracker.swarms.statistics(HASH) == SwarmStatistics(0, 0, 0)
    account = Ledger()
    tracker.swarms.open(HASH, size=SIZE, claims=account)
    assert tracker.swarms.statistics(HASH) == SwarmStatistics(peers=2, seeds=1, completed=0)
    # What its clients claim goes to the account of now, and what they had claimed isn't lost.
    tracker.announce("a", downloaded=100)
    assert (tracker.ledger.delivered, account.delivered) == (0, 100)


def test_who_stops_while_a_torrent_rests_is_no_longer_in_its_swarm() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.announce("b", "192.0.2.2")
    tracker.swarms.rest(HASH, "it was deleted")
    tracker.announce("a", event=STOPPED)
    tracker.open()
    assert tracker.swarms.statistics(HASH).peers == 1


def test_a_resting_swarm_is_saved_expires_and_is_closed_like_any_other() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.swarms.rest(HASH, "it was deleted")
    assert [row["info_hash"] for row in tracker.swarms.export(tracker.now)] == [HASH.hex()]
    tracker.now += tracker.swarms.policy.expiry + 1
    assert sum(tracker.swarms.expire(tracker.now)) == 1
    tracker.swarms.close(HASH, "not registered")
    assert refused(tracker) == ("not registered", "never")
    tracker.open()
    assert tracker.swarms.statistics(HASH).peers == 0


def test_a_resting_swarm_that_is_closed_gives_its_room_back() -> None:
    tracker = Tracker(SwarmPolicy(peers=2))
    tracker.crowd(2)
    tracker.swarms.rest(HASH, "it was deleted")
    tracker.swarms.close(HASH, "not registered")
    tracker.swarms.open(OTHER, size=SIZE, claims=Ledger())
    tracker.announce("x", info_hash=OTHER)
    tracker.announce("y", "192.0.2.2", info_hash=OTHER)
    assert tracker.swarms.statistics(OTHER).peers == 2


def test_opening_twice_changes_nothing() -> None:
    tracker = Tracker()
    tracker.announce("a", downloaded=0)
    tracker.swarms.open(HASH, size=SIZE, claims=Ledger(), counted=Counted(completed=9))
    tracker.announce("a", downloaded=100)
    assert tracker.ledger.delivered == 100
    assert tracker.swarms.statistics(HASH) == SwarmStatistics(peers=1, seeds=0, completed=0)


def test_the_swarms_share_one_limit_and_closing_one_makes_room() -> None:
    tracker = Tracker(SwarmPolicy(peers=3))
    tracker.swarms.open(OTHER, size=SIZE, claims=Ledger())
    tracker.crowd(2)
    tracker.announce("x", info_hash=OTHER)
    tracker.announce("y", "192.0.2.2", info_hash=OTHER)
    assert tracker.swarms.statistics(OTHER).peers == 1
    tracker.swarms.close(HASH, "gone")
    tracker.announce("y", "192.0.2.2", info_hash=OTHER)
    assert tracker.swarms.statistics(OTHER).peers == 2


def test_our_seeder_is_a_seed_in_scrapes_but_not_among_the_peers_that_announced() -> None:
    tracker = Tracker()
    assert tracker.swarms.scrape([HASH, OTHER]) == {
        HASH: ScrapeCounts(complete=1, downloaded=0, incomplete=0),
        OTHER: ScrapeCounts(),
    }
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    tracker.announce("b", "192.0.2.2")
    assert tracker.swarms.scrape([HASH])[HASH] == ScrapeCounts(2, 1, 1)
    assert tracker.swarms.statistics(HASH) == SwarmStatistics(peers=2, seeds=1, completed=1)


V4 = compact_endpoint(packed("203.0.113.9"), 1)
V6 = compact_endpoint(packed("2001:db8::9"), 2)
HERE6 = packed("2001:db8::7")


@pytest.mark.parametrize(
    ("seeder", "local", "peers", "peers6"),
    [
        (OwnSeeder(OWN_PORT), LOCAL, [OWN], []),
        (OwnSeeder(5), packed("2001:db8::7"), [], [compact_endpoint(packed("2001:db8::7"), 5)]),
        (OwnSeeder(OWN_PORT), None, [], []),
        (OwnSeeder(OWN_PORT, (V4,)), LOCAL, [V4], []),
        (OwnSeeder(OWN_PORT, (V4, V6)), None, [V4], [V6]),
        (OwnSeeder(OWN_PORT, (V4, V6)), LOCAL, [V4], [V6]),
        # A family that isn't configured is found where the client came to, if we listen on it.
        (OwnSeeder(OWN_PORT, (V4,)), HERE6, [V4], [compact_endpoint(HERE6, OWN_PORT)]),
        (OwnSeeder(OWN_PORT, (V4,), 7), HERE6, [V4], [compact_endpoint(HERE6, 7)]),
        (OwnSeeder(OWN_PORT, (V4,), 0), HERE6, [V4], []),
        (OwnSeeder(OWN_PORT, (V6,)), LOCAL, [OWN], [V6]),
        (OwnSeeder(0, (), 7), LOCAL, [], []),
    ],
)
def test_our_seeder_is_where_it_is_configured_or_where_the_client_came_to(
    seeder: OwnSeeder, local: bytes | None, peers: list[bytes], peers6: list[bytes]
) -> None:
    swarms = Swarms(SwarmPolicy(), seeder, rng=random.Random(1))
    swarms.open(HASH, size=SIZE, claims=Ledger())
    request = AnnounceRequest(HASH, peer_id("a"), 1, left=1)
    reply = swarms.announce(request, packed("192.0.2.1"), local, 0.0)
    assert (reply.peers, reply.peers6) == (b"".join(peers), b"".join(peers6))


def restarted(tracker: Tracker, *, open_again: bool = True) -> Tracker:
    """Return the tracker after a restart, its rows having been through JSON."""
    rows = json.loads(json.dumps(list(tracker.swarms.export(tracker.now))))
    fresh = Tracker(opened=False)
    fresh.now = 50.0
    fresh.swarms.restore(rows, fresh.now)
    if open_again:
        fresh.open()
    return fresh


def test_a_restart_keeps_the_swarm() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", left=0, downloaded=SIZE, event=COMPLETED)
    tracker.announce("b", "2001:db8::1")
    tracker.announce("c", "192.0.2.3", left=5, event=AnnounceEvent.PAUSED)
    before = tracker.swarms.statistics(HASH)
    fresh = restarted(tracker)
    assert fresh.swarms.statistics(HASH) == before
    for each in (tracker, fresh):
        reply = each.announce("x", "192.0.2.9")
        assert set(cut(reply.peers)[:2]) == {
            compact_endpoint(packed("192.0.2.1"), 2000),
            compact_endpoint(packed("192.0.2.3"), 2000),
        }
        assert reply.peers6 == compact_endpoint(packed("2001:db8::1"), 2000)


def test_a_restart_counts_nothing_twice_and_loses_no_growth() -> None:
    tracker = Tracker()
    tracker.announce("a", downloaded=0)
    tracker.announce("a", downloaded=600)
    tracker.announce("b", "192.0.2.2", left=0, downloaded=SIZE, event=COMPLETED)
    fresh = restarted(tracker)
    fresh.announce("a", downloaded=600)
    assert fresh.ledger.delivered == 0
    fresh.announce("a", downloaded=700)
    assert fresh.ledger.delivered == 100
    fresh.announce("a", downloaded=SIZE * 3)
    assert fresh.ledger.delivered == SIZE - 600
    fresh.announce("b", "192.0.2.2", left=0, downloaded=SIZE, event=COMPLETED)
    assert fresh.ledger.completions == 0
    assert fresh.swarms.statistics(HASH).completed == 1


def test_a_key_that_an_earlier_version_saved_as_it_was_written_is_the_clients_own() -> None:
    tracker, fresh = Tracker(), Tracker(opened=False)
    key = bytes.fromhex("1a2b3c4d")
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED, key=key)
    rows = json.dumps(list(tracker.swarms.export(tracker.now)))
    fresh.swarms.restore(json.loads(rows.replace(key.hex(), b"1A2B3C4D".hex())), fresh.now)
    fresh.open()
    fresh.announce("a", left=0, downloaded=SIZE, event=COMPLETED, key=key)
    assert fresh.swarms.statistics(HASH).completed == 1


def test_a_restart_goes_on_with_the_age_of_a_peer() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.now += 1000
    fresh = restarted(tracker)
    expiry = fresh.swarms.policy.expiry
    assert sum(fresh.swarms.expire(50.0 + expiry - 1001)) == 0
    assert sum(fresh.swarms.expire(50.0 + expiry - 999)) == 1


def test_a_restarted_peer_can_be_stopped() -> None:
    tracker = Tracker()
    tracker.announce("a", key=b"\x00k")
    fresh = restarted(tracker)
    fresh.announce("a", event=STOPPED, key=b"\x00k")
    assert fresh.swarms.statistics(HASH).peers == 0


def test_a_torrent_that_opens_only_after_the_next_restart_has_its_peers_still() -> None:
    tracker = Tracker()
    tracker.announce("a", downloaded=10)
    fresh = restarted(restarted(tracker, open_again=False))
    assert fresh.swarms.statistics(HASH).peers == 1


def test_what_never_opens_again_is_forgotten_in_time() -> None:
    tracker = Tracker()
    tracker.announce("a")
    fresh = restarted(tracker, open_again=False)
    sum(fresh.swarms.expire(fresh.now))
    assert len(list(fresh.swarms.export(fresh.now))) == 1
    sum(fresh.swarms.expire(fresh.now + 10**6))
    assert not list(fresh.swarms.export(fresh.now))


def test_completions_of_earlier_runs_come_from_whoever_knows_more() -> None:
    tracker = Tracker()
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    rows = list(tracker.swarms.export(tracker.now))
    for counted, expected in ((0, 1), (7, 7)):
        swarms = Swarms(SwarmPolicy(), OwnSeeder(1), rng=random.Random(1))
        swarms.restore(rows, 0.0)
        swarms.open(HASH, size=SIZE, claims=Ledger(), counted=Counted(completed=counted))
        assert swarms.statistics(HASH).completed == expected


GOOD_PEER: list[Cell] = ["c00002010001", "61" * 20, "", 0, 0, 1.5]
GOOD_SESSION: list[Cell] = ["61" * 20, "", 5, 5, 0, 1.5]


@pytest.mark.parametrize(
    "change",
    [
        {"info_hash": "zz"},
        {"info_hash": 5},
        {"completed": "many"},
        {"completed": -1},
        {"claimed": -1},
        {"claimed": "much"},
        {"peers": 7},
        {"peers": [GOOD_PEER[:-1]]},
        {"peers": [["c0", *GOOD_PEER[1:]]]},
        {"peers": [[*GOOD_PEER[:5], float("nan")]]},
        {"peers": [[*GOOD_PEER[:5], "soon"]]},
        {"sessions": [GOOD_SESSION[:-1]]},
        {"sessions": [["61", *GOOD_SESSION[1:]]]},
        {"sessions": [[GOOD_SESSION[0], "", -1, 0, 0, 0.0]]},
        {"sessions": [None]},
    ],
)
def test_rows_that_are_damaged_are_refused_as_a_whole(change: dict[str, Any]) -> None:
    good = SwarmRow(
        info_hash=HASH.hex(), completed=0, claimed=0, peers=[GOOD_PEER], sessions=[GOOD_SESSION]
    )
    swarms = Swarms(SwarmPolicy(), OwnSeeder(1), rng=random.Random(1))
    with pytest.raises(ValueError, match="not a saved swarm"):
        swarms.restore([good, {**good, **change}], 0.0)  # type: ignore[typeddict-item]
    assert not list(swarms.export(0.0))
    swarms.restore([good], 0.0)
    assert len(list(swarms.export(0.0))) == 1


def test_doubled_rows_do_no_harm() -> None:
    row = SwarmRow(
        info_hash=HASH.hex(),
        completed=0,
        claimed=0,
        peers=[GOOD_PEER] * 2,
        sessions=[GOOD_SESSION] * 2,
    )
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    swarms.restore([row, row], 0.0)
    swarms.open(HASH, size=SIZE, claims=Ledger())
    request = AnnounceRequest(HASH, peer_id("x"), 1, left=1)
    reply = swarms.announce(request, packed("192.0.2.9"), LOCAL, 0.0)
    assert reply.peers == OWN + compact_endpoint(packed("192.0.2.1"), 1)
    assert sum(swarms.expire(10**6)) == 2
    assert (swarms._room.used, len(swarms._past)) == (0, 0)


def test_a_swarm_that_ends_while_old_peers_are_looked_for_gives_its_room_back_once() -> None:
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    hashes = [InfoHash(number.to_bytes(20)) for number in range(1, 2001)]
    for info_hash in hashes:
        swarms.open(info_hash, size=SIZE, claims=Ledger())
        request = AnnounceRequest(info_hash, peer_id("x"), 1, left=1)
        swarms.announce(request, packed("192.0.2.9"), LOCAL, 0.0)
    looks = swarms.expire(10**6)
    gone = next(looks)
    assert 0 < gone < 1000
    for info_hash in hashes[-1000:-500]:
        swarms.close(info_hash, "gone")
    for info_hash in hashes[-500:]:
        swarms.rest(info_hash, "it may come back")
    assert gone + sum(looks) == 1500
    assert (swarms._room.used, len(swarms._past)) == (0, 0)


# -- hybrids (BEP 52)

SHORT_V2 = InfoHash(b"2" * 20)


def hybrid_tracker() -> Tracker:
    tracker = Tracker()
    tracker.swarms.open(HASH, size=SIZE, claims=tracker.ledger, alias=SHORT_V2)
    return tracker


def test_clients_of_either_hash_meet_in_one_swarm() -> None:
    tracker = hybrid_tracker()
    tracker.announce("old", "192.0.2.1")
    reply = tracker.announce("new", "192.0.2.2", info_hash=SHORT_V2)
    assert compact_endpoint(packed("192.0.2.1"), 2000) in cut(reply.peers)
    reply = tracker.announce("old", "192.0.2.1")
    assert compact_endpoint(packed("192.0.2.2"), 2000) in cut(reply.peers)
    assert tracker.swarms.statistics(HASH).peers == 2


def test_a_client_that_announces_both_hashes_is_one_peer_and_hears_as_much_by_each() -> None:
    tracker = hybrid_tracker()
    other = compact_endpoint(packed("192.0.2.9"), 2000)
    tracker.announce("other", "192.0.2.9")
    for info_hash in (HASH, SHORT_V2):
        reply = tracker.announce("both", info_hash=info_hash)
        tracker.now -= 10
        assert other in cut(reply.peers)
    # No second helping by either, announced as often as it likes.
    for info_hash in (HASH, SHORT_V2):
        assert not tracker.announce("both", info_hash=info_hash).peers
        tracker.now -= 10
    assert tracker.swarms.statistics(HASH).peers == 2


def test_a_completion_announced_by_both_hashes_counts_once() -> None:
    tracker = hybrid_tracker()
    for event, left in ((AnnounceEvent.STARTED, SIZE), (COMPLETED, 0)):
        for info_hash in (HASH, SHORT_V2):
            done = SIZE - left
            tracker.announce("a", event=event, left=left, downloaded=done, info_hash=info_hash)
    assert (tracker.ledger.completions, tracker.ledger.delivered) == (1, SIZE)
    assert tracker.swarms.statistics(HASH).completed == 1


def test_a_scrape_of_either_hash_shows_the_one_swarm() -> None:
    tracker = hybrid_tracker()
    tracker.announce("old")
    tracker.announce("new", "192.0.2.2", info_hash=SHORT_V2)
    counts = tracker.swarms.scrape([HASH, SHORT_V2, OTHER])
    assert counts[HASH] == counts[SHORT_V2] == ScrapeCounts(1, 0, 2)
    assert counts[OTHER] == ScrapeCounts()


def test_a_closed_hybrid_tells_why_by_either_hash_and_can_be_opened_again() -> None:
    tracker = hybrid_tracker()
    tracker.swarms.close(HASH, "gone")
    assert refused(tracker) == refused(tracker, SHORT_V2) == ("gone", "never")
    assert tracker.swarms.scrape([SHORT_V2]) == {SHORT_V2: ScrapeCounts()}
    tracker.swarms.open(HASH, size=SIZE, claims=tracker.ledger, alias=SHORT_V2)
    assert tracker.announce("new", info_hash=SHORT_V2).peers


@pytest.mark.parametrize(
    ("local", "client", "told"),
    [
        ("172.17.0.2", "203.0.113.5", False),
        ("172.17.0.2", "172.17.0.1", True),
        ("192.168.1.2", "10.0.0.9", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.168.1.5", False),
        ("fe80::1", "2001:db8::5", False),
        ("100.64.0.1", "100.64.0.2", True),
        ("203.0.113.7", "192.168.1.5", True),
    ],
)
def test_our_own_private_address_is_told_to_its_own_kind(
    local: str, client: str, told: bool
) -> None:
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    swarms.open(HASH, size=SIZE, claims=Ledger())
    request = AnnounceRequest(HASH, peer_id("a"), 1, left=1)
    reply = swarms.announce(request, packed(client), packed(local), 0.0)
    wanted = [compact_endpoint(packed(local), OWN_PORT)] if told else []
    assert list(reply.endpoints()) == wanted


def test_once_an_hour_the_log_tells_of_an_address_with_more_peers_than_are_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Tracker(SwarmPolicy(peers_per_address=3))
    for port in range(2000, 2003):
        tracker.announce(f"{port}", port=port)
    assert not caplog.records
    for port in range(2003, 2040):
        # They are told of peers all the same.
        assert tracker.announce(f"{port}", port=port).peers
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("more than tracker.peers_per_address = 3 peers of a torrent announce")
    assert "from 192.0.2.1:" in line
    # A client whose port changed takes its own place, and is no crowd.
    for port in range(3000, 3010):
        assert tracker.announce("2000", port=port).peers
    tracker.now += 3600
    for port in range(2000, 2010):
        tracker.announce(f"{port}", port=port)
    assert len(caplog.records) == 2


def test_the_seeders_of_other_nodes_are_handed_out_in_the_place_of_ours() -> None:
    tracker = Tracker()
    near, far = OwnSeeder(7000), OwnSeeder(0, (compact_endpoint(packed("192.0.2.7"), 1),))
    tracker.swarms.placed[HASH] = (near, None, far)
    assert cut(tracker.announce("a").peers)[:3] == [
        compact_endpoint(LOCAL, 7000),
        OWN,
        compact_endpoint(packed("192.0.2.7"), 1),
    ]
    tracker.swarms.placed[HASH] = ()
    assert OWN not in cut(tracker.announce("b", "192.0.2.9").peers)
    # Of a torrent that isn't placed, we are the only seeder.
    tracker.swarms.placed = {OTHER: ()}
    assert OWN in cut(tracker.announce("c", "192.0.2.10").peers)
