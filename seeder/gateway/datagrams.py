"""The tracker over UDP (BEP 15): the same swarms, limits and tallies as /announce and /scrape have.

What comes here may have a forged address. Until it names a connection id, it gets 16 bytes for 16,
and nothing of it is kept but in a limit of its own, and for a minute the id that it was given.
"""

import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address

import trio

from seeder.errors import AnnounceError
from seeder.gateway.announces import HASHES_A_REQUEST
from seeder.gateway.clients import Clients
from seeder.http.messages import SentMeter
from seeder.net.buckets import AddressLimiter
from seeder.net.datagrams import Datagram, Datagrams
from seeder.tracker.announce import DENIED, AnnounceRequest
from seeder.tracker.datagrams import (
    LARGEST_REQUEST,
    LONGEST_REPLY,
    ConnectionIds,
    ConnectRequest,
    DatagramAnnounce,
    DatagramScrape,
    encode_announced,
    encode_connected,
    encode_refused,
    encode_scraped,
    parse_datagram,
)
from seeder.tracker.swarms import Swarms
from seeder.tracker.tallies import AnnounceOutcome

_LOG = logging.getLogger(__name__)

AT_ONCE = 256
"""Datagrams answered by one wake-up; other tasks then get their turn. That is 5 ms: beside peers
that are seeded at full rate, wake-ups are tens of milliseconds apart."""
CONNECTS_PER_SECOND, CONNECTS_AT_ONCE = 50.0, 1000.0
"""Of one address. A client asks once a minute, and many may be behind one."""
_STALE = "connection id expired, connect again"
_TOO_OFTEN = "too many requests from your address"
_NO_PORT = "port must be a number from 1 to 65535"


class TrackerDatagrams:
    """Answers the tracker's datagrams; `clock` is in seconds, and so is `ids_clock`.

    The latter is that of all nodes that take each other's ids; None is `clock`.
    """

    def __init__(
        self,
        swarms: Swarms,
        clients: Clients,
        ids: ConnectionIds,
        meter: SentMeter,
        clock: Callable[[], float],
        *,
        ids_clock: Callable[[], float] | None = None,
    ) -> None:
        self._swarms = swarms
        self._clients = clients
        self.ids = ids
        self._ids_clock = ids_clock or clock
        self._meter = meter
        self._clock = clock
        self._door = clients.doors.tracker
        self._tallies = swarms.tallies
        self._connects = AddressLimiter(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE)

    async def serve(self, sock: socket.socket) -> None:
        """Answer what comes to a bound socket until cancelled; OSError when it is broken."""
        datagrams = Datagrams(sock, LARGEST_REQUEST, LONGEST_REPLY)
        while True:
            await trio.lowlevel.wait_readable(sock)
            taken = sent = 0
            try:
                while taken < AT_ONCE and (batch := datagrams.receive()) is not None:
                    # A batch that has only what gets no answer counts, too.
                    taken += max(len(batch), 1)
                    now, ids_now = self._clock(), self._ids_clock()
                    for datagram in batch:
                        try:
                            answer = self.answer(datagram, now, ids_now)
                            if answer is not None:
                                datagrams.reply(datagram.place, answer)
                        except Exception:
                            # A fault of ours in one answer: the others must not pay for it.
                            client = ip_address(datagram.source)
                            _LOG.exception("a datagram of %s: internal error", client)
                    sent += datagrams.send()
            finally:
                self._meter.protocol(sent)

    def answer(self, datagram: Datagram, now: float, ids_now: float) -> bytes | None:
        """Return the reply to a datagram that came at a time of both clocks; None: it gets none."""
        data, client, local, _ = datagram
        request = parse_datagram(data)
        if request is None:
            return None
        if isinstance(request, ConnectRequest):
            if not self._connects.admit(client, now):
                return None
            return encode_connected(request.transaction, self.ids.issue(client, ids_now))
        if not self.ids.is_good(request.connection, client, ids_now):
            return encode_refused(request.transaction, _STALE, most=len(data))
        if isinstance(request, DatagramAnnounce):
            _, transaction, announce = request
            answer, outcome = self._announce(transaction, announce, client, local, now)
            self._tallies.announces[announce.event.word, outcome] += 1
        else:
            answer, outcome = self._scrape(request, client, now)
            self._tallies.scrapes[outcome] += 1
        return answer

    def _announce(
        self, transaction: int, announce: AnnounceRequest, client: bytes, local: bytes, now: float
    ) -> tuple[bytes, AnnounceOutcome]:
        """Answer an announce; the end of a download is taken even from who asks too often."""
        if not self._door.is_open and self._door.turns_away(client):
            return encode_refused(transaction, DENIED), "denied"
        if not self._clients.admit(client, 1, now):
            # Whether a passkey is good isn't looked at for them.
            if not (announce.event.stops or announce.event.completes) or announce.passkey:
                return encode_refused(transaction, _TOO_OFTEN), "too-often"
            announce = announce._replace(numwant=0)
        if not announce.port and not announce.event.stops:
            return encode_refused(transaction, _NO_PORT), "malformed"
        self._clients.hidden.announced(client, announce)
        try:
            found = self._swarms.announce(announce, client, local, now)
        except AnnounceError as refusal:
            return encode_refused(transaction, refusal.reason), "unknown-torrent"
        return encode_announced(transaction, found), "answered"

    def _scrape(
        self, request: DatagramScrape, client: bytes, now: float
    ) -> tuple[bytes, AnnounceOutcome]:
        """Answer a scrape; it counts as more requests the more hashes it has."""
        if not self._door.is_open and self._door.turns_away(client):
            return encode_refused(request.transaction, DENIED), "denied"
        if not self._clients.admit(client, 1 + len(request.info_hashes) // HASHES_A_REQUEST, now):
            return encode_refused(request.transaction, _TOO_OFTEN), "too-often"
        counts = self._swarms.scrape(request.info_hashes)
        # One swarm may be asked for twice, and the reply has no hashes to tell which is which.
        found = [counts[info_hash] for info_hash in request.info_hashes]
        return encode_scraped(request.transaction, found), "answered"
