from hypothesis import given
from hypothesis import strategies as st

from seeder.peer.batch import Batch
from tests.peer.wire import piece_header

PIECE = bytes(range(256)) * 4
BLOCKS = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=1, max_size=5)
RUNS = st.lists(st.tuples(st.integers(0, 9), BLOCKS), max_size=4)
PARTS = st.tuples(st.lists(st.binary(min_size=1, max_size=40), max_size=2), RUNS)
Parts = tuple[list[bytes], list[tuple[int, list[tuple[int, int]]]]]


def fill(parts: Parts) -> tuple[Batch, bytes, list[int]]:
    """Return a batch, the bytes that it should send, and for each one its piece (-1: none)."""
    batch, (control, runs) = Batch(), parts
    for message in control:
        batch.add(message)
    wire = b"".join(control)
    owner = [-1] * len(wire)
    for index, blocks in runs:
        assert batch.add_blocks(index, PIECE, blocks) == sum(length for _, length in blocks)
        for begin, length in blocks:
            wire += piece_header(index, begin, length) + PIECE[begin : begin + length]
            owner += [-1] * 13 + [index] * length
    return batch, wire, owner


def send(batch: Batch, count: int) -> tuple[bytes, bool]:
    """Let a socket take `count` bytes; return them and whether that was all."""
    data = b"".join(batch.buffers)[:count]
    return data, batch.sent(len(data))


@given(PARTS, st.lists(st.integers(0, 700), max_size=20), st.booleans())
def test_the_stream_is_right_however_little_the_socket_takes(
    parts: Parts, sizes: list[int], copied: bool
) -> None:
    batch, wire, owner = fill(parts)
    sent = b""
    for count in [*sizes, len(wire)]:
        if copied:
            batch.let_go()
        if sent == wire:
            break
        data, done = send(batch, count)
        sent += data
        assert done == (sent == wire)
    assert sent == wire
    booked = batch.settle()
    assert sum(payload for _, payload in booked) == sum(index >= 0 for index in owner)
    assert not batch


@given(PARTS, st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_exactly_the_payload_that_reached_the_socket_is_booked(
    parts: Parts, sizes: list[int], copied: bool
) -> None:
    batch, wire, owner = fill(parts)
    sent = 0
    for count in sizes:
        if sent == len(wire):
            break
        sent += len(send(batch, count)[0])
        if copied:
            batch.let_go()
    booked = batch.settle()
    for piece in range(10):
        expected = owner[:sent].count(piece)
        assert sum(payload for index, payload in booked if index == piece) == expected
    assert not batch
    assert batch.settle() == []


def test_blocks_are_views_of_the_piece_until_they_are_let_go() -> None:
    piece = bytearray(1000)
    batch = Batch()
    batch.add_blocks(0, piece, [(0, 400), (400, 400)])
    assert [type(buffer) for buffer in batch.buffers] == [bytes, memoryview] * 2
    before = b"".join(batch.buffers)
    batch.sent(20)
    batch.let_go()
    piece.clear()  # BufferError while a view of it is left
    assert b"".join(batch.buffers) == before[20:]


def test_a_batch_is_empty_when_nothing_is_left_to_send() -> None:
    batch = Batch()
    assert not batch
    batch.add(b"abc")
    assert batch
    assert not batch.sent(1)
    assert batch
    assert batch.sent(2)
    assert not batch
