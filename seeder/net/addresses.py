"""Addresses as operators, sockets and peers write them, and what counts as one address.

A host in text is a name or an IP address; a packed address is its 4 or 16 bytes. A compact endpoint
is a packed address and a port: 6 bytes, or 18 for IPv6 (BEP 23, BEP 7).

No I/O.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network
SocketAddress: TypeAlias = tuple[str, int]
"""The numeric host and the port of a connection's other end."""

V4_ENDPOINT = 6
V6_ENDPOINT = 18
NETWORK_BITS = 64
"""An IPv6 /64 counts as one address: a host takes any address of its subnet (RFC 4291, 2.5.1)."""
_V4_LENGTH = 4
_NETWORK_LENGTH = NETWORK_BITS // 8


class HostPort(NamedTuple):
    """A host (IP address or name, without brackets) and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_ip(text: str) -> IPAddress:
    """Return the IP address that `text` spells, without its zone and with IPv4 unmapped.

    ValueError if it spells none.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def address_group(host: str) -> str:
    """Return in text what an IP address is counted under: itself, or its IPv6 /64."""
    address = parse_ip(host)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, NETWORK_BITS), strict=False))
    return str(address)


def network_of(address: bytes) -> bytes:
    """Return what a packed address is counted under: itself, or its IPv6 /64."""
    return address if len(address) == _V4_LENGTH else address[:_NETWORK_LENGTH]


def compact_endpoint(address: bytes, port: int) -> bytes:
    """Return the compact endpoint of a packed address and a port (BEP 23, BEP 7)."""
    return address + port.to_bytes(2, "big")


def is_v6(endpoint: bytes) -> bool:
    """Tell whether a compact endpoint is an IPv6 one."""
    return len(endpoint) == V6_ENDPOINT
