"""One swarm: which peers are listed, which are handed out to whom, which are dropped.

A peer is the address that its announce came from and the port that it named; nothing else that it
writes about itself puts an endpoint into a handout.

No I/O.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeAlias

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, compact_endpoint, is_v6, network_of
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest, ScrapeCounts
from seeder.tracker.claims import Claims
from seeder.tracker.crowd import Crowd, RandomFloats, Room
from seeder.tracker.saved import SavedPeer

HANDOUT_GAP = 5.0
"""Seconds after a handout in which that peer gets no other: some announce every second."""

Handout: TypeAlias = tuple[bytes, bytes]
"""IPv4 endpoints and IPv6 endpoints, each end to end."""

_Choice: TypeAlias = tuple[list[bytes], list[bytes]]
_LENGTHS = (V4_ENDPOINT, V6_ENDPOINT)
_NOBODY: Handout = (b"", b"")


class OwnPlace(Enum):
    """When a handout names our own seeder."""

    ALWAYS = "always"
    SPARE = "spare"
    """When the other peers don't fill the handout."""
    ALONE = "alone"
    """When there is no other peer to hand out."""


@dataclass(frozen=True, slots=True)
class SwarmPolicy:
    """How a tracker treats its swarms; times in seconds."""

    interval: float = 1800.0
    default_numwant: int = 50
    most_numwant: int = 200
    peers_per_address: int = 32
    """In one swarm; IPv6 addresses count by their /64."""
    peers_per_swarm: int = 50_000
    peers: int = 200_000
    """In all swarms."""

    @property
    def min_interval(self) -> int:
        return int(self.interval / 2)

    @property
    def expiry(self) -> float:
        """How long after its last announce a peer is kept."""
        return 2 * self.interval + 300


@dataclass(slots=True, eq=False)
class ListedPeer:
    """One endpoint that announced itself."""

    endpoint: bytes
    network: bytes
    """What the cap per address counts it under."""
    crowd: Crowd
    peer_id: bytes
    key: bytes
    seen: float
    complete: bool
    answered: float = -inf
    """When it was last given peers."""
    answered_by_alias: float = -inf
    """The same for its announces by the other hash of a hybrid."""


class Swarm:
    """The peers of one torrent, in the order in which they were last seen."""

    def __init__(self, policy: SwarmPolicy, rng: RandomFloats, room: Room, claims: Claims) -> None:
        self.completed = 0
        self.claims = claims
        self.seeds = 0
        """Peers with left=0, ours not counted."""
        self._policy = policy
        self._room = room
        self._peers: dict[bytes, ListedPeer] = {}
        self._networks: dict[bytes, int] = {}
        # [IPv6][wants nothing]: seeds and partial seeds (BEP 21) are of no use to each other.
        self._crowds = tuple((Crowd(length, rng), Crowd(length, rng)) for length in _LENGTHS)

    def __len__(self) -> int:
        return len(self._peers)

    def announce(
        self,
        request: AnnounceRequest,
        source: bytes,
        own: Sequence[bytes],
        now: float,
        place: OwnPlace = OwnPlace.ALWAYS,
        *,
        by_alias: bool = False,
    ) -> Handout:
        """Take in an announce; return the IPv4 and IPv6 endpoints to hand out for it.

        `own` are our seeder's endpoints, and `place` says when they are handed out. `by_alias`:
        the announce names the other hash of a hybrid. A client that announces both hashes dials
        the peers of each answer in that version of the protocol, so it gets peers for both.
        """
        endpoint = compact_endpoint(source, request.port)
        if request.event is AnnounceEvent.STOPPED:
            self._stop(request, endpoint, now)
            return _NOBODY
        peer = self._enter(request, endpoint, now)
        count = request.numwant
        if count is None:
            count = self._policy.default_numwant
        count = min(count, self._policy.most_numwant)
        if peer is not None and count:
            answered = peer.answered_by_alias if by_alias else peer.answered
            if now - answered < HANDOUT_GAP:
                return _NOBODY
            if by_alias:
                peer.answered_by_alias = now
            else:
                peer.answered = now
        wants_nothing = _wants_nothing(request)
        if wants_nothing and not _may_lack_metadata(request):
            own = ()
        return self._handout(endpoint, wants_nothing, count, own, place)

    def _enter(self, request: AnnounceRequest, endpoint: bytes, now: float) -> ListedPeer | None:
        """Add or refresh the peer that announces; None when it may not be listed."""
        complete = request.left == 0
        crowd = self._crowds[is_v6(endpoint)][_wants_nothing(request)]
        # Popped and put back, so that the peers stay in the order of `seen`.
        peer = self._peers.pop(endpoint, None)
        if peer is None:
            network = network_of(endpoint[:-2])
            if not self._take_place(request, endpoint, network):
                return None
            peer = ListedPeer(endpoint, network, crowd, request.peer_id, request.key, now, complete)
            self._list(peer)
        else:
            self._peers[endpoint] = peer
            self._refresh(peer, request, crowd, now)
        session, completed = self.claims.note(request, now)
        if session is not None:
            session.note_endpoint(endpoint)
        self.completed += completed
        return peer

    def _refresh(
        self, peer: ListedPeer, request: AnnounceRequest, crowd: Crowd, now: float
    ) -> None:
        if peer.crowd is crowd:
            crowd.stir(peer.endpoint)
        else:
            peer.crowd.remove(peer.endpoint)
            crowd.add(peer.endpoint)
            peer.crowd = crowd
        complete = request.left == 0
        if peer.complete and not complete:
            # The client has learned what it lacks: by the metadata (aria2 with a magnet link), or
            # by a check.
            peer.answered = peer.answered_by_alias = -inf
        self.seeds += complete - peer.complete
        peer.complete = complete
        peer.seen = now
        peer.key = request.key
        if peer.peer_id != request.peer_id:
            peer.peer_id = request.peer_id
            peer.answered = peer.answered_by_alias = -inf

    def _take_place(self, request: AnnounceRequest, endpoint: bytes, network: bytes) -> bool:
        """Take room for a newcomer; False when a cap is reached.

        If its address is at the cap, a client that only changed its port takes its own former
        place.
        """
        if self._networks.get(network, 0) >= self._policy.peers_per_address:
            session = self.claims.find(request)
            former = self._peers.get(session.former_endpoint(endpoint)) if session else None
            if former is None or former.network != network:
                return False
            self._drop(former)
        return self._take_room(network)

    def _take_room(self, network: bytes) -> bool:
        """Take room for one more peer of an address; False when a cap is reached."""
        policy = self._policy
        return (
            self._networks.get(network, 0) < policy.peers_per_address
            and len(self._peers) < policy.peers_per_swarm
            and self._room.take()
        )

    def _list(self, peer: ListedPeer) -> None:
        self._peers[peer.endpoint] = peer
        peer.crowd.add(peer.endpoint)
        self.seeds += peer.complete
        self._networks[peer.network] = self._networks.get(peer.network, 0) + 1

    def _drop(self, peer: ListedPeer) -> None:
        del self._peers[peer.endpoint]
        peer.crowd.remove(peer.endpoint)
        self.seeds -= peer.complete
        self._room.give_back()
        left = self._networks[peer.network] - 1
        if left:
            self._networks[peer.network] = left
        else:
            del self._networks[peer.network]

    def _stop(self, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        """Remove the peer that stops, and no other.

        It is found at the address that the announce came from; if the announce names no port, by
        its peer id at that address; if the peer has moved since, by its peer id and secret key.
        """
        peer = self._peers.get(endpoint)
        session = self.claims.find(request)
        if peer is None and session is not None:
            former = session.former_endpoint(endpoint)
            if request.key or former[:-2] == endpoint[:-2]:
                peer = self._peers.get(former)
        if peer is None or not _is_same_client(peer, request):
            return
        if session is not None:
            self.claims.note(request, now)
        self._drop(peer)

    def _handout(
        self,
        asker: bytes,
        wants_nothing: bool,
        count: int,
        own: Sequence[bytes],
        place: OwnPlace,
    ) -> Handout:
        """Choose the peers that the asker hears of: its own address family first.

        A leecher gets complete peers for half of the answer, for more if there are too few
        leechers; then our seeder; then leechers. A seed gets leechers, and our seeder if `own` is
        passed. With OwnPlace.SPARE or ALONE our seeder is chosen last.
        """
        near = is_v6(asker)
        chosen: _Choice = ([], [])
        leechers = len(self._crowds[0][0]) + len(self._crowds[1][0])
        ours = own[:count] if place is OwnPlace.ALWAYS else ()
        count -= len(ours)
        if not wants_nothing:
            others = leechers - (asker in self._crowds[near][False])
            wanted = max(count // 2, count - others)
            count -= self._choose(chosen, near, True, wanted, asker)
        _add(chosen, ours)
        if leechers:
            count -= self._choose(chosen, near, False, count, asker)
        if place is OwnPlace.SPARE or (place is OwnPlace.ALONE and not any(map(any, chosen))):
            _add(chosen, own[:count])
        return b"".join(chosen[False]), b"".join(chosen[True])

    def _choose(
        self,
        chosen: _Choice,
        near: bool,
        wants_nothing: bool,
        count: int,
        asker: bytes,
    ) -> int:
        """Add up to `count` random peers of one kind to `chosen`; return how many they were."""
        missing = count
        for family in (near, not near):
            crowd = self._crowds[family][wants_nothing]
            if missing > 0 and len(crowd):
                some = crowd.sample(missing, without=asker)
                chosen[family].append(some)
                missing -= len(some) // _LENGTHS[family]
        return count - missing

    def counts(self) -> ScrapeCounts:
        """Return what a scrape shows; our own seeder is one of the complete peers."""
        return ScrapeCounts(self.seeds + 1, self.completed, len(self._peers) - self.seeds)

    def peer_ids(self, endpoints: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the peer ids of those endpoints that are listed."""
        return {e: self._peers[e].peer_id for e in endpoints if e in self._peers}

    def expire(self, oldest: float) -> int:
        """Drop the peers and sessions last seen before `oldest`; return how many peers."""
        gone = []
        for peer in self._peers.values():
            if peer.seen >= oldest:
                break
            gone.append(peer)
        for peer in gone:
            self._drop(peer)
        self.claims.expire(oldest)
        return len(gone)

    def clear(self) -> None:
        """Give back all room, before the swarm is let go."""
        self._room.give_back(len(self._peers))
        self.claims.clear()

    def export(self) -> Iterator[SavedPeer]:
        """Yield every peer, longest unseen first."""
        for peer in self._peers.values():
            wants_nothing = peer.crowd is self._crowds[is_v6(peer.endpoint)][True]
            yield SavedPeer(
                peer.endpoint, peer.peer_id, peer.key, peer.complete, wants_nothing, peer.seen
            )

    def adopt(self, saved: Iterable[SavedPeer]) -> None:
        """List the peers of an earlier run in an empty swarm, as far as the caps allow."""
        for entry in saved:
            network = network_of(entry.endpoint[:-2])
            if entry.endpoint not in self._peers and self._take_room(network):
                crowd = self._crowds[is_v6(entry.endpoint)][entry.wants_nothing]
                peer = ListedPeer(
                    entry.endpoint,
                    network,
                    crowd,
                    entry.peer_id,
                    entry.key,
                    entry.seen,
                    entry.complete,
                )
                self._list(peer)


def _add(chosen: _Choice, endpoints: Iterable[bytes]) -> None:
    for endpoint in endpoints:
        chosen[is_v6(endpoint)].append(endpoint)


def _is_same_client(peer: ListedPeer, request: AnnounceRequest) -> bool:
    if peer.peer_id == request.peer_id:
        return True
    return bool(request.key) and peer.key == request.key


def _wants_nothing(request: AnnounceRequest) -> bool:
    return request.left == 0 or request.event is AnnounceEvent.PAUSED


def _may_lack_metadata(request: AnnounceRequest) -> bool:
    """Tell whether a client may have only a magnet link: aria2 then says that it lacks 0 bytes.

    A seed that has just started says the same; hearing of a peer in vain costs it little.
    """
    return request.event is AnnounceEvent.STARTED and request.left == request.downloaded == 0
