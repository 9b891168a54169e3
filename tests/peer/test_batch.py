import pytest
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


@given(PARTS, st.lists(st.integers(0, 700), max_size=20))
def test_the_stream_is_right_however_little_the_socket_takes(
    parts: Parts, sizes: list[int]
) -> None:
    batch, wire, owner = fill(parts)
    sent = b""
    for count in [*sizes, len(wire)]:
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
    parts: Parts, sizes: list[int], taken_back: bool
) -> None:
    batch, wire, owner = fill(parts)
    sent = 0
    for count in sizes:
        if sent == len(wire) or not batch:
            break
        sent += len(send(batch, count)[0])
        if taken_back:
            batch.take_back()
    booked = batch.settle()
    for piece in range(10):
        expected = owner[:sent].count(piece)
        assert sum(payload for index, payload in booked if index == piece) == expected
    assert not batch
    assert batch.settle() == []


@given(PARTS, st.integers(0, 3000))
def test_blocks_taken_back_are_those_that_have_not_begun_to_go_out(
    parts: Parts, count: int
) -> None:
    batch, wire, _ = fill(parts)
    sent = b""
    if wire:
        sent, _ = send(batch, min(count, len(wire)))
    back = batch.take_back()
    rest = b"".join(batch.buffers)
    given_back = [
        piece_header(index, begin, length) + PIECE[begin : begin + length]
        for index, blocks in reversed(back)
        for begin, length in blocks
    ]
    assert sent + rest + b"".join(given_back) == wire
    control, runs = parts
    at, boundaries = len(b"".join(control)), list[int]()
    for _, blocks in runs:
        for _, length in blocks:
            boundaries.append(at)
            at += 13 + length
    assert len(given_back) == sum(start >= len(sent) for start in boundaries)


def test_blocks_are_views_of_the_piece_until_they_are_taken_back() -> None:
    piece = bytearray(1000)
    batch = Batch()
    batch.add_blocks(0, piece, [(0, 400), (400, 400)])
    assert [type(buffer) for buffer in batch.buffers] == [bytes, memoryview] * 2
    batch.sent(20)
    assert batch.take_back() == [(0, [(400, 400)])]
    piece.clear()  # BufferError while a view of it is left
    assert len(b"".join(batch.buffers)) == 413 - 20


def test_borrowed_memory_is_copied_when_the_blocks_behind_it_are_taken_back() -> None:
    lent = bytearray(b"".join(piece_header(7, at, 4) + b"data" for at in (0, 4, 8)))
    batch = Batch()
    assert batch.add_borrowed(7, [(0, 4), (4, 4), (8, 4)], memoryview(lent)) == 12
    assert batch.borrows
    batch.sent(17 + 15)
    assert batch.take_back() == [(7, [(8, 4)])]
    assert not batch.borrows
    lent[:] = bytes(len(lent))
    assert batch.buffers == [b"ta"]
    assert batch.sent(2)
    assert batch.settle() == [(7, 8)]


class Flip:
    """A keystream of ones."""

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes:
        return bytes(byte ^ 0xFF for byte in data)

    def update_into(
        self, data: bytes | bytearray | memoryview, buf: bytearray | memoryview, /
    ) -> int:
        buf[: len(data)] = self.update(data)
        return len(data)


@pytest.mark.parametrize("room", [10_000, 10])
def test_what_is_encrypted_is_never_taken_back_for_its_keystream_is_spent(room: int) -> None:
    memory = bytearray(room)
    batch = Batch()
    batch.add(b"control")
    batch.add_blocks(3, PIECE, [(0, 100), (100, 100)])
    clear = b"".join(batch.buffers)
    batch.encrypt(Flip(), memoryview(memory))
    assert batch.borrows == (room > len(clear))
    batch.sent(30)
    assert batch.take_back() == []
    memory[:] = bytes(room)
    assert b"".join(batch.buffers) == Flip().update(clear)[30:]
    assert batch.sent(len(clear) - 30)
    assert batch.settle() == [(3, 200)]
    batch.add_blocks(3, PIECE, [(0, 100)])
    assert batch.take_back() == [(3, [(0, 100)])]  # the next batch may be in clear


def test_a_batch_is_empty_when_nothing_is_left_to_send() -> None:
    batch = Batch()
    assert not batch
    batch.add(b"abc")
    assert batch
    assert not batch.sent(1)
    assert batch
    assert batch.sent(2)
    assert not batch
