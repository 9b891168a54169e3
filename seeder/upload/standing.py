"""What each address has had of each torrent, and what it may still expect.

A seeder that pays for its bytes has no use for an address that downloads the same again and again:
past a few copies it comes last, then it is slowed down, then refused. Peers needn't send HAVEs, and
choose their ports and peer ids freely, so nothing but what was sent to an address counts. No I/O.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum

from seeder.units import MIB

_PARTS = (0.5, 0.75, 1.0)
"""Shares of `CopyLimits.copies` at which an address sinks to the next standing."""


class Standing(IntEnum):
    """What an address may expect of a torrent, by what it has had of it."""

    FINE = 0
    LAST = 1
    SLOW = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How many copies of a torrent one address may have; None is no limit.

    Several people may share an address, so no torrent counts as smaller than `least` bytes.
    """

    copies: float | None = 4.0
    """Sent to it; at half of that it comes last, at three quarters it is slowed down."""
    origin_copies: float | None = 1.25
    """Read from S3 because it asks. One is a download; a slow one through a small cache may ask
    again for a piece that has been evicted meanwhile."""
    least: int = 64 * MIB

    def standing(self, sent: float, size: int) -> Standing:
        """Return the standing of an address that was sent `sent` bytes of a torrent of `size`."""
        if self.copies is None:
            return Standing.FINE
        share = sent / max(size, self.least) / self.copies
        return Standing(sum(share >= part for part in _PARTS))

    def may_fetch(self, fetched: float, size: int) -> bool:
        """Tell whether S3 may be asked for an address that cost `fetched` bytes from there."""
        most = self.origin_copies
        return most is None or fetched < most * max(size, self.least)


class AddressHistory:
    """What each address was sent of each torrent, and what it cost; halves every `half_life` s.

    The address and torrent that were heard of longest ago make room for new ones.
    """

    def __init__(self, *, half_life: float = 86400.0, most: int = 20_000) -> None:
        self._half_life = half_life
        self._most = most
        self._entries: OrderedDict[tuple[bytes, bytes], tuple[float, float, float]] = OrderedDict()
        """Bytes sent, bytes fetched, and when that was (s)."""

    def add(
        self, torrent: bytes, group: bytes, now: float, *, sent: int = 0, fetched: int = 0
    ) -> None:
        """Count bytes that were sent to an address, or read from S3 because it asked."""
        key = (torrent, group)
        had_sent, had_fetched = self._at(key, now)
        self._entries[key] = (had_sent + sent, had_fetched + fetched, now)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def sent(self, torrent: bytes, group: bytes, now: float) -> float:
        """Return the bytes of a torrent that an address was sent, older ones counted less."""
        return self._at((torrent, group), now)[0]

    def fetched(self, torrent: bytes, group: bytes, now: float) -> float:
        """Return the bytes of a torrent that S3 sent because an address asked."""
        return self._at((torrent, group), now)[1]

    def _at(self, key: tuple[bytes, bytes], now: float) -> tuple[float, float]:
        entry = self._entries.get(key)
        if entry is None:
            return 0.0, 0.0
        sent, fetched, at = entry
        left = 0.5 ** (max(0.0, now - at) / self._half_life)
        return sent * left, fetched * left
