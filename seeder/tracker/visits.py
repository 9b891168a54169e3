"""Whose word has something behind it: the addresses that came to our own seeder for a torrent.

Anybody can announce peers that aren't there. Whoever is there and wants a torrent also dials our
seeder, which the tracker names to everybody, and shakes hands with it.

No I/O.
"""

from collections import OrderedDict
from dataclasses import dataclass

from seeder.torrent.info import InfoHash
from seeder.units import DAY


@dataclass(slots=True)
class Visit:
    """What our seeder saw of one address (IPv6: /64) and torrent."""

    since: float
    at_once: int = 0
    """Peers that were connected at the same time."""
    peers: int = 0
    """Peers that came, those that came again included."""
    completed: int = 0
    """Completed downloads that were believed for their sake."""
    copies: float = 0.0
    """Copies of the object, claimed as downloaded, that were."""


class Visits:
    """All visits of an address and a torrent within a day (24 h) of the first, as one.

    Beyond `most`, the address that came longest ago is forgotten.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._visits: OrderedDict[bytes, Visit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._visits)

    def note(self, info_hash: InfoHash, network: bytes, at_once: int, now: float) -> None:
        """Note a peer that shook hands; `at_once` peers of its address are connected now."""
        name = info_hash + network
        visit = self._visits.pop(name, None)
        if visit is None or now - visit.since > DAY:
            visit = Visit(now)
        self._visits[name] = visit
        visit.at_once = max(visit.at_once, at_once)
        visit.peers += 1
        if len(self._visits) > self._most:
            self._visits.popitem(last=False)

    def of(self, info_hash: InfoHash, network: bytes, now: float) -> Visit | None:
        """Return what was seen of an address and a torrent; None once a day is over."""
        visit = self._visits.get(info_hash + network)
        return None if visit is None or now - visit.since > DAY else visit
