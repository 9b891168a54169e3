"""One swarm: which peers are listed, which of them hear of whom, which are dropped.

A peer is the address that its announce came from and the port that it named; nothing else that it
writes about itself puts an endpoint into a handout.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf

from seeder.net.addresses import V4_ENDPOINT, Networks, compact_endpoint, is_told_to, networks_of
from seeder.net.groups import Groups
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest, ScrapeCounts
from seeder.tracker.claims import Claims
from seeder.tracker.crowd import RandomFloats
from seeder.tracker.handout import (
    NOBODY,
    Choice,
    Handout,
    OwnPlace,
    Stand,
    Stands,
    Trust,
    add,
    endpoints_of,
    size_of,
)
from seeder.tracker.journal import SharedPeer, SwarmNews, departed
from seeder.tracker.locality import GroupedStands
from seeder.tracker.members import Members
from seeder.tracker.neighbours import ListedPeer, Neighbours, StrangerLimits
from seeder.tracker.rooms import Room
from seeder.tracker.saved import SavedPeer
from seeder.tracker.visits import Visits

HANDOUT_GAP = 5.0
"""Seconds after a handout in which that peer gets no other: some announce every second. A client
that says it has started knows nobody, whatever was told before to who was there."""
MOST_LOOKED_AT = 400
"""Strangers of its own network that are looked at for one asker."""


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
    strangers: StrangerLimits = StrangerLimits()  # noqa: RUF009  (frozen)

    @property
    def min_interval(self) -> int:
        return int(self.interval / 2)

    @property
    def expiry(self) -> float:
        """How long after its last announce a peer is kept."""
        return 2 * self.interval + 300


class Swarm:
    """The peers of one torrent, in the order in which they were last seen.

    `room` and `visits` are those of all swarms; None for `groups` is no groups.
    """

    __slots__ = (
        "_info_hash",
        "_neighbours",
        "_news",
        "_peers",
        "_policy",
        "_rng",
        "_room",
        "_stands",
        "_visits",
        "claims",
        "completed",
        "completed_elsewhere",
        "members",
        "seeds",
    )

    def __init__(
        self,
        info_hash: InfoHash,
        policy: SwarmPolicy,
        rng: RandomFloats,
        *,
        room: Room,
        visits: Visits,
        claims: Claims,
        groups: Groups | None = None,
        news: SwarmNews | None = None,
    ) -> None:
        """With `news` the other nodes of a cluster are told."""
        self.completed = 0
        self.completed_elsewhere = 0
        """What the other nodes have counted."""
        self.claims = claims
        self.members: Members | None = None
        """Who may be in a private swarm; None lets everybody in."""
        self.seeds = 0
        """Peers with left=0, ours not counted."""
        self._info_hash = info_hash
        self._policy = policy
        self._rng = rng
        self._room = room
        self._visits = visits
        self._news = news
        self._peers: dict[bytes, ListedPeer] = {}
        self._stands = self._new_stands(groups)
        self._neighbours = Neighbours(self._stands, policy.strangers)

    def __len__(self) -> int:
        return len(self._peers)

    def _new_stands(self, groups: Groups | None) -> Stands | GroupedStands:
        return Stands(self._rng) if groups is None else GroupedStands(self._rng, groups)

    def regroup(self, groups: Groups | None) -> None:
        """Hand the peers out by other groups from now on, or by none."""
        self._stands = self._new_stands(groups)
        self._neighbours.move_to(self._stands, self._peers.values())

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
            return NOBODY
        peer = self._enter(request, endpoint, now, self._news)
        count = request.numwant
        if count is None:
            count = self._policy.default_numwant
        count = min(count, self._policy.most_numwant)
        if peer is not None and count:
            answered = peer.answered_by_alias if by_alias else peer.answered
            if now - answered < HANDOUT_GAP and request.event is not AnnounceEvent.STARTED:
                return NOBODY
            if by_alias:
                peer.answered_by_alias = now
            else:
                peer.answered = now
        wants_nothing = _wants_nothing(request)
        # Our seeder is of no use to a seed. But a stranger among many may show that it is there.
        if (
            wants_nothing
            and not _may_lack_metadata(request)
            and (peer is None or self._neighbours.stand_of(peer) is Stand.FRONT)
        ):
            own = ()
        return self._handout(endpoint, wants_nothing, count, own, place)

    def _enter(
        self, request: AnnounceRequest, endpoint: bytes, now: float, news: SwarmNews | None
    ) -> ListedPeer | None:
        """Add or refresh the peer that announces; None when it may not be listed."""
        # Popped and put back, so that the peers stay in the order of `seen`.
        peer = self._peers.pop(endpoint, None)
        if news is not None:
            news.heard(request, endpoint, peer, now)
        networks: Networks = ()
        if peer is None:
            networks = networks_of(endpoint[:-2])
            if not self._take_place(request, endpoint, networks, now):
                return None
        session, completed = self.claims.note(request, endpoint, now)
        self.completed += completed
        if completed and news is not None:
            news.counted(endpoint)
        if peer is None:
            wants_nothing = _wants_nothing(request)
            crowd = self._stands.crowd(endpoint, wants_nothing, Stand.FRONT)
            complete = request.left == 0
            peer = ListedPeer(endpoint, session, now, complete, wants_nothing, crowd)
            self.claims.attach(session, endpoint)
            self._list(peer, networks)
            if len(self._visits):
                self._recognise(networks, now)
        else:
            # All that name the endpoint share one object.
            endpoint = peer.endpoint
            self._peers[endpoint] = peer
            if peer.session is not session:
                # Another client, or the same one started again.
                self.claims.detach(peer.session, now)
                self.claims.attach(session, endpoint)
                peer.session = session
                peer.answered = peer.answered_by_alias = -inf
            elif len(endpoint) == V4_ENDPOINT:
                session.endpoint = endpoint
            else:
                session.endpoint6 = endpoint
            self._refresh(peer, request, now)
        return peer

    def _refresh(self, peer: ListedPeer, request: AnnounceRequest, now: float) -> None:
        complete = request.left == 0
        if peer.complete and not complete:
            # The client has learned what it lacks: by the metadata (aria2 with a magnet link), or
            # by a check.
            peer.answered = peer.answered_by_alias = -inf
        if complete is not peer.complete:
            self.seeds += complete - peer.complete
            peer.complete = complete
        peer.seen = now
        wants_nothing = complete or request.event is AnnounceEvent.PAUSED
        if wants_nothing is peer.wants_nothing and not self._stands.are_deep:
            peer.crowd.stir(peer.endpoint)
        else:
            peer.wants_nothing = wants_nothing
            self._neighbours.stand(peer)

    def _recognise(self, networks: Networks, now: float) -> None:
        """Have a newcomer known if its address has come to our seeder already."""
        visit = self._visits.of(self._info_hash, networks[0], now)
        if visit is not None:
            self._neighbours.recognise(networks, visit.at_once)

    def visited(self, address: bytes, at_once: int, now: float) -> None:
        """Note that a peer from an address (packed) came to our seeder, which has now `at_once`."""
        networks = networks_of(address)
        self._visits.note(self._info_hash, networks[0], at_once, now)
        self._neighbours.recognise(networks, at_once)

    def _take_place(
        self, request: AnnounceRequest, endpoint: bytes, networks: Networks, now: float
    ) -> bool:
        """Make sure that there is room for a newcomer; False when it isn't to be had.

        If its address is at the cap, a client that only changed its port takes its own former
        place. Where there is no room, the largest network makes some: in this swarm if that is
        full, else in whichever swarm one network has most.
        """
        policy, neighbours = self._policy, self._neighbours
        at_address = neighbours.at(networks)
        if len(at_address) >= policy.peers_per_address:
            session = self.claims.find(request, endpoint)
            former = self._peers.get(session.former_endpoint(endpoint)) if session else None
            if former is None or former not in at_address:
                self._room.tell_crowded(networks, policy.peers_per_address, now)
                return False
            if self._news is not None:
                self._news.left(self._told(former, AnnounceEvent.STOPPED, now))
            self._lose(former, now)
            # It may have been one of too many, after a restart with a lower cap.
            if len(neighbours.at(networks)) >= policy.peers_per_address:
                return False
        full = len(self._peers) >= policy.peers_per_swarm
        if not full and not self._room.is_full:
            return True
        if not full and neighbours.share(networks) + 1 < self._room.largest:
            self._room.make_room(now)
            return True
        rival = neighbours.rival(networks)
        if rival is None:
            return False
        self._lose(rival, now)
        return True

    def dismiss(self, endpoint: bytes, now: float) -> None:
        """Drop the peer at a compact endpoint, if it is listed: others hear of it no more."""
        peer = self._peers.get(endpoint)
        if peer is not None:
            self._lose(peer, now)

    def make_room(self, now: float) -> None:
        """Drop a peer of the largest network for one in another swarm; there is one at least."""
        self._lose(self._neighbours.of_most(), now)

    def _list(self, peer: ListedPeer, networks: Networks) -> None:
        self._peers[peer.endpoint] = peer
        self.seeds += peer.complete
        neighbours = self._neighbours
        before = neighbours.largest
        neighbours.add(peer, networks)
        after = neighbours.largest
        if before == after:
            self._room.used += 1
        else:
            self._room.change(self, 1, before, after)

    def _lose(self, peer: ListedPeer, now: float) -> None:
        """Drop a peer whose client may come back."""
        self._drop(peer)
        self.claims.detach(peer.session, now)

    def _drop(self, peer: ListedPeer) -> None:
        del self._peers[peer.endpoint]
        self.seeds -= peer.complete
        before = self._neighbours.largest
        self._neighbours.remove(peer)
        self._room.change(self, -1, before, self._neighbours.largest)

    def _stop(self, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        """Remove the peer that stops, and no other.

        It is found at the address that the announce came from; if the announce names no port, by
        its peer id at that address; if the peer has moved since, by its peer id and secret key.
        """
        peer = self._peers.get(endpoint)
        session = self.claims.find(request, endpoint)
        if peer is None and session is not None:
            former = session.former_endpoint(endpoint)
            if request.key or former[:-2] == endpoint[:-2]:
                peer = self._peers.get(former)
        if peer is None or not _is_same_client(peer, request):
            if self._news is not None and request.port:
                # Another node may know it; what that has told isn't here yet.
                self._news.left(self._stray(request, endpoint, now))
            return
        if session is not None:
            self.claims.note(request, endpoint, now)
        if self._news is not None:
            self._news.left(self._told(peer, AnnounceEvent.STOPPED, now))
        self._lose(peer, now)

    # -- what the nodes of a cluster tell each other

    def _told(self, peer: ListedPeer, event: AnnounceEvent, seen: float) -> SharedPeer:
        session = peer.session
        member = None if self.members is None else self.members.get(peer.endpoint)
        return SharedPeer(
            self._info_hash,
            peer.endpoint,
            session.peer_id,
            session.key,
            seen,
            session.downloaded,
            event,
            peer.complete,
            peer.wants_nothing,
            session.completed,
            None if member is None else member.passkey,
            0 if member is None else member.uploaded,
        )

    def _stray(self, request: AnnounceRequest, endpoint: bytes, now: float) -> SharedPeer:
        """Return what others are told of somebody who went and wasn't known here."""
        member = None if self.members is None else self.members.get(endpoint)
        return SharedPeer(
            self._info_hash,
            endpoint,
            request.peer_id,
            request.key,
            now,
            request.downloaded,
            AnnounceEvent.STOPPED,
            complete=request.left == 0,
            wants_nothing=True,
            counted=False,
            passkey=None if member is None else member.passkey,
            uploaded=0 if member is None else member.uploaded,
            is_stray=True,
        )

    def tell(self, endpoint: bytes, event: AnnounceEvent) -> SharedPeer | None:
        """Return what others are told of a peer that announced an event; None if it has gone."""
        peer = self._peers.get(endpoint)
        return None if peer is None else self._told(peer, event, peer.seen)

    def tell_again(self, gone: Iterable[tuple[bytes, float]]) -> None:
        """Tell others of all peers, and of those that went: an earlier run may not have."""
        news = self._news
        if news is None:
            return
        for endpoint in self._peers:
            news.journal.heard(self._info_hash, endpoint, AnnounceEvent.NONE)
        for endpoint, seen in gone:
            news.left(departed(self._info_hash, endpoint, seen))

    def departures(self) -> Iterator[SharedPeer]:
        """Yield what others are told of peers that went."""
        return iter(()) if self._news is None else self._news.departures()

    def endpoints(self) -> tuple[bytes, ...]:
        """Return the endpoints of all listed peers."""
        return tuple(self._peers)

    def hear(self, told: SharedPeer, now: float, *, fresh: bool) -> None:
        """Take in what another node has heard of a peer; the newest word counts.

        Peers pass the same limits as if they had announced here. What they claim is counted if the
        word is `fresh`, and the count is up to this node.
        """
        news = self._news
        if news is None:
            return
        endpoint, seen, request = told.endpoint, told.seen, told.request()
        peer, known = self._peers.get(endpoint), self.claims.find(request, endpoint)
        is_other = peer is not None and not _is_same_client(peer, request)
        if news.is_old(told):
            if peer is not None and peer.seen < seen and is_other:
                self._lose(peer, seen)  # whoever was there since has gone, too
            if known is not None and self.claims.hear(known, told, now, fresh=fresh):
                self.completed += 1
                news.counted(endpoint)
            return
        if self.members is not None and not told.gone and told.passkey is None:
            return
        if self.members is not None:
            self.members.hear(told, fresh=fresh)
        if told.gone:
            news.remember_gone(told)
        if not told.gone and (peer is None or peer.seen < seen):
            unsure = known is None or known.unsure
            downloaded = told.downloaded if known is None else known.downloaded
            paused = told.wants_nothing and not told.complete
            event = AnnounceEvent.PAUSED if paused else AnnounceEvent.NONE
            as_seen = request._replace(event=event, downloaded=downloaded)
            listed = self._enter(as_seen, endpoint, seen, None)
            if listed is not None:
                known = listed.session
                known.unsure = unsure
        if known is not None and self.claims.hear(known, told, now, fresh=fresh):
            self.completed += 1
            news.counted(endpoint)
        if told.gone and peer is not None and peer.seen < seen and not (told.is_stray and is_other):
            self._lose(peer, seen)

    def _handout(
        self,
        asker: bytes,
        wants_nothing: bool,
        count: int,
        own: Sequence[bytes],
        place: OwnPlace,
    ) -> Handout:
        """Return the peers that the asker hears of; with SPARE or ALONE, our seeder comes last."""
        deep = self._stands.are_deep
        trust = self._neighbours.trust(asker) if deep else Trust.ALL
        chosen = self._stands.choose(
            asker, count, own, place, wants_nothing=wants_nothing, trust=trust
        )
        if deep and trust is not Trust.ALL:
            self._add_strangers(chosen, asker, wants_nothing, count)
        if place is not OwnPlace.ALWAYS:
            alone = not any(map(any, chosen))
            if place is OwnPlace.SPARE or alone:
                places = count - size_of(chosen) - self._stands.left_out
                add(chosen, own[: max(0, places)])
        v4, v6 = chosen
        return b"".join(v4), b"".join(v6) if v6 else b""

    def _add_strangers(self, chosen: Choice, asker: bytes, wants_nothing: bool, count: int) -> None:
        """Add strangers to an answer that isn't full if the asker is one of them."""
        strangers = self._neighbours.strangers_alone(asker)
        missing = count - size_of(chosen)
        if missing <= 0:
            return
        known = set(endpoints_of(chosen))
        known.add(asker)
        some = (
            peer.endpoint
            for peer in islice(strangers, MOST_LOOKED_AT)
            if not (wants_nothing and peer.wants_nothing)
            and peer.endpoint not in known
            and is_told_to(asker[:-2], peer.endpoint[:-2])
        )
        add(chosen, islice(some, missing))

    def counts(self) -> ScrapeCounts:
        """Return what a scrape shows; our own seeder is one of the complete peers."""
        completed = self.completed + self.completed_elsewhere
        return ScrapeCounts(self.seeds + 1, completed, len(self._peers) - self.seeds)

    def expire(self, oldest: float) -> int:
        """Drop the peers and sessions last seen before `oldest`; return how many peers."""
        gone = []
        for peer in self._peers.values():
            if peer.seen < oldest:
                gone.append(peer)
            elif self._news is None:
                break  # else those that other nodes told of are anywhere among them
        for peer in gone:
            self._drop(peer)
            self.claims.drop(peer.session)
        self.claims.expire(oldest)
        if self._news is not None:
            self._news.expire(oldest)
        if self.members is not None:
            self.members.expire(oldest)
        return len(gone)

    def expel(self, admits: Callable[[bytes], bool]) -> int:
        """Drop the peers whose addresses (packed) aren't let in any more; return how many."""
        gone = [peer for peer in self._peers.values() if not admits(peer.endpoint[:-2])]
        for peer in gone:
            self._drop(peer)
            self.claims.drop(peer.session)
        return len(gone)

    def clear(self) -> None:
        """Give back all room, before the swarm is let go."""
        self._room.change(self, -len(self._peers), self._neighbours.largest, 0)
        self.claims.clear()

    def export(self) -> Iterator[SavedPeer]:
        """Yield every peer that there is at the first one, longest unseen first."""
        for peer in tuple(self._peers.values()):
            session = peer.session
            yield SavedPeer(
                peer.endpoint,
                session.peer_id,
                session.key,
                peer.complete,
                peer.wants_nothing,
                peer.seen,
            )

    def adopt(self, saved: Iterable[SavedPeer]) -> None:
        """List the peers of an earlier run in an empty swarm, as far as the caps allow."""
        policy, neighbours = self._policy, self._neighbours
        for entry in saved:
            endpoint = entry.endpoint
            networks = networks_of(endpoint[:-2])
            at_address = neighbours.at(networks)
            if (
                endpoint in self._peers
                or len(at_address) >= policy.peers_per_address
                or len(self._peers) >= policy.peers_per_swarm
                or self._room.is_full
            ):
                continue
            session = self.claims.adopt_peer(entry.peer_id, entry.key, endpoint, entry.seen)
            crowd = self._stands.crowd(endpoint, entry.wants_nothing, Stand.FRONT)
            peer = ListedPeer(
                endpoint, session, entry.seen, entry.complete, entry.wants_nothing, crowd
            )
            self.claims.attach(session, endpoint)
            self._list(peer, networks)
        self.claims.settle()


def _is_same_client(peer: ListedPeer, request: AnnounceRequest) -> bool:
    session = peer.session
    if session.peer_id == request.peer_id:
        return True
    return bool(request.key) and session.key == request.key


def _wants_nothing(request: AnnounceRequest) -> bool:
    return request.left == 0 or request.event is AnnounceEvent.PAUSED


def _may_lack_metadata(request: AnnounceRequest) -> bool:
    """Tell whether a client may have only a magnet link: aria2 then says that it lacks 0 bytes.

    It says so in each announce until it has the metadata. A seed that had all before it started
    says the same; hearing of a peer in vain costs it little.
    """
    return (
        request.left == request.downloaded == 0
        and request.event is not AnnounceEvent.COMPLETED
        and request.event is not AnnounceEvent.PAUSED
    )
