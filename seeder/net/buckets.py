"""Token buckets that refuse what comes too often from one address or over one connection.

The buckets in `seeder.upload.rates` never refuse: they delay.

No I/O.
"""

from collections import OrderedDict

from seeder.net.addresses import networks_of

SHARES = {4: 1, 3: 16, 8: 1, 7: 4, 6: 16}
"""How many times the rate of one address a network has, by the bytes of its `networks_of` key.

A /56 is at most a home or an office, a /24 or /48 a campus or a cluster: of hundreds of hosts
behind one, few ask at their full rate at a time.
"""


class AddressLimiter:
    """A token bucket for each address (IPv6: each /64), refilled at `rate` a second.

    The networks around it have buckets, too, which are `SHARES` times as large; a token is taken
    of each of them, or of none.

    A bucket is one number: the time at which it will be full again (the virtual scheduling form
    of the leaky bucket, ITU-T I.371). A full one needs no memory, so the bucket that was used
    longest ago makes room for a new one, among those of networks as large. A refusal makes no
    bucket: nobody gets more of them than a wider network's tokens pay for, and so nobody pushes
    others out who hasn't many wide networks.
    """

    def __init__(self, rate: float, burst: float, *, most_addresses: int = 50_000) -> None:
        """Allow `rate` tokens a second in the long run and `burst` at once."""
        self._costs = {length: 1.0 / (rate * share) for length, share in SHARES.items()}
        # The thousandth of a token keeps rounding from costing a whole one.
        self._depths = {
            length: (burst * share + 0.001) / (rate * share) for length, share in SHARES.items()
        }
        self._most = most_addresses
        self._full_at = tuple(OrderedDict[bytes, float]() for _ in range(3))
        """The buckets by the place of their network in `networks_of`."""

    def admit(self, address: bytes, now: float, tokens: float = 1) -> bool:
        """Take tokens of a packed address; where too few are left, take none and return False."""
        networks = networks_of(address)
        costs, depths = self._costs, self._depths
        after: list[float] = []
        for network, buckets in zip(networks, self._full_at, strict=False):
            full_at = buckets.get(network, now)
            length = len(network)
            full_at = (full_at if full_at > now else now) + tokens * costs[length]
            if full_at - now > depths[length]:
                if network in buckets:
                    buckets.move_to_end(network)
                return False
            after.append(full_at)
        for network, buckets, full_at in zip(networks, self._full_at, after, strict=False):
            buckets[network] = full_at
            buckets.move_to_end(network)
            if len(buckets) > self._most:
                buckets.popitem(last=False)
        return True


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
