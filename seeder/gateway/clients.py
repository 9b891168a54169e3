"""Which client a request comes from, and whether that client asks too often.

The client is at the address of the socket, or where a trusted reverse proxy says (X-Forwarded-For).
"""

from collections.abc import Callable, Sequence

from seeder.http.messages import Request
from seeder.net.addresses import IPAddress, IPNetwork, parse_ip
from seeder.net.buckets import AddressLimiter
from seeder.net.sockets import packed_address
from seeder.units import KIB

LONG_REPLY = 4 * KIB
"""Bytes of a reply that count as a request more: some ask for kilobytes with one line."""


class ClientUnknown(Exception):
    """A trusted proxy doesn't say which client it speaks for; the text is for that client."""


class TrustedProxies:
    """The reverse proxies whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[IPNetwork]) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: IPAddress) -> bool:
        """Tell whether an address is one of the proxies."""
        return any(address in network for network in self._networks)

    def client(self, forwarded: Sequence[bytes]) -> IPAddress:
        """Return the client that a proxy speaks for, out of its X-Forwarded-For headers in order.

        Each proxy appends the address that it was asked from, so only the right end can be
        believed: the client is the last address that isn't a proxy's. ClientUnknown where the
        header is missing or broken: the proxy is misconfigured then, and all its clients would
        look like one.
        """
        hops = [hop.strip() for header in forwarded for hop in header.split(b",")]
        if not hops:
            raise ClientUnknown("the tracker's proxy did not send X-Forwarded-For")
        for hop in reversed(hops):
            address = _hop(hop)
            if not self.trusts(address):
                return address
        # Proxies all the way: the client is a machine of their network.
        return address


class Clients:
    """The clients of the public listener; `clock` is in seconds."""

    def __init__(
        self, proxies: TrustedProxies, limiter: AddressLimiter, clock: Callable[[], float]
    ) -> None:
        self._proxies = proxies
        self._limiter = limiter
        self._clock = clock

    def addresses(self, request: Request) -> tuple[bytes, bytes | None]:
        """Return the client's packed address, and ours that it reached; ClientUnknown.

        Ours is None behind a proxy.
        """
        if self._proxies:
            peer = parse_ip(request.peer[0])
            if self._proxies.trusts(peer):
                forwarded = request.all_headers(b"x-forwarded-for")
                return self._proxies.client(forwarded).packed, None
        return packed_address(request.peer[0]), packed_address(request.local[0])

    def admit(self, client: bytes, requests: int = 1) -> bool:
        """Count a client (packed address) as many requests; False when the client has to wait."""
        return self._limiter.admit(client, self._clock(), requests)

    def admit_reply(self, client: bytes, size: int) -> bool:
        """Count a long reply as further requests; False when the client has to wait for it."""
        return size < LONG_REPLY or self.admit(client, size // LONG_REPLY)


def _hop(raw: bytes) -> IPAddress:
    """Return the address of one hop; some proxies add a port, and brackets for IPv6."""
    text = raw.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse_ip(text)
    except ValueError:
        raise ClientUnknown("the tracker's proxy sent a broken X-Forwarded-For") from None
