"""What each address has had of each torrent, and what it may still expect.

A seeder that pays for its bytes has no use for an address that downloads the same again and again:
past a few copies it comes last, then it is slowed down, then refused. Peers needn't send HAVEs, and
choose their ports and peer ids freely, so nothing but what was sent to an address counts.

The networks around an address (`networks_of`) have allowances, too. What they cost at S3 has an
end; what is sent to them hasn't, since a /24 may be a cluster of 250 honest machines. Where they
had much, they come last, and get what nobody else wants. No I/O.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from seeder.cluster.copies import CopiesNews
from seeder.net.addresses import Networks
from seeder.net.shares import Shares
from seeder.units import MIB
from seeder.upload.sharers import MOST_CLIENTS

ORIGIN_SHARES = {4: 1, 3: 4, 8: 1, 7: 2, 6: 4}
"""How many times what one address may cost at S3 a network may, by the bytes of its key."""
WIDE_SHARE = 16
"""How many times what one address is sent before it comes last a network around it is sent."""

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

    def standing(self, sent: float, size: int, wide: float = 0.0) -> Standing:
        """Return the standing of an address that was sent `sent` bytes of a torrent of `size`.

        The network around it that was sent most was sent `wide` bytes.
        """
        if self.copies is None:
            return Standing.FINE
        enough = max(size, self.least) * self.copies
        standing = Standing(sum(sent >= part * enough for part in _PARTS))
        if wide >= WIDE_SHARE * _PARTS[0] * enough:
            return max(standing, Standing.LAST)
        return standing

    def left(self, sent: float, size: int) -> float | None:
        """Return how many bytes of a torrent an address may have before it is slowed down.

        It was sent `sent` bytes. None is no limit.
        """
        if self.copies is None:
            return None
        return _PARTS[Standing.SLOW - 1] * max(size, self.least) * self.copies - sent

    def may_fetch(self, fetched: float, size: int, share: int = 1) -> bool:
        """Tell whether S3 may be asked for an address that cost `fetched` bytes from there.

        For a network with many addresses, `share` is one of `ORIGIN_SHARES`.
        """
        most = self.origin_copies
        return most is None or fetched < most * share * max(size, self.least)


def explain_listed(listed: int, origin_copies: float | None) -> str:
    """Return what one address gets by `peers_per_address` and `origin_copies_per_address`."""
    read = "as often as it asks" if origin_copies is None else f"{origin_copies:g} times"
    return (
        f"the tracker names up to {listed} peers of an object at one address"
        " (tracker.peers_per_address);"
        f" S3 is read for one address {read} (peer.origin_copies_per_address)"
    )


def explain_copies(copies: float | None, connections: int) -> str:
    """Return what one address gets by `copies_per_address` and `connections_per_address`."""
    places = f"{connections} connections at a time (peer.connections_per_address)"
    if copies is None:
        return f"one address gets as many downloads as it asks for, by {places}"
    fast = _PARTS[Standing.SLOW - 1] * copies
    return (
        f"one address gets {fast:g} whole downloads of an object in about a day, or"
        f" {fast * MOST_CLIENTS:g} if {MOST_CLIENTS} clients or more ask there at once, before it"
        f" is slowed down (peer.copies_per_address = {copies:g}), and {places}"
    )


class Had(NamedTuple):
    """What the addresses of one network had of a torrent: bytes, older ones counted less."""

    sent: float
    fetched: float
    """Read from S3 because they asked."""


class AddressHistory:
    """What each address, and each network around it, had of each torrent; halves by `half_life` s.

    Up to `most` entries are kept of addresses, of /56 and /24, and of /48. The network with most
    of them (`Shares`) loses the one that was heard of longest ago: who goes through the addresses
    of a /48 makes us forget what these had, and nothing about others, or about the /48.
    """

    def __init__(self, *, half_life: float = 86400.0, most: int = 20_000) -> None:
        self._memories = tuple(_Memory(half_life, most) for _ in range(3))
        self.news: Callable[[CopiesNews], None] | None = None
        """Is told what is counted here, where other nodes of a cluster count it as well."""

    def add(
        self,
        torrent: bytes,
        networks: Networks,
        now: float,
        *,
        sent: int = 0,
        fetched: int = 0,
        clients: int = 1,
    ) -> None:
        """Count bytes that were sent to an address, or read from S3 because it asked.

        What is sent to several clients at an address counts in part for it, and in full for the
        networks around it.
        """
        for level in range(len(networks)):
            counted = sent if level else sent / clients
            self._memories[level].add(torrent, networks[level:], now, counted, fetched)
        if self.news is not None:
            self.news(CopiesNews(torrent, networks[0], sent, sent / clients, fetched))

    def hear(self, news: CopiesNews, networks: Networks, now: float) -> None:
        """Count what an address of these networks had from another node of the cluster."""
        for level, memory in enumerate(self._memories[: len(networks)]):
            sent = news.sent if level else news.shared
            memory.add(news.torrent, networks[level:], now, sent, news.fetched)

    def take_back(self, torrent: bytes, networks: Networks, now: float, *, fetched: int) -> None:
        """Count bytes no more that were to be read from S3 a moment ago, and weren't."""
        for memory, network in zip(self._memories, networks, strict=False):
            memory.take_back(torrent, network, now, fetched)
        if self.news is not None:
            self.news(CopiesNews(torrent, networks[0], 0, 0.0, -fetched))

    def had(self, torrent: bytes, networks: Networks, now: float) -> list[Had]:
        """Return what an address and the networks around it had of a torrent, narrowest first."""
        return [
            memory.had(torrent, network, now)
            for memory, network in zip(self._memories, networks, strict=False)
        ]


class _Entry:
    """What one network had of one torrent, at the time `at` (s)."""

    __slots__ = ("at", "fetched", "networks", "sent", "torrent")

    def __init__(self, torrent: bytes, networks: Networks, at: float) -> None:
        self.torrent = torrent
        self.networks = networks
        self.sent = self.fetched = 0.0
        self.at = at


class _Memory:
    """The entries of networks of one size."""

    def __init__(self, half_life: float, most: int) -> None:
        self._half_life = half_life
        self._most = most
        self._entries: dict[tuple[bytes, bytes], _Entry] = {}
        self._shares: Shares[_Entry] = Shares(lambda entry: entry.networks)

    def add(
        self, torrent: bytes, networks: Networks, now: float, sent: float, fetched: int
    ) -> None:
        key = torrent, networks[0]
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._most:
                self._forget(next(iter(self._shares.most())))
            entry = self._entries[key] = _Entry(torrent, networks, now)
            self._shares.add(entry)
        elif len(self._entries) > self._most // 2:
            # Behind the others, which only matters once it gets full.
            self._shares.remove(entry)
            self._shares.add(entry)
        left = self._left(entry, now)
        entry.sent = entry.sent * left + sent
        # What another node takes back may be more than what is left of it.
        entry.fetched = max(0.0, entry.fetched * left + fetched)
        entry.at = now

    def take_back(self, torrent: bytes, network: bytes, now: float, fetched: int) -> None:
        entry = self._entries.get((torrent, network))
        if entry is not None:
            left = self._left(entry, now)
            # What has halved a little meanwhile is taken back whole.
            entry.fetched = max(0.0, entry.fetched * left - fetched)
            entry.sent *= left
            entry.at = now

    def had(self, torrent: bytes, network: bytes, now: float) -> Had:
        entry = self._entries.get((torrent, network))
        if entry is None:
            return Had(0.0, 0.0)
        left = self._left(entry, now)
        return Had(entry.sent * left, entry.fetched * left)

    def _left(self, entry: _Entry, now: float) -> float:
        return float(0.5 ** (max(0.0, now - entry.at) / self._half_life))

    def _forget(self, entry: _Entry) -> None:
        self._shares.remove(entry)
        del self._entries[entry.torrent, entry.networks[0]]
