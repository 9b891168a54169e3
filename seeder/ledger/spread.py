"""Which gains of peers are believed: those that a peer at another address could have fed.

What we send a peer is certain. What it says it got elsewhere is only its word, and is credited on
three conditions:

1. Another address was seen with the piece before: we sent it there, or a peer there said that it
   has it. Or a peer of another address comes later and brings the piece along. Either way, of all
   addresses that were seen with a piece one isn't credited.
2. This address wasn't seen with the piece before, by whichever connection.
3. The piece has left us: we sent all of it to somebody since the start, or bytes that left us in
   parts or before the start are enough for it and for all others that are credited likewise.

So k addresses can't bring what is delivered above k times what was uploaded, whatever they say, and
one address can't bring it above what was uploaded. Swarms that pass on what they get lose nothing
by that; clients behind one address are credited once for what they get from others.

An address is an IPv4 one or an IPv6 /64; of an IPv6 /48 at most MOST_OF_NETWORK count. What was
seen at an address is remembered for a day after its last peer has left. Where there is no memory
for a newcomer, its words count for nothing: nobody else is forgotten for it.

No I/O.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

from seeder.ledger.counters import Counters
from seeder.ledger.rations import Rations, networks_around, take_off
from seeder.torrent.layout import bitfield_indices

REMEMBERED_FOR = 24 * 3600.0
"""Seconds that we remember what was seen at an address after its last peer has left."""
MOST_OF_NETWORK, MOST_OF_REGION = 256, 4096
"""Addresses of one torrent that count in a /24 or IPv6 /48, and in a /16 or IPv6 /32."""
ADDRESS_BYTES = 512
"""Memory of an address, beside a bit for each piece while it was seen with some but not all."""
PART_BYTES = 128
"""Memory of a piece sent in part."""
FORGOTTEN_AT_ONCE = 16
"""Addresses that are forgotten at most when a peer comes."""
MOST_PARTS = 64
"""Pieces sent in part that are remembered of an address whose peer has left."""


class Uploader(Protocol):
    """Where the bytes that leave us are counted."""

    @property
    def counters(self) -> Counters: ...


class Sizes(Protocol):
    """How many bytes of pieces count."""

    @property
    def size(self) -> Callable[[int], int]: ...
    def total(self, pieces: bytes) -> int: ...


class _Spread:
    """What was seen of one torrent; each of the bitfields has a bit for each piece."""

    __slots__ = (
        "accounts",
        "by_network",
        "count",
        "every",
        "households",
        "out",
        "out_bytes",
        "several",
        "some",
        "waiting",
    )

    def __init__(self, count: int) -> None:
        length = (count + 7) // 8
        self.count = count
        self.every = (1 << count) - 1 << -count % 8
        """The bitfield of all pieces, as a number."""
        self.some = bytearray(length)
        """Pieces that an address was seen with."""
        self.several = bytearray(length)
        """Pieces that two addresses were seen with."""
        self.waiting = bytearray(length)
        """Pieces gained at the only address that was seen with them."""
        self.out = bytearray(length)
        """Pieces that have left us; together they are no more bytes than did."""
        self.out_bytes = 0
        self.accounts: list[Uploader] = []
        """Usually one; an object that was replaced by the same bytes has another."""
        self.households: dict[bytes, Household] = {}
        self.by_network: Counter[bytes] = Counter()
        """How many addresses were seen with anything."""

    def note(self, new: int, *, waiting: int) -> None:
        """Note that one more address was seen with pieces; some of them wait for another."""
        length, some = len(self.some), int.from_bytes(self.some)
        self.several[:] = (int.from_bytes(self.several) | new & some).to_bytes(length)
        self.some[:] = (some | new).to_bytes(length)
        self.waiting[:] = (int.from_bytes(self.waiting) & ~new | waiting).to_bytes(length)

    def is_out(self, index: int, size: int) -> bool:
        """Tell whether a piece has left us, or else can be one of those that have."""
        if _bit(self.out, index):
            return True
        left = sum(account.counters.uploaded_bytes for account in self.accounts)
        if self.out_bytes + size > left:
            return False
        self.out_bytes += size
        self.out[index >> 3] |= 0x80 >> (index & 7)
        return True

    def admit(self, address: bytes) -> bool:
        """Count one more address that was seen with something, if so many of its network may."""
        network, region = networks_around(address)
        by_network = self.by_network
        if by_network[network] >= MOST_OF_NETWORK or by_network[region] >= MOST_OF_REGION:
            return False
        by_network[network] += 1
        by_network[region] += 1
        return True


class Household:
    """The peers of one torrent at one address, and what was seen there."""

    __slots__ = (
        "_cost",
        "_memory",
        "_missing",
        "_parts",
        "_seen",
        "_spread",
        "address",
        "left_at",
        "peers",
    )

    def __init__(self, address: bytes, spread: _Spread, memory: Rations) -> None:
        self.address = address
        self.peers = 0
        """Those that are connected."""
        self.left_at = 0.0
        self._spread = spread
        self._memory = memory
        self._missing = spread.count
        self._seen: bytes | bytearray | None = None  # None: all pieces or none
        self._parts: dict[int, int] | None = None
        """Bytes sent to peers that have left, of pieces that they got no more of from us."""
        self._cost = 0
        """Bytes of memory."""

    @property
    def is_empty(self) -> bool:
        """Whether it was seen with nothing, so that there is nothing to remember."""
        return not self._cost

    def sent(self, index: int, size: int) -> None:
        """Take in that we have sent a peer all of a piece of `size` bytes."""
        # Of most pieces that go out, both is known already.
        if not _bit(self._spread.out, index):
            self._spread.is_out(index, size)
        if self._missing and not _bit(self._seen, index):
            self.gained(index, 0, size)

    def gained(self, index: int, claim: int, size: int) -> int:
        """Take in that a peer got a piece of `size` bytes; return what is credited of its claim.

        `claim` are the bytes that it gained while it was connected and didn't get from us.
        """
        if self._missing == 0 or _bit(self._seen, index) or not self._see(index):
            return 0
        spread = self._spread
        at, bit = index >> 3, 0x80 >> (index & 7)
        if self._parts:
            claim = max(0, claim - self._parts.pop(index, 0))
        if not spread.some[at] & bit:
            spread.some[at] |= bit
            if claim == size:
                spread.waiting[at] |= bit
            return 0
        spread.several[at] |= bit
        spread.waiting[at] &= ~bit
        return claim if claim and spread.is_out(index, size) else 0

    def gained_all(self, pieces: bytes, delivery: Sizes) -> int:
        """Take in that a peer got all of these pieces, none of it from us; like `gained`.

        One message can say that of every piece, so that it mustn't take the time of as many.
        """
        apart = [index for index in self._parts or () if _bit(pieces, index)]
        credited = 0
        for index in apart:
            credited += self.gained(index, delivery.size(index), delivery.size(index))
        new = self._see_all(int.from_bytes(pieces))
        if not new:
            return credited
        spread, length = self._spread, len(self._spread.some)
        some, out = int.from_bytes(spread.some), int.from_bytes(spread.out)
        fed = new & some
        spread.note(new, waiting=new & ~some)
        credited += delivery.total((fed & out).to_bytes(length))
        for index in bitfield_indices((fed & ~out).to_bytes(length), spread.count):
            if not spread.is_out(index, delivery.size(index)):
                break
            credited += delivery.size(index)
        return credited

    def brought(self, pieces: bytes | bool, delivery: Sizes) -> int:
        """Take in what a peer had when it came: a bitfield, all (True) or nothing (False).

        Return what is credited by that to others, whose claims waited for somebody who can have fed
        them.
        """
        spread, length = self._spread, len(self._spread.some)
        if isinstance(pieces, bool):
            has = spread.every if pieces else 0
        else:
            has = int.from_bytes(pieces) & spread.every
        empty = self._seen is None and self._missing > 0
        new = self._see_all(has)
        if not new:
            return 0
        if empty and self._missing and isinstance(pieces, bytes) and has == int.from_bytes(pieces):
            # The message's own bytes are kept until there is something new.
            self._seen = pieces
        waited = int.from_bytes(spread.waiting) & new
        spread.note(new, waiting=0)
        if not waited:
            return 0
        fed = bitfield_indices(waited.to_bytes(length), spread.count)
        sizes = ((index, delivery.size(index)) for index in fed)
        return sum(size for index, size in sizes if spread.is_out(index, size))

    def sent_in_part(self, parts: Mapping[int, int]) -> None:
        """Take in the bytes that a peer which leaves was sent of pieces that it hasn't got yet.

        When it comes back and says that it has one of them, so much less was gained from others.
        """
        before = self._parts
        known = dict(before or {})
        for index, count in parts.items():
            known[index] = known.get(index, 0) + count
        self._parts = dict(list(known.items())[-MOST_PARTS:]) or None
        if self._parts and not self._remember(0 if self._seen is None else len(self._seen)):
            self._parts = before

    def forget(self) -> None:
        """Take back what was seen here and nowhere else."""
        spread, length = self._spread, len(self._spread.some)
        some, several = int.from_bytes(spread.some), int.from_bytes(spread.several)
        seen = some if self._missing == 0 else int.from_bytes(self._seen or b"")
        kept = ~(seen & ~several)
        spread.some[:] = (some & kept).to_bytes(length)
        spread.waiting[:] = (int.from_bytes(spread.waiting) & kept).to_bytes(length)
        for network in networks_around(self.address):
            take_off(spread.by_network, network, 1)
        self._memory.give_back(self.address, self._cost)

    def _see(self, index: int) -> bool:
        """Note that a piece was seen here; False if that can't be remembered."""
        seen = self._seen
        if not isinstance(seen, bytearray):
            if not self._remember(len(self._spread.some)):
                return False
            seen = self._seen = bytearray(seen or len(self._spread.some))
        seen[index >> 3] |= 0x80 >> (index & 7)
        self._missing -= 1
        if not self._missing:
            self._seen = None
            self._remember(0)
        return True

    def _see_all(self, has: int) -> int:
        """Note that these pieces were seen here; return those that weren't before, as far as that
        can be remembered.
        """
        every, length = self._spread.every, len(self._spread.some)
        seen = every if self._missing == 0 else int.from_bytes(self._seen or b"")
        new = has & ~seen
        seen |= new
        if not new or not self._remember(0 if seen == every else length):
            return 0
        self._missing = (every ^ seen).bit_count()
        self._seen = bytearray(seen.to_bytes(length)) if self._missing else None
        return new

    def _remember(self, bitfield: int) -> bool:
        """Have the memory for a bitfield of so many bytes; False if there is none."""
        cost = ADDRESS_BYTES + bitfield + PART_BYTES * len(self._parts or ())
        more = cost - self._cost
        if more <= 0:
            self._memory.give_back(self.address, -more)
        elif not self._memory.take(self.address, more):
            return False
        elif not self._cost and not self._spread.admit(self.address):
            self._memory.give_back(self.address, more)
            return False
        self._cost = cost
        return True


class Spreads:
    """What was seen of all torrents."""

    def __init__(self) -> None:
        self._spreads: dict[bytes, _Spread] = {}
        self._memory = Rations()
        self._left: OrderedDict[tuple[bytes, bytes], Household] = OrderedDict()
        """Households without a peer by info hash and address, in the order in which they left."""

    def join(
        self, torrent: bytes, count: int, address: bytes, account: Uploader, now: float
    ) -> Household:
        """Add a peer of a torrent of `count` pieces, booked on `account`; see `network_of`."""
        self._forget_old(now)
        spread = self._spreads.get(torrent)
        if spread is None:
            spread = self._spreads[torrent] = _Spread(count)
        if account not in spread.accounts:
            spread.accounts.append(account)
        household = spread.households.get(address)
        if household is None:
            household = spread.households[address] = Household(address, spread, self._memory)
        self._left.pop((torrent, address), None)
        household.peers += 1
        return household

    def rebook(self, torrent: bytes, account: Uploader) -> None:
        """Take note that a torrent's peers are booked on another `account` from now on."""
        spread = self._spreads.get(torrent)
        if spread is not None and account not in spread.accounts:
            spread.accounts.append(account)

    def leave(self, torrent: bytes, household: Household, now: float) -> None:
        """Take a peer away; what was seen at its address is remembered for a day."""
        household.peers -= 1
        if household.peers:
            return
        if household.is_empty:
            self._drop(torrent, household)
        else:
            household.left_at = now
            self._left[torrent, household.address] = household

    def _forget_old(self, now: float) -> None:
        for _ in range(FORGOTTEN_AT_ONCE):
            oldest = next(iter(self._left.items()), None)
            if oldest is None or now - oldest[1].left_at < REMEMBERED_FOR:
                break
            (torrent, address), household = oldest
            del self._left[torrent, address]
            household.forget()
            self._drop(torrent, household)

    def _drop(self, torrent: bytes, household: Household) -> None:
        households = self._spreads[torrent].households
        del households[household.address]
        if not households:
            del self._spreads[torrent]


def _bit(bits: bytes | bytearray | None, index: int) -> bool:
    return bits is not None and bool(bits[index >> 3] & (0x80 >> (index & 7)))
