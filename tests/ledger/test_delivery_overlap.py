"""Bytes sent over HTTP and HAVEs of the same address: whichever comes first is credited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger import delivery as overlap_module
from seeder.ledger.delivery import RANGES, REMEMBERED, Delivery, Overlap
from seeder.torrent.layout import Layout
from seeder.units import MIB
from tests.ledger.support import claims

LAYOUT = Layout(1000, 100)
A, B = b"a" * 20, b"b" * 20
HOME = bytes([192, 0, 2, 1])


def peer_of(overlap: Overlap, torrent: bytes = A, home: bytes = HOME) -> Delivery:
    delivery = Delivery(LAYOUT)
    overlap.join(torrent, home, LAYOUT, delivery)
    return delivery


def test_without_a_peer_all_that_is_sent_is_delivered() -> None:
    overlap = Overlap()
    assert overlap.sent(A, HOME, LAYOUT, 50, 300) == 300
    assert overlap.sent(A, HOME, LAYOUT, 50, 300) == 300


def test_a_peer_that_comes_later_is_not_credited_what_came_over_http() -> None:
    overlap = Overlap()
    overlap.sent(A, HOME, LAYOUT, 0, 130)
    overlap.sent(A, HOME, LAYOUT, 130, 20)
    peer = peer_of(overlap)
    peer.arrived_with(False)
    assert [peer.have(index) for index in range(3)] == [0, 50, 100]


def test_a_connected_peer_and_http_share_what_there_is_to_gain() -> None:
    overlap = Overlap()
    peer = peer_of(overlap)
    assert peer.have(0) == 100
    assert overlap.sent(A, HOME, LAYOUT, 0, 150) == 50
    assert peer.sent(1, 40) == 40
    assert overlap.sent(A, HOME, LAYOUT, 150, 50) == 10
    assert peer.have(1) == 0


def test_others_have_nothing_to_do_with_it() -> None:
    overlap = Overlap()
    peers = peer_of(overlap, B), peer_of(overlap, A, bytes([192, 0, 2, 2]))
    assert overlap.sent(A, HOME, LAYOUT, 0, 100) == 100
    assert [peer.have(0) for peer in peers] == [100, 100]


def test_of_several_peers_of_an_address_the_one_that_lacks_least_counts() -> None:
    overlap = Overlap()
    one, other = peer_of(overlap), peer_of(overlap)
    assert one.have(0) == 100
    assert overlap.sent(A, HOME, LAYOUT, 0, 200) == 100
    assert other.have(0) == other.have(1) == 0


def test_who_has_left_is_not_asked() -> None:
    overlap = Overlap()
    peer = peer_of(overlap)
    assert claims(peer, True) == 1000
    assert overlap.sent(A, HOME, LAYOUT, 0, 100) == 0
    overlap.leave(A, HOME, peer)
    assert overlap.sent(A, HOME, LAYOUT, 0, 100) == 100


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 999), st.integers(1, 400)) | st.just(None),
        max_size=30,
    )
)
def test_nothing_is_credited_beyond_the_object(
    events: list[tuple[bool, int, int] | None],
) -> None:
    """A client that gets each byte once, however it gets it and whenever its peer connects."""
    overlap, credited = Overlap(), 0
    had: set[int] = set()
    peer: Delivery | None = None
    for event in events:
        if event is None:
            if peer is None:
                peer = peer_of(overlap)
                peer.arrived_with(_bits(had))
            continue
        over_http, start, count = event
        stop = min(start + count, 1000)
        if over_http and not had & set(range(start, stop)):
            had |= set(range(start, stop))
            credited += overlap.sent(A, HOME, LAYOUT, start, stop - start)
        elif peer is not None and _has(had, start // 100):
            credited += peer.have(start // 100)
    assert credited <= len(had)


def _has(had: set[int], index: int) -> bool:
    return had.issuperset(range(100 * index, 100 * index + 100))


def _bits(had: set[int]) -> bytes:
    bits = sum(1 << (15 - index) for index in range(10) if _has(had, index))
    return bits.to_bytes(2)


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    large = Layout(1000 * MIB, MIB)
    overlap = Overlap()
    overlap.sent(A, HOME, large, 0, 500 * MIB)
    peer = Delivery(large)
    overlap.join(A, HOME, large, peer)
    assert peer.have(0) == MIB
    assert peer.have((500 * MIB - REMEMBERED) // MIB) == 0
    for index in range(RANGES + 1):
        overlap.sent(B, HOME, LAYOUT, 50 * index, 1)
    peer = peer_of(overlap, B)
    assert peer.have(0) == 99
    monkeypatch.setattr(overlap_module, "MOST_ADDRESSES", 3)
    for number in range(10):
        overlap.sent(A, bytes([198, 51, 100, number]), LAYOUT, 0, 100)
    assert len(overlap._addresses) <= 3
    assert overlap.sent(B, HOME, LAYOUT, 0, 100) == 0
    overlap.leave(B, HOME, peer)
