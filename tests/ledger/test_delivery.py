import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger.delivery import Delivery
from seeder.torrent.layout import Layout
from tests.ledger.support import claims

# Ten pieces, the last one short, and six spare bits in the bitfield.
LAYOUT = Layout(size=95, piece_length=10)
LAST = 9


def test_a_have_counts_the_whole_piece_once() -> None:
    delivery = Delivery(LAYOUT)
    assert delivery.have(0) == 10
    assert delivery.have(0) == 0
    assert delivery.have(LAST) == 5


def test_what_a_peer_brought_along_is_not_a_gain() -> None:
    delivery = Delivery(LAYOUT)
    delivery.arrived_with(b"\xa0\x40")  # pieces 0, 2 and 9
    assert [delivery.have(index) for index in (0, 2, 9)] == [0, 0, 0]
    assert [delivery.sent(index, 5) for index in (0, 2, 9)] == [0, 0, 0]
    assert delivery.have(1) == 10


@pytest.mark.parametrize("everything", [True, b"\xff\xc0", b"\xff\xff"])
def test_a_peer_that_comes_complete_gains_nothing(everything: bytes | bool) -> None:
    delivery = Delivery(LAYOUT)
    delivery.arrived_with(everything)
    assert delivery.complete
    assert delivery.have(3) == 0
    assert delivery.sent(3, 10) == 0
    assert claims(delivery, True) == 0


@pytest.mark.parametrize("nothing", [None, False, b"\x00\x00", b"\x00\x3f"])
def test_a_peer_that_comes_empty_can_gain_everything(nothing: bytes | bool | None) -> None:
    delivery = Delivery(LAYOUT)
    if nothing is not None:
        delivery.arrived_with(nothing)
    assert not delivery.complete
    assert sum(delivery.have(index) for index in range(10)) == 95
    assert delivery.complete


def test_blocks_count_as_they_are_sent_and_the_have_adds_the_rest() -> None:
    delivery = Delivery(LAYOUT)
    assert delivery.sent(0, 4) == 4
    assert delivery.sent(0, 2) == 2
    assert delivery.have(0) == 4
    assert delivery.sent(0, 10) == 0


def test_a_piece_sent_again_counts_no_more_than_its_size() -> None:
    delivery = Delivery(LAYOUT)
    assert delivery.sent(LAST, 4) == 4
    assert delivery.sent(LAST, 4) == 1
    assert delivery.sent(LAST, 4) == 0
    assert delivery.have(LAST) == 0


def test_padding_is_no_gain_whether_it_is_sent_or_not() -> None:
    delivery = Delivery(Layout(20, 10), lambda index: (10, 4)[index])
    assert delivery.sent(1, 3) == 3
    assert delivery.sent(1, 7) == 1
    assert delivery.have(1) == 0
    other = Delivery(Layout(20, 10), lambda index: (10, 4)[index])
    assert claims(other, True) == 14


def test_a_peer_is_complete_only_when_it_says_so() -> None:
    delivery = Delivery(LAYOUT)
    assert sum(delivery.sent(index, 10) for index in range(10)) == 95
    assert not delivery.complete
    assert sum(delivery.have(index) for index in range(10)) == 0
    assert delivery.complete


def test_a_late_bitfield_adds_what_is_new_in_it() -> None:
    delivery = Delivery(LAYOUT)
    delivery.arrived_with(b"\x80\x00")
    delivery.sent(1, 3)
    delivery.sent(2, 10)
    assert claims(delivery, b"\x60\x40") == 7 + 5  # pieces 1, 2 and 9; not 0 taken back
    assert claims(delivery, b"\xe0\x40") == 0
    assert claims(delivery, False) == 0
    assert claims(delivery, b"\xff\xc0") == claims(delivery, True) + 60
    assert delivery.complete
    assert claims(delivery, b"\xff\xc0") == 0


def test_a_late_have_all_adds_what_was_missing() -> None:
    delivery = Delivery(LAYOUT)
    delivery.arrived_with(b"\x80\x00")
    delivery.sent(1, 3)
    delivery.sent(2, 10)
    delivery.have(3)
    assert claims(delivery, True) == 95 - 10 - 3 - 10 - 10
    assert delivery.complete


def test_a_bitfield_of_another_length_is_refused() -> None:
    for wrong in (b"", b"\x00", b"\x00\x00\x00"):
        with pytest.raises(ValueError, match="bitfield"):
            Delivery(LAYOUT).arrived_with(wrong)


@pytest.mark.parametrize("index", [-1, 10, 2**32 - 1])
def test_a_piece_outside_the_torrent_is_refused(index: int) -> None:
    delivery = Delivery(LAYOUT)
    with pytest.raises(IndexError):
        delivery.have(index)
    with pytest.raises(IndexError):
        delivery.sent(index, 1)
    delivery.arrived_with(True)
    with pytest.raises(IndexError):
        delivery.have(index)


def test_the_bitfield_that_arrived_is_not_written_to() -> None:
    bitfield = b"\x80\x00"
    one, other = Delivery(LAYOUT), Delivery(LAYOUT)
    one.arrived_with(bitfield)
    other.arrived_with(bitfield)
    assert one.have(5) == 10
    assert other.have(5) == 10


def test_an_empty_object_is_complete_from_the_start() -> None:
    delivery = Delivery(Layout(size=0, piece_length=10))
    delivery.arrived_with(b"")
    assert delivery.complete
    assert claims(delivery, True) == 0


def test_an_idle_peer_costs_its_bitfield_and_no_more() -> None:
    layout = Layout(size=200_000 * 16, piece_length=16)
    bitfield = b"\x55" * 25_000
    tracemalloc.start()
    try:
        deliveries = [Delivery(layout) for _ in range(100)]
        for delivery in deliveries:
            delivery.arrived_with(bitfield)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 100 * 400  # the 25 kB are the message's, kept and not copied


class Model:
    """The rules of design section 2, in the plainest words."""

    def __init__(self, layout: Layout) -> None:
        self.size = layout.piece_size
        self.announced: set[int] = set()
        self.credit = dict.fromkeys(range(layout.piece_count), 0)

    def have(self, index: int) -> int:
        if index in self.announced:
            return 0
        self.announced.add(index)
        return self._add(index, self.size(index))

    def sent(self, index: int, count: int) -> int:
        return 0 if index in self.announced else self._add(index, count)

    def _add(self, index: int, count: int) -> int:
        gained = min(count, self.size(index) - self.credit[index])
        self.credit[index] += gained
        return gained


@given(
    layout=st.builds(Layout, st.integers(1, 300), st.integers(1, 20)),
    data=st.data(),
)
def test_gains_follow_the_plain_model(layout: Layout, data: st.DataObject) -> None:
    count = layout.piece_count
    delivery, model = Delivery(layout), Model(layout)
    had = data.draw(st.none() | st.booleans() | st.sets(st.integers(0, count - 1)))
    if isinstance(had, bool):
        delivery.arrived_with(had)
        model.announced = set(range(count)) if had else set()
    elif had is not None:
        bits = sum(1 << (count - 1 - index) for index in had) << (-count % 8)
        delivery.arrived_with(bits.to_bytes((count + 7) // 8))
        model.announced = set(had)
    brought = sum(layout.piece_size(index) for index in model.announced)
    total = 0
    piece = st.integers(0, count - 1)
    step = st.tuples(st.just("have"), piece) | st.tuples(st.just("sent"), piece, st.integers(0, 25))
    for name, index, *rest in data.draw(st.lists(step, max_size=60)):
        gained = getattr(delivery, name)(index, *rest)
        assert gained == getattr(model, name)(index, *rest)
        assert delivery.complete == (len(model.announced) == count)
        total += gained
    assert total <= layout.size - brought
    assert claims(delivery, True) == layout.size - brought - total
