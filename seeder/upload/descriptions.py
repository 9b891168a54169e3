"""What each address has had of what describes a torrent: metadata, hashes, the torrent file.

A description may have megabytes, and whoever reconnects could have it again and again. So what was
sent counts for the address and for the networks around it, whatever the connection, as copies of
the object do in `seeder.upload.standing`.

No I/O.
"""

from collections import OrderedDict

from seeder.net.addresses import networks_of
from seeder.net.buckets import SHARES
from seeder.torrent.merkle import NODE_LENGTH
from seeder.torrent.torrent import Torrent
from seeder.units import MIB

DESCRIPTIONS = 16
"""Descriptions of a torrent for each copy of it that an address may have: a magnet link costs a
client one, a search through what is published a torrent file."""
LEAST = 4 * MIB
"""Bytes that an address may have in any case: most descriptions have some kilobytes."""


class Descriptions:
    """The bytes of descriptions that each address was sent; they halve every `half_life` s.

    The address and torrent that were heard of longest ago make room for new ones, among those of
    networks as large; a refusal takes no room.
    """

    def __init__(self, *, half_life: float = 86400.0, most: int = 20_000) -> None:
        self._half_life = half_life
        self._most = most
        self._had = tuple(OrderedDict[tuple[bytes, bytes], tuple[float, float]]() for _ in range(3))
        """Bytes, and when that was (s), by torrent and network; by the network's size."""

    def admit(self, torrent: bytes, address: bytes, size: int, now: float, *, most: float) -> bool:
        """Tell whether a packed address may have `size` bytes more, and count them if so.

        It may have `most` bytes; the networks around it, `SHARES` times as many.
        """
        after: list[tuple[tuple[bytes, bytes], float]] = []
        for network, had in zip(networks_of(address), self._had, strict=False):
            key = (torrent, network)
            count = self._left(had, key, now) + size
            if count > most * SHARES[len(network)]:
                return False
            after.append((key, count))
        self._set(after, now)
        return True

    def give_back(self, torrent: bytes, address: bytes, size: int, now: float) -> None:
        """Count `size` bytes no more that were admitted, and not sent."""
        self._set(
            [
                (key, max(0.0, self._left(had, key, now) - size))
                for network, had in zip(networks_of(address), self._had, strict=False)
                if (key := (torrent, network)) in had
            ],
            now,
        )

    def _left(
        self,
        had: OrderedDict[tuple[bytes, bytes], tuple[float, float]],
        key: tuple[bytes, bytes],
        now: float,
    ) -> float:
        count, at = had.get(key, (0.0, now))
        return float(count * 0.5 ** (max(0.0, now - at) / self._half_life))

    def _set(self, counts: list[tuple[tuple[bytes, bytes], float]], now: float) -> None:
        for (key, count), had in zip(counts, self._had, strict=False):
            had[key] = (count, now)
            had.move_to_end(key)
            if len(had) > self._most:
                had.popitem(last=False)


def allowance(size: int, copies: float) -> float:
    """Return the bytes of descriptions of `size` for an address that may have so many copies."""
    return max(LEAST, copies * DESCRIPTIONS * size)


def description_size(torrent: Torrent) -> int:
    """Return the bytes of what describes a torrent; of a hybrid's leaf hashes one in 16.

    Clients ask for leaves only where a piece turned out wrong.
    """
    size = len(torrent.raw_info)
    if torrent.hashes is not None:
        shape = torrent.hashes.shape
        size += NODE_LENGTH * (torrent.layout.piece_count + shape.leaf_count // DESCRIPTIONS)
    return size
