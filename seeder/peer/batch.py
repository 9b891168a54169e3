"""What goes out in one sendmsg: messages and views of pieces, and how much of it got away.

No I/O.
"""

from collections.abc import Sequence

from seeder.peer.messages import PIECE_HEADER, PIECE_HEADER_LENGTH, MessageId
from seeder.peer.mse import Keystream

_PIECE = int(MessageId.PIECE)


class Batch:
    """Buffers in the order in which they go out; nothing in them is copied."""

    __slots__ = ("_left", "_runs", "buffers")

    def __init__(self) -> None:
        self.buffers: list[bytes | memoryview] = []
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
        # This runs once a block: no call more than it takes.
        view, append, pack = memoryview(piece), self.buffers.append, PIECE_HEADER.pack
        payload = 0
        for begin, length in blocks:
            append(pack(9 + length, _PIECE, index, begin))
            append(view[begin : begin + length])
            payload += length
        self._runs.append((index, blocks, payload))
        self._left += payload + PIECE_HEADER_LENGTH * len(blocks)
        return payload

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

    def encrypt(self, keystream: Keystream) -> None:
        """Replace everything by its encrypted form, of the same length."""
        self.buffers[:] = [keystream.update(b"".join(self.buffers))]

    def let_go(self) -> None:
        """Copy what is left, so that it doesn't hold whole pieces in memory."""
        if len(self.buffers) > 1:
            self.buffers[:] = [b"".join(self.buffers)]

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
        return booked
