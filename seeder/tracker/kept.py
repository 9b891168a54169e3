"""The swarms that have peers to remember, open or not, and what is done to all of them.

What takes long comes in slices: other tasks may run in between.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from math import inf

from seeder.net.groups import Groups
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.claims import Claims
from seeder.tracker.counters import GroupCounter
from seeder.tracker.holders import Holders
from seeder.tracker.owed import ClaimName, OwedClaim
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import SavedSwarm, SwarmRow, from_row, to_rows
from seeder.tracker.swarm import Swarm
from seeder.tracker.told import SharedPeer

_AT_ONCE = 500
"""Swarms looked at between two chances for other tasks to run."""
_PEERS_AT_ONCE = 200
"""Peers, or past sessions, let go likewise."""


class KeptSwarms:
    """Every swarm by info hash: open, resting, saved by an earlier run, or closed but not empty."""

    def __init__(
        self,
        policy: SwarmPolicy,
        holders: Holders,
        *,
        groups: Groups | None,
        by_group: GroupCounter | None,
    ) -> None:
        self.policy = policy
        self.holders = holders
        self.sweep_due = False
        """Whether peers may be listed that aren't members of their private swarms."""
        self.changes = 0
        """Grows whenever there is something new to export."""
        self._groups = groups
        self._by_group = by_group
        self._swarms: dict[InfoHash, Swarm] = {}
        self._resting: dict[InfoHash, tuple[Swarm, str]] = {}
        """The swarms of torrents that may come back, and what their clients are told."""
        self._saved: dict[InfoHash, SavedSwarm] = {}
        self._leaving: list[Claims] = []
        """Those of closed swarms; the past sessions among them still have room."""

    def regroup(self, groups: Groups | None) -> Iterator[None]:
        """Hand all peers out by other groups from now on, or by none.

        Other tasks may run between two swarms.
        """
        self._groups = groups
        for info_hash, swarm in self._kept():
            if self._is_kept(info_hash, swarm):
                swarm.regroup(groups)
                swarm.claims.count_by_group(None if groups is None else self._by_group)
            yield

    def sweep(self, now: float) -> Iterator[None]:
        """Drop the peers of private swarms that aren't members, or whose keys are good no more.

        Other tasks may run in between.
        """
        self.sweep_due = False
        for number, (info_hash, swarm) in enumerate(self._kept(), 1):
            if number % _AT_ONCE == 0:
                yield
            members = swarm.members
            if members is None or not self._is_kept(info_hash, swarm):
                continue
            for endpoint in swarm.endpoints():
                member = members.get(endpoint)
                if member is None or not self.holders.is_good(member.passkey):
                    swarm.dismiss(endpoint, now)
                    self.changes += 1
            yield

    def expire(self, now: float) -> Iterator[int]:
        """Drop the peers that haven't announced for too long.

        Yield how many, some swarms at a time: other tasks may run in between.
        """
        oldest = now - self.policy.expiry
        for number, (info_hash, saved) in enumerate(list(self._saved.items()), 1):
            if self._saved.get(info_hash) is saved and saved.is_gone(oldest):
                del self._saved[info_hash]
            if number % _AT_ONCE == 0:
                yield 0
        while self._leaving:
            self._let_go(_PEERS_AT_ONCE)
            yield 0
        looked = gone = 0
        for info_hash, swarm in self._kept():
            more = True
            while more and self._is_kept(info_hash, swarm):
                peers, past = swarm.expire(oldest, _PEERS_AT_ONCE)
                self.changes += peers
                gone += peers
                more = _PEERS_AT_ONCE in (peers, past)
                looked += 1 + 2 * (peers + past)
                if looked >= _AT_ONCE:
                    yield gone
                    looked = gone = 0
        yield gone

    def _dismiss(self, swarm: Swarm) -> None:
        """Let go of a swarm that is closed; of many past sessions some at a time."""
        swarm.leave()
        self._leaving.append(swarm.claims)
        self._let_go(_PEERS_AT_ONCE)

    def _let_go(self, most: int) -> None:
        if self._leaving[-1].let_go(most) < most:
            self._leaving.pop()

    def expel(self, admits: Callable[[bytes], bool]) -> Iterator[int]:
        """Drop the peers whose addresses (packed) aren't let in any more, as `expire` does."""
        for number, saved in enumerate(list(self._saved.values()), 1):
            saved.peers[:] = [peer for peer in saved.peers if admits(peer.endpoint[:-2])]
            if number % _AT_ONCE == 0:
                yield 0
        for info_hash, swarm in self._kept():
            gone = swarm.expel(admits) if self._is_kept(info_hash, swarm) else 0
            self.changes += gone
            yield gone

    def _kept(self) -> list[tuple[InfoHash, Swarm]]:
        """Return all swarms that have peers to remember, open or not."""
        resting = ((info_hash, swarm) for info_hash, (swarm, _) in self._resting.items())
        return [*self._swarms.items(), *resting]

    def _is_kept(self, info_hash: InfoHash, swarm: Swarm) -> bool:
        resting, _ = self._resting.get(info_hash, (None, ""))
        return swarm in (self._swarms.get(info_hash), resting)

    def export(self, now: float) -> Iterator[SwarmRow]:
        """Yield rows of all swarms, opened or not; `restore` takes them back in a later run.

        Other tasks may run between two rows. Each peer and each session is saved as it was at one
        moment, and what was counted for a swarm as it was before the first of them.
        """
        for info_hash, swarm in self._kept():
            claims = swarm.claims
            members = () if swarm.members is None else swarm.members.export()
            news = swarm.news
            gone = () if news is None else ((each.whose, each.seen) for each in news.departures())
            yield from to_rows(
                info_hash,
                claims.counted,
                swarm.export(),
                claims.export(),
                now,
                members=members,
                gone=gone,
                owed=() if news is None else news.owed(),
                owed_bytes=() if news is None else news.owed_bytes(),
                downloads=() if swarm.shared is None else swarm.shared.export_downloads(),
            )
        for info_hash, saved in list(self._saved.items()):
            yield from to_rows(
                info_hash,
                saved.counted,
                saved.peers,
                saved.sessions,
                now,
                members=saved.members,
                gone=saved.gone,
                owed=saved.owed,
                owed_bytes=saved.owed_bytes,
                downloads=saved.downloads,
            )

    def restore(self, rows: Iterable[SwarmRow], now: float, *, elapsed: float = 0.0) -> None:
        """Take back what `export` wrote, before its torrents are opened; nothing is counted.

        `elapsed` is how long ago that was (s); who has been silent for too long is left out.
        ValueError if any row is not one of `export`; then nothing is taken back.
        """
        oldest = now - self.policy.expiry if elapsed else -inf
        for saved in [from_row(row, now - elapsed).seen_since(oldest) for row in rows]:
            known = self._saved.setdefault(saved.info_hash, saved)
            if known is not saved:
                known.extend(saved)

    # -- what the nodes of a cluster tell each other

    def tell(self, info_hash: InfoHash, endpoint: bytes, event: AnnounceEvent) -> SharedPeer | None:
        """Return what others are told of a peer that announced an event; None if it has gone."""
        swarm = self._kept_swarm(info_hash)
        return None if swarm is None else swarm.tell(endpoint, event)

    def tell_all(self) -> Iterator[SharedPeer]:
        """Yield what others are told of every peer; other tasks may run in between."""
        for info_hash, swarm in self._kept():
            for endpoint in swarm.endpoints():
                told = swarm.tell(endpoint, AnnounceEvent.NONE)
                if told is not None and self._is_kept(info_hash, swarm):
                    yield told
            if swarm.news is not None:
                yield from swarm.news.departures()

    def hear(self, told: SharedPeer, now: float, *, fresh: bool) -> None:
        """Take in what another node has heard of a peer: see `Swarm.hear`."""
        swarm = self._kept_swarm(told.info_hash)
        if told.passkey is not None and not (told.gone or self.holders.is_good(told.passkey)):
            return  # the other node didn't know yet
        if swarm is not None and told.seen >= now - self.policy.expiry:
            swarm.hear(told, now, fresh=fresh)
            self.changes += 1

    def hear_completion(self, told: SharedPeer, now: float) -> ClaimName | None:
        """Take in that a peer has completed; return its name if that is settled here.

        None where another node counts it, or the torrent isn't known here.
        """
        swarm = self._kept_swarm(told.info_hash)
        session = None if swarm is None else swarm.hear_completion(told, now)
        if session is None:
            return None
        self.changes += 1
        return ClaimName(told.info_hash, session)

    def hear_bytes(self, claim: OwedClaim, now: float) -> ClaimName | None:
        """Take in which bytes a peer has claimed; return its name as `hear_completion` does."""
        swarm = self._kept_swarm(claim.peer.info_hash)
        session = None if swarm is None else swarm.hear_bytes(claim, now)
        if session is None:
            return None
        self.changes += 1
        return ClaimName(claim.peer.info_hash, session)

    def count_own(self, claim: OwedClaim, now: float) -> None:
        """Count bytes that another node was to count, and this one is to now."""
        swarm = self._kept_swarm(claim.peer.info_hash)
        if swarm is not None:
            swarm.count_own(claim, now)
            self.changes += 1

    def completed_here(self, info_hash: InfoHash) -> int:
        """Return how many completions this node has counted."""
        swarm = self._kept_swarm(info_hash)
        return 0 if swarm is None else swarm.completed

    def open_torrents(self) -> Set[InfoHash]:
        """Return the torrents that are open."""
        return self._swarms.keys()

    def is_kept(self, info_hash: InfoHash) -> bool:
        """Tell whether a torrent is open, or rests."""
        return self._kept_swarm(info_hash) is not None

    def hear_completed(self, info_hash: InfoHash, count: int) -> None:
        """Take in how many completions the other nodes have counted."""
        swarm = self._kept_swarm(info_hash)
        if swarm is not None:
            swarm.completed_elsewhere = count

    def _kept_swarm(self, info_hash: InfoHash) -> Swarm | None:
        swarm = self._swarms.get(info_hash)
        return self._resting.get(info_hash, (None, ""))[0] if swarm is None else swarm
