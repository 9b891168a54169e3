"""/announce and /scrape: from an HTTP request to the swarms and back.

A refusal is a reply like any other, with status 200: clients discard the body of any other status,
and with it the reason.
"""

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from seeder.errors import AnnounceError
from seeder.gateway.clients import Clients
from seeder.http.messages import Request, Response
from seeder.tracker.announce import (
    DENIED,
    MOST_SCRAPED,
    encode_failure,
    encode_reply,
    encode_reply_listed,
    encode_scrape,
    parse_announce,
    parse_scrape,
)
from seeder.tracker.swarms import Swarms
from seeder.tracker.tallies import UNREAD, AnnounceOutcome

HASHES_A_REQUEST = 4
"""So many hashes of a scrape cost as much as an announce."""
SPREAD = 61
"""Refusals are spread over so many seconds for each minute, or those of a client with thousands of
torrents would all be back in the same second, to be refused again."""
TIMES = 2
"""Minutes over which clients that ask too often are spread, behind the first."""
_STEP = 23
"""Prime to SPREAD: refusals in a row are told times far from each other."""
_HEADERS = ((b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store"))
_TOO_OFTEN = AnnounceError("too many requests from your address", retry_in="1")
_TOO_MANY = tuple(encode_failure(_TOO_OFTEN, later=TIMES * later) for later in range(SPREAD))
_DENIED = encode_failure(AnnounceError(DENIED, retry_in="never"))
_ENDINGS = (b"event=stopped", b"event=completed")
_ONLY_READ = AnnounceError("announce and scrape with GET, without a body")
_NOT_READ = Response(405, encode_failure(_ONLY_READ), (*_HEADERS, (b"Allow", b"GET, HEAD")))


def _refused(reason: str) -> Response:
    return Response(200, encode_failure(AnnounceError(reason)), _HEADERS)


TRACKER_PAGES = {b"/announce": _refused, b"/scrape": _refused}
"""Some of their clients send no Host, which the tracker has no use for."""


class TrackerRoutes:
    """The tracker's two pages; `clock` is in seconds."""

    def __init__(self, swarms: Swarms, clients: Clients, clock: Callable[[], float]) -> None:
        self._swarms = swarms
        self._clients = clients
        self._clock = clock
        self._door = clients.doors.tracker
        self._tallies = swarms.tallies
        self._event = UNREAD
        """Of the announce that is answered, once it is read."""
        self._now = 0.0
        """When the request that is answered came."""
        self._passkey = b""
        """In the path of the request that is answered."""
        self._later = 0
        """Of the next refusal, in seconds."""

    def announce(self, request: Request) -> Response:
        """Answer an announce (BEP 3).

        The end of a download is taken even from those who ask too often: it comes once, and who
        isn't known to have stopped is handed out for an hour. Then it gets no peers, so that it
        costs less than reading the request did.
        """
        self._event = UNREAD
        body, outcome = self._answer(request, self._announce, 1)
        self._tallies.announces[self._event, outcome] += 1
        return Response(200, body, _HEADERS)

    def scrape(self, request: Request) -> Response:
        """Answer a scrape (BEP 48); it counts as more requests the more hashes it has."""
        hashes = min(request.query.count(b"info_hash="), MOST_SCRAPED)
        self._event = UNREAD
        body, outcome = self._answer(request, self._scrape, 1 + hashes // HASHES_A_REQUEST)
        self._tallies.scrapes[outcome] += 1
        return Response(200, body, _HEADERS)

    def answer(self, request: Request, *, may_read: bool) -> Response | None:
        """Answer on whichever of the two pages a request means; None if it means neither.

        What follows a page's name is taken for a passkey, which only private swarms look at. An
        announce URL often has a slash too many before it.
        """
        page, _, key = request.path.lstrip(b"/").partition(b"/")
        if page not in (b"announce", b"scrape") or not request.path.startswith(b"/"):
            return None
        if not may_read:
            return _NOT_READ
        self._passkey = unquote_to_bytes(key.strip(b"/"))
        try:
            return self.announce(request) if page == b"announce" else self.scrape(request)
        finally:
            self._passkey = b""

    def _answer(
        self,
        request: Request,
        page: Callable[[bytes, bytes, bytes | None, bool], bytes | None],
        requests: int,
    ) -> tuple[bytes, AnnounceOutcome]:
        client, local = self._clients.addresses(request)
        if not self._door.is_open and self._door.turns_away(client):
            return _DENIED, "denied"
        self._now = now = self._clock()
        admitted = self._clients.admit(client, requests, now)
        try:
            body = page(request.query, client, local, admitted)
        except AnnounceError as refusal:
            body = encode_failure(refusal, later=self._next_later())
            return body, "malformed" if self._event is UNREAD else "unknown-torrent"
        if body is None or not self._clients.admit_reply(client, len(body)):
            return _TOO_MANY[self._next_later()], "too-often"
        return body, "answered"

    def _next_later(self) -> int:
        self._later = (self._later + _STEP) % SPREAD
        return self._later

    def _announce(
        self, query: bytes, client: bytes, local: bytes | None, admitted: bool
    ) -> bytes | None:
        if not admitted and (self._passkey or not any(ending in query for ending in _ENDINGS)):
            # Whether a passkey is good isn't looked at for those who ask too often.
            return None
        announce = parse_announce(query, self._passkey)
        self._event = announce.event.word
        self._clients.hidden.announced(client, announce)
        if not admitted:
            announce = announce._replace(numwant=0)
        reply = self._swarms.announce(announce, client, local, self._now)
        return encode_reply(reply) if announce.compact else encode_reply_listed(reply)

    def _scrape(
        self, query: bytes, client: bytes, local: bytes | None, admitted: bool
    ) -> bytes | None:
        if not admitted:
            return None
        counts = self._swarms.scrape(parse_scrape(query), self._passkey)
        return encode_scrape(counts, self._swarms.policy.min_interval)
