"""What one connected peer gains, as we see it; memory only for what there is to remember. No I/O.

Two bits a piece: `announced` (the peer says that it has it) and `paid` (we sent all of it). A piece
that is partly sent has its bytes in a dict until one of the two is set, so that no piece is
credited beyond its size, and a piece that the peer brought along not at all.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from seeder.torrent.layout import Layout
from seeder.units import MIB


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


REMEMBERED = 64 * MIB
"""Bytes of each range sent that a client may have received and not announced yet."""
RANGES = 16
"""Sent to one address that are remembered."""
HOUSES = 2000
"""Pairs of torrent and address that are remembered while no peer is there."""


@dataclass(slots=True)
class _House:
    """One address, to one torrent."""

    peers: list[Delivery] = field(default_factory=list)
    sent: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Ranges sent over HTTP, by their stop: their start."""


class Overlap:
    """The peers of each address, and what else it was sent."""

    def __init__(self) -> None:
        self._houses: OrderedDict[tuple[bytes, str], _House] = OrderedDict()

    def sent(self, torrent: bytes, group: str, layout: Layout, start: int, count: int) -> int:
        """Take in `count` bytes sent over HTTP to an address; return those newly delivered."""
        house = self._house(torrent, group)
        stop = start + count
        since = house.sent.pop(start, start)
        house.sent[stop] = max(since, stop - REMEMBERED)
        if len(house.sent) > RANGES:
            house.sent.popitem(last=False)
        return min([count, *(_pay(peer, layout, start, stop) for peer in house.peers)])

    def join(self, torrent: bytes, group: str, layout: Layout, peer: Delivery) -> None:
        """Let a peer of an address count what it was sent already as its own."""
        house = self._house(torrent, group)
        for stop, start in house.sent.items():
            _pay(peer, layout, start, stop)
        house.peers.append(peer)

    def leave(self, torrent: bytes, group: str, peer: Delivery) -> None:
        """Forget a peer."""
        house = self._houses[torrent, group]
        house.peers = [other for other in house.peers if other is not peer]
        if not house.peers and not house.sent:
            del self._houses[torrent, group]

    def _house(self, torrent: bytes, group: str) -> _House:
        key = (torrent, group)
        house = self._houses.get(key)
        if house is None:
            self._make_room()
            house = self._houses[key] = _House()
        self._houses.move_to_end(key)
        return house

    def _make_room(self) -> None:
        if len(self._houses) >= HOUSES:
            empty = (key for key, house in self._houses.items() if not house.peers)
            if (longest := next(empty, None)) is not None:
                del self._houses[longest]


def _pay(peer: Delivery, layout: Layout, start: int, stop: int) -> int:
    """Let a peer's delivery know of bytes that it was sent; return those that it lacked."""
    gained = 0
    while start < stop:
        index, offset = divmod(start, layout.piece_length)
        count = min(stop - start, layout.piece_size(index) - offset)
        gained += peer.sent(index, count)
        start += count
    return gained
