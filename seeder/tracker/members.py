"""Who announced with a good passkey: the members of a private swarm. No I/O.

A member is where an announce came from, as in the swarm, with the key that it had. Our own seeder
asks here whether a connection is a member's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple, Protocol

from seeder.net.addresses import Networks, networks_of
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.passkeys import Passkey
from seeder.tracker.told import SharedPeer


class HolderCounter(Protocol):
    """Counts what holders of passkeys claim; the ledger does."""

    def announced(self, holder: str, *, uploaded: int, downloaded: int, completed: bool) -> None:
        """Add bytes that a holder's client says it has sent and received since its last announce.

        `completed`: it says that it has everything now.
        """


class SavedMember(NamedTuple):
    """A member for the next run, or for another node."""

    endpoint: bytes
    peer_id: bytes
    passkey: Passkey
    uploaded: int
    downloaded: int
    seen: float


class SwarmMember:
    """One peer of a private swarm, by its compact endpoint."""

    __slots__ = (
        "completed",
        "downloaded",
        "endpoint",
        "has_left",
        "passkey",
        "peer_id",
        "seen",
        "uploaded",
    )

    def __init__(self, endpoint: bytes, peer_id: bytes, passkey: Passkey, seen: float) -> None:
        self.endpoint = endpoint
        self.peer_id = peer_id
        self.passkey = passkey
        self.seen = seen
        self.uploaded = self.downloaded = 0
        """The highest that it announced, at whichever node, in bytes."""
        self.completed = False
        self.has_left = False
        """Whether its client said that it stops; it may come back before it announces that."""

    @property
    def port(self) -> int:
        """The port that it announced."""
        return int.from_bytes(self.endpoint[-2:])


def everything_counts(_peer_id: bytes, _key: bytes, _endpoint: bytes) -> bool:
    """Count what every client claims: there is no other node."""
    return True


class Members:
    """The members of one swarm; `size` is its torrent's, in bytes."""

    def __init__(
        self,
        size: int,
        counter: HolderCounter | None,
        *,
        at_address: int,
        most: int,
        counts: Callable[[bytes, bytes, bytes], bool] = everything_counts,
    ) -> None:
        """Begin without members; beyond `at_address` and `most`, the oldest one is forgotten.

        In a cluster `counts` says whether this node counts what a client claims, by its peer id,
        its key and its endpoint.
        """
        self._size = size
        self._counter = counter
        self._counts = counts
        self._at_address = at_address
        self._most = most
        self._members: dict[bytes, SwarmMember] = {}
        """By endpoint, longest unseen first."""
        self._by_network: dict[bytes, dict[bytes, SwarmMember]] = {}
        self._by_id: dict[bytes, SwarmMember] = {}
        """The last one with each peer id."""
        self._sites: Counter[bytes] = Counter()
        """How many there are in each of the widest networks."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[SwarmMember]:
        return iter(tuple(self._members.values()))

    def at(self, network: bytes) -> Collection[SwarmMember]:
        """Return the members in a network as of `network_of`, longest there first."""
        return self._by_network.get(network, {}).values()

    def with_id(self, peer_id: bytes) -> SwarmMember | None:
        """Return the member that last announced with a peer id."""
        return self._by_id.get(peer_id)

    def has_near(self, networks: Networks) -> bool:
        """Tell whether there is a member in the widest of an address's networks."""
        return networks[-1] in self._sites

    def get(self, endpoint: bytes) -> SwarmMember | None:
        """Return the member at a compact endpoint."""
        return self._members.get(endpoint)

    def note(self, request: AnnounceRequest, passkey: Passkey, endpoint: bytes, now: float) -> None:
        """Take in an announce that came with a good key."""
        member = self._members.pop(endpoint, None)
        if member is not None and member.peer_id == request.peer_id:
            self._members[endpoint] = member
            member.passkey, member.seen = passkey, now
        else:
            # Its first word says where its client's sums begin, unless it begins just now.
            member = SwarmMember(endpoint, request.peer_id, passkey, now)
            if request.event is not AnnounceEvent.STARTED:
                member.uploaded, member.downloaded = request.uploaded, request.downloaded
            self._enter(member)
        member.has_left = request.event is AnnounceEvent.STOPPED
        self._count(member, request, completes=request.event is AnnounceEvent.COMPLETED)

    def hear(self, told: SharedPeer, *, fresh: bool) -> None:
        """Take in what another node has heard of a member; who went needs no passkey.

        Of what isn't `fresh`, nothing is counted.
        """
        member = self._members.get(told.endpoint)
        if member is not None and member.seen >= told.seen:
            return
        if member is None or member.peer_id != told.peer_id:
            if member is not None and told.gone:
                member.has_left = True
            if told.passkey is None:
                return
            member = SwarmMember(told.endpoint, told.peer_id, told.passkey, told.seen)
            self._enter(member)
            if told.event is not AnnounceEvent.STARTED:
                member.uploaded, member.downloaded = told.uploaded, told.downloaded
        member.passkey, member.seen = told.passkey or member.passkey, told.seen
        member.has_left = told.gone
        member.completed |= told.counted
        if fresh:
            self._count(member, told.request(), completes=False)
        else:
            member.uploaded = max(member.uploaded, told.uploaded)
            member.downloaded = max(member.downloaded, told.downloaded)

    def hear_completion(self, told: SharedPeer) -> None:
        """Take in that a member has completed, which it is up to this node to count."""
        member = self._members.get(told.endpoint)
        if member is not None and member.peer_id == told.peer_id and not member.completed:
            member.completed = True
            if self._counter is not None:
                holder = member.passkey.holder
                self._counter.announced(holder, uploaded=0, downloaded=0, completed=True)

    def _count(self, member: SwarmMember, request: AnnounceRequest, *, completes: bool) -> None:
        """Count what is new in an announce, or in what was told of one, if it is up to us."""
        if request.event is AnnounceEvent.STARTED:
            # Its sums begin again.
            member.uploaded = min(member.uploaded, request.uploaded)
            member.downloaded = min(member.downloaded, request.downloaded)
        # More than that can't have happened between two announces.
        most = self._size * max(1, len(self._members))
        uploaded = min(max(0, request.uploaded - member.uploaded), most)
        downloaded = min(max(0, request.downloaded - member.downloaded), self._size)
        member.uploaded = max(member.uploaded, request.uploaded)
        member.downloaded = max(member.downloaded, request.downloaded)
        if not self._counts(request.peer_id, request.key, member.endpoint):
            return
        completed = completes and not member.completed
        member.completed |= completed
        if self._counter is not None:
            self._counter.announced(
                member.passkey.holder, uploaded=uploaded, downloaded=downloaded, completed=completed
            )

    def _enter(self, member: SwarmMember) -> None:
        network, *_, site = networks_of(member.endpoint[:-2])
        beside = self._by_network.setdefault(network, {})
        former = beside.get(member.endpoint)
        if former is not None:
            self._members[member.endpoint] = former
            self.forget(former)
        holder = member.passkey.holder
        gone = [each for each in beside.values() if each.has_left and each.passkey.holder == holder]
        for each in gone:
            self.forget(each)
        if len(beside) >= self._at_address:
            self.forget(min(beside.values(), key=_seen))
        if len(self._members) >= self._most:
            self.forget(next(iter(self._members.values())))
        self._members[member.endpoint] = member
        self._by_network.setdefault(network, beside)[member.endpoint] = member
        self._by_id[member.peer_id] = member
        self._sites[site] += 1

    def forget(self, member: SwarmMember) -> None:
        """Let a member go."""
        del self._members[member.endpoint]
        network, *_, site = networks_of(member.endpoint[:-2])
        beside = self._by_network[network]
        del beside[member.endpoint]
        if not beside:
            del self._by_network[network]
        if self._by_id.get(member.peer_id) is member:
            del self._by_id[member.peer_id]
        self._sites[site] -= 1
        if not self._sites[site]:
            del self._sites[site]

    def expire(self, oldest: float) -> None:
        """Forget who was last seen before `oldest`."""
        for member in self:
            # Those that other nodes told of are anywhere among them.
            if member.seen < oldest:
                self.forget(member)

    def export(self) -> Iterator[SavedMember]:
        """Yield every member that there is at the first one."""
        for member in self:
            yield SavedMember(
                member.endpoint,
                member.peer_id,
                member.passkey,
                member.uploaded,
                member.downloaded,
                member.seen,
            )

    def adopt(self, saved: Iterable[SavedMember]) -> None:
        """Take back members of an earlier run; nothing that they claimed then counts now."""
        for each in sorted(saved, key=_seen):
            if each.endpoint not in self._members:
                member = SwarmMember(each.endpoint, each.peer_id, each.passkey, each.seen)
                member.uploaded, member.downloaded = each.uploaded, each.downloaded
                member.completed = True
                self._enter(member)


def _seen(member: SwarmMember | SavedMember) -> float:
    return member.seen
