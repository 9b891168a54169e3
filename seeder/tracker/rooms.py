"""How many peers all swarms may list together, and which swarm makes room when that is reached.

No I/O.
"""

import logging
from typing import Protocol

from seeder.net.addresses import Networks, network_text
from seeder.net.notices import Notices

_LOG = logging.getLogger(__name__)


class Tenant(Protocol):
    """A swarm that shares the room."""

    def make_room(self, now: float) -> None:
        """Drop one peer of the largest network; `now` is in seconds."""


class Room:
    """A number of places that all swarms share, and the swarms by the share of one network.

    The swarm in which one network has more peers than any has in another swarm makes room: an
    attack on one torrent costs that torrent's places, and ghosts in every torrent cost their own.
    """

    __slots__ = ("_crowded", "_largest", "_limit", "_ranks", "used")

    def __init__(self, limit: int) -> None:
        self.used = 0
        self._limit = limit
        self._crowded = Notices()
        self._largest = 0
        self._ranks: dict[int, dict[Tenant, None]] = {}
        """The swarms by how many peers their largest network has."""

    @property
    def is_full(self) -> bool:
        return self.used >= self._limit

    @property
    def largest(self) -> int:
        """How many peers one network has in one swarm, at most."""
        return self._largest

    def change(self, tenant: Tenant, places: int, before: int, after: int) -> None:
        """Note that a swarm took places or (negative) gave them back.

        Its largest network had `before` peers and has `after`.
        """
        self.used += places
        if before == after:
            return
        ranks = self._ranks
        if before:
            equals = ranks[before]
            del equals[tenant]
            if not equals:
                del ranks[before]
        if after:
            equals = ranks.get(after) or ranks.setdefault(after, {})
            equals[tenant] = None
        if after > self._largest:
            self._largest = after
        elif before == self._largest and before not in ranks:
            self._largest = after if after == before - 1 else max(ranks, default=0)

    def tell_crowded(self, networks: Networks, most: int, now: float) -> None:
        """Log that an address has `most` peers in a swarm, and that others of it aren't listed."""
        if self._crowded.is_due(networks[0], now):
            _LOG.warning(
                "more than tracker.peers_per_address = %d peers of a torrent announce from %s: the"
                " others are told of peers, but nobody hears of them; if many people share that"
                ' address, set it to twice their number: see "Many people behind one address" in'
                " the documentation",
                most,
                network_text(networks[0]),
            )

    def make_room(self, now: float) -> None:
        """Have the swarm with the largest share of one network drop one of its peers."""
        next(iter(self._ranks[self._largest])).make_room(now)
