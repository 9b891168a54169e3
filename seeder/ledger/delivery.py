"""What connected peers gain, as we see it: each byte counts once, whatever way it came.

`Delivery` has two bits for each piece: `announced` (the peer says that it has it) and `paid` (we
sent all of it). For a piece that was sent in part, a dict has the bytes until one of the two is
set. So no piece counts beyond its size, and none that the peer already had when it came. What we
sent is certain. What a peer says that it got elsewhere is a claim, for a `Household` to judge.

`Overlap` keeps bytes that were sent over HTTP from being credited again as a peer's gain. A client
that downloads from a web seed (BEP 19) announces the pieces that it gets there to its peers, and we
are one of them. What is sent over HTTP therefore counts for the peers of the same address too, as
if it had been sent to them: the bytes or the HAVE are credited, whichever comes first. Where
several clients share an address, that credits too little rather than too much.

No I/O.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from seeder.torrent.layout import Layout, bitfield_indices
from seeder.units import MIB, ByteRange

REMEMBERED = 64 * MIB
"""Bytes at the end of a range sent over HTTP that its client may not have announced yet."""
RANGES = 16
"""Ranges that are remembered of one torrent and one address."""
MOST_ADDRESSES = 2000
"""Pairs of torrent and address that are remembered; above that, the oldest without a peer is
forgotten."""


class Delivery:
    """The gains of one peer session: the bytes sent to it, and those that it claims beside them."""

    __slots__ = ("_announced", "_layout", "_missing", "_paid", "_partly", "size")

    def __init__(self, layout: Layout, size: Callable[[int], int] | None = None) -> None:
        """`size` returns how many bytes of a piece count; None where no piece has padding."""
        self._layout = layout
        self.size = size or layout.piece_size
        """Returns how many bytes of a piece count."""
        self._missing = layout.piece_count
        self._announced: bytes | bytearray | None = None  # None: all pieces or none
        self._paid: bytearray | None = None
        self._partly: dict[int, int] | None = None

    @property
    def missing(self) -> int:
        """How many pieces the peer hasn't said that it has."""
        return self._missing

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
        """Take in a HAVE; return the bytes that it claims beside those of that piece we sent."""
        size = self.size(index)
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

    def grown_to(self, pieces: bytes | bool) -> tuple[bytes, dict[int, int]]:
        """Take in a bitfield that came later.

        Return the pieces that it claims whole, as a bitfield, and for the other new ones how many
        bytes of each. A piece that it doesn't name isn't taken back. The caller has checked its
        length and its spare bits.
        """
        count, length = self._layout.piece_count, (self._layout.piece_count + 7) // 8
        every = (1 << count) - 1 << -count % 8
        has = (every if pieces else 0) if isinstance(pieces, bool) else int.from_bytes(pieces)
        known = every if self._missing == 0 else int.from_bytes(self._announced or b"")
        new = has & ~known
        known |= new
        self._missing = (every ^ known).bit_count()
        if new:
            self._announced = bytearray(known.to_bytes(length)) if self._missing else None
        paid = new & int.from_bytes(self._paid or b"")
        others = dict.fromkeys(bitfield_indices(paid.to_bytes(length), count), 0)
        whole = bytearray((new & ~paid).to_bytes(length))
        for index in [each for each in self._partly or () if _bit(whole, each)]:
            assert self._partly is not None
            others[index] = self.size(index) - self._partly.pop(index)
            whole[index >> 3] &= ~(0x80 >> (index & 7))
        return bytes(whole), others

    def sent(self, index: int, count: int) -> int:
        """Take in `count` bytes that we sent of a piece; return those that it still lacked."""
        size = self.size(index)
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

    def counts(self, edges: Sequence[int]) -> list[int]:
        """Return how many pieces the peer says that it has between one of `edges` and the next."""
        if self._announced is None:
            share = 1 if self._missing == 0 else 0
            return [share * (stop - start) for start, stop in pairwise(edges)]
        bits, spare = int.from_bytes(self._announced), -self._layout.piece_count % 8
        width = self._layout.piece_count + spare
        return [
            (bits >> (width - stop) & ((1 << (stop - start)) - 1)).bit_count()
            for start, stop in pairwise(edges)
        ]

    def announced(self) -> Iterator[int]:
        """Yield the pieces that the peer says it has."""
        if self._missing == 0:
            yield from range(self._layout.piece_count)
        elif self._announced is not None:
            yield from filter(self.has, range(self._layout.piece_count))

    def has(self, index: int) -> bool:
        """Tell whether the peer says that it has a piece."""
        return self._missing == 0 or _bit(self._announced, index)

    def total(self, pieces: bytes) -> int:
        """Return how many bytes of the pieces of a bitfield count."""
        layout = self._layout
        if self.size != layout.piece_size:
            return sum(map(self.size, bitfield_indices(pieces, layout.piece_count)))
        last = layout.piece_count - 1
        has_last = bool(pieces) and _bit(pieces, last)
        short = layout.piece_length - layout.piece_size(last) if has_last else 0
        return int.from_bytes(pieces).bit_count() * layout.piece_length - short

    def is_paid(self, index: int) -> bool:
        """Tell whether we sent the peer all of a piece that it hadn't said it has."""
        return _bit(self._paid, index)

    @property
    def parts(self) -> Mapping[int, int]:
        """The bytes sent of each piece that the peer doesn't say it has and wasn't sent whole."""
        return self._partly or {}

    def _bits(self) -> bytearray:
        return bytearray((self._layout.piece_count + 7) // 8)


def _bit(bits: bytes | bytearray | None, index: int) -> bool:
    return bits is not None and bool(bits[index >> 3] & (0x80 >> (index & 7)))


@dataclass(slots=True)
class _Address:
    """What one torrent knows of one address."""

    peers: list[Delivery] = field(default_factory=list)
    sent: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Ranges sent over HTTP: the start of each by its stop."""


class Overlap:
    """The peers at each address, and what was sent to it over HTTP."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[tuple[bytes, bytes], _Address] = OrderedDict()

    def sent(self, torrent: bytes, group: bytes, layout: Layout, start: int, count: int) -> int:
        """Take in `count` bytes sent over HTTP to an address; return the newly delivered ones."""
        address = self._address(torrent, group)
        stop = start + count
        since = address.sent.pop(start, start)
        address.sent[stop] = max(since, stop - REMEMBERED)
        if len(address.sent) > RANGES:
            address.sent.popitem(last=False)
        return min([count, *(_pay(peer, layout, start, stop) for peer in address.peers)])

    def had(self, torrent: bytes, group: bytes, wanted: ByteRange) -> bool:
        """Tell whether all of a range was sent to an address over HTTP, as far as is remembered."""
        address = self._addresses.get((torrent, group))
        if address is None:
            return False
        ranges = address.sent.items()
        return any(start <= wanted.start and wanted.stop <= stop for stop, start in ranges)

    def join(self, torrent: bytes, group: bytes, layout: Layout, peer: Delivery) -> None:
        """Add a peer at an address; what was sent there over HTTP counts as sent to it."""
        address = self._address(torrent, group)
        for stop, start in address.sent.items():
            _pay(peer, layout, start, stop)
        address.peers.append(peer)

    def leave(self, torrent: bytes, group: bytes, peer: Delivery) -> None:
        """Forget a peer."""
        address = self._addresses[torrent, group]
        address.peers = [other for other in address.peers if other is not peer]
        if not address.peers and not address.sent:
            del self._addresses[torrent, group]

    def _address(self, torrent: bytes, group: bytes) -> _Address:
        key = (torrent, group)
        address = self._addresses.get(key)
        if address is None:
            self._make_room()
            address = self._addresses[key] = _Address()
        self._addresses.move_to_end(key)
        return address

    def _make_room(self) -> None:
        if len(self._addresses) >= MOST_ADDRESSES:
            empty = (key for key, address in self._addresses.items() if not address.peers)
            if (longest := next(empty, None)) is not None:
                del self._addresses[longest]


def _pay(peer: Delivery, layout: Layout, start: int, stop: int) -> int:
    """Book bytes of a range as sent to a peer; return how many of them it lacked."""
    gained = 0
    while start < stop:
        index, offset = divmod(start, layout.piece_length)
        count = min(stop - start, layout.piece_size(index) - offset)
        gained += peer.sent(index, count)
        start += count
    return gained
