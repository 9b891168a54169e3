"""The listed peers of one swarm by network: who makes room, and who stands where in handouts.

Anybody can announce peers that aren't there. A peer is *known* when its address came to our own
seeder, and a *stranger* otherwise. Known peers stand in front, and strangers whose /24 or /48 has
only a few; where there are more strangers, all of them stand in the middle, and where there are so
many that no network has them by chance, behind. A stranger that becomes known comes to the front.

How much those in the middle are worth depends on the swarm (`trust`): in a large one a network may
well have dozens of peers that found no place at our seeder.

No I/O.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf

from seeder.net.addresses import Networks, networks_of
from seeder.net.shares import Shares
from seeder.tracker.claims import ClientSession
from seeder.tracker.crowd import Crowd
from seeder.tracker.handout import Stand, Stands, Trust
from seeder.tracker.locality import GroupedCrowd, GroupedStands

MOST_OF_SWARM = 0.1
"""Share of a swarm that one network may have before the middle stops being as good as the front."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """How many strangers stand where."""

    in_front: int = 5
    """Of one /24 or /48; if there are more, all of them stand in the middle."""
    at_address: int = 16
    """If one address (IPv6: /64) has more, all of its /24 or /48 stand behind, until few are left.
    """
    in_middle: int = 1024
    """Of one /24 or /48; if there are more, all of them stand behind, until few are left."""


@dataclass(slots=True, eq=False)
class ListedPeer:
    """One endpoint that announced itself."""

    endpoint: bytes
    session: ClientSession
    seen: float
    complete: bool
    wants_nothing: bool
    """Whether it is a seed, or a partial seed (BEP 21)."""
    crowd: Crowd | GroupedCrowd
    """Where it stands."""
    known: bool = False
    """Whether it, or another peer of its address in its place, came to our seeder."""
    answered: float = -inf
    """When it was last given peers."""
    answered_by_alias: float = -inf
    """The same for its announces by the other hash of a hybrid."""


@dataclass(slots=True)
class _Network:
    """A /24 or /48 that has more than a few peers."""

    strangers: int
    stand: Stand = Stand.FRONT
    """Where its strangers stand."""


class Neighbours:
    """Every listed peer of a swarm; `stands` is where they are handed out from."""

    __slots__ = ("_known", "_large", "_limits", "_shares", "_stands")

    def __init__(self, stands: Stands | GroupedStands, limits: StrangerLimits) -> None:
        self._stands = stands
        self._limits = limits
        self._shares: Shares[ListedPeer] = Shares(_networks)
        self._large: dict[bytes, _Network] = {}
        """Each /24 or /48 that has more peers than strangers may stand in front."""
        self._known = 0

    @property
    def largest(self) -> int:
        """How many peers the /24 or /48 has that has most."""
        return self._shares.largest

    def at(self, networks: Networks) -> Collection[ListedPeer]:
        """Return the peers at an address, in the order in which they were listed."""
        return self._shares.at(networks)

    def share(self, networks: Networks) -> int:
        """Return how many peers the widest of these networks has."""
        return self._shares.share(networks)

    def rival(self, newcomer: Networks) -> ListedPeer | None:
        """Return the peer that may be dropped for a newcomer, if any: see `Shares.rivals`."""
        return min(self._shares.rivals(newcomer), key=_seen, default=None)

    def of_most(self) -> ListedPeer:
        """Return the peer that makes room for one in another swarm; there is one at least."""
        return min(self._shares.most(), key=_seen)

    def trust(self, asker: bytes) -> Trust:
        """Return what rows are good for one that asks from a compact endpoint."""
        total = len(self._shares)
        if self._shares.share(networks_of(asker[:-2])) == total:
            # There is nobody from anywhere else to prefer.
            return Trust.ALL
        known = self._known > 0
        if self.largest <= MOST_OF_SWARM * total and not (known and self._stands.are_crowded()):
            return Trust.MIDDLE_MIXED
        # Where nobody is known, perhaps nobody can reach our seeder, or it isn't named.
        return Trust.FRONT_ONLY if known else Trust.MIDDLE_LAST

    def strangers_alone(self, endpoint: bytes) -> Iterable[ListedPeer]:
        """Return the peers in the /24 or /48 of an endpoint if they are many, and none is known.

        Where nobody came to our seeder, perhaps nobody can; they are neighbours all the same.
        """
        networks = networks_of(endpoint[:-2])
        network = self._large.get(networks[-1])
        alone = network is not None and network.strangers == self._shares.share(networks)
        return self._shares.holders(networks[-1]) if alone else ()

    def move_to(self, stands: Stands | GroupedStands, peers: Iterable[ListedPeer]) -> None:
        """Hand all peers out from other, empty stands from now on."""
        self._stands = stands
        for peer in peers:
            peer.crowd = stands.crowd(peer.endpoint, peer.wants_nothing, self.stand_of(peer))
            peer.crowd.add(peer.endpoint)

    def add(self, peer: ListedPeer, networks: Networks) -> None:
        """Take in a newcomer, a stranger; its crowd is the one in front, `networks` its address's.

        It gets its stand.
        """
        shares, limits = self._shares, self._limits
        shares.add(peer, networks)
        widest = networks[-1]
        if shares.largest > limits.in_front and shares.share(networks) > limits.in_front:
            network = self._large.get(widest)
            if network is None:
                others = sum(not each.known for each in shares.holders(widest)) - 1
                network = self._large[widest] = _Network(others)
            network.strangers += 1
            stand = Stand.FRONT
            at_address = shares.at(networks)
            if network.strangers > limits.in_middle or (
                len(at_address) > limits.at_address
                and sum(not each.known for each in at_address) > limits.at_address
            ):
                stand = Stand.BEHIND
            elif network.strangers > limits.in_front:
                stand = Stand.MIDDLE
            if stand > network.stand:
                self._move(widest, network, stand, but=peer)
        if self._large:
            self.stand(peer)
        else:
            peer.crowd.add(peer.endpoint)

    def remove(self, peer: ListedPeer) -> None:
        """Let a peer go."""
        self._shares.remove(peer)
        peer.crowd.remove(peer.endpoint)
        self._known -= peer.known
        networks = networks_of(peer.endpoint[:-2])
        network = self._large.get(networks[-1])
        if network is not None:
            self._fewer(networks[-1], network, not peer.known)
            if self._shares.share(networks) <= self._limits.in_front:
                del self._large[networks[-1]]

    def recognise(self, networks: Networks, most: int) -> None:
        """Have up to `most` peers of an address known, the last listed first."""
        peers = self._shares.at(networks)
        missing = most - sum(peer.known for peer in peers)
        if missing <= 0:
            return
        strangers = [peer for peer in peers if not peer.known][-missing:]
        for peer in strangers:
            peer.known = True
        self._known += len(strangers)
        network = self._large.get(networks[-1])
        if network is not None:
            self._fewer(networks[-1], network, len(strangers))
            for peer in strangers:
                self.stand(peer)

    def stand(self, peer: ListedPeer) -> None:
        """Let a peer stand where it belongs, at a random place."""
        endpoint = peer.endpoint
        crowd = self._stands.crowd(endpoint, peer.wants_nothing, self.stand_of(peer))
        if endpoint in crowd:
            crowd.stir(endpoint)
        else:
            peer.crowd.discard(endpoint)
            crowd.add(endpoint)
            peer.crowd = crowd

    def stand_of(self, peer: ListedPeer) -> Stand:
        """Return where a peer belongs."""
        if peer.known or not self._large:
            return Stand.FRONT
        network = self._large.get(networks_of(peer.endpoint[:-2])[-1])
        return Stand.FRONT if network is None else network.stand

    def _fewer(self, widest: bytes, network: _Network, count: int) -> None:
        """Note that a network has so many strangers less; few come to the front again."""
        network.strangers -= count
        if network.strangers <= self._limits.in_front and network.stand is not Stand.FRONT:
            self._move(widest, network, Stand.FRONT)

    def _move(
        self, widest: bytes, network: _Network, stand: Stand, *, but: ListedPeer | None = None
    ) -> None:
        """Let the strangers of a network stand elsewhere, `but` a newcomer without a stand."""
        network.stand = stand
        for peer in self._shares.holders(widest):
            if not peer.known and peer is not but:
                self.stand(peer)


def _networks(peer: ListedPeer) -> Networks:
    return networks_of(peer.endpoint[:-2])


def _seen(peer: ListedPeer) -> float:
    return peer.seen
