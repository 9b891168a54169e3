"""What one connected peer gains, as we see it; memory only for what there is to remember. No I/O.

Two bits a piece: `announced` (the peer says that it has it) and `paid` (we sent all of it). A piece
that is partly sent has its bytes in a dict until one of the two is set, so that no piece is
credited beyond its size, and a piece that the peer brought along not at all.
"""

from collections.abc import Callable, Iterator

from seeder.torrent.layout import Layout


class Delivery:
    """The gains of one peer session in bytes; each method returns the newly gained ones."""

    __slots__ = ("_announced", "_layout", "_missing", "_paid", "_partly", "_size")

    def __init__(self, layout: Layout, size: Callable[[int], int] | None = None) -> None:
        """`size` returns what counts of a piece, by its index, where padding doesn't."""
        self._layout = layout
        self._size = size or layout.piece_size
        self._missing = layout.piece_count
        self._announced: bytes | bytearray | None = None  # None: all pieces or none
        self._paid: bytearray | None = None
        self._partly: dict[int, int] | None = None

    @property
    def complete(self) -> bool:
        """Whether the peer says that it has every piece."""
        return self._missing == 0

    def arrived_with(self, pieces: bytes | bool) -> None:
        """Take in what the peer had when it came: a bitfield, all (True) or nothing (False).

        Nothing of it counts as gained. ValueError when the bitfield's length is not the torrent's;
        its spare bits are ignored (BEP 3).
        """
        count = self._layout.piece_count
        if isinstance(pieces, bool):
            self._announced = None
            self._missing = 0 if pieces else count
            return
        if len(pieces) != (count + 7) // 8:
            raise ValueError(f"a bitfield of {len(pieces)} bytes for {count} pieces")
        spare = -count % 8
        self._missing = count - (int.from_bytes(pieces) >> spare).bit_count()
        mixed = 0 < self._missing < count
        # The message's own bytes are kept until the peer gains a piece.
        self._announced = pieces if mixed else None

    def have(self, index: int) -> int:
        """Take in a HAVE; return what it adds to the bytes of that piece sent before."""
        size = self._size(index)
        if self.has(index):
            return 0
        announced = self._announced
        if not isinstance(announced, bytearray):
            announced = bytearray(announced) if announced is not None else self._bits()
            self._announced = announced
        announced[index >> 3] |= 0x80 >> (index & 7)
        self._missing -= 1
        if _bit(self._paid, index):
            return 0
        return size - (self._partly.pop(index, 0) if self._partly else 0)

    def grown_to(self, pieces: bytes | bool) -> int:
        """Take in a bitfield that came later; return the bytes that it adds.

        What it doesn't name isn't taken back. Its length is checked by whoever calls.
        """
        if isinstance(pieces, bool):
            return self.have_all() if pieces else 0
        if self._missing == 0:
            return 0
        known = int.from_bytes(self._announced or b"")
        new = (int.from_bytes(pieces) & ~known).to_bytes(len(pieces))
        return sum(
            self.have(8 * at + bit)
            for at, byte in enumerate(new)
            if byte
            for bit in range(8)
            if byte & (0x80 >> bit)
        )

    def have_all(self) -> int:
        """Take in that the peer has everything now; return the bytes that it lacked."""
        if self._missing == 0:
            return 0
        return sum(self.have(index) for index in range(self._layout.piece_count))

    def sent(self, index: int, count: int) -> int:
        """Take in `count` bytes that we sent of a piece; return those that it still lacked."""
        size = self._size(index)
        if self.has(index) or _bit(self._paid, index):
            return 0
        partly = self._partly
        if partly is None:
            partly = self._partly = {}
        before = partly.get(index, 0)
        if before + count < size:
            partly[index] = before + count
            return count
        partly.pop(index, None)
        if self._paid is None:
            self._paid = self._bits()
        self._paid[index >> 3] |= 0x80 >> (index & 7)
        return size - before

    def announced(self) -> Iterator[int]:
        """Yield the pieces that the peer says it has."""
        if self._missing == 0:
            yield from range(self._layout.piece_count)
        elif self._announced is not None:
            yield from filter(self.has, range(self._layout.piece_count))

    def has(self, index: int) -> bool:
        """Tell whether the peer says that it has a piece."""
        return self._missing == 0 or _bit(self._announced, index)

    def _bits(self) -> bytearray:
        return bytearray((self._layout.piece_count + 7) // 8)


def _bit(bits: bytes | bytearray | None, index: int) -> bool:
    return bits is not None and bool(bits[index >> 3] & (0x80 >> (index & 7)))
