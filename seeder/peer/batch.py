"""What goes out in one sendmsg: messages and views of pieces, and how much of it the socket took.

No I/O.
"""

from collections.abc import Callable, Sequence

from seeder.peer.messages import BLOCK_SIZE, PIECE_HEADER, PIECE_HEADER_LENGTH, MessageId
from seeder.peer.mse import Keystream
from seeder.units import KIB

READ_BLOCKS = 64
"""The most blocks of 16 KiB that are read from disk for one batch."""
SEALED_SIZE = 544 * KIB
"""Bytes of an encrypted batch: 32 blocks with their headers, and what the protocol owes."""
RECEIVE_SIZE = 64 * KIB
"""Bytes read from a socket at a time."""
_PIECE = int(MessageId.PIECE)
Range = tuple[int, int]
"""(begin, length) of a block."""
Fill = Callable[[int, Sequence[tuple[int, Sequence[memoryview]]]], bool]
"""Takes a piece's index and (offset, buffers) pairs, and fills the buffers; False if it can't."""


class Scratch:
    """Memory that all sessions share: what a session puts there is used up before another runs.

    Room for RECEIVE_SIZE bytes that arrive, for READ_BLOCKS `piece` messages of 16 KiB, and for
    SEALED_SIZE encrypted bytes.
    """

    __slots__ = ("_messages", "_used", "incoming", "sealed")

    def __init__(self) -> None:
        self.incoming = memoryview(bytearray(RECEIVE_SIZE))
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
        """Add `piece` messages of the first blocks, as many as fit; return their number and bytes.

        The number is 0 when `fill` fails.
        """
        # This runs once per block, as Batch.add_blocks does.
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


class Batch:
    """Buffers in the order in which they go out; nothing in them is copied."""

    __slots__ = ("_left", "_runs", "_sealed", "borrows", "buffers")

    def __init__(self) -> None:
        self.buffers: list[bytes | memoryview] = []
        self.borrows = False
        """Whether a part lies in memory that the next batch overwrites."""
        self._sealed = False
        self._left = 0
        self._runs: list[tuple[int, Sequence[tuple[int, int]], int]] = []
        """Blocks of one piece: its index, (begin, length) each, and their bytes together."""

    def __bool__(self) -> bool:
        return bool(self.buffers)

    def add(self, message: bytes) -> None:
        """Append whole messages that are no blocks; they go before the blocks."""
        assert not self._runs
        self.buffers.append(message)
        self._left += len(message)

    def add_blocks(
        self, index: int, piece: bytes | bytearray, blocks: Sequence[tuple[int, int]]
    ) -> int:
        """Append blocks of a piece, each (begin, length); return their bytes without headers."""
        # This runs once per block: no call more than needed.
        view, append, pack = memoryview(piece), self.buffers.append, PIECE_HEADER.pack
        payload = 0
        for begin, length in blocks:
            append(pack(9 + length, _PIECE, index, begin))
            append(view[begin : begin + length])
            payload += length
        self._runs.append((index, blocks, payload))
        self._left += payload + PIECE_HEADER_LENGTH * len(blocks)
        return payload

    def add_borrowed(
        self, index: int, blocks: Sequence[tuple[int, int]], messages: memoryview
    ) -> int:
        """Append blocks whose messages are ready, in memory that the next batch overwrites."""
        payload = len(messages) - PIECE_HEADER_LENGTH * len(blocks)
        self.buffers.append(messages)
        self.borrows = True
        self._runs.append((index, blocks, payload))
        self._left += len(messages)
        return payload

    def encrypt(self, keystream: Keystream, room: memoryview) -> None:
        """Replace everything by its encrypted form, of the same length, in `room` if it fits."""
        self.borrows = self._left <= len(room)
        if not self.borrows:
            room = memoryview(bytearray(self._left))
        at = 0
        for buffer in self.buffers:
            at += keystream.update_into(buffer, room[at:])
        self.buffers[:] = [room[:at]]
        self._sealed = True

    def sent(self, count: int) -> bool:
        """Drop `count` bytes that the socket took; True when that was all."""
        self._left -= count
        if not self._left:
            self.buffers.clear()
            return True
        for position, buffer in enumerate(self.buffers):
            size = len(buffer)
            if count < size:
                self.buffers[position] = memoryview(buffer)[count:]
                del self.buffers[:position]
                break
            count -= size
        return False

    def take_back(self) -> list[tuple[int, Sequence[tuple[int, int]]]]:
        """Give up the blocks that haven't begun to go out; return them by piece, the last first.

        What must still go out is copied, so that no piece is held. Of an encrypted batch, that is
        all of it.
        """
        back: list[tuple[int, Sequence[tuple[int, int]]]] = []
        if self._sealed and not self.borrows:
            return back
        while self._runs and not self._sealed:
            index, blocks, payload = self._runs.pop()
            keep = len(blocks)
            while keep and self._left >= (size := PIECE_HEADER_LENGTH + blocks[keep - 1][1]):
                keep -= 1
                self._left -= size
                payload -= blocks[keep][1]
            if keep < len(blocks):
                back.append((index, blocks[keep:]))
            if keep:
                self._runs.append((index, blocks[:keep], payload))
                break
        rest = bytearray()
        for buffer in self.buffers:
            rest += buffer[: self._left - len(rest)]
            if len(rest) == self._left:
                break
        self.buffers[:] = [bytes(rest)] if rest else []
        self.borrows = False
        return back

    def settle(self) -> list[tuple[int, int]]:
        """Give the batch up; return each piece's index and its payload bytes that were sent."""
        unsent = self._left
        booked: list[tuple[int, int]] = []
        for index, blocks, payload in reversed(self._runs):
            reached = payload
            if unsent:
                reached = 0
                for _, length in reversed(blocks):
                    reached += max(0, length - unsent)
                    unsent = max(0, unsent - length - PIECE_HEADER_LENGTH)
            if reached:
                booked.append((index, reached))
        self._left = 0
        self._runs.clear()
        self.buffers.clear()
        self.borrows = self._sealed = False
        return booked
