"""What was sent over HTTP, told apart from what peers gain: no byte is credited as delivered twice.

A BitTorrent client that downloads from a web seed (BEP 19) tells its peers, us among them, of the
pieces that it gets so. What is sent over HTTP therefore counts for the peers of the same address
too, as if they had been sent it: whichever comes first, the bytes or the HAVE, is credited. Where
several clients share an address, that credits rather too little. No I/O.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from seeder.ledger.delivery import Delivery
from seeder.torrent.layout import MIB, Layout

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
