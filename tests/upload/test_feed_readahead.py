from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from seeder.torrent.layout import Layout
from seeder.units import MIB
from seeder.upload.feed import EXTENT, TRUST, WINDOW_AHEAD, ReadAhead

PIECES = 1000
A_LOT = PIECES * MIB


def guesser(pieces: int = PIECES, piece_length: int = MIB) -> ReadAhead:
    return ReadAhead(Layout(pieces * piece_length, piece_length))


def go_through(guesses: ReadAhead, indices: Iterable[int], taken: int) -> list[range]:
    """Return what is guessed while a peer is given these pieces."""
    return [found for index in indices if (found := guesses.given(index, taken))]


def test_nothing_is_guessed_for_a_peer_that_has_taken_nothing() -> None:
    guesses = guesser()
    assert go_through(guesses, range(50), 0) == []
    assert not guesses.missed(500, 0)


def test_the_extent_that_a_cold_piece_begins_grows_with_what_was_taken() -> None:
    found = [guesser().missed(501, taken * MIB // TRUST) for taken in (1, 2, 7, 8, 500)]
    assert [each.start for each in found] == [501] * 5
    assert [len(each) for each in found] == [1, 2, 7, 8, 8]
    assert len(found[-1]) * MIB == EXTENT


def test_an_extent_ends_with_the_object() -> None:
    assert guesser(pieces=21).missed(20, A_LOT) == range(20, 21)


def test_pieces_larger_than_an_extent_are_not_fetched_for_their_neighbours_sake() -> None:
    assert not guesser(piece_length=2 * EXTENT).missed(20, A_LOT)


def test_a_peer_that_goes_from_front_to_back_is_read_ahead_of_in_extents() -> None:
    guesses = guesser()
    found = go_through(guesses, range(100), A_LOT)
    assert [found[0].start, *(each.stop for each in found[:-1])] == [each.start for each in found]
    assert 100 - EXTENT // MIB <= found[-1].stop - WINDOW_AHEAD // MIB <= 100
    assert {len(each) * MIB for each in found[1:]} == {EXTENT}


def test_order_is_order_though_pieces_overtake_each_other() -> None:
    guesses = guesser()
    assert go_through(guesses, [0, 2, 1, 4, 3, 3, 6, 5, 8, 7], A_LOT) != []


def test_a_peer_that_jumps_about_is_not_read_ahead_of() -> None:
    guesses = guesser()
    assert go_through(guesses, (index * 377 % PIECES for index in range(PIECES)), A_LOT) == []


def test_a_peer_that_jumps_is_followed_once_it_goes_on_from_there() -> None:
    guesses = guesser()
    go_through(guesses, range(10), A_LOT)
    found = go_through(guesses, range(500, 510), A_LOT)
    assert found[0].start > 500
    assert guesses.missed(3, A_LOT) == range(3, 11)


def test_the_last_piece_is_reached() -> None:
    guesses = guesser(pieces=30)
    found = go_through(guesses, range(30), A_LOT)
    assert found[-1].stop == 30


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.booleans(), st.integers(0, 299), st.integers(0, 3 * MIB))),
)
def test_in_all_a_multiple_of_what_was_taken_is_guessed_and_all_of_it_exists(
    pieces: int, events: list[tuple[bool, int, int]]
) -> None:
    guesses = guesser(pieces)
    taken, fetched = 0, set[int]()
    for cold, index, more in events:
        taken += more
        if index < pieces:
            found = guesses.missed(index, taken) if cold else guesses.given(index, taken)
            assert not found or 0 <= found.start < found.stop <= pieces
            guesses.fetched(len(set(found) - fetched) * MIB)
            fetched.update(found)
            assert len(fetched) * MIB <= TRUST * taken


def test_what_was_there_already_is_not_charged_to_the_peer() -> None:
    guesses = guesser()
    for index in (1, 9, 17, 25):
        assert len(guesses.missed(index, MIB)) == 8
    guesses.fetched((TRUST - 4) * MIB)
    assert guesses.missed(33, MIB) == range(33, 37)
    guesses.fetched(4 * MIB)
    assert not guesses.missed(41, MIB)
