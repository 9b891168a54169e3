"""Intervals made up of days, hours and minutes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger.intervals import EVER, NEVER, cover, known_moment
from seeder.units import DAY, HOUR, MINUTE

minutes = st.integers(0, 400 * 24 * 60).map(lambda number: number * MINUTE)


@given(begin=minutes, end=minutes)
def test_pieces_join_to_the_interval_and_stand_for_whole_steps(begin: int, end: int) -> None:
    pieces = list(cover(begin, end))
    if begin >= end:
        assert pieces == []
        return
    assert [pieces[0][1], pieces[-1][2]] == [begin, end]
    for (_, _, last), (_, first, _) in pairwise(pieces):
        assert last == first
    assert all(first % step == last % step == 0 for step, first, last in pieces)
    assert len(pieces) <= 5
    # No more of the finer ones than lead to the next coarser.
    assert sum(last - first for step, first, last in pieces if step == MINUTE) < 2 * HOUR
    assert sum(last - first for step, first, last in pieces if step == HOUR) < 2 * DAY


def test_all_that_ever_was_is_days_alone() -> None:
    assert list(cover(EVER, NEVER)) == [(DAY, EVER, NEVER)]


@given(at=minutes, minutes_since=st.integers(0, 400), hours_since=st.integers(0, 400))
def test_a_moment_is_where_sums_can_begin(at: int, minutes_since: int, hours_since: int) -> None:
    kept = {MINUTE: max(minutes_since, hours_since) * DAY, HOUR: hours_since * DAY}
    moment = known_moment(at + 59.5, kept)
    assert 0 <= at - moment < DAY
    for step, first, _ in cover(moment, NEVER):
        assert step == DAY or first >= kept[step]


def test_moments_of_the_dst_change_are_like_any_other() -> None:
    # 2026-03-29 01:00 UTC, when Europe's clocks leave an hour out: days are UTC's.
    change = 1_774_746_000
    assert [known_moment(change + n * HOUR, {MINUTE: 0, HOUR: 0}) for n in range(3)] == [
        change + n * HOUR for n in range(3)
    ]
