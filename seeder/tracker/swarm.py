"""One swarm: what an announce changes, and what it is answered.

A peer is the address that its announce came from and the port that it named; nothing else that it
writes about itself puts an endpoint into a handout.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from seeder.net.addresses import Networks, compact_endpoint, networks_of
from seeder.net.groups import Groups
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import (
    AnnounceEvent,
    AnnounceRequest,
    may_lack_metadata,
)
from seeder.tracker.claims import Claims
from seeder.tracker.crowd import RandomFloats
from seeder.tracker.handout import NOBODY, Handout, OwnPlace, Stand
from seeder.tracker.journal import SwarmNews, departed
from seeder.tracker.listed import COMPLETE, SAID, WANTS_NOTHING
from seeder.tracker.members import Members
from seeder.tracker.owed import OwedClaim
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.rooms import Room
from seeder.tracker.roster import SwarmRoster
from seeder.tracker.saved import SavedPeer
from seeder.tracker.sessions import COMPLETED, UNSURE, session_name
from seeder.tracker.shared import SharedClaims
from seeder.tracker.told import SharedPeer
from seeder.tracker.visits import Visits

HANDOUT_GAP = 5.0
"""Seconds after a handout in which that peer gets no other: some announce every second. A client
that says it has started knows nobody, whatever was told before to who was there."""


class Swarm:
    """The peers of one torrent.

    `room` and `visits` are those of all swarms; None for `groups` is no groups.
    """

    __slots__ = (
        "_groups",
        "_info_hash",
        "_policy",
        "_rng",
        "_room",
        "_roster",
        "_visits",
        "claims",
        "completed",
        "completed_elsewhere",
        "members",
        "news",
        "shared",
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
        self.completed = 0
        self.completed_elsewhere = 0
        """What the other nodes have counted."""
        self.claims = claims
        self.members: Members | None = None
        """Who may be in a private swarm; None lets everybody in."""
        self._info_hash = info_hash
        self._policy = policy
        self._rng = rng
        self._room = room
        self._visits = visits
        self._groups = groups
        self.news = news
        """What the other nodes of a cluster are told; None for a node by itself."""
        self.shared = claims if isinstance(claims, SharedClaims) else None
        """The claims, where several nodes hear them."""
        self._roster: SwarmRoster | None = None
        """None while nobody is listed: most torrents have no peer at a time."""

    def __len__(self) -> int:
        return 0 if self._roster is None else len(self._roster)

    @property
    def seeds(self) -> int:
        """Peers with left=0, ours not counted."""
        return 0 if self._roster is None else self._roster.seeds

    def _list(self) -> SwarmRoster:
        """Return the roster; made if there is none yet."""
        roster = self._roster
        if roster is None:
            roster = self._roster = SwarmRoster(
                self._policy, self._rng, room=self._room, claims=self.claims, groups=self._groups
            )
        return roster

    def _find(self, endpoint: bytes) -> int:
        """Return the number of the peer at a compact endpoint; -1 if it isn't listed."""
        return -1 if self._roster is None else self._roster.peers.find(endpoint)

    def regroup(self, groups: Groups | None) -> None:
        """Hand the peers out by other groups from now on, or by none."""
        self._groups = groups
        if self._roster is not None:
            self._roster.regroup(groups)

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
        endpoint, event = compact_endpoint(source, request.port), request.event
        if event.stops:
            self._stop(request, endpoint, now)
            return NOBODY
        said = _said(request)
        number = self._enter(request, said, endpoint, now, self.news)
        count, policy = request.numwant, self._policy
        if count is None:
            count = policy.default_numwant
        count = count if count < policy.most_numwant else policy.most_numwant
        roster = self._roster
        if roster is None:
            roster = self._list()
        if number >= 0 and count:
            peers = roster.peers
            answered = peers.answered_by_alias if by_alias else peers.answered
            if now - answered[number] < HANDOUT_GAP and not event.starts:
                return NOBODY
            answered[number] = now
        # Our seeder is of no use to a seed. But a stranger among many may show that it is there.
        if (
            said
            and not may_lack_metadata(request)
            and (number < 0 or roster.neighbours.stand_of(number, endpoint) is Stand.FRONT)
        ):
            own = ()
        return roster.handout(endpoint, number, count, own, place, wants_nothing=said > 0)

    def _enter(
        self,
        request: AnnounceRequest,
        said: int,
        endpoint: bytes,
        now: float,
        news: SwarmNews | None,
    ) -> int:
        """Add or refresh the peer that announces; return its number, -1 where it isn't listed.

        `said` is as `_said` returns it.
        """
        roster = self._roster
        if roster is None:
            roster = self._list()
        number = roster.peers.find(endpoint)
        if news is not None:
            news.heard(request, endpoint, roster.remembered(number), now)
        if number >= 0 and self.claims.renew(request, endpoint, now, number):
            roster.refresh(number, endpoint, now, said)
            return number
        networks: Networks = ()
        if number < 0:
            networks = networks_of(endpoint[:-2])
            if not self._take_place(roster, request, endpoint, networks, now):
                return -1
        claims = self.claims
        session, completed = claims.note(request, endpoint, now, number)
        if completed:
            self.completed += 1
            if news is not None:
                news.counted(endpoint)
        elif news is not None and self.shared is not None and self.shared.is_owed(session, request):
            news.owes(request, endpoint, now, claims.sessions.name(session))
        if number < 0:
            number = roster.enter(endpoint, networks, session, now, said)
            visit = self._visits.of(self._info_hash, networks[0], now) if self._visits else None
            if visit is not None:
                # Its address has come to our seeder already.
                roster.neighbours.recognise(networks, visit.at_once)
            return number
        if claims.sessions.of_peer[number] != session:
            # Another client, or the same one started again.
            claims.move(number, session, endpoint, now)
            if news is not None:
                news.replaced(request, endpoint)
            roster.peers.answered[number] = roster.peers.answered_by_alias[number] = -inf
        else:
            claims.sessions.note_endpoint(session, endpoint)
        roster.refresh(number, endpoint, now, said)
        return number

    def visited(self, address: bytes, at_once: int, now: float) -> None:
        """Note that a peer from an address (packed) came to our seeder, which has now `at_once`."""
        networks = networks_of(address)
        self._visits.note(self._info_hash, networks[0], at_once, now)
        if self._roster is not None:
            self._roster.neighbours.recognise(networks, at_once)

    def _take_place(
        self,
        roster: SwarmRoster,
        request: AnnounceRequest,
        endpoint: bytes,
        networks: Networks,
        now: float,
    ) -> bool:
        """Make sure that there is room for a newcomer; False when it isn't to be had.

        If its address is at the cap, a client that only changed its port takes its own former
        place.
        """
        if roster.is_crowded(networks):
            session = self.claims.find(request, endpoint)
            place = self.claims.sessions.former_endpoint(session, endpoint) if session >= 0 else b""
            former = roster.peers.find(place)
            if former < 0 or place not in roster.neighbours.at(networks):
                self._room.tell_crowded(networks, self._policy.peers_per_address, now)
                return False
            if self.news is not None:
                self.news.left(self._told(former, AnnounceEvent.STOPPED, now))
            roster.lose(former, now)
            # It may have been one of too many, after a restart with a lower cap.
            if roster.is_crowded(networks):
                return False
        return roster.take_place(networks, now)

    def dismiss(self, endpoint: bytes, now: float) -> None:
        """Drop the peer at a compact endpoint, if it is listed: others hear of it no more."""
        number = self._find(endpoint)
        if self._roster is not None and number >= 0:
            self._roster.lose(number, now)

    def _stop(self, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        """Remove the peer that stops, and no other.

        It is found at the address that the announce came from; if the announce names no port, by
        its peer id at that address; if the peer has moved since, by its peer id and secret key.
        """
        number, session = self._find(endpoint), self.claims.find(request, endpoint)
        if number < 0 and session >= 0:
            former = self.claims.sessions.former_endpoint(session, endpoint)
            if request.key or former[:-2] == endpoint[:-2]:
                number = self._find(former)
        if number < 0 or not self._is_client_at(number, request):
            if self.news is not None and request.port:
                # Another node may know it; what that has told isn't here yet.
                member = None if self.members is None else self.members.get(endpoint)
                passkey, uploaded = (
                    (None, 0) if member is None else (member.passkey, member.uploaded)
                )
                self.news.strayed(request, endpoint, now, passkey=passkey, uploaded=uploaded)
            return
        if session >= 0:
            self.claims.note(request, endpoint, now)
        if self.news is not None:
            self.news.left(self._told(number, AnnounceEvent.STOPPED, now))
        self._list().lose(number, now)

    def _is_client_at(self, number: int, request: AnnounceRequest) -> bool:
        sessions = self.claims.sessions
        return sessions.is_of(sessions.of_peer[number], request.peer_id, request.key)

    # -- what the nodes of a cluster tell each other

    def _told(self, number: int, event: AnnounceEvent, seen: float) -> SharedPeer:
        peers, sessions = self._list().peers, self.claims.sessions
        session, flags = sessions.of_peer[number], peers.flags[number]
        endpoint = peers.endpoint(number)
        member = None if self.members is None else self.members.get(endpoint)
        return SharedPeer(
            self._info_hash,
            endpoint,
            sessions.peer_id(session),
            sessions.key(session),
            seen,
            sessions.downloaded[session],
            event,
            flags & COMPLETE > 0,
            flags & WANTS_NOTHING > 0,
            sessions.flags[session] & COMPLETED > 0,
            None if member is None else member.passkey,
            0 if member is None else member.uploaded,
        )

    def tell(self, endpoint: bytes, event: AnnounceEvent) -> SharedPeer | None:
        """Return what others are told of a peer that announced an event; None if it has gone."""
        number = self._find(endpoint)
        if self._roster is None or number < 0:
            return None
        return self._told(number, event, self._roster.peers.seen[number])

    def endpoints(self) -> Iterator[bytes]:
        """Yield the endpoints of all peers that are listed at the first one."""
        if self._roster is not None:
            yield from self._roster.peers.endpoints()

    def hear(self, told: SharedPeer, now: float, *, fresh: bool) -> None:
        """Take in what another node has heard of a peer; the newest word counts.

        Peers pass the same limits as if they had announced here. What they claim is counted if the
        word is `fresh`, and the count is up to this node.
        """
        news, claims = self.news, self.shared
        if news is None or claims is None:
            return
        endpoint, seen, request = told.endpoint, told.seen, told.request()
        number, known = self._find(endpoint), claims.find(request, endpoint)
        known_at = claims.sessions.seen[known] if known >= 0 else seen
        before = None if self._roster is None else self._roster.remembered(number)
        newer = before is None or before.seen < seen
        is_other = number >= 0 and not self._is_client_at(number, request)
        if news.is_old(told):
            if known >= 0:
                claims.hear(known, told, now, fresh=fresh, seen=known_at)
            if newer and not told.gone:
                # Whoever was there before has gone, too.
                news.remember_gone(departed(self._info_hash, endpoint, seen))
                if is_other:
                    self._list().lose(number, seen)
            return
        if self.members is not None:
            if not told.gone and told.passkey is None:
                return
            self.members.hear(told, fresh=fresh)
        if told.gone:
            news.remember_gone(told)
        if newer and not told.gone:
            unsure, downloaded = True, told.downloaded
            if known >= 0:
                unsure = claims.sessions.flags[known] & UNSURE > 0
                downloaded = claims.sessions.downloaded[known]
            paused = told.wants_nothing and not told.complete
            event = AnnounceEvent.PAUSED if paused else AnnounceEvent.NONE
            as_seen = request._replace(event=event, downloaded=downloaded)
            listed = self._enter(as_seen, _said(as_seen), endpoint, seen, None)
            # It may have another number since, or be new.
            known = claims.find(request, endpoint)
            if listed >= 0:
                claims.set_unsure(known, unsure)
        if known >= 0:
            claims.hear(known, told, now, fresh=fresh, seen=known_at)
        if told.gone and before is not None and newer and not (told.is_stray and is_other):
            self._list().lose(number, seen)
            if told.is_stray:
                # Nobody may have been told of it, and so who was there before is listed elsewhere.
                news.left(departed(self._info_hash, endpoint, before.seen))

    def hear_completion(self, told: SharedPeer, now: float) -> bytes | None:
        """Take in that a peer has completed; return its session's name if it is settled by that.

        None: another node counts it.
        """
        news, name = self.news, session_name(told.peer_id, told.key, told.endpoint)
        if news is None or self.shared is None or not news.journal.counts(name):
            return None
        if self.shared.hear_completion(told, name, now):
            self.completed += 1
            news.counted(told.endpoint)
        if self.members is not None:
            self.members.hear_completion(told)
        return name

    def hear_bytes(self, claim: OwedClaim, now: float) -> bytes | None:
        """Take in which bytes a peer has claimed; return as `hear_completion` does."""
        told = claim.peer
        news, name = self.news, session_name(told.peer_id, told.key, told.endpoint)
        if news is None or self.shared is None or not news.journal.counts(name):
            return None
        self.shared.hear_bytes(claim, name, now)
        return name

    def count_own(self, claim: OwedClaim, now: float) -> None:
        """Count bytes that another node was to count, and this one is to now."""
        if self.shared is not None:
            self.shared.count_own(claim, now)

    def counts(self) -> tuple[int, int, int]:
        """Return what `ScrapeCounts` has; our own seeder is one of the complete peers."""
        completed = self.completed + self.completed_elsewhere
        roster = self._roster
        if roster is None:
            return 1, completed, 0
        seeds = roster.seeds
        return seeds + 1, completed, len(roster.peers.flags) - seeds

    def expire(self, oldest: float, most: int) -> tuple[int, int]:
        """Drop peers and sessions last seen before `oldest`, up to `most` of each.

        Return how many they were.
        """
        gone = 0
        if self._roster is not None:
            gone = self._roster.expire(oldest, most)
            if not len(self._roster):
                self._roster = None
        past = self.claims.expire(oldest, most)
        if self.news is not None:
            self.news.expire(oldest)
        if self.members is not None:
            self.members.expire(oldest)
        return gone, past

    def leave(self) -> None:
        """Let all peers go, as the torrent is closed; `Claims.let_go` follows."""
        self.members = self.news = self.shared = None
        if self._roster is not None:
            self._roster.leave()
            self._roster = None

    def expel(self, admits: Callable[[bytes], bool]) -> int:
        """Drop the peers whose addresses (packed) aren't let in any more; return how many."""
        return 0 if self._roster is None else self._roster.expel(admits)

    # -- what survives a restart

    def export(self) -> Iterator[SavedPeer]:
        """Yield every peer that there is at the first one, as it is then."""
        return iter(()) if self._roster is None else self._roster.export()

    def adopt(self, saved: Iterable[SavedPeer]) -> None:
        """List the peers of an earlier run in an empty swarm, as far as the caps allow."""
        self._list().adopt(saved)
        self.claims.settle()


def _said(request: AnnounceRequest) -> int:
    """Return the flags of a peer that an announce tells: is it a seed, or a partial seed?"""
    if request.left == 0:
        return SAID
    return WANTS_NOTHING if request.event.pauses else 0
