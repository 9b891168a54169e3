from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from seeder.peer.batch import READ_BLOCKS, Scratch
from seeder.peer.messages import BLOCK_SIZE
from tests.peer.wire import piece_header

PIECE = bytes(range(256)) * 200
SCRATCH = Scratch()
BLOCKS = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 10_000)), min_size=1, max_size=9)


class File:
    """A piece on disk; remembers where it was read."""

    def __init__(self, *, cached: bool = True) -> None:
        self.offsets: list[int] = []
        self._cached = cached

    def fill(self, index: int, reads: Sequence[tuple[int, Sequence[memoryview]]]) -> bool:
        for offset, buffers in reads:
            self.offsets.append(offset)
            at = offset
            for buffer in buffers:
                buffer[:] = PIECE[at : at + len(buffer)]
                at += len(buffer)
        return self._cached


def on_the_wire(index: int, blocks: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(
        piece_header(index, begin, length) + PIECE[begin : begin + length]
        for begin, length in blocks
    )


@given(st.lists(st.tuples(st.integers(0, 9), BLOCKS), max_size=5))
def test_what_is_read_is_whole_messages_and_stays_until_the_next_batch(
    runs: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    SCRATCH.clear()
    found = [SCRATCH.read(index, blocks, File().fill) for index, blocks in runs]
    for (index, blocks), (count, view) in zip(runs, found, strict=True):
        assert count == len(blocks)
        assert bytes(view) == on_the_wire(index, blocks)


def test_blocks_that_follow_each_other_are_one_read() -> None:
    SCRATCH.clear()
    file = File()
    SCRATCH.read(0, [(100, 10), (110, 20), (130, 1), (7, 3), (132, 5)], file.fill)
    assert file.offsets == [100, 7, 132]


def test_only_what_fits_is_read() -> None:
    SCRATCH.clear()
    blocks = [(0, BLOCK_SIZE)] * (READ_BLOCKS + 5)
    count, view = SCRATCH.read(0, blocks, File().fill)
    assert count == READ_BLOCKS
    assert bytes(view) == on_the_wire(0, blocks[:READ_BLOCKS])
    assert not SCRATCH.has_room(1)
    SCRATCH.clear()
    assert SCRATCH.has_room(BLOCK_SIZE)


def test_what_can_not_be_read_takes_no_room() -> None:
    SCRATCH.clear()
    blocks = [(0, BLOCK_SIZE)] * READ_BLOCKS
    assert SCRATCH.read(0, blocks, File(cached=False).fill)[0] == 0
    assert SCRATCH.read(0, blocks, File().fill)[0] == READ_BLOCKS
