"""The connected peers as the status page lists them, the fastest first."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nlargest
from math import inf

import trio

from seeder.admin.rows import ROWS_AT_ONCE
from seeder.admin.view import name_of
from seeder.ledger.report import Document
from seeder.peer.hub import Hub
from seeder.peer.standing import Departure, PeerStanding

SHOWN = 50
"""Peers in one list."""
SHOWN_DEPARTURES = 20


@dataclass(slots=True, eq=False)
class PeerRates:
    """How fast the peers are, from what each was sent between one look at all of them and the next.

    Each page has its own.
    """

    hub: Hub
    _sent: dict[int, int] = field(default_factory=dict)
    """Bytes by the peer's identity, at the last look."""
    _rates: dict[int, float] = field(default_factory=dict)
    """Bytes a second."""
    _looked_at: float | None = None
    _standings: list[PeerStanding] = field(default_factory=list)

    async def look(self) -> None:
        """Look at all peers, and let other tasks run now and then."""
        now, standings = trio.current_time(), list(self.hub.peers())
        seconds = max(0.1, now - (now if self._looked_at is None else self._looked_at))
        sent: dict[int, int] = {}
        for number, standing in enumerate(standings):
            identity, uploaded = standing.identity, standing.uploaded
            gained = uploaded - self._sent.get(identity, uploaded)
            sent[identity] = uploaded
            # A new peer may have the identity of one that is gone.
            self._rates[identity] = max(0.0, gained / seconds)
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        self._rates = {identity: self._rates[identity] for identity in sent}
        self._sent, self._looked_at, self._standings = sent, now, standings

    def rows(self, shown: Callable[[PeerStanding], bool], count: int = SHOWN) -> list[Document]:
        """Return the rows of up to `count` peers that are to be `shown`, as of the last look."""
        return [self._row(standing) for standing, _ in self.fastest(shown, count)]

    def fastest(
        self, shown: Callable[[PeerStanding], bool], count: int
    ) -> list[tuple[PeerStanding, float]]:
        """Return up to `count` peers, each with its rate (bytes a second), as of the last look."""
        chosen = nlargest(count, filter(shown, self._standings), key=self._rank)
        return [(standing, self._rates[standing.identity]) for standing in chosen]

    @property
    def age(self) -> float:
        """How long ago the last look was (s)."""
        return inf if self._looked_at is None else trio.current_time() - self._looked_at

    def _rank(self, standing: PeerStanding) -> tuple[float, int]:
        return self._rates[standing.identity], standing.uploaded

    def _row(self, standing: PeerStanding) -> Document:
        return {
            "address": f"{standing.address[0]}",
            "port": standing.address[1],
            "client": standing.client,
            "name": standing.holder,
            "object": name_of(standing.torrent.pinned.ref),
            "share": round(standing.share, 4),
            "uploaded_bytes": standing.uploaded,
            "rate": round(self._rates[standing.identity]),
            "encrypted": standing.encrypted,
            "choked": standing.choked,
            "interested": standing.interested,
            "since": unix(standing.opened_at),
        }


def departure_rows(hub: Hub) -> list[Document]:
    """Return the rows of the peers that left last, the latest first."""
    latest = list(hub.departures)[-SHOWN_DEPARTURES:]
    return [_departure_row(departure) for departure in reversed(latest)]


def _departure_row(departure: Departure) -> Document:
    return {
        "address": departure.address[0],
        "port": departure.address[1],
        "client": departure.client,
        "object": name_of(departure.ref),
        "reason": departure.reason,
        "uploaded_bytes": departure.uploaded,
        "at": unix(departure.closed_at),
    }


def unix(moment: float) -> int:
    """Return a moment of trio's clock in Unix seconds; whole, so that it stays the same."""
    return round(time.time() - (trio.current_time() - moment))
