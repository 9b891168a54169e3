"""Memory that all outputs use by turns, for what is read from disk or encrypted and sent at once.

One place that is written again and again stays in the processor's cache, so a block that comes from
disk costs hardly more than one that was in memory. Nobody may rely on what is here once another
peer has had its turn.

No I/O.
"""

from collections.abc import Callable, Sequence

from seeder.peer.messages import BLOCK_SIZE, PIECE_HEADER, PIECE_HEADER_LENGTH, MessageId
from seeder.torrent.layout import KIB

READ_BLOCKS = 64
SEALED_SIZE = 544 * KIB

_PIECE = int(MessageId.PIECE)

Range = tuple[int, int]
"""begin and length of a block."""
Fill = Callable[[int, Sequence[tuple[int, Sequence[memoryview]]]], bool]
"""Fills buffers from a piece, each from an offset on, or returns False."""


class Scratch:
    """Room for READ_BLOCKS `piece` messages of 16 KiB, and for SEALED_SIZE encrypted bytes."""

    __slots__ = ("_messages", "_used", "sealed")

    def __init__(self) -> None:
        self.sealed = memoryview(bytearray(SEALED_SIZE))
        self._messages = memoryview(bytearray(READ_BLOCKS * (PIECE_HEADER_LENGTH + BLOCK_SIZE)))
        self._used = 0

    def clear(self) -> None:
        """Begin a batch."""
        self._used = 0

    def has_room(self, length: int) -> bool:
        """Tell whether a block of `length` bytes fits in."""
        return self._used + PIECE_HEADER_LENGTH + length <= len(self._messages)

    def read(self, index: int, blocks: Sequence[Range], fill: Fill) -> tuple[int, memoryview]:
        """Add the `piece` messages of the first blocks, as many as fit; return how many, and them.

        That is 0 when `fill` can't get them.
        """
        # This runs once a block, as Batch.add_blocks does.
        memory, pack = self._messages, PIECE_HEADER.pack_into
        size = len(memory)
        start = at = self._used
        reads: list[tuple[int, list[memoryview]]] = []
        buffers: list[memoryview] = []
        expected = -1
        count = 0
        for begin, length in blocks:
            data = at + PIECE_HEADER_LENGTH
            end = data + length
            if end > size:
                break
            pack(memory, at, 9 + length, _PIECE, index, begin)
            if begin != expected:
                buffers = []
                reads.append((begin, buffers))
            buffers.append(memory[data:end])
            at = end
            expected = begin + length
            count += 1
        if not fill(index, reads):
            return 0, memory[:0]
        self._used = at
        return count, memory[start:at]
