"""Token buckets that refuse what comes too often from one address or over one connection.

The buckets in `seeder.upload.rates` never refuse: they delay.

No I/O.
"""

from collections import OrderedDict

from seeder.net.addresses import network_of


class AddressLimiter:
    """A token bucket for each address (IPv6: each /64), refilled at `rate` a second.

    A bucket is one number: the time at which it will be full again (the virtual scheduling form
    of the leaky bucket, ITU-T I.371). A full one needs no memory, so the bucket that was used
    longest ago makes room for a new one.
    """

    def __init__(self, rate: float, burst: float, *, most_addresses: int = 50_000) -> None:
        """Allow `rate` tokens a second in the long run and `burst` at once."""
        self._cost = 1.0 / rate
        # The thousandth of a token keeps rounding from costing a whole one.
        self._depth = (burst + 0.001) / rate
        self._most = most_addresses
        self._full_at: OrderedDict[bytes, float] = OrderedDict()

    def admit(self, address: bytes, now: float, tokens: int = 1) -> bool:
        """Take tokens of a packed address; where too few are left, take none and return False."""
        network = network_of(address)
        full_at = max(self._full_at.get(network, now), now)
        cost = tokens * self._cost
        admitted = full_at + cost - now <= self._depth
        self._full_at[network] = full_at + cost if admitted else full_at
        self._full_at.move_to_end(network)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return admitted


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
