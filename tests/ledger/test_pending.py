"""What waits for the ledger's file: under its own minute, and each count once."""

from seeder.ledger.counters import COUNTERS, Counters
from seeder.ledger.groups import GroupCounts
from seeder.ledger.holders import HolderCounts
from seeder.ledger.node import NodeFigures
from seeder.ledger.pending import MOST_MINUTES, Pending
from seeder.ledger.records import Entry
from tests.ledger.support import NELSON

UPLOADED = COUNTERS.index("uploaded_bytes")


def entry(uploaded: int) -> Entry:
    return Entry(NELSON, (None, None, None, "", 0, 0), Counters(uploaded_bytes=uploaded).values())


def note(pending: Pending, minute: int, uploaded: int, written: int = 0) -> None:
    before = {NELSON: entry(written)} if written else {}
    pending.note(minute, [entry(uploaded)], before, node=None, groups={}, holders={})


def uploaded(pending: Pending) -> dict[int, int]:
    return {at: counts.counts[NELSON][UPLOADED] for at, counts in pending.minutes.items()}


def test_only_what_is_new_waits_under_each_minute() -> None:
    pending = Pending()
    note(pending, 60, 10, written=3)
    note(pending, 60, 11, written=3)
    note(pending, 120, 15, written=3)
    assert uploaded(pending) == {60: 8, 120: 4}
    pending.clear()
    note(pending, 180, 16, written=15)
    assert uploaded(pending) == {180: 1}


def test_the_oldest_minutes_are_added_up_and_none_is_lost() -> None:
    pending = Pending()
    for minute in range(2 * MOST_MINUTES):
        note(pending, 60 * minute, minute + 1)
    assert len(pending.minutes) == MOST_MINUTES
    assert sum(uploaded(pending).values()) == 2 * MOST_MINUTES
    assert min(uploaded(pending)) == 60 * MOST_MINUTES


def test_what_the_node_did_before_the_first_look_is_not_counted() -> None:
    pending = Pending()
    for minute, figures in ((60, NodeFigures(misses=5)), (120, NodeFigures(misses=9))):
        pending.note(minute, [], {}, node=figures, groups={}, holders={})
    assert [each.node for each in pending.minutes.values()] == [
        NodeFigures(),
        NodeFigures(misses=4),
    ]


def test_news_of_groups_and_holders_add_up_in_a_minute() -> None:
    pending = Pending()
    for _ in range(2):
        pending.note(
            60,
            [],
            {},
            node=None,
            groups={"office": GroupCounts(3)},
            holders={"ada": HolderCounts(completed=1)},
        )
    [counts] = pending.minutes.values()
    assert counts.groups == {"office": GroupCounts(6)}
    assert counts.holders == {"ada": HolderCounts(completed=2)}
