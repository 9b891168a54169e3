"""Addresses as operators, sockets and peers write them, and what counts as one address.

A host in text is a name or an IP address; a packed address is its 4 or 16 bytes. A compact endpoint
is a packed address and a port: 6 bytes, or 18 for IPv6 (BEP 23, BEP 7).

No I/O.
"""

from enum import IntEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network
SocketAddress: TypeAlias = tuple[str, int]
"""The numeric host and the port of a connection's other end."""
Networks: TypeAlias = tuple[bytes, ...]
"""The networks of one address, narrowest first, as `networks_of` returns them."""

PRIVATE_NETWORKS: tuple[IPNetwork, ...] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "192.0.0.0/24",
            "198.18.0.0/15",
            "fc00::/7",
            "fe80::/10",
            "64:ff9b:1::/48",
        ),
    )
)
"""Networks whose addresses mean something else elsewhere: RFC 1918, RFC 6598 (what providers put
between themselves and their customers), RFC 3927, RFC 7335 (IPv4 over a
provider's IPv6), RFC 2544 (benches, and VPN clients), RFC 4193, RFC 4291, RFC 8215."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052."""
V4_ENDPOINT = 6
V6_ENDPOINT = 18
V4_LENGTH = 4
_V6_LOOPBACK = bytes(15) + b"\1"
_V4_SITE = 3
_V4_ELSEWHERE = frozenset((10, 100, 127, 169, 172, 192, 198))
"""First bytes of addresses that may mean something else elsewhere."""
_LOCAL_NAT64 = bytes.fromhex("0064ff9b0001")
_NETWORK_LENGTH = 8
"""An IPv6 /64 counts as one address: a host takes any address of its subnet (RFC 4291, 2.5.1)."""


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


def ip_version(host: str) -> int | None:
    """Return 4 or 6 if a host is an IP address, and None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def is_public(host: str) -> bool:
    """Tell whether a numeric address means one and the same host everywhere."""
    try:
        ip = parse_ip(host)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = ip.sixtofour
        if ip in _NAT64:
            inner = ip_address(int(ip) & 0xFFFFFFFF)  # type: ignore[assignment]
        if inner is not None and not inner.is_global:
            return False
    return ip.is_global and not ip.is_multicast


def network_of(address: bytes) -> bytes:
    """Return what a packed address is counted under: itself, or its IPv6 /64."""
    return address if len(address) == V4_LENGTH else address[:_NETWORK_LENGTH]


def networks_of(address: bytes) -> Networks:
    """Return the networks that a packed address lies in, narrowest first.

    They are the address and its /24, or of IPv6 the /64, the /56 and the /48: what a host, a site
    and a larger site are given (RFC 6177). Each is as many bytes of the address as it is long, so
    no two of different lengths are equal; what lies one step below has one byte more.
    """
    if len(address) == V4_LENGTH:
        return address, address[:_V4_SITE]
    return address[:_NETWORK_LENGTH], address[:7], address[:6]


def network_text(network: bytes) -> str:
    """Return a network of `networks_of` as text: an IPv4 address, or such as "2001:db8::/64"."""
    if len(network) <= V4_LENGTH:
        text = str(IPv4Address(network.ljust(V4_LENGTH, b"\0")))
        return text if len(network) == V4_LENGTH else f"{text}/{8 * len(network)}"
    return f"{IPv6Address(network.ljust(16, bytes(1)))}/{8 * len(network)}"


class Scope(IntEnum):
    """Where an address means one and the same host."""

    EVERYWHERE = 0
    SITE = 1
    """RFC 1918, RFC 4193, RFC 2544."""
    HOST = 2
    LINK = 3
    """RFC 3927; fe80::/10, without its zone."""
    PROVIDER = 4
    """RFC 6598, RFC 7335, RFC 8215."""


_EVERYWHERE = Scope.EVERYWHERE
"""Python 3.11 takes as long to look a member up as `scope_of` does for all else."""


def scope_of(address: bytes) -> Scope:
    """Return where a packed address (IPv4 unmapped) means one host."""
    first, second = address[0], address[1]
    if len(address) == V4_LENGTH:
        if first not in _V4_ELSEWHERE:
            return _EVERYWHERE
        if first == 10 or (first == 192 and second == 168) or (first == 172 and second >> 4 == 1):
            return Scope.SITE
        if first == 127:
            return Scope.HOST
        if first == 169 and second == 254:
            return Scope.LINK
        if first == 198 and second >> 1 == 18 >> 1:
            return Scope.SITE
        if (first == 100 and second >> 6 == 1) or (first == 192 and address[1:3] == b"\0\0"):
            return Scope.PROVIDER
        return _EVERYWHERE
    if first >> 1 == 0xFC >> 1:
        return Scope.SITE
    if first == 0xFE and second >> 6 == 2:
        return Scope.LINK
    if not first and address.startswith(_LOCAL_NAT64):
        return Scope.PROVIDER
    return Scope.HOST if address == _V6_LOOPBACK else _EVERYWHERE


def is_told_to(client: bytes, address: bytes) -> bool:
    """Tell whether an address means anything to a client (both packed, IPv4 unmapped).

    A private one means another host elsewhere, or none.
    """
    scope = scope_of(address)
    return scope is Scope.EVERYWHERE or scope is scope_of(client)


def compact_endpoint(address: bytes, port: int) -> bytes:
    """Return the compact endpoint of a packed address and a port (BEP 23, BEP 7)."""
    return address + port.to_bytes(2, "big")


def endpoint_address(endpoint: bytes) -> HostPort:
    """Return the address and the port of a compact endpoint."""
    return HostPort(str(ip_address(endpoint[:-2])), int.from_bytes(endpoint[-2:], "big"))


def is_v6(endpoint: bytes) -> bool:
    """Tell whether a compact endpoint is an IPv6 one."""
    return len(endpoint) == V6_ENDPOINT
