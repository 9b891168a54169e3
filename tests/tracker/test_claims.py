"""What peers claim to have downloaded is counted once."""

import json
from collections.abc import Callable

import pytest

from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.belief import BELIEVED
from seeder.tracker.policy import SwarmPolicy
from tests.tracker.announcing import HASH, SIZE, Tracker, packed, peer_id

STARTED, COMPLETED, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.COMPLETED, AnnounceEvent.STOPPED


def test_growth_is_counted_and_what_was_there_at_first_sight_is_not() -> None:
    tracker = Tracker()
    tracker.announce("a", downloaded=300)
    assert tracker.ledger.delivered == 0
    tracker.announce("a", downloaded=400)
    tracker.announce("a", downloaded=400)
    tracker.announce("a", downloaded=650)
    assert tracker.ledger.delivered == 350


def test_a_download_counts_for_no_more_than_the_object() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STARTED)
    tracker.announce("a", downloaded=SIZE - 1)
    tracker.announce("a", downloaded=SIZE * 5)
    tracker.announce("a", downloaded=SIZE * 50)
    assert tracker.ledger.delivered == SIZE


def test_a_counter_that_goes_back_without_a_start_counts_no_byte_twice() -> None:
    tracker = Tracker()
    for downloaded in (0, 500, 100, 500, 600):
        tracker.announce("a", downloaded=downloaded)
    assert tracker.ledger.delivered == 600


def test_a_new_start_from_below_is_a_new_download() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STARTED)
    tracker.announce("a", downloaded=SIZE)
    tracker.announce("a", downloaded=0, event=STARTED)
    tracker.announce("a", downloaded=SIZE * 2)
    assert tracker.ledger.delivered == 2 * SIZE


def test_a_start_that_goes_on_counting_is_no_new_download() -> None:
    tracker = Tracker()
    tracker.announce("a", event=STARTED)
    tracker.announce("a", downloaded=SIZE)
    tracker.announce("a", downloaded=SIZE, event=STARTED)
    tracker.announce("a", downloaded=SIZE + 500, event=STARTED)
    assert tracker.ledger.delivered == SIZE


def test_what_a_stop_says_is_counted_too() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.announce("a", downloaded=400, event=STOPPED)
    assert tracker.ledger.delivered == 400
    tracker.announce("a", downloaded=400, event=STOPPED)
    tracker.announce("a", downloaded=500, event=STARTED)
    assert tracker.ledger.delivered == 500


def test_a_client_with_two_addresses_is_one_session() -> None:
    tracker = Tracker()
    for downloaded in (0, 700):
        tracker.announce("a", "192.0.2.1", downloaded=downloaded, key=b"k")
        tracker.announce("a", "2001:db8::1", downloaded=downloaded, key=b"k")
    for address in ("192.0.2.1", "2001:db8::1"):
        tracker.announce("a", address, left=0, downloaded=SIZE, event=COMPLETED, key=b"k")
    assert (tracker.ledger.delivered, tracker.ledger.completions) == (SIZE, 1)


def test_another_key_is_another_session() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", downloaded=100, key=b"k")
    tracker.announce("a", "192.0.2.2", downloaded=900, key=b"other")
    assert tracker.ledger.delivered == 0


def test_a_completion_counts_once_per_peer() -> None:
    tracker = Tracker()
    for _ in range(3):
        tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    tracker.announce("a", left=0, downloaded=SIZE, event=STOPPED)
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    assert tracker.ledger.completions == 1
    tracker.announce("b", "192.0.2.2", left=0, downloaded=SIZE, event=COMPLETED)
    assert tracker.ledger.completions == 2
    assert tracker.swarms.statistics(HASH).completed == 2


@pytest.mark.parametrize("left", [None, 1, SIZE])
def test_a_completion_with_something_left_does_not_count(left: int | None) -> None:
    tracker = Tracker()
    tracker.announce("a", left=left, downloaded=SIZE, event=COMPLETED)
    assert tracker.ledger.completions == 0
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED)
    assert tracker.ledger.completions == 1


def test_a_session_is_forgotten_in_time_and_then_begins_anew() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.announce("a", downloaded=100, left=0, event=COMPLETED)
    tracker.now += 10**6
    sum(tracker.swarms.expire(tracker.now))
    tracker.announce("a", downloaded=500, left=0, event=COMPLETED)
    assert (tracker.ledger.delivered, tracker.ledger.completions) == (100, 2)


def test_a_session_that_was_seen_again_does_not_hide_one_that_was_not() -> None:
    tracker = Tracker(SwarmPolicy(interval=100))
    tracker.announce("a", downloaded=0)
    tracker.announce("b", "192.0.2.2", downloaded=0)
    tracker.now += 400
    tracker.announce("a", downloaded=0)
    tracker.now += 400
    sum(tracker.swarms.expire(tracker.now))
    tracker.announce("b", "192.0.2.2", downloaded=500)
    assert tracker.ledger.delivered == 0
    tracker.announce("a", downloaded=500)
    assert tracker.ledger.delivered == 500


def test_stopping_and_starting_under_new_names_does_not_fill_the_memory() -> None:
    tracker = Tracker(SwarmPolicy(peers=5))
    for number in range(50):
        tracker.announce(f"a{number}", event=STARTED)
        tracker.announce(f"a{number}", event=STOPPED, downloaded=10)
    swarm = tracker.swarms._swarms[HASH]
    assert len(swarm) == 0
    assert len(swarm.claims) == 5
    assert tracker.announce("b", downloaded=0).incomplete == 1
    assert tracker.ledger.delivered == 50 * 10
    tracker.announce("b", event=STOPPED)
    assert (len(swarm), len(swarm.claims)) == (0, 5)


def complete(tracker: Tracker, name: str, address: str, *, downloaded: int = SIZE) -> None:
    """Announce a whole download."""
    port = 1000 + tracker.ledger.completions
    tracker.announce(name, address, port, event=STARTED, key=b"k")
    tracker.announce(name, address, port, left=0, downloaded=downloaded, event=COMPLETED, key=b"k")
    tracker.announce(name, address, port, left=0, downloaded=downloaded, event=STOPPED, key=b"k")


def test_who_downloaded_nothing_has_completed_nothing() -> None:
    tracker = Tracker()
    complete(tracker, "a", "192.0.2.1", downloaded=0)
    assert tracker.ledger.completions == 0
    assert tracker.announce("b", "192.0.2.2").downloaded == 0


def test_an_empty_object_is_complete_without_a_download() -> None:
    tracker = Tracker(opened=False)
    tracker.swarms.open(HASH, size=0, claims=tracker.ledger)
    tracker.announce("a", left=0, event=COMPLETED)
    assert tracker.ledger.completions == 1


def test_one_address_is_believed_a_few_downloads_a_day_under_whatever_names() -> None:
    tracker = Tracker()
    for number in range(400):
        complete(tracker, f"a{number}", "192.0.2.1")
    assert tracker.ledger.completions == BELIEVED
    assert tracker.ledger.delivered == BELIEVED * SIZE
    assert tracker.swarms.statistics(HASH).completed == BELIEVED
    # A day later it is so again, and there are others all the time.
    complete(tracker, "b", "198.51.100.1")
    assert tracker.ledger.completions == BELIEVED + 1
    tracker.now += 86_400
    for number in range(400):
        complete(tracker, f"c{number}", "192.0.2.1")
    assert tracker.ledger.completions == 2 * BELIEVED + 1


@pytest.mark.parametrize(
    "address", [lambda n: f"2001:db8:0:{n:x}::1", lambda n: f"192.0.2.{n % 256}"]
)
def test_a_48_and_a_24_are_believed_sixteen_times_what_an_address_is(
    address: Callable[[int], str],
) -> None:
    tracker = Tracker()
    for number in range(1000):
        tracker.now -= 29
        complete(tracker, f"a{number}", address(number))
    assert tracker.ledger.completions == 16 * BELIEVED
    assert tracker.ledger.delivered == 16 * BELIEVED * SIZE


def test_growth_again_and_again_is_believed_as_little() -> None:
    tracker = Tracker()
    for _ in range(100):
        tracker.announce("a", downloaded=0, event=STARTED)
        tracker.announce("a", downloaded=SIZE)
    assert tracker.ledger.delivered == BELIEVED * SIZE


def test_many_people_behind_one_address_are_believed_as_far_as_they_came_to_our_seeder() -> None:
    tracker = Tracker()
    for number in range(20):
        tracker.swarms.visited(HASH, packed("192.0.2.1"), 1, tracker.now)
        complete(tracker, f"a{number}", "192.0.2.1")
    assert (tracker.ledger.completions, tracker.ledger.delivered) == (20, 20 * SIZE)
    # Nobody else has come: what is claimed beyond is what any address may claim.
    for number in range(20):
        complete(tracker, f"b{number}", "192.0.2.1")
    assert tracker.ledger.completions == 20 + BELIEVED
    # And a liar who comes again and again is believed as many as an address may list.
    for number in range(400):
        tracker.now -= 30
        tracker.swarms.visited(HASH, packed("192.0.2.1"), 1, tracker.now)
        complete(tracker, f"c{number}", "192.0.2.1")
    assert tracker.ledger.completions == 32 + BELIEVED


@pytest.mark.parametrize("left", [0, 16_384, 2**63 - 1, None])
def test_a_magnet_link_whose_size_is_unknown_at_first_counts_once(left: int | None) -> None:
    tracker = Tracker()
    tracker.announce("a", left=left, event=STARTED, key=b"k")
    tracker.announce("a", left=SIZE, downloaded=10, key=b"k")
    tracker.announce("a", left=0, downloaded=SIZE, event=COMPLETED, key=b"k")
    assert (tracker.ledger.completions, tracker.ledger.delivered) == (1, SIZE)


def test_a_resumed_download_and_one_that_was_over_before_its_first_announce_count() -> None:
    tracker = Tracker()
    tracker.announce("a", "192.0.2.1", left=10, event=STARTED)
    tracker.announce("a", "192.0.2.1", left=0, downloaded=10, event=COMPLETED)
    tracker.announce("b", "192.0.2.2", left=0, downloaded=SIZE, event=COMPLETED)
    assert tracker.ledger.completions == 2


def test_nobody_completes_or_claims_for_somebody_else() -> None:
    tracker = Tracker()
    for key in (b"", b"secret"):
        tracker.announce("a", "192.0.2.1", 1000, event=STARTED, key=key)
        # A thief who knows the peer id.
        for event in (STARTED, COMPLETED):
            tracker.announce(
                "a", "198.51.100.1", 1000, left=0, downloaded=SIZE * 9, event=event, key=b""
            )
        tracker.announce("a", "198.51.100.1", 1000, event=STOPPED, key=b"")
    before = tracker.ledger.completions
    assert before == 1
    for key in (b"", b"secret"):
        tracker.announce("a", "192.0.2.1", 1000, left=0, downloaded=SIZE, event=COMPLETED, key=key)
    assert tracker.ledger.completions == before + 2


def test_whose_session_was_lost_counts_nothing_twice() -> None:
    """Names without end, stopped one after another, take the places of what is past."""
    tracker = Tracker(SwarmPolicy(peers=20))
    complete(tracker, "a", "192.0.2.1")
    complete(tracker, "b", "198.51.100.1")
    before = (tracker.ledger.completions, tracker.ledger.delivered)
    tracker.now -= 1000
    for number in range(100):
        complete(tracker, f"x{number}", f"2001:db8:0:{number:x}::1", downloaded=0)
    claims = tracker.swarms._swarms[HASH].claims
    # Those of other networks have kept their places.
    assert {session.peer_id for session in claims.export()} > {peer_id("a"), peer_id("b")}
    for name in ("x50", "x51"):
        tracker.announce(name, "2001:db8::1", left=0, downloaded=SIZE, event=COMPLETED, key=b"k")
    assert (tracker.ledger.completions, tracker.ledger.delivered) == before
    # Who begins only now isn't taken for one of them.
    complete(tracker, "y", "203.0.113.1")
    assert tracker.ledger.completions == before[0] + 1


def test_a_client_that_stops_and_starts_goes_on_after_a_restart_of_ours() -> None:
    tracker = Tracker()
    for key in (b"", b"k"):
        tracker.announce("a", downloaded=0, key=key)
        tracker.announce("a", downloaded=400, event=STOPPED, key=key)
    rows = json.loads(json.dumps(list(tracker.swarms.export(tracker.now))))
    fresh = Tracker(opened=False)
    fresh.swarms.restore(rows, fresh.now)
    fresh.open()
    for key in (b"", b"k"):
        fresh.announce("a", downloaded=500, event=STARTED, key=key)
    assert fresh.ledger.delivered == 200
