"""Token buckets for what comes too often from one address or over one connection.

They refuse, or say how long it has to wait; those in `seeder.upload.rates` never refuse.

No I/O.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TypeAlias

from seeder.net.addresses import networks_of

SHARES = {4: 1, 3: 16, 8: 1, 7: 4, 6: 16}
"""How many times the rate of one address a network has, by the bytes of its `networks_of` key.

A /56 is at most a home or an office, a /24 or /48 a campus or a cluster: of hundreds of hosts
behind one, few ask at their full rate at a time.
"""
_AT_ONCE = 64
"""Where there are too many buckets, one in so many goes at once: a dictionary finds its first entry
only past all those that were taken out before it."""


_Buckets: TypeAlias = dict[bytes, float]
"""When each is full again, by network, in the order in which they were used last."""
_Level: TypeAlias = tuple[int, float, float, _Buckets]
"""The networks of one size around addresses of one family: their keys' length in bytes, the seconds
that a token takes to come back, and those that an empty bucket takes to be full."""


class AddressLimiter:
    """A token bucket for each address (IPv6: each /64), refilled at `rate` a second.

    The networks around it have buckets, too, which are `SHARES` times as large; a token is taken
    of each of them, or of none.

    A bucket is one number: the time at which it will be full again (the virtual scheduling form
    of the leaky bucket, ITU-T I.371). A full one needs no memory, so the buckets that were used
    longest ago make room for new ones, among those of networks as large. A refusal makes no
    bucket: nobody gets more of them than a wider network's tokens pay for, and so nobody pushes
    others out who hasn't many wide networks.
    """

    def __init__(self, rate: float, burst: float, *, most_addresses: int = 50_000) -> None:
        """Allow `rate` tokens a second in the long run and `burst` at once."""
        self._most = most_addresses
        self._full_at: tuple[_Buckets, ...] = ({}, {}, {})
        """By the place of their network in `networks_of`."""
        v4, v6 = (
            # The thousandth of a token keeps rounding from costing a whole one.
            tuple[_Level, ...](
                (
                    len(network),
                    1.0 / (rate * SHARES[len(network)]),
                    (burst * SHARES[len(network)] + 0.001) / (rate * SHARES[len(network)]),
                    full_at,
                )
                for network, full_at in zip(networks_of(bytes(length)), self._full_at, strict=False)
            )
            for length in (4, 16)
        )
        self._v4, self._levels = v4, {4: v4, 16: v6}

    def admit(self, address: bytes, now: float, tokens: float = 1) -> bool:
        """Take tokens of a packed address; where too few are left, take none and return False."""
        if len(address) == 4:
            # The loop below for IPv4, written out: it is asked for each announce.
            (_, cost, depth, hosts), (width, cost_around, depth_around, sites) = self._v4
            site = address[:width]
            full_at, full_around = hosts.pop(address, 0.0), sites.pop(site, 0.0)
            late = (full_at - now if full_at > now else 0.0) + tokens * cost
            late_around = (full_around - now if full_around > now else 0.0) + tokens * cost_around
            if late <= depth and late_around <= depth_around:
                hosts[address], sites[site] = now + late, now + late_around
                if not full_at or not full_around:
                    self._drop_oldest()
                return True
            if full_at > now:
                hosts[address] = full_at
            if full_around > now:
                sites[site] = full_around
            return False
        taken = []
        for length, cost, depth, buckets in self._levels[len(address)]:
            network = address[:length]
            full_at = buckets.get(network, now)
            full_at = (full_at if full_at > now else now) + tokens * cost
            if full_at - now > depth:
                if network in buckets:
                    buckets[network] = buckets.pop(network)
                return False
            taken.append((buckets, network, full_at))
        self._book(taken)
        return True

    def wait(self, address: bytes, now: float, patience: float, tokens: float = 1) -> float | None:
        """Take tokens of a packed address, on credit if need be; return when they are there.

        That is in so many seconds. Where it would be more than `patience`, nothing is taken, and
        the result is None.
        """
        wait, taken = 0.0, []
        for length, cost, depth, buckets in self._levels[len(address)]:
            network = address[:length]
            full_at = max(buckets.get(network, now), now) + tokens * cost
            wait = max(wait, full_at - depth - now)
            taken.append((buckets, network, full_at))
        if wait > patience:
            return None
        self._book(taken)
        return wait

    def _drop_oldest(self) -> None:
        for buckets in self._full_at:
            if len(buckets) > self._most:
                for network in list(islice(buckets, 1 + self._most // _AT_ONCE)):
                    del buckets[network]

    def _book(self, taken: Iterable[tuple[_Buckets, bytes, float]]) -> None:
        for buckets, network, full_at in taken:
            buckets.pop(network, None)
            buckets[network] = full_at
        self._drop_oldest()


class TokenBucket:
    """One bucket that holds `burst` tokens, begins full and gets `rate` new ones a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: int, rate: int, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token; False when there was none: the bucket then owes it."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        return self._left >= 0
