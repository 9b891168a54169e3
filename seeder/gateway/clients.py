"""Whose announce it is: the address of the socket, or what a trusted proxy says of it."""

from collections.abc import Callable, Sequence
from ipaddress import ip_network

from seeder.errors import AnnounceError
from seeder.http.messages import Request
from seeder.net.addresses import IPAddress, IPNetwork, parse_ip
from seeder.net.buckets import AddressLimiter
from seeder.net.sockets import packed_address


class TrustedProxies:
    """The reverse proxies whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Take networks in CIDR notation; ValueError for anything else."""
        self._networks: tuple[IPNetwork, ...] = tuple(ip_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: IPAddress) -> bool:
        """Tell whether an address is one of the proxies."""
        return any(address in network for network in self._networks)

    def client(self, forwarded: Sequence[bytes]) -> IPAddress:
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
        raise AnnounceError("the tracker's proxy sent a broken X-Forwarded-For") from None


class Sources:
    """Who a request comes from, and whether that one has asked too often."""

    def __init__(
        self, proxies: TrustedProxies, limiter: AddressLimiter | None, clock: Callable[[], float]
    ) -> None:
        self._proxies = proxies
        self._limiter = limiter
        self._clock = clock

    def source(self, request: Request) -> tuple[bytes, bytes | None]:
        """Return the client's address, and ours as it reached us: None behind a proxy.

        AnnounceError when a trusted proxy doesn't say whom it speaks for.
        """
        if self._proxies:
            peer = parse_ip(request.peer[0])
            if self._proxies.trusts(peer):
                forwarded = request.all_headers(b"x-forwarded-for")
                return self._proxies.client(forwarded).packed, None
        return packed_address(request.peer[0]), packed_address(request.local[0])

    def admit(self, source: bytes, requests: int = 1) -> bool:
        """Count a request of an address as so many; False when it has to wait."""
        return self._limiter is None or self._limiter.admit(source, self._clock(), requests)
