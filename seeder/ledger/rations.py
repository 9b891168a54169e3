"""How much of the memory for what was seen of peers each network has. No I/O."""

from collections import Counter

from seeder.units import MIB

MOST_BYTES = 64 * MIB
"""Memory for what was seen, of all torrents."""
NETWORK_SHARE, REGION_SHARE = 16, 4
"""A /24 or IPv6 /48 may have one such part of that memory, a /16 or IPv6 /32 one such part."""


class Rations:
    """Gives the memory of all torrents to addresses: IPv4 ones, and IPv6 /64s, packed."""

    def __init__(self) -> None:
        self._used = 0
        self._used_by: Counter[bytes] = Counter()

    def take(self, address: bytes, count: int) -> bool:
        """Take bytes for an address if there are any left for it."""
        network, region = networks_around(address)
        if (
            self._used + count > MOST_BYTES
            or self._used_by[network] + count > MOST_BYTES // NETWORK_SHARE
            or self._used_by[region] + count > MOST_BYTES // REGION_SHARE
        ):
            return False
        self._used += count
        self._used_by[network] += count
        self._used_by[region] += count
        return True

    def give_back(self, address: bytes, count: int) -> None:
        """Have as much less for an address."""
        self._used -= count
        for network in networks_around(address):
            take_off(self._used_by, network, count)


def networks_around(address: bytes) -> tuple[bytes, bytes]:
    """Return the /24 and the /16 of an IPv4 address, or the /48 and the /32 of an IPv6 /64."""
    return (address[:3], address[:2]) if len(address) == 4 else (address[:6], address[:4])


def take_off(counter: Counter[bytes], key: bytes, count: int) -> None:
    """Count less of a key, and forget it when nothing is left."""
    counter[key] -= count
    if not counter[key]:
        del counter[key]
