"""Which gains of peers are believed, case by case; the model is in peer/test_progress_model.py."""

import tracemalloc

import pytest

from seeder.ledger import rations
from seeder.ledger.counters import Tally
from seeder.ledger.delivery import Delivery
from seeder.ledger.spread import (
    MOST_OF_NETWORK,
    MOST_OF_REGION,
    MOST_PARTS,
    REMEMBERED_FOR,
    Household,
    Spreads,
)
from seeder.torrent.layout import Layout
from seeder.units import KIB, MIB

# Ten pieces, the last one short.
LAYOUT = Layout(95, 10)
SIZES = Delivery(LAYOUT)
A, B, C, D = (bytes([192, 0, 2, number]) for number in range(4))
HASH = b"h" * 20


class Swarm:
    """The peers of one torrent, which have been sent a hundred copies."""

    def __init__(self, *, uploaded: int = 9500, pieces: int = 10) -> None:
        self.spreads = Spreads()
        self.tally = Tally()
        self.tally.uploaded(uploaded)
        self.pieces = pieces
        self.now = 0.0

    def join(self, address: bytes, torrent: bytes = HASH) -> Household:
        return self.spreads.join(torrent, self.pieces, address, self.tally, self.now)

    def leave(self, household: Household, torrent: bytes = HASH) -> None:
        self.spreads.leave(torrent, household, self.now)


def test_a_gain_is_believed_if_another_address_was_seen_with_the_piece() -> None:
    swarm = Swarm()
    source, peer = swarm.join(A), swarm.join(B)
    source.sent(0, 10)
    assert source.brought(b"\x40\0", SIZES) == 0
    assert [peer.gained(index, 10, 10) for index in range(3)] == [10, 10, 0]
    assert swarm.join(C).gained(0, 4, 10) == 4


def test_it_is_believed_when_the_source_has_left_or_is_no_source_of_ours() -> None:
    swarm = Swarm()
    source = swarm.join(A)
    source.brought(True, SIZES)
    swarm.leave(source)
    swarm.now += REMEMBERED_FOR - 1
    assert swarm.join(B).gained(9, 5, 5) == 5


def test_an_address_is_no_source_of_its_own() -> None:
    swarm = Swarm()
    one, other = swarm.join(A), swarm.join(A)
    one.brought(True, SIZES)
    assert sum(other.gained(index, 10, 10) for index in range(9)) == 0
    assert other is one


def test_an_address_is_credited_each_piece_once_however_often_it_comes() -> None:
    swarm = Swarm()
    swarm.join(A).brought(True, SIZES)
    credited = 0
    for _ in range(60):
        peer = swarm.join(B)
        credited += sum(peer.gained(index, 10, 10) for index in range(9))
        swarm.leave(peer)
    assert credited == 90


def test_a_gain_waits_for_who_comes_later_and_brings_the_piece_along() -> None:
    swarm = Swarm()
    assert swarm.join(B).gained(0, 10, 10) == 0
    assert swarm.join(B).gained(9, 5, 5) == 0
    # In part from us, so that it isn't known how much.
    assert swarm.join(B).gained(1, 4, 10) == 0
    assert swarm.join(A).brought(b"\xe0\x40", SIZES) == 15
    assert swarm.join(C).brought(True, SIZES) == 0
    assert swarm.join(D).gained(0, 10, 10) == 10


def test_who_got_it_only_later_fed_nobody_before() -> None:
    swarm = Swarm()
    liar, peer = swarm.join(A), swarm.join(B)
    assert liar.gained(0, 10, 10) == liar.gained(1, 10, 10) == 0
    peer.sent(0, 10)
    assert peer.gained(1, 10, 10) == 10
    assert swarm.join(C).brought(True, SIZES) == 0


def test_of_what_never_left_us_nobody_can_have_gained_anything() -> None:
    swarm = Swarm(uploaded=0)
    source, peer = swarm.join(A), swarm.join(B)
    source.brought(True, SIZES)
    assert peer.gained(0, 10, 10) == 0
    swarm.tally.uploaded(25)
    # The first is lost: it was said too early.
    assert [peer.gained(index, 10, 10) for index in range(4)] == [0, 10, 10, 0]
    # Pieces of which we know that they left us are not for others to use up.
    swarm.tally.uploaded(10)
    source = swarm.join(C)
    source.sent(5, 10)
    assert [swarm.join(D).gained(index, 10, 10) for index in (6, 5, 1)] == [0, 10, 10]


def test_what_left_us_for_an_earlier_state_of_the_object_counts_too() -> None:
    swarm = Swarm(uploaded=95)
    swarm.join(A).brought(True, SIZES)
    swarm.tally = Tally()
    assert swarm.join(B).gained(0, 10, 10) == 10


def test_what_was_sent_before_a_peer_came_back_isnt_claimed_as_gained_from_others() -> None:
    swarm = Swarm()
    swarm.join(A).brought(True, SIZES)
    peer = swarm.join(B)
    peer.sent_in_part({0: 3, 1: 7})
    swarm.leave(peer)
    peer = swarm.join(B)
    peer.sent_in_part({0: 2})
    swarm.leave(peer)
    assert [swarm.join(B).gained(index, 10, 10) for index in (0, 0, 1, 2)] == [5, 0, 3, 10]


def test_what_was_seen_is_forgotten_a_day_after_the_last_peer_has_left() -> None:
    swarm = Swarm()
    one, other = swarm.join(A), swarm.join(B)
    one.brought(True, SIZES)
    assert other.gained(0, 10, 10) == 10
    swarm.leave(one)
    swarm.leave(other)
    swarm.now += REMEMBERED_FOR
    # Neither of them is credited because of what it said itself.
    again = swarm.join(A)
    assert [again.gained(index, 10, 10) for index in range(1, 9)] == [0] * 8
    swarm.leave(again)
    swarm.now += REMEMBERED_FOR
    swarm.join(b"\0\0\0\0")
    assert len(swarm.spreads._spreads[HASH].households) == 1
    assert len(swarm.spreads._left) == 0


def test_what_another_was_seen_with_too_is_not_forgotten() -> None:
    swarm = Swarm()
    one, other = swarm.join(A), swarm.join(B)
    one.brought(b"\xc0\0", SIZES)
    assert other.gained(0, 10, 10) == 10
    swarm.leave(one)
    swarm.now += REMEMBERED_FOR
    assert [swarm.join(C).gained(index, 10, 10) for index in (0, 1)] == [10, 0]


def test_all_at_once_is_the_same_as_one_by_one() -> None:
    every = b"\xff\xc0"
    for uploaded, credited in ((0, 0), (25, 17), (35, 27), (95, 52)):
        swarm = Swarm(uploaded=uploaded)
        swarm.join(A).brought(b"\xf8\x40", SIZES)
        parts = swarm.join(B)
        parts.sent_in_part({0: 3})
        assert parts.gained_all(every, SIZES) == credited
        assert parts.gained_all(every, SIZES) == 0
        # What only it was seen with waits for somebody who brings it along.
        assert swarm.join(C).brought(b"\x04\0", SIZES) == (10 if uploaded == 95 else 0)


def test_who_was_seen_with_nothing_is_forgotten_at_once() -> None:
    swarm = Swarm()
    peer = swarm.join(A)
    assert peer.brought(False, SIZES) == peer.brought(b"\0\x3f", SIZES) == 0
    swarm.leave(peer)
    assert swarm.spreads._spreads == {}


def test_a_bitfield_adds_to_what_was_seen_and_takes_nothing_back() -> None:
    swarm = Swarm()
    peer = swarm.join(A)
    peer.brought(b"\x80\0", SIZES)
    assert peer.gained(1, 10, 10) == 0
    peer.brought(b"\x20\0", SIZES)
    other = swarm.join(B)
    assert [other.gained(index, 10, 10) for index in range(4)] == [10, 10, 10, 0]
    # Whoever was seen with all pieces needs no bitfield any more.
    peer.brought(True, SIZES)
    assert [peer.gained(index, 10, 10) for index in range(4)] == [0] * 4


def test_of_a_large_network_only_so_many_addresses_count() -> None:
    swarm = Swarm()
    swarm.join(A).brought(True, SIZES)

    def credited(prefix: str, count: int, width: int) -> int:
        start = bytes.fromhex(prefix)
        joined = (swarm.join(start + number.to_bytes(width)) for number in range(count))
        return sum(peer.gained(0, 10, 10) for peer in joined) // 10

    assert credited("20010db80001", 1000, 2) == MOST_OF_NETWORK
    # Another site isn't touched by that, but all those of one provider have an end, too.
    assert credited("20010db80002", 10, 2) == 10
    assert credited("20010db9", 2**16 + 10, 4) == MOST_OF_NETWORK + 10
    swarm = Swarm()
    swarm.join(A).brought(True, SIZES)
    assert credited("0a00", 2**13, 2) == MOST_OF_REGION


def test_no_network_takes_the_memory_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rations, "MOST_BYTES", MIB)
    swarm = Swarm(pieces=8 * KIB * 8)
    torrents = [bytes([number]) * 20 for number in range(32)]
    for torrent in torrents:
        for number in range(32):
            swarm.join(bytes([10, 0, 0, number]), torrent).gained(0, 10, 10)
            swarm.join(bytes.fromhex("fd0000010000") + bytes([0, number]), torrent).gained(
                0, 10, 10
            )
    assert swarm.spreads._memory._used <= MIB / 8
    swarm.join(A).brought(True, SIZES)
    peer = swarm.join(B)
    assert peer.gained(0, 10, 10) == 10
    # What an address that isn't remembered says changes nothing, now or later.
    stranger = swarm.join(bytes([10, 0, 0, 77]), torrents[0])
    assert stranger.gained(5, 10, 10) == stranger.brought(b"\x04" * 8 * KIB, SIZES) == 0
    swarm.leave(stranger, torrents[0])
    assert swarm.join(B, torrents[0]).gained(5, 10, 10) == 0


def test_what_is_remembered_costs_what_is_booked_for_it() -> None:
    swarm = Swarm(pieces=10_000)
    tracemalloc.start()
    try:
        for number in range(2000):
            peer = swarm.join(bytes([10, number >> 8, number & 255, 1]))
            peer.gained(number, 10, 10)
            if number % 10 == 0:
                peer.sent_in_part(dict.fromkeys(range(9000, 9000 + 2 * MOST_PARTS), 5))
            swarm.leave(peer)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    booked = swarm.spreads._memory._used
    assert booked / 2 <= used <= booked
