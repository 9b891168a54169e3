"""Which client a request comes from, and whether that client asks too often.

The client is at the address of the socket, or where a trusted reverse proxy says (X-Forwarded-For).
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf

from seeder.gateway.hidden import HiddenClients
from seeder.http.messages import Request
from seeder.net.addresses import IPAddress, IPNetwork, network_of, network_text, parse_ip
from seeder.net.buckets import AddressLimiter
from seeder.net.doors import Door, Doors
from seeder.net.notices import Notices
from seeder.net.sockets import packed_address
from seeder.units import KIB

_LOG = logging.getLogger(__name__)

LONG_REPLY = 4 * KIB
"""Bytes of a reply that count as a request more: some ask for kilobytes with one line."""

HANDSHAKES_A_SECOND, HANDSHAKES_AT_ONCE = 50.0, 500.0
"""Connections with TLS from one address: a signature each, whether a request follows or not."""
REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 50.0, 500.0
"""Requests from one address (IPv6: one /64): room for a large NAT."""
RANGES_A_SECOND, RANGES_AT_ONCE = 400.0, 4000.0
"""Those for content, beside the others: 25 MiB/s in pieces of 64 KiB, which is a request each."""
RANGE_PATIENCE = 20.0
"""Seconds that a request for content or for a page of a listing waits at most to be begun."""
MOST_HOPS = 32
"""Addresses of an X-Forwarded-For that are looked at: whoever stands in a trusted network could
have us read thousands."""
# In brackets, IPv4 with or without a port, or IPv6 without one.
_HOP = re.compile(
    rb"\[([0-9A-Za-z.:%_-]+)\](?::[\w.-]*)?|([0-9.]+)(?::[\w.-]*)?|([0-9A-Za-z.:%_-]+)", re.ASCII
)


_packed_local = lru_cache(maxsize=64)(packed_address)
"""Nearly all come to the same few addresses."""


class TrustedProxies:
    """The reverse proxies whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[IPNetwork]) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: IPAddress) -> bool:
        """Tell whether an address is one of the proxies."""
        return any(address in network for network in self._networks)

    def client(self, asker: IPAddress, forwarded: Sequence[bytes]) -> IPAddress:
        """Return the client of a request that came from `asker`.

        `forwarded` are its X-Forwarded-For headers in order. Each proxy appends the address that it
        was asked from, so they are read from the right, for as long as the one who tells is a
        proxy: the first address that isn't one is the client. Where a proxy tells no address
        (nothing, `unknown` or a made-up name, as RFC 7239, 6 allows), the last that is certain
        is taken. So a machine of the proxies' network that asks for itself is itself.
        """
        client = asker
        hops = b",".join(forwarded).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]
        while hops and self.trusts(client):
            address = _hop(hops.pop())
            if address is None:
                break
            client = address
        return client


class Clients:
    """The clients of the public listener; `clock` is in seconds.

    Downloads have a limit of their own: a BitTorrent client asks for thousands of small ranges, and
    must neither lose its tracker by that nor its web seed by its torrents' announces.
    """

    def __init__(
        self,
        proxies: TrustedProxies,
        limiter: AddressLimiter,
        ranges: AddressLimiter,
        clock: Callable[[], float],
        doors: Doors | None = None,
    ) -> None:
        self._proxies = proxies
        self._limiter = limiter
        self._ranges = ranges
        self._clock = clock
        self._handshakes = AddressLimiter(HANDSHAKES_A_SECOND, HANDSHAKES_AT_ONCE)
        self._crowded = Notices()
        self.hidden = HiddenClients()
        self.doors = doors or Doors(Door(), Door(), Door())
        self.asked_at = -inf
        """When one was last told something by the tracker, or a page (the clock's time, s)."""

    @classmethod
    def behind(
        cls, proxies: Sequence[IPNetwork], clock: Callable[[], float], doors: Doors
    ) -> "Clients":
        """Return the clients of a node with these trusted proxies, under the limits of all."""
        return cls(
            TrustedProxies(proxies),
            AddressLimiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE),
            AddressLimiter(RANGES_A_SECOND, RANGES_AT_ONCE),
            clock,
            doors,
        )

    def addresses(self, request: Request) -> tuple[bytes, bytes | None]:
        """Return the client's packed address, and ours that it reached.

        Ours is None behind a proxy.
        """
        asker = packed_address(request.peer[0])
        if self._proxies and self._proxies.trusts(address := parse_ip(request.peer[0])):
            client = self._proxies.client(address, request.all_headers(b"x-forwarded-for"))
            if client != address:
                return client.packed, None
        else:
            self.hidden.came_from(asker, request)
        return asker, _packed_local(request.local[0])

    def admit(self, client: bytes, requests: int = 1, now: float | None = None) -> bool:
        """Count a client (packed address) as many requests; False when the client has to wait.

        `now` is the clock's time, if the caller has looked already.
        """
        if now is None:
            now = self._clock()
        admitted = self._limiter.admit(client, now, requests)
        self.asked_at = now
        if not admitted:
            self._tell_crowded(client, now)
        return admitted

    def admit_handshake(self, host: str) -> bool:
        """Count a connection with TLS from an address; False when there are too many.

        Those of a trusted proxy are of many clients.
        """
        if self._proxies and self._proxies.trusts(parse_ip(host)):
            return True
        client, now = packed_address(host), self._clock()
        admitted = self._handshakes.admit(client, now)
        if not admitted:
            self._tell_crowded(client, now)
        return admitted

    def admit_reply(self, client: bytes, size: int) -> bool:
        """Count a reply of `size` bytes, if it is long, as further requests.

        False when the client (a packed address) has to wait for it.
        """
        return size < LONG_REPLY or self.admit(client, size // LONG_REPLY)

    def wait_for_page(self, client: bytes, requests: int) -> float | None:
        """Count a client a page of a listing; return the seconds that it has to wait for it.

        None if it would be too many: tools that ask page by page are held up rather than refused.
        """
        return self._limiter.wait(client, self._clock(), RANGE_PATIENCE, requests)

    def wait_for_range(self, client: bytes) -> float | None:
        """Count a client's request for content; return the seconds that it has to wait.

        None if they are too many. Clients give up a web seed that refuses a few times in a row, so
        they wait.
        """
        now = self._clock()
        wait = self._ranges.wait(client, now, RANGE_PATIENCE)
        if wait is None:
            self._tell_crowded(client, now)
        return wait

    def _tell_crowded(self, client: bytes, now: float) -> None:
        """Log that a client asks too often: it may be many behind one address."""
        network = network_of(client)
        if self._crowded.is_due(network, now):
            _LOG.warning(
                "more requests come from %s, or the network around it, than one address may send,"
                " and the others are told to come later; if it is a proxy of yours, name it in"
                " tracker.trusted_proxies, or else there is nothing to set",
                network_text(network),
            )


def _hop(raw: bytes) -> IPAddress | None:
    """Return the address of one hop, if it is one.

    Some proxies add a port, or put it in quotes as RFC 7239 has it.
    """
    found = _HOP.fullmatch(raw.strip(b' \t"'))
    if found is None:
        return None
    try:
        address = parse_ip((found[1] or found[2] or found[3]).decode("ascii"))
    except ValueError:
        return None
    return None if address.is_unspecified or address.is_multicast else address
