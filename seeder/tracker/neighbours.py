"""The listed peers of one swarm by network: who makes room, and who stands where in handouts.

Anybody can announce peers that aren't there. A peer is *known* when its address came to our own
seeder, and a *stranger* otherwise. Known peers stand in front, and strangers whose /24 or /48 has
only a few; where there are more strangers, all of them stand in the middle, and where there are so
many that no network has them by chance, behind. A stranger that becomes known comes to the front.

How much those in the middle are worth depends on the swarm (`trust`): in a large one a network may
well have dozens of peers that found no place at our seeder.

No I/O.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seeder.net.addresses import Networks, networks_of
from seeder.net.shares import Shares
from seeder.tracker.crowd import Crowd
from seeder.tracker.handout import Stand, Stands, Trust
from seeder.tracker.listed import KNOWN, WANTS_NOTHING, ListedPeers
from seeder.tracker.locality import GroupedCrowd, GroupedStands

_Crowd: TypeAlias = Crowd | GroupedCrowd
_FRONT = Stand.FRONT
"""To find a member of an enum takes long in Python 3.11."""
MOST_OF_SWARM = 0.1
"""Share of a swarm that one network may have before the middle stops being as good as the front."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """How many strangers stand where."""

    in_front: int = 5
    """Of one /24 or /48, at least 1; if there are more, all of them stand in the middle."""
    at_address: int = 16
    """If one address (IPv6: /64) has more, all of its /24 or /48 stand behind, until few are left.
    """
    in_middle: int = 1024
    """Of one /24 or /48; if there are more, all of them stand behind, until few are left."""


@dataclass(slots=True)
class _Network:
    """A /24 or /48 that has more than a few peers."""

    strangers: int
    stand: Stand = Stand.FRONT
    """Where its strangers stand."""


class Neighbours:
    """Every listed peer of a swarm by network; `stands` is where they are handed out from.

    Of most networks one peer is listed. Those that have more are in `Shares`, by endpoint.
    """

    __slots__ = ("_known", "_large", "_limits", "_peers", "_shares", "_stands", "largest")

    def __init__(
        self, peers: ListedPeers, stands: Stands | GroupedStands, limits: StrangerLimits
    ) -> None:
        """Begin with nobody."""
        self._peers = peers
        self._stands = stands
        self._limits = limits
        self._shares: Shares[bytes] = Shares(_networks)
        self._large: dict[bytes, _Network] = {}
        """Each /24 or /48 that has more peers than strangers may stand in front."""
        self._known = 0
        self.largest = 0
        """How many peers the /24 or /48 has that has most."""

    def at(self, networks: Networks) -> Collection[bytes]:
        """Return the endpoints at an address, in the order in which they were listed."""
        alone = self._peers.alone_in(networks[-1])
        if alone < 0:
            return self._shares.at(networks)
        endpoint = self._peers.endpoint(alone)
        return (endpoint,) if networks_of(endpoint[:-2]) == networks else ()

    def share(self, networks: Networks) -> int:
        """Return how many peers the widest of these networks has."""
        return self._shares.share(networks) or int(self._peers.alone_in(networks[-1]) >= 0)

    def rival(self, newcomer: Networks) -> int:
        """Return the peer that may be dropped for a newcomer; -1 if none may: `Shares.rivals`."""
        if self._peers.alone_in(newcomer[-1]) < 0:
            rivals = self._shares.rivals(newcomer)
        else:
            # With it they would be two.
            rivals = self._shares.most() if self._shares.largest > 2 else ()
        return self._longest_unseen(rivals) if rivals else -1

    def of_most(self) -> int:
        """Return the peer that makes room for one in another swarm.

        There is one at least, and a network with more than one.
        """
        return self._longest_unseen(self._shares.most())

    def _longest_unseen(self, endpoints: Iterable[bytes]) -> int:
        return min(map(self._peers.find, endpoints), key=self._peers.seen.__getitem__)

    def trust(self, asker: bytes) -> Trust:
        """Return what rows are good for one that asks from a compact endpoint."""
        total = len(self._peers)
        if self.share(networks_of(asker[:-2])) == total:
            # There is nobody from anywhere else to prefer.
            return Trust.ALL
        known = self._known > 0
        if self.largest <= MOST_OF_SWARM * total and not (known and self._stands.are_crowded()):
            return Trust.MIDDLE_MIXED
        # Where nobody is known, perhaps nobody can reach our seeder, or it isn't named.
        return Trust.FRONT_ONLY if known else Trust.MIDDLE_LAST

    def strangers_alone(self, endpoint: bytes) -> Iterable[bytes]:
        """Return the peers in the /24 or /48 of an endpoint if they are many, and none is known.

        Where nobody came to our seeder, perhaps nobody can; they are neighbours all the same.
        """
        networks = networks_of(endpoint[:-2])
        network = self._large.get(networks[-1])
        alone = network is not None and network.strangers == self._shares.share(networks)
        return self._shares.holders(networks[-1]) if alone else ()

    def move_to(self, stands: Stands | GroupedStands) -> None:
        """Hand all peers out from other, empty stands from now on."""
        self._stands = stands
        peers = self._peers
        for number in range(len(peers)):
            endpoint = peers.endpoint(number)
            wants_nothing = peers.flags[number] & WANTS_NOTHING > 0
            crowd = stands.crowd(endpoint, wants_nothing, self.stand_of(number, endpoint))
            peers.crowds[number] = crowd
            crowd.add(number, endpoint)

    def has_many_at(self, networks: Networks, many: int) -> bool:
        """Tell whether so many peers are at an address; `many` is at least 1."""
        if self._peers.company and len(self._shares.at(networks)) >= many:
            return True
        return many == 1 and len(self.at(networks)) > 0

    def enter(
        self, endpoint: bytes, networks: Networks, seen: float, flags: int, crowd: _Crowd
    ) -> int:
        """List a newcomer, a stranger; return its number.

        `crowd` is the one in front, `networks` are its address's. It gets its stand.
        """
        peers, shares, limits, widest = self._peers, self._shares, self._limits, networks[-1]
        alone, count = False, 1
        if not peers.company or not shares.share(networks):
            beside = peers.find_or_reserve(widest)
            alone = beside < 0
            if not alone:
                other = peers.endpoint(beside)
                peers.note_company(beside, other)
                shares.add(other)
        number = peers.add(endpoint, seen, flags, crowd, alone=alone)
        if not alone:
            shares.add(endpoint, networks)
            count = shares.share(networks)
        self.largest = max(self.largest, count)
        if count > limits.in_front:
            network = self._large.get(widest)
            if network is None:
                others = len(self._strangers(shares.holders(widest))) - 1
                network = self._large[widest] = _Network(others)
            network.strangers += 1
            stand = Stand.FRONT
            at_address = shares.at(networks)
            if network.strangers > limits.in_middle or (
                len(at_address) > limits.at_address
                and len(self._strangers(at_address)) > limits.at_address
            ):
                stand = Stand.BEHIND
            elif network.strangers > limits.in_front:
                stand = Stand.MIDDLE
            if stand > network.stand:
                self._move(widest, network, stand, but=number)
        if self._large:
            self.stand(number, endpoint)
        else:
            crowd.add(number, endpoint)
        return number

    def _strangers(self, endpoints: Iterable[bytes]) -> Sequence[int]:
        """Return the numbers of those of these peers that aren't known."""
        flags = self._peers.flags
        return [number for number in map(self._peers.find, endpoints) if not flags[number] & KNOWN]

    def remove(self, number: int, endpoint: bytes) -> None:
        """Take a peer off; the last one gets its number."""
        peers, shares = self._peers, self._shares
        peers.crowds[number].remove(number, endpoint)
        known = peers.flags[number] & KNOWN > 0
        self._known -= known
        if peers.is_alone(number):
            peers.remove(number, endpoint)
            if not len(peers):
                self.largest = 0
            return
        networks = networks_of(endpoint[:-2])
        widest = networks[-1]
        shares.remove(endpoint)
        left = shares.share(networks)
        network = self._large.get(widest)
        if network is not None:
            self._fewer(widest, network, not known)
            if left <= self._limits.in_front:
                del self._large[widest]
        if left == 1:
            [other] = shares.holders(widest)
            shares.remove(other)
            peers.note_alone(peers.find(other))
        peers.remove(number, endpoint)
        self.largest = shares.largest or 1

    def recognise(self, networks: Networks, most: int) -> None:
        """Have up to `most` peers of an address known, the last listed first."""
        flags = self._peers.flags
        endpoints = self.at(networks)
        strangers = self._strangers(endpoints)
        missing = most - (len(endpoints) - len(strangers))
        if missing <= 0:
            return
        strangers = strangers[-missing:]
        for number in strangers:
            flags[number] |= KNOWN
        self._known += len(strangers)
        network = self._large.get(networks[-1])
        if network is not None:
            self._fewer(networks[-1], network, len(strangers))
            for number in strangers:
                self.stand(number, self._peers.endpoint(number))

    def stand(self, number: int, endpoint: bytes) -> None:
        """Let a peer stand where it belongs, at a random place."""
        peers = self._peers
        wants_nothing = peers.flags[number] & WANTS_NOTHING > 0
        crowd = self._stands.crowd(endpoint, wants_nothing, self.stand_of(number, endpoint))
        if crowd.has(number, endpoint):
            crowd.stir(number, endpoint)
            return
        former = peers.crowds[number]
        if former.has(number, endpoint):
            former.remove(number, endpoint)
        crowd.add(number, endpoint)
        peers.crowds[number] = crowd

    def stand_of(self, number: int, endpoint: bytes) -> Stand:
        """Return where a peer belongs."""
        if not self._large or self._peers.flags[number] & KNOWN:
            return _FRONT
        network = self._large.get(networks_of(endpoint[:-2])[-1])
        return Stand.FRONT if network is None else network.stand

    def _fewer(self, widest: bytes, network: _Network, count: int) -> None:
        """Note that a network has so many strangers less; few come to the front again."""
        network.strangers -= count
        if network.strangers <= self._limits.in_front and network.stand is not Stand.FRONT:
            self._move(widest, network, Stand.FRONT)

    def _move(self, widest: bytes, network: _Network, stand: Stand, *, but: int = -1) -> None:
        """Let the strangers of a network stand elsewhere, `but` a newcomer without a stand."""
        network.stand = stand
        for number in self._strangers(self._shares.holders(widest)):
            if number != but:
                self.stand(number, self._peers.endpoint(number))


def _networks(endpoint: bytes) -> Networks:
    return networks_of(endpoint[:-2])
