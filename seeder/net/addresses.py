"""Addresses as operators, sockets and peers write them, and what counts as one address. No I/O."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias


class Address(NamedTuple):
    """A host (IP address or name, without brackets) and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


SocketAddress = tuple[str, int]


def address_group(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or an IPv6 /64."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


IPAddress: TypeAlias = IPv4Address | IPv6Address
_V4_LENGTH = 4
_V6_NETWORK_LENGTH = 8


def parse_address(text: str) -> IPAddress:
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


V4_ENDPOINT = 6
V6_ENDPOINT = 18


def compact_endpoint(address: bytes, port: int) -> bytes:
    """Return the compact form of an address of 4 or 16 bytes and a port (BEP 23, 7)."""
    return address + port.to_bytes(2, "big")


def is_v6(endpoint: bytes) -> bool:
    """Tell whether a compact endpoint is one of IPv6."""
    return len(endpoint) == V6_ENDPOINT
