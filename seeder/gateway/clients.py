"""Whose announce it is: the address of the socket, or what a trusted proxy says of it. No I/O."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from seeder.errors import AnnounceError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_V4_LENGTH = 4
_V6_NETWORK_LENGTH = 8


def parse_address(text: str) -> Address:
    """Return the address that `text` spells, without a zone and with IPv4 unmapped (RFC 4291).

    ValueError if it is none.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def network_of(address: bytes) -> bytes:
    """Return what an address of 4 or 16 bytes is counted under: itself, or its IPv6 /64."""
    return address if len(address) == _V4_LENGTH else address[:_V6_NETWORK_LENGTH]


class TrustedProxies:
    """The reverse proxies whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Take networks in CIDR notation; ValueError for anything else."""
        self._networks: tuple[Network, ...] = tuple(ip_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: Address) -> bool:
        """Tell whether an address is one of the proxies."""
        return any(address in network for network in self._networks)

    def client(self, forwarded: Sequence[bytes]) -> Address:
        """Return the client that a proxy speaks for, out of its X-Forwarded-For headers in order.

        Each proxy appends whom it heard, so only the right end is to be believed: the client is
        the last address that isn't a proxy itself. AnnounceError where the header is missing or
        broken, for then a proxy is misconfigured and every client would look like it.
        """
        hops = [hop.strip() for header in forwarded for hop in header.split(b",")]
        if not hops:
            raise AnnounceError("the tracker's proxy did not send X-Forwarded-For")
        for hop in reversed(hops):
            address = _hop(hop)
            if not self.trusts(address):
                return address
        # Proxies all the way: the client is a machine of their network.
        return address


def _hop(raw: bytes) -> Address:
    """Return the address of one hop; some proxies add a port, and brackets for IPv6."""
    text = raw.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse_address(text)
    except ValueError:
        raise AnnounceError("the tracker's proxy sent a broken X-Forwarded-For") from None
