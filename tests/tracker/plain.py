"""A tracker as the BEPs and our documents tell it, in lists: what the real one is compared with.

It doesn't choose whom to hand out or who makes room: it says what may be so.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from seeder.net.addresses import is_told_to, is_v6, network_of, networks_of
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.belief import BELIEVED
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.swarm import HANDOUT_GAP

ClientName: TypeAlias = tuple[bytes, bytes]
"""A peer id, and a key or, without one, the address (IPv6: /64)."""


def widest(endpoint: bytes) -> bytes:
    """Return the /24 or /48 of a compact endpoint."""
    return networks_of(endpoint[:-2])[-1]


@dataclass
class PlainPeer:
    """Who announced an endpoint, and as what."""

    client: ClientName
    complete: bool
    satisfied: bool
    """A seed, or a partial seed."""
    seen: float
    answered: dict[bool, float] = field(default_factory=dict)
    """When it got peers last, by whether it asked by the alias."""


@dataclass
class PlainClient:
    """One run of one program, and what it has claimed."""

    high: int
    seen: float
    claimed: int = 0
    completed: bool = False
    last: dict[bool, bytes] = field(default_factory=dict)
    """Where it was listed last, by family."""


class PlainClaims:
    """What was claimed of one torrent: between `sure` and `most` of it has to be counted."""

    def __init__(self) -> None:
        self.sure = self.most = 0.0
        self._by_address: Counter[bytes] = Counter()

    def add(self, address: bytes, copies: float) -> bool:
        """Claim so many copies; tell whether whoever claims it is believed without having come."""
        address = network_of(address)
        if self._by_address[address] + copies > BELIEVED:
            self.most += copies
            return False
        self._by_address[address] += copies  # type: ignore[assignment]
        self.most += copies
        self.sure += copies
        return True


class PlainSwarm:
    """The peers of one torrent of `size` bytes."""

    def __init__(self, size: int, policy: SwarmPolicy) -> None:
        self.size = size
        self.policy = policy
        self.peers: dict[bytes, PlainPeer] = {}
        self.clients: dict[ClientName, PlainClient] = {}
        self.bytes = PlainClaims()
        self.completions = PlainClaims()

    @staticmethod
    def name_of(request: AnnounceRequest, endpoint: bytes) -> ClientName:
        return request.peer_id, request.key or b"@" + network_of(endpoint[:-2])

    @property
    def past(self) -> int:
        """How many clients are remembered that aren't listed."""
        return len(self.clients.keys() - {peer.client for peer in self.peers.values()})

    def stopped_by(self, request: AnnounceRequest, endpoint: bytes) -> bytes | None:
        """Return whom an announce stops: itself, or where that client was before."""
        client = self.clients.get(self.name_of(request, endpoint))
        former = client.last.get(is_v6(endpoint), b"") if client else b""
        for place in (endpoint, former):
            peer = self.peers.get(place)
            if peer is not None:
                break
        else:
            return None
        if place != endpoint and not request.key and place[:-2] != endpoint[:-2]:
            return None
        peer_id, key = peer.client
        return place if peer_id == request.peer_id or (request.key and key == request.key) else None

    def stop(self, place: bytes, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        if self.name_of(request, endpoint) in self.clients:
            self.claim(request, endpoint, now)
        self.leave(place, now)

    def leave(self, endpoint: bytes, now: float) -> None:
        """Take a peer off the list; its client may come back."""
        peer = self.peers.pop(endpoint)
        if all(other.client != peer.client for other in self.peers.values()):
            self.clients[peer.client].seen = now

    def former_place(self, request: AnnounceRequest, endpoint: bytes) -> bytes | None:
        """Return the peer at the same address that a client was, which now has another port."""
        client = self.clients.get(self.name_of(request, endpoint))
        former = client.last.get(is_v6(endpoint)) if client else None
        same = former in self.peers and network_of(former[:-2]) == network_of(endpoint[:-2])
        return former if same else None

    def enter(
        self, request: AnnounceRequest, endpoint: bytes, now: float, *, by_alias: bool
    ) -> bool:
        """List whoever announces; tell whether it gets peers, which it just had otherwise."""
        name = self.name_of(request, endpoint)
        self.claim(request, endpoint, now)
        before = self.peers.pop(endpoint, None)
        complete = request.left == 0
        satisfied = complete or request.event is AnnounceEvent.PAUSED
        peer = self.peers[endpoint] = PlainPeer(name, complete, satisfied, now)
        if before is not None and before.client == name:
            if complete or not before.complete:
                peer.answered = before.answered
        elif before is not None and all(p.client != before.client for p in self.peers.values()):
            self.clients[before.client].seen = now
        self.clients[name].last[is_v6(endpoint)] = endpoint
        answered = peer.answered.get(by_alias, -HANDOUT_GAP)
        started = request.event is AnnounceEvent.STARTED
        if not self.wanted(request) or (now - answered < HANDOUT_GAP and not started):
            return False
        peer.answered[by_alias] = now
        return True

    def wanted(self, request: AnnounceRequest) -> int:
        """Return how many peers an announce asks for, within the policy."""
        count = self.policy.default_numwant if request.numwant is None else request.numwant
        return min(count, self.policy.most_numwant)

    def useful(self, request: AnnounceRequest, endpoint: bytes) -> set[bytes]:
        """Return the peers that whoever announces may be told of."""
        satisfied = request.left == 0 or request.event is AnnounceEvent.PAUSED
        return {
            other
            for other, peer in self.peers.items()
            if other != endpoint
            and not (satisfied and peer.satisfied)
            and is_told_to(endpoint[:-2], other[:-2])
        }

    def is_plain(self) -> bool:
        """Tell whether no network has so many peers that they are handed out last."""
        largest = Counter(map(widest, self.peers)).most_common(1)
        return not largest or largest[0][1] <= self.policy.strangers.in_front

    def claim(self, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        name = self.name_of(request, endpoint)
        client = self.clients.setdefault(name, PlainClient(request.downloaded, now))
        client.seen = now
        if request.downloaded < client.high and request.event is AnnounceEvent.STARTED:
            client.high, client.claimed = request.downloaded, 0
        growth = max(0, request.downloaded - client.high)
        client.high += growth
        counted = min(growth, self.size - client.claimed)
        client.claimed += counted
        if counted:
            self.bytes.add(endpoint[:-2], counted / self.size)
        whole = request.left == 0 and (request.downloaded > 0 or not self.size)
        if request.event is AnnounceEvent.COMPLETED and whole and not client.completed:
            client.completed = self.completions.add(endpoint[:-2], 1)

    def expire(self, oldest: float) -> int:
        """Forget whoever was last seen before; return how many peers that were."""
        gone = [endpoint for endpoint, peer in self.peers.items() if peer.seen < oldest]
        silent = {self.peers.pop(endpoint).client for endpoint in gone}
        listed = {peer.client for peer in self.peers.values()}
        for name, client in list(self.clients.items()):
            if name not in listed and (name in silent or client.seen < oldest):
                del self.clients[name]
        return len(gone)

    def forget(self) -> None:
        """Forget everybody, but not what was counted."""
        self.peers.clear()
        self.clients.clear()
