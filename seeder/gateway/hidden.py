"""Signs that clients hide behind another's address; each is logged once a run. No I/O.

Only private addresses are looked at, those of a proxy or a container's host: a stranger mustn't
have the log name his address for `trusted_proxies`.
"""

import logging
from ipaddress import ip_address

from seeder.http.messages import Request
from seeder.net.addresses import scope_of
from seeder.tracker.announce import AnnounceRequest

MANY = 10
"""Clients in a row from one address that aren't one host's: with another port or program each."""
_PROGRAM = 8
"""Bytes of a peer id that name the client program (BEP 20); the others may differ by torrent."""
_LOG = logging.getLogger(__name__)


class HiddenClients:
    """Watches requests for addresses that stand for many clients."""

    def __init__(self) -> None:
        self._looks_for_proxy = self._looks_for_crowd = True
        self._address = b""
        """Of the last announce, if that is private."""
        self._seen: set[tuple[int, bytes]] = set()
        """Port and program of those that came from there."""

    def came_from(self, asker: bytes, request: Request) -> None:
        """Note a request from a packed address that isn't a trusted proxy's."""
        if not self._looks_for_proxy or not scope_of(asker):
            return
        if request.header(b"x-forwarded-for") is not None:
            self._looks_for_proxy = False
            _LOG.warning(
                "X-Forwarded-For comes from %s, which isn't in tracker.trusted_proxies: all whom it"
                " speaks for are taken for one client there; add it if it is a proxy of yours",
                ip_address(asker),
            )

    def announced(self, client: bytes, announce: AnnounceRequest) -> None:
        """Note an announce of a client at a packed address."""
        if not self._looks_for_crowd:
            return
        if client != self._address:
            address = client if scope_of(client) else b""
            if address != self._address:
                self._seen.clear()
                self._address = address
        if self._address:
            self._seen.add((announce.port, announce.peer_id[:_PROGRAM]))
            if len(self._seen) >= MANY:
                self._looks_for_crowd = False
                self._seen.clear()
                _LOG.warning(
                    "%d clients in a row came from %s, a private address: they share its limits,"
                    " and others are told to dial it; name a proxy in tracker.trusted_proxies and"
                    " have it send X-Forwarded-For, and run a container in its host's network",
                    MANY,
                    ip_address(client),
                )
