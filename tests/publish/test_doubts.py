"""Nothing is believed after one look: when an object is hashed again, and when it isn't."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from seeder.publish.doubts import (
    AGREEING,
    FIRST_PAUSE,
    FIRST_REST,
    LONGEST_PAUSE,
    LONGEST_REST,
    MOST_DOUBTED_PIECES,
    Doubts,
)

WRONG, OTHER = b"w" * 20, b"o" * 20


def name_of(index: int) -> str:
    return f"object {index // 10}"


def doubted(doubts: Doubts, digest: bytes, now: float) -> float:
    """Read the same bytes until the object may be hashed again; return when that is."""
    doubts.add(5, digest, now)
    while not doubts.due(name_of, now):
        now = doubts.next_at
        doubts.read_again(5, digest, now)
    return now


def test_the_same_wrong_bytes_time_and_again_are_other_bytes() -> None:
    doubts = Doubts()
    assert not doubts
    assert doubts.next_at == inf
    doubts.add(5, WRONG, 100.0)
    assert doubts
    assert (doubts.first, doubts.next_at) == (5, 100.0 + FIRST_PAUSE)
    for _ in range(AGREEING):
        assert not doubts.due(name_of, doubts.next_at)
        doubts.read_again(5, WRONG, doubts.next_at)
    assert doubts.due(name_of, 110.0) == {"object 0"}
    doubts.make_anew({"object 0"}, 110.0)
    assert not doubts
    assert not doubts.due(name_of, inf)


def test_bytes_that_differ_each_time_are_read_ever_more_seldom() -> None:
    doubts, now, reads = Doubts(), 0.0, 0
    doubts.add(5, WRONG, now)
    while now < 86400:
        now = doubts.next_at
        doubts.read_again(5, WRONG if reads % 2 else OTHER, now)
        reads += 1
        assert not doubts.due(name_of, now)
        assert doubts.next_at - now <= LONGEST_PAUSE
    assert reads < 40


def test_a_piece_that_comes_right_is_forgotten() -> None:
    doubts = Doubts()
    doubts.add(5, WRONG, 0.0)
    doubts.add(7, OTHER, 0.0)
    doubts.dispel(5)
    assert (doubts.first, bool(doubts)) == (7, True)
    doubts.dispel(7)
    doubts.dispel(7)
    assert (doubts.first, bool(doubts)) == (None, False)
    doubts.read_again(7, OTHER, 1.0)
    assert not doubts
    doubts.add(5, WRONG, 50.0)
    assert doubts.next_at == 50.0 + FIRST_PAUSE


@given(st.integers(1, 12))
def test_a_store_that_gives_this_and_that_has_it_hashed_ever_more_seldom(times: int) -> None:
    doubts, now, before = Doubts(), 0.0, -inf
    rest = FIRST_REST
    for _ in range(times):
        now = doubted(doubts, WRONG, now)
        assert now - before >= rest or before == -inf
        rest = rest if before == -inf else min(2 * rest, LONGEST_REST)
        before = now
        doubts.make_anew({"object 0"}, now)


def test_each_object_of_a_bundle_rests_by_itself() -> None:
    doubts, now = Doubts(), 0.0
    for index in (5, 15, 25):
        doubts.add(index, WRONG, now)
    for _ in range(AGREEING):
        now = doubts.next_at
        doubts.read_again(5, WRONG, now)
    everything = {"object 0", "object 1", "object 2"}
    assert doubts.due(name_of, now) == everything
    doubts.make_anew({"object 0", "object 2"}, now)
    for index in (5, 15):
        doubts.add(index, WRONG, now)
    for index in (5, 15):
        assert not doubts.due(name_of, now)
        for _ in range(AGREEING):
            assert doubts.first == index
            now = doubts.next_at
            doubts.read_again(index, WRONG, now)
    # The first one rests still, and keeps nobody waiting.
    assert doubts.due(name_of, now) == {"object 1"}
    doubts.forget()
    assert not doubts.due(name_of, inf)


def test_what_was_sure_is_in_doubt_when_it_changes() -> None:
    doubts = Doubts()
    now = doubted(doubts, WRONG, 0.0)
    doubts.read_again(5, OTHER, now)
    assert not doubts.due(name_of, inf)


def test_no_more_than_a_few_pieces_are_remembered() -> None:
    doubts = Doubts()
    for index in range(10_000):
        doubts.add(index, WRONG, 0.0)
    for index in range(MOST_DOUBTED_PIECES):
        assert doubts
        doubts.dispel(index)
    assert not doubts
