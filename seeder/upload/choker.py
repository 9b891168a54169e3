"""Which peers may request when there is not enough for all: some at a time, by turns.

A turn lasts until 20 pieces have been sent and a minute is over; then the place goes to the peer
that has waited longest, of the network (`networks_of`) with fewest. Some of the places are for
newcomers, which need a first piece to be of use to others. Addresses that have had a torrent
several times over come last.

No I/O.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from seeder.net.addresses import Networks
from seeder.upload.standing import Standing

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ChokePolicy:
    """How places are given when there are not enough; times in seconds."""

    slots: int = 20
    newcomers: int = 1
    """How many of the slots are for newcomers, while there are at least two slots."""
    slots_per_group: int = 4
    quota: int = 20
    """Pieces a turn."""
    turn: float = 60.0
    longest_turn: float = 300.0
    """For peers that take so little that they would never use up their quota."""
    newcomer_turn: float = 30.0
    pause: float = 10.0
    """Between two changes of one peer; aria2 closes the connection on quick ones."""


@dataclass(frozen=True, slots=True)
class PeerView(Generic[K]):
    """One peer as it is at the moment of the decision."""

    key: K
    networks: Networks
    standing: Standing
    """What its address may expect of the torrent."""
    piece_length: int
    interested: bool
    """It said so, or has requests waiting."""
    choked: bool
    since: float
    """When it was last choked or unchoked; before that, when it came (s)."""
    is_new: bool
    """This connection was never unchoked."""
    turn_bytes: int
    """Sent since it was unchoked."""
    rate: float
    """Bytes a second that it takes at present."""
    sent_to_group: float
    """What `AddressHistory` says that its address was sent of this torrent."""
    optimistic: bool = False
    """It has a newcomer's place, as the last decision said."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[K]):
    """What to do; a peer that isn't named stays as it is."""

    choke: tuple[K, ...] = ()
    unchoke: tuple[K, ...] = ()
    optimistic: frozenset[K] = frozenset()
    """The peers that have a newcomer's place now."""


def decide(
    peers: Sequence[PeerView[K]],
    now: float,
    *,
    slots: int,
    chance: Callable[[], float],
    policy: ChokePolicy = ChokePolicy(),
) -> Decision[K]:
    """Decide whom to choke and unchoke; `slots` are the places of all torrents together.

    `chance` returns a float from 0 up to 1, asked in the order of the peers.
    """
    chosen, optimistic = _Places[K](policy, slots, now).give(peers, chance)
    return Decision(
        tuple(peer.key for peer in peers if not peer.choked and peer.key not in chosen),
        tuple(peer.key for peer in peers if peer.choked and peer.key in chosen),
        frozenset(optimistic),
    )


_UNDER_WAY, _WAITS, _OVER = range(3)
"""Whose turn goes on, who waits for one, and whose turn is over, in their order."""
_Entry: TypeAlias = tuple[Standing, int, float, float, PeerView[K]]
"""Its standing, which of these it is, its order among its like, its luck, and the peer."""


def _by_network(line: Sequence[_Entry[K]], going: Sequence[PeerView[K]]) -> list[_Entry[K]]:
    """Return a sorted line so that of its like, those come first whose network has fewest places.

    That counts the peers whose turn is `going` on, and those who stand before it in the line; the
    widest network counts most.
    """
    line = list(line)
    for level in (-3, -2, -1):
        had = Counter(_network(peer, level) for peer in going)
        position: dict[K, int] = {}
        for entry in line:
            network = _network(entry[4], level)
            if entry[1] != _UNDER_WAY:
                position[entry[4].key] = had[network]
                had[network] += 1
        line.sort(key=lambda entry: (*entry[:2], position.get(entry[4].key, 0)))
    return line


def _network(peer: PeerView[K], level: int) -> bytes:
    return peer.networks[max(level, -len(peer.networks))]


class _Places(Generic[K]):
    """The places of one decision, and which peers get them."""

    def __init__(self, policy: ChokePolicy, slots: int, now: float) -> None:
        self._policy = policy
        self._now = now
        newcomers = min(policy.newcomers, slots - 1) if slots > 1 else 0
        self._free = slots
        self._regular = slots - newcomers
        self._newcomers = newcomers
        self._groups: Counter[bytes] = Counter()
        self._chosen: set[K] = set()
        self._optimistic: set[K] = set()

    def give(
        self, peers: Sequence[PeerView[K]], chance: Callable[[], float]
    ) -> tuple[set[K], set[K]]:
        """Return the peers that have a place, and which of those have a newcomer's."""
        line: list[_Entry[K]] = []
        going: list[PeerView[K]] = []
        for peer in peers:
            luck = chance()
            if not peer.choked and self._now - peer.since < self._policy.pause:
                # It can't be choked yet, so its place is taken whatever the limits say.
                self._place(peer, optimistic=peer.optimistic)
                going.append(peer)
            elif peer.interested and (not peer.choked or self._may_unchoke(peer)):
                line.append((peer.standing, *self._rank(peer), luck, peer))
        line.sort(key=lambda entry: entry[:4])
        going += [entry[4] for entry in line if entry[1] == _UNDER_WAY]
        line = _by_network(line, going)
        fine = [entry for entry in line if entry[0] is Standing.FINE]
        staying = [entry for entry in fine if self._stays_newcomer(entry[4])]
        # A newcomer's place is kept for its time; free ones go to newcomers by lot, then down the
        # line.
        for *_, peer in staying:
            if self._newcomers > 0:
                self._try(peer, optimistic=True)
        for *_, peer in line:
            if self._regular > 0:
                self._try(peer, optimistic=False)
        new = [entry for entry in fine if self._is_newcomer(entry[4])]
        new.sort(key=lambda entry: entry[3])
        for *_, peer in (*_by_network(new, going), *line):
            if self._newcomers > 0:
                self._try(peer, optimistic=True)
        return self._chosen, self._optimistic

    def _may_unchoke(self, peer: PeerView[K]) -> bool:
        return peer.is_new or self._now - peer.since >= self._policy.pause

    def _stays_newcomer(self, peer: PeerView[K]) -> bool:
        """Tell whether it has a newcomer's place whose time isn't over."""
        age = self._now - peer.since
        return peer.optimistic and not peer.choked and age < self._policy.newcomer_turn

    def _is_newcomer(self, peer: PeerView[K]) -> bool:
        # A peer that reconnects counts as new only if its address was sent less than one turn.
        return peer.is_new and peer.sent_to_group < self._policy.quota * peer.piece_length

    def _rank(self, peer: PeerView[K]) -> tuple[int, float]:
        """Order peers of one standing: turns under way, then those that wait, then turns over."""
        if peer.choked:
            return _WAITS, peer.since
        if peer.optimistic or self._turn_is_over(peer):
            return _OVER, -peer.since
        return _UNDER_WAY, peer.since

    def _turn_is_over(self, peer: PeerView[K]) -> bool:
        policy, age = self._policy, self._now - peer.since
        if age < policy.turn:
            return False
        had_enough = peer.turn_bytes >= policy.quota * peer.piece_length
        return had_enough or peer.rate == 0 or age >= policy.longest_turn

    def _try(self, peer: PeerView[K], *, optimistic: bool) -> None:
        if (
            self._free > 0
            and peer.key not in self._chosen
            and self._groups[peer.networks[0]] < self._policy.slots_per_group
        ):
            self._place(peer, optimistic=optimistic)

    def _place(self, peer: PeerView[K], *, optimistic: bool) -> None:
        self._free -= 1
        self._groups[peer.networks[0]] += 1
        self._chosen.add(peer.key)
        if optimistic:
            self._newcomers -= 1
            self._optimistic.add(peer.key)
        else:
            self._regular -= 1
