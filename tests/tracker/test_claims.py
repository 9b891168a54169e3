"""What peers claim to have downloaded is counted once."""

import pytest

from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.swarm import SwarmPolicy
from tests.tracker.announcing import HASH, SIZE, Tracker

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
        tracker.announce("a", left=0, event=COMPLETED)
    tracker.announce("a", left=0, event=STOPPED)
    tracker.announce("a", left=0, event=COMPLETED)
    assert tracker.ledger.completions == 1
    tracker.announce("b", "192.0.2.2", left=0, event=COMPLETED)
    assert tracker.ledger.completions == 2
    assert tracker.swarms.statistics(HASH).completed == 2


@pytest.mark.parametrize("left", [None, 1, SIZE])
def test_a_completion_with_something_left_does_not_count(left: int | None) -> None:
    tracker = Tracker()
    tracker.announce("a", left=left, event=COMPLETED)
    assert tracker.ledger.completions == 0
    tracker.announce("a", left=0, event=COMPLETED)
    assert tracker.ledger.completions == 1


def test_a_session_is_forgotten_in_time_and_then_begins_anew() -> None:
    tracker = Tracker()
    tracker.announce("a")
    tracker.announce("a", downloaded=100, left=0, event=COMPLETED)
    tracker.now += 10**6
    tracker.swarms.expire(tracker.now)
    tracker.announce("a", downloaded=500, left=0, event=COMPLETED)
    assert (tracker.ledger.delivered, tracker.ledger.completions) == (100, 2)


def test_a_session_that_was_seen_again_does_not_hide_one_that_was_not() -> None:
    tracker = Tracker(SwarmPolicy(interval=100))
    tracker.announce("a", downloaded=0)
    tracker.announce("b", "192.0.2.2", downloaded=0)
    tracker.now += 400
    tracker.announce("a", downloaded=0)
    tracker.now += 400
    tracker.swarms.expire(tracker.now)
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
    assert len(list(swarm.claims.export())) == 10
    # Those beyond are listed like everybody else, but claim nothing.
    assert tracker.announce("b", downloaded=0).incomplete == 1
    tracker.announce("b", downloaded=SIZE)
    assert tracker.ledger.delivered == 10 * 10
    tracker.announce("b", event=STOPPED)
    assert len(swarm) == 0
