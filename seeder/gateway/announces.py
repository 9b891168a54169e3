"""/announce and /scrape: from an HTTP request to the swarms and back.

A refusal is a reply like any other, with status 200: clients discard the body of anything else, and
with it the reason.
"""

from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_pton

from seeder.errors import AnnounceError
from seeder.gateway.clients import TrustedProxies, parse_address
from seeder.http.messages import Request, Response
from seeder.net.buckets import Limiter
from seeder.tracker.announce import (
    encode_failure,
    encode_reply,
    encode_reply_listed,
    encode_scrape,
    parse_announce,
    parse_scrape,
)
from seeder.tracker.swarms import Swarms

_HEADERS = ((b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store"))
_V4_MAPPED = b"\x00" * 10 + b"\xff\xff"
_TOO_MANY = AnnounceError("too many requests from your address", retry_in="1")


def packed_address(host: str) -> bytes:
    """Return the 4 or 16 bytes of a socket's address, IPv4-mapped ones as IPv4."""
    if ":" not in host:
        return inet_pton(AF_INET, host)
    packed = inet_pton(AF_INET6, host.partition("%")[0])
    return packed[12:] if packed.startswith(_V4_MAPPED) else packed


class Sources:
    """Who a request comes from, and whether that one has asked too often."""

    def __init__(
        self, proxies: TrustedProxies, limiter: Limiter | None, clock: Callable[[], float]
    ) -> None:
        self._proxies = proxies
        self._limiter = limiter
        self._clock = clock

    def source(self, request: Request) -> tuple[bytes, bytes | None]:
        """Return the client's address, and ours as it reached us: None behind a proxy.

        AnnounceError when a trusted proxy doesn't say whom it speaks for.
        """
        if self._proxies:
            peer = parse_address(request.peer[0])
            if self._proxies.trusts(peer):
                forwarded = request.all_headers(b"x-forwarded-for")
                return self._proxies.client(forwarded).packed, None
        return packed_address(request.peer[0]), packed_address(request.local[0])

    def admit(self, source: bytes, requests: int = 1) -> bool:
        """Count a request of an address as so many; False when it has to wait."""
        return self._limiter is None or self._limiter.admit(source, self._clock(), requests)


class TrackerRoutes:
    """The tracker's two pages."""

    def __init__(self, swarms: Swarms, sources: Sources, *, clock: Callable[[], float]) -> None:
        self._swarms = swarms
        self._sources = sources
        self._clock = clock

    def announce(self, request: Request) -> Response:
        """Answer an announce (BEP 3)."""
        return self._answer(request, self._announce)

    def scrape(self, request: Request) -> Response:
        """Answer a scrape (BEP 48)."""
        return self._answer(request, self._scrape)

    def _answer(
        self, request: Request, page: Callable[[bytes, bytes, bytes | None], bytes]
    ) -> Response:
        try:
            source, local = self._sources.source(request)
            if not self._sources.admit(source):
                raise _TOO_MANY
            body = page(request.query, source, local)
        except AnnounceError as refusal:
            body = encode_failure(refusal)
        return Response(200, body, _HEADERS)

    def _announce(self, query: bytes, source: bytes, local: bytes | None) -> bytes:
        announce = parse_announce(query)
        reply = self._swarms.announce(announce, source, local, self._clock())
        if announce.compact:
            return encode_reply(reply)
        hidden = announce.no_peer_id
        peer_ids = {} if hidden else self._swarms.peer_ids(announce.info_hash, reply)
        return encode_reply_listed(reply, peer_ids)

    def _scrape(self, query: bytes, source: bytes, local: bytes | None) -> bytes:
        counts = self._swarms.scrape(parse_scrape(query))
        return encode_scrape(counts, self._swarms.policy.min_interval)
