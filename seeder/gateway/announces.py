"""/announce and /scrape: from an HTTP request to the swarms and back.

A refusal is a reply like any other, with status 200: clients discard the body of any other status,
and with it the reason.
"""

from collections.abc import Callable

from seeder.errors import AnnounceError
from seeder.gateway.clients import Clients
from seeder.http.messages import Request, Response
from seeder.tracker.announce import (
    MOST_SCRAPED,
    encode_failure,
    encode_reply,
    encode_reply_listed,
    encode_scrape,
    parse_announce,
    parse_scrape,
)
from seeder.tracker.swarms import Swarms

HASHES_A_REQUEST = 4
"""So many hashes of a scrape cost as much as an announce."""
_HEADERS = ((b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store"))
_TOO_MANY = encode_failure(AnnounceError("too many requests from your address", retry_in="1"))


class TrackerRoutes:
    """The tracker's two pages; `clock` is in seconds."""

    def __init__(self, swarms: Swarms, clients: Clients, clock: Callable[[], float]) -> None:
        self._swarms = swarms
        self._clients = clients
        self._clock = clock

    def announce(self, request: Request) -> Response:
        """Answer an announce (BEP 3)."""
        return self._answer(request, self._announce, 1)

    def scrape(self, request: Request) -> Response:
        """Answer a scrape (BEP 48); it counts as more requests the more hashes it has."""
        hashes = min(request.query.count(b"info_hash="), MOST_SCRAPED)
        return self._answer(request, self._scrape, 1 + hashes // HASHES_A_REQUEST)

    def _answer(
        self, request: Request, page: Callable[[bytes, bytes, bytes | None], bytes], requests: int
    ) -> Response:
        try:
            client, local = self._clients.addresses(request)
            admitted = self._clients.admit(client, requests)
            body = page(request.query, client, local) if admitted else _TOO_MANY
            if not self._clients.admit_reply(client, len(body)):
                body = _TOO_MANY
        except AnnounceError as refusal:
            body = encode_failure(refusal)
        return Response(200, body, _HEADERS)

    def _announce(self, query: bytes, client: bytes, local: bytes | None) -> bytes:
        announce = parse_announce(query)
        reply = self._swarms.announce(announce, client, local, self._clock())
        return encode_reply(reply) if announce.compact else encode_reply_listed(reply)

    def _scrape(self, query: bytes, client: bytes, local: bytes | None) -> bytes:
        counts = self._swarms.scrape(parse_scrape(query))
        return encode_scrape(counts, self._swarms.policy.min_interval)
