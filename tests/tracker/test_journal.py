"""What is heard while the other nodes can't be told isn't lost, and doesn't grow without bound."""

from seeder.torrent.info import InfoHash
from seeder.tracker import journal
from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.journal import Journal, departed

ONE = InfoHash(b"1" * 20)
NONE, COMPLETED, STARTED = AnnounceEvent.NONE, AnnounceEvent.COMPLETED, AnnounceEvent.STARTED


def test_what_couldnt_be_told_is_told_later_and_what_came_since_counts() -> None:
    written = Journal(900, lambda _: True)
    for endpoint in (b"a", b"b", b"c"):
        written.heard(ONE, endpoint, COMPLETED)
    taken = written.take(3)
    assert len(written) == 0
    written.heard(ONE, b"a", NONE)
    written.heard(ONE, b"b", STARTED)
    written.heard(ONE, b"d", NONE)
    written.give_back(taken)
    told = {endpoint: event for (_, endpoint), event in written.take(9).items()}
    assert told == {b"a": COMPLETED, b"b": STARTED, b"c": COMPLETED, b"d": NONE}


def test_strays_push_nothing_out() -> None:
    written = Journal(900, lambda _: True)
    written.heard(ONE, b"a", STARTED)
    for number in range(2 * journal.MOST_STRAYS):
        stray = departed(ONE, number.to_bytes(6, "big"), 1.0)._replace(is_stray=True)
        written.left(stray)
    taken = written.take(journal.MOST_HEARD)
    assert taken[ONE, b"a"] is STARTED
    assert len(taken) == 1 + journal.MOST_STRAYS


def test_more_than_is_kept_means_that_everything_is_told() -> None:
    written = Journal(900, lambda _: True)
    for number in range(journal.MOST_HEARD + 1):
        written.heard(ONE, number.to_bytes(6, "big"), STARTED)
    assert written.everything
    assert len(written) == 0
    for number in range(journal.MOST_VISITS + 10):
        written.visited(ONE, number.to_bytes(4, "big"), 1)
    assert len(list(written.take_visits())) == journal.MOST_VISITS


def test_a_peer_is_told_of_once_in_each_span() -> None:
    written = Journal(900, lambda _: True)
    assert not written.is_due(901, 1799)
    assert written.is_due(1799, 1800)
