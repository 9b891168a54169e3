"""What addresses have had, and what becomes of those that had too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.units import MIB
from seeder.upload.standing import AddressHistory, CopyLimits, Standing

SIZE = 1000 * MIB
TORRENT = b"t" * 20


def test_an_address_sinks_by_what_it_was_sent() -> None:
    patience = CopyLimits()
    copies = (0, 1.9, 2, 2.9, 3, 3.9, 4, 100)
    assert [patience.standing(times * SIZE, SIZE) for times in copies] == [0, 0, 1, 1, 2, 2, 3, 3]
    twice = CopyLimits(copies=8)
    assert [twice.standing(times * SIZE, SIZE) for times in (3.9, 4, 5.9, 6, 8)] == [0, 1, 1, 2, 3]


def test_a_small_torrent_may_be_had_more_often() -> None:
    assert CopyLimits().standing(100 * MIB, 1) is Standing.FINE
    assert CopyLimits().standing(128 * MIB, 1) is Standing.LAST
    assert CopyLimits().may_fetch(79 * MIB, 1)
    assert not CopyLimits().may_fetch(80 * MIB, 1)


def test_there_may_be_no_end_to_what_an_address_may_have() -> None:
    without = CopyLimits(copies=None, origin_copies=None)
    assert without.standing(1e30, 1) is Standing.FINE
    assert without.may_fetch(1e30, 1)


def test_an_address_may_cost_about_one_object() -> None:
    assert CopyLimits().may_fetch(1.25 * SIZE - 1, SIZE)
    assert not CopyLimits().may_fetch(1.25 * SIZE, SIZE)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b"]),
        st.sampled_from([b"x", b"y"]),
        st.floats(0, 1e5),
        st.integers(0, 10**12),
        st.integers(0, 10**12),
    ),
    max_size=30,
)


@given(EVENTS, st.floats(0, 1e6))
def test_what_was_sent_is_remembered_by_halves(
    events: list[tuple[bytes, bytes, float, int, int]], pause: float
) -> None:
    memory = AddressHistory(half_life=1000.0)
    now = 0.0
    log = []
    for torrent, group, wait, sent, fetched in events:
        now += wait
        memory.add(torrent, group, now, sent=sent, fetched=fetched)
        log.append((torrent, group, now, sent, fetched))
    now += pause
    for torrent in (b"a", b"b"):
        for group in (b"x", b"y"):
            left = [
                (0.5 ** ((now - at) / 1000.0), sent, fetched)
                for t, g, at, sent, fetched in log
                if (t, g) == (torrent, group)
            ]
            assert memory.sent(torrent, group, now) == pytest.approx(
                sum(half * sent for half, sent, _ in left)
            )
            assert memory.fetched(torrent, group, now) == pytest.approx(
                sum(half * fetched for half, _, fetched in left)
            )


def test_the_memory_is_bounded_and_forgets_who_was_not_heard_of() -> None:
    memory = AddressHistory(most=3)
    for group in (b"a", b"b", b"c"):
        memory.add(TORRENT, group, 0.0, sent=1)
    memory.add(TORRENT, b"a", 0.0, sent=1)
    memory.add(TORRENT, b"d", 0.0, sent=1)
    assert len(memory._entries) == 3
    assert [memory.sent(TORRENT, group, 0.0) for group in (b"a", b"b", b"c", b"d")] == [2, 0, 1, 1]


def test_asking_is_not_remembered() -> None:
    memory = AddressHistory()
    assert memory.sent(TORRENT, b"a", 0.0) == memory.fetched(TORRENT, b"a", 0.0) == 0
    assert len(memory._entries) == 0


def test_who_downloads_again_and_again_is_refused_and_forgiven_two_days_later() -> None:
    memory, patience, now = AddressHistory(), CopyLimits(), 0.0
    seen = []
    while (found := patience.standing(memory.sent(TORRENT, b"a", now), SIZE)) < Standing.REFUSED:
        seen.append(found)
        memory.add(TORRENT, b"a", now, sent=SIZE // 2)
        now += 60
    assert len(seen) == 9
    assert sorted(seen) == seen
    assert patience.standing(memory.sent(TORRENT, b"a", now + 2 * 86400), SIZE) is Standing.FINE
