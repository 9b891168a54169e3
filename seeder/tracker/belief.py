"""How much of what the peers of one swarm claim is believed, by the address that claims it.

Anybody can claim anything under any number of names. What an address claims is believed for as many
downloads as peers came from it to our own seeder, up to `peers_per_address` a day, and for
`BELIEVED` a day more. All addresses of a network together are believed for as many times that as
`seeder.net.buckets.SHARES` says.

No I/O.
"""

from seeder.net.addresses import network_of
from seeder.net.buckets import AddressLimiter
from seeder.torrent.info import InfoHash
from seeder.tracker.visits import Visits
from seeder.units import DAY

BELIEVED = 3
"""Downloads of one torrent that an address may claim in a day without having been to our seeder."""


class _Credit:
    """What is left of one kind of claim, by address: it comes back over a day (24 h)."""

    def __init__(self, visitors: int) -> None:
        self._of_visitors = AddressLimiter(visitors / DAY, visitors)
        self._of_others = AddressLimiter(BELIEVED / DAY, BELIEVED)

    def admit(
        self, address: bytes, amount: float, visitors: float, now: float
    ) -> tuple[bool, bool]:
        """Return whether an amount is believed, and whether that is for the sake of visitors.

        `visitors` is how much of it those can answer for.
        """
        if amount <= visitors and self._of_visitors.admit(address, now, amount):
            return True, True
        return self._of_others.admit(address, now, amount), False


class Belief:
    """What is believed of one swarm. Addresses are packed, times in seconds.

    `visits` are of all torrents; `visitors` is of how many peers an address may have that came to
    our seeder.
    """

    __slots__ = ("_completions", "_copies", "_info_hash", "_visitors", "_visits")

    def __init__(self, info_hash: InfoHash, visits: Visits, visitors: int) -> None:
        self._info_hash = info_hash
        self._visits = visits
        self._visitors = visitors
        self._completions: _Credit | None = None
        self._copies: _Credit | None = None

    def admit_completion(self, address: bytes, now: float) -> bool:
        """Tell whether a completed download is believed, and count it if it is."""
        credit = self._completions
        if credit is None:
            credit = self._completions = _Credit(self._visitors)
        visit = self._visits.of(self._info_hash, network_of(address), now)
        visitors = 0 if visit is None else visit.peers - visit.completed
        believed, by_visit = credit.admit(address, 1, visitors, now)
        if by_visit and visit is not None:
            visit.completed += 1
        return believed

    def admit_copies(self, address: bytes, copies: float, now: float) -> bool:
        """Tell whether so much of the object is believed to have come, and count it if it is."""
        credit = self._copies
        if credit is None:
            credit = self._copies = _Credit(self._visitors)
        visit = self._visits.of(self._info_hash, network_of(address), now)
        visitors = 0.0 if visit is None else visit.peers - visit.copies
        believed, by_visit = credit.admit(address, copies, visitors, now)
        if by_visit and visit is not None:
            visit.copies += copies
        return believed
