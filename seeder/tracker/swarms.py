"""The tracker's swarms, only of torrents that we serve. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seeder.errors import AnnounceError
from seeder.net.addresses import compact_endpoint
from seeder.net.groups import Groups
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.belief import Belief
from seeder.tracker.counters import ClaimCounter, GroupCounter
from seeder.tracker.crowd import RandomFloats
from seeder.tracker.handout import OwnPlace
from seeder.tracker.holders import Holders, Refused
from seeder.tracker.journal import Journal, SharedVisit, SwarmNews
from seeder.tracker.kept import KeptSwarms
from seeder.tracker.members import Members, everything_counts
from seeder.tracker.passkeys import Passkey
from seeder.tracker.past import PastRoom
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.rooms import Room
from seeder.tracker.saved import Counted, SavedSwarm
from seeder.tracker.seeders import NamedSeeder, OwnSeeder
from seeder.tracker.sessions import session_name
from seeder.tracker.shared import make_claims
from seeder.tracker.swarm import Swarm
from seeder.tracker.tallies import TrackerTallies
from seeder.tracker.visits import Visits

SOON = 60.0
"""Seconds until a client that wants peers and got none may ask again."""
INTERVAL_SPREAD = 0.1
"""Share of the interval by which replies differ, so that announces don't come in waves."""
_LEAST_SHARE = 1 - INTERVAL_SPREAD
MINUTES_LOADING = "1"
"""When to ask again for a torrent that may come, or come back (BEP 31)."""


_UNKNOWN = "torrent not registered with this tracker"
_UNKNOWN_OR_WRONG = f"{_UNKNOWN}, or your passkey is wrong"
"""For who names a passkey: of a private torrent with a wrong one, and of an unknown torrent."""
_AT_AN_ANNOUNCE = 10
"""Past sessions of closed swarms let go at one announce."""
NOTHING = Counted()
_new = tuple.__new__


@dataclass(frozen=True, slots=True)
class SwarmStatistics:
    """One swarm as its announces tell; our own seeder is not in it."""

    peers: int
    """Seeds included."""
    seeds: int
    completed: int


class Swarms(KeptSwarms):
    """Every swarm by info hash, and why the closed ones are closed.

    While `loading` is set, an announce for an unknown torrent is refused for a minute; afterwards
    it is refused for good, in the words that make clients drop the tracker.
    """

    def __init__(
        self,
        policy: SwarmPolicy,
        seeder: OwnSeeder,
        *,
        rng: RandomFloats,
        groups: Groups | None = None,
        by_group: GroupCounter | None = None,
        holders: Holders | None = None,
    ) -> None:
        """Begin without swarms; peers hear of those of their own of the `groups` first.

        What they claim is counted `by_group`, too, where there are groups. `holders` says whose
        passkeys are good; None lets nobody into private swarms.
        """
        super().__init__(policy, holders or Holders(float), groups=groups, by_group=by_group)
        self.loading = False
        self.own_place = OwnPlace.ALWAYS
        """When handouts name our own seeder."""
        self.seeder = seeder
        """May be replaced."""
        self.placed: dict[InfoHash, Sequence[NamedSeeder | None]] = {}
        """Where there are several nodes: the seeders of each torrent, None for our own. Of a
        torrent that isn't here, our own one is the only one."""
        self._rng = rng
        self._min_interval = policy.min_interval
        self._closed: dict[InfoHash, str] = {}
        """Of torrents that had a swarm: the reason that their clients are told."""
        self._private: set[InfoHash] = set()
        """Of torrents that had a private swarm: why it is closed is for its members alone."""
        self._aliases: dict[InfoHash, InfoHash] = {}
        """Of hybrids: the v1 hash that the swarm is kept under, by the v2 hash cut to 20 bytes."""
        self._room = Room(policy.peers)
        # Sessions outlive their peers, so that a client that stops and starts counts nothing anew.
        self._past = PastRoom(policy.peers)
        self._visits = Visits()
        self.journal: Journal | None = None
        """What other nodes are told; set before any torrent is opened where there is a cluster."""
        self.tallies = TrackerTallies(self.holders.refusals)
        """What was asked, counted where it is answered."""

    def open(
        self,
        info_hash: InfoHash,
        *,
        size: int,
        claims: ClaimCounter,
        counted: Counted = NOTHING,
        alias: InfoHash | None = None,
        private: bool = False,
    ) -> None:
        """Serve a torrent of `size` bytes; what its peers claim goes to `claims`.

        `counted` is what `claims` was told in earlier runs, `alias` the other hash that its peers
        may name it by (BEP 52). Only a passkey lets into a `private` swarm. A swarm that is open
        already, or rests, keeps its peers and its counts. What was counted after its peers were
        saved, in a run that died, isn't counted again.
        """
        self._closed.pop(info_hash, None)
        if alias is not None:
            self._aliases[alias] = info_hash
        saved = None
        if info_hash in self._resting:
            self._go_on(info_hash, claims, counted)
        elif info_hash not in self._swarms:
            saved = self._saved.pop(info_hash, None)
            swarm = self._swarms[info_hash] = self._new_swarm(info_hash, size, claims, counted)
            if saved is not None:
                _restore(swarm, saved, private=private)
        self.guard(info_hash, private=private)
        members = self._swarms[info_hash].members
        if members is not None and saved is not None:
            members.adopt(saved.members)

    def _go_on(self, info_hash: InfoHash, claims: ClaimCounter, counted: Counted) -> None:
        """Take up a swarm that rests."""
        swarm, _ = self._resting.pop(info_hash)
        self._swarms[info_hash] = swarm
        if swarm.claims.account is not claims:
            swarm.claims.rebook(claims, counted)

    def _new_swarm(
        self, info_hash: InfoHash, size: int, claims: ClaimCounter, counted: Counted
    ) -> Swarm:
        """Return a swarm without peers, of which other nodes hear."""
        policy, visits, journal = self.policy, self._visits, self.journal
        news = None if journal is None else SwarmNews(journal, info_hash)
        account = make_claims(
            size,
            claims,
            belief=Belief(info_hash, visits, policy.peers_per_address),
            memory=policy.expiry,
            room=self._past,
            counted=counted,
            news=news,
        )
        swarm = Swarm(
            info_hash,
            policy,
            self._rng,
            room=self._room,
            visits=visits,
            claims=account,
            groups=self._groups,
            news=news,
        )
        if journal is not None:
            journal.open(info_hash)
        account.count_by_group(None if self._groups is None else self._by_group)
        swarm.completed = counted.completed
        return swarm

    def rebook(self, info_hash: InfoHash, claims: ClaimCounter, counted: Counted) -> None:
        """Have what a swarm's peers claim from now on go to other `claims`."""
        swarm = self._swarms.get(info_hash)
        if swarm is not None:
            swarm.claims.rebook(claims, counted)

    def guard(self, info_hash: InfoHash, *, private: bool) -> None:
        """Let only members into an open swarm from now on, or everybody."""
        swarm = self._swarms[info_hash]
        if not private:
            swarm.members = None
            self._private.discard(info_hash)
        elif swarm.members is None:
            policy = self.policy
            swarm.members = Members(
                swarm.claims.size,
                self.holders.counter,
                at_address=policy.peers_per_address,
                most=policy.peers_per_swarm,
                counts=everything_counts if self.journal is None else self._counts,
            )
            self._private.add(info_hash)
            self.sweep_due = True

    def _counts(self, peer_id: bytes, key: bytes, endpoint: bytes) -> bool:
        """Tell whether this node of a cluster counts what a client claims."""
        return self.journal is None or self.journal.counts(session_name(peer_id, key, endpoint))

    def members(self, info_hash: bytes) -> Members | None:
        """Return the members of an open private swarm; None of any other torrent."""
        # Whatever a stranger names, by either hash of a hybrid.
        known = self._aliases.get(info_hash, info_hash)  # type: ignore[call-overload]
        swarm = self._swarms.get(known)
        return None if swarm is None else swarm.members

    def rest(self, info_hash: InfoHash, reason: str) -> None:
        """Keep a torrent's peers, and refuse it for a minute at a time, until it is opened again.

        Its clients are told the `reason`. Who stops is taken off all the same.
        """
        swarm = self._swarms.pop(info_hash, None)
        if swarm is not None:
            self._resting[info_hash] = swarm, reason

    def close(self, info_hash: InfoHash, reason: str) -> None:
        """Forget a torrent's peers and refuse it for good; its clients are told the `reason`."""
        self._saved.pop(info_hash, None)
        self.changes += 1
        resting, _ = self._resting.pop(info_hash, (None, ""))
        swarm = self._swarms.pop(info_hash, resting)
        if swarm is not None:
            self._dismiss(swarm)
        self._closed[info_hash] = reason

    def announce(
        self, request: AnnounceRequest, source: bytes, local: bytes | None, now: float
    ) -> AnnounceReply:
        """Take in an announce and answer it.

        `source` is the client's address and `local` ours as it reached us (4 or 16 bytes, IPv4
        unmapped), `now` in seconds. AnnounceError when the torrent is not served.
        """
        info_hash = request.info_hash
        by_alias = False
        if self._aliases and info_hash in self._aliases:
            info_hash, by_alias = self._aliases[info_hash], True
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            if info_hash in self._private:
                self._admit(request, info_hash, source, now)
            swarm, reason = self._resting.get(info_hash, (None, ""))
            if swarm is None:
                raise self._refusal(info_hash, request.passkey)
            if not request.event.stops:
                raise AnnounceError(reason, retry_in=MINUTES_LOADING)
        elif swarm.members is not None:
            passkey = self._admit(request, info_hash, source, now)
            endpoint = compact_endpoint(source, request.port)
            swarm.members.note(request, passkey, endpoint, now)
        self.changes += 1
        if self._leaving:
            # Who comes may need the room.
            self._let_go(_AT_AN_ANNOUNCE)
        own: Sequence[bytes] = self.seeder.reached_at(local, source)
        if self.placed and (seeders := self.placed.get(info_hash)) is not None:
            own = tuple(
                endpoint
                for each in seeders
                for endpoint in (own if each is None else each.reached_at(local, source))
            )
        peers, peers6 = swarm.announce(request, source, own, now, self.own_place, by_alias=by_alias)
        complete, downloaded, incomplete = swarm.counts()
        interval, min_interval = self.policy.interval, self._min_interval
        if not peers and not peers6 and _waits_for_peers(request):
            interval, min_interval = min(interval, SOON), min(min_interval, int(SOON / 2))
        interval = int(interval * (_LEAST_SHARE + 2 * INTERVAL_SPREAD * self._rng.random()))
        # The constructor that a named tuple has takes twice as long.
        reply = source, complete, incomplete, downloaded, interval, min_interval, peers, peers6
        return _new(AnnounceReply, reply)

    def _admit(
        self, request: AnnounceRequest, info_hash: InfoHash, source: bytes, now: float
    ) -> Passkey:
        """Return the passkey that opens a private swarm to who announces; AnnounceError."""
        found = self.holders.judge(request.passkey, info_hash)
        if isinstance(found, Refused):
            unknown = self._unknown(request.passkey)
            raise self.holders.refuse(found, unknown, source, now)
        return found

    def _refusal(self, info_hash: InfoHash, passkey: bytes) -> AnnounceError:
        reason = self._closed.get(info_hash)
        if reason is not None:
            return AnnounceError(reason, retry_in="never")
        return self._unknown(passkey)

    def _unknown(self, passkey: bytes) -> AnnounceError:
        """Return what who names an unknown torrent is told, and a stranger of a private one."""
        if self.loading:
            text = "the tracker is still loading its torrents, try again in a minute"
            return AnnounceError(text, retry_in=MINUTES_LOADING)
        return AnnounceError(_UNKNOWN_OR_WRONG if passkey else _UNKNOWN, retry_in="never")

    def visited(self, info_hash: InfoHash, address: bytes, at_once: int, now: float) -> None:
        """Note that a peer from an address (packed) shook hands with our own seeder.

        It came for the torrent, and `at_once` peers of its address are connected for it now.
        """
        swarm = self._swarms.get(info_hash)
        if swarm is not None:
            swarm.visited(address, at_once, now)
            if self.journal is not None:
                self.journal.visited(info_hash, address, at_once)

    def hear_visit(self, visit: SharedVisit, now: float) -> None:
        """Take in that a peer came to the seeder of another node."""
        swarm = self._swarms.get(visit.info_hash)
        if swarm is not None:
            swarm.visited(visit.address, visit.at_once, now)

    def scrape(
        self, info_hashes: Iterable[InfoHash], passkey: bytes = b""
    ) -> dict[InfoHash, ScrapeCounts]:
        """Return the counts of each swarm; zeros for a torrent that we don't serve.

        A private one that the passkey isn't for is as good as unknown.
        """
        return {
            info_hash: self.counts(info_hash)
            if self.members(info_hash) is None or self._opens(passkey, info_hash)
            else ScrapeCounts()
            for info_hash in info_hashes
        }

    def _opens(self, passkey: bytes, info_hash: InfoHash) -> bool:
        known = self._aliases.get(info_hash, info_hash)
        return isinstance(self.holders.judge(passkey, known), Passkey)

    def counts(self, info_hash: InfoHash) -> ScrapeCounts:
        """Return the counts of one swarm; zeros for a torrent that we don't serve."""
        swarm = self._swarms.get(self._aliases.get(info_hash, info_hash))
        return ScrapeCounts() if swarm is None else ScrapeCounts(*swarm.counts())

    def statistics(self, info_hash: InfoHash) -> SwarmStatistics:
        """Return what one swarm's peers have told; zeros for a torrent that we don't serve."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return SwarmStatistics(0, 0, 0)
        return SwarmStatistics(len(swarm), swarm.seeds, swarm.completed)


def _waits_for_peers(request: AnnounceRequest) -> bool:
    """Tell whether a client would dial peers if it heard of any."""
    event = request.event
    return request.left != 0 and request.numwant != 0 and not (event.stops or event.pauses)


def _restore(swarm: Swarm, saved: SavedSwarm, *, private: bool) -> None:
    """Give a new swarm what was saved of it, but for its members."""
    swarm.completed = max(swarm.completed, saved.counted.completed)
    swarm.claims.adopt(saved.sessions, saved.counted)
    # Peers may have announced while they were being saved.
    peers = saved.peers
    if private:
        members = {member.endpoint for member in saved.members}
        peers = [peer for peer in peers if peer.endpoint in members]
    swarm.adopt(sorted(peers, key=lambda peer: peer.seen))
    if swarm.news is not None:
        swarm.news.tell_again(swarm.endpoints(), saved.gone)
        swarm.news.owe_again(saved.owed, saved.owed_bytes)
    if swarm.shared is not None:
        swarm.shared.adopt_downloads(saved.downloads)
