"""What clients claim of all nodes' torrents, and who counts it: completions and bytes.

One member counts what a session says, whoever hears it (`seeder.cluster.exchange`). Who heard it
tells that it is owed until the one that counts says that it is settled (`seeder.tracker.owed`).
Each node's count of completions is a number of its own that only grows, and the sum is everybody's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from seeder.cluster import records
from seeder.cluster.members import MOST_MEMBERS
from seeder.torrent.info import InfoHash
from seeder.tracker.journal import Journal
from seeder.tracker.owed import ClaimName, Owed, OwedClaim, Settled
from seeder.tracker.swarms import Swarms

BATCH = 300
"""Of each kind, in a batch."""


@dataclass(slots=True)
class ClaimNews:
    """What is to be told in one batch."""

    counted: set[InfoHash] = field(default_factory=set)
    """Torrents of which this node has counted other completions."""
    owed: Mapping[ClaimName, OwedClaim] = field(default_factory=dict)
    """Completions."""
    owed_bytes: Mapping[ClaimName, OwedClaim] = field(default_factory=dict)
    settled: tuple[tuple[ClaimName, float], ...] = ()
    """Completions, and when their clients had said so."""
    settled_bytes: tuple[tuple[ClaimName, Settled], ...] = ()

    def packed(self, at: Callable[[float], int]) -> tuple[bytes, bytes, bytes, bytes]:
        """Return completions that are owed and that are settled, and such bytes, in one piece each.

        `at` is as for `records.pack`.
        """
        peers = [claim.peer for claim in self.owed.values()]
        return (
            records.join((records.name_of(peer), records.pack(peer, at)) for peer in peers),
            records.join(
                (name.info_hash + name.session, records.pack_said(seen, at))
                for name, seen in self.settled
            ),
            records.join(records.pack_claim(each, at) for each in self.owed_bytes.values()),
            records.join(
                (name.info_hash + name.session, records.pack_settled(settled, at))
                for name, settled in self.settled_bytes
            ),
        )


class ClusterClaims:
    """Has this node count what is up to it, and all know what was counted."""

    def __init__(self, swarms: Swarms, journal: Journal) -> None:
        self._swarms = swarms
        self._journal = journal
        self._counts: dict[InfoHash, dict[bytes, int]] = {}
        """Completions by torrent, and by node."""

    def begin_anew(self) -> None:
        """The store has lost what it held."""
        self._journal.counted |= self._swarms.open_torrents()
        self._journal.owed.begin_anew()
        self._journal.owed_bytes.begin_anew()

    # -- telling

    @property
    def untold(self) -> int:
        """How much was heard here that who is to count it hasn't settled."""
        return len(self._journal.owed) + len(self._journal.owed_bytes)

    def has_news(self, now: float) -> bool:
        """Tell whether there is anything to tell."""
        journal = self._journal
        return (
            bool(journal.counted or journal.settled or journal.settled_bytes)
            or any(journal.owed.due(now))
            or any(journal.owed_bytes.due(now))
        )

    def take(self, now: float) -> ClaimNews:
        """Return what is to be told next, and forget it but for what is owed."""
        journal, swarms = self._journal, self._swarms
        owed = self._due(journal.owed, now, lambda claim: swarms.hear_completion(claim.peer, now))
        owed_bytes = self._due(journal.owed_bytes, now, lambda claim: swarms.count_own(claim, now))
        counted = {journal.counted.pop() for _ in range(min(BATCH, len(journal.counted)))}
        settled = tuple(islice(journal.settled.items(), BATCH))
        for name, _ in settled:
            del journal.settled[name]
        settled_bytes = tuple(islice(journal.settled_bytes, BATCH))
        for each in settled_bytes:
            del journal.settled_bytes[each]
        return ClaimNews(counted, owed, owed_bytes, settled, settled_bytes)

    def _due(
        self, owed: Owed, now: float, count: Callable[[OwedClaim], object]
    ) -> dict[ClaimName, OwedClaim]:
        """Return what of one kind is to be told, and `count` what isn't the others' any more."""
        due = dict(islice(owed.due(now), BATCH))
        for name, claim in tuple(due.items()):
            # The member that was to count it is gone, and it is up to this one.
            if self._journal.counts(name.session):
                count(claim)
                owed.settle(name)
                del due[name]
        return due

    def told(self, news: ClaimNews, now: float) -> None:
        """Note that these were told; what is owed stays until it is settled."""
        oldest = now - self._swarms.policy.expiry
        for owed, names in (
            (self._journal.owed, news.owed),
            (self._journal.owed_bytes, news.owed_bytes),
        ):
            owed.told(names, now)
            owed.expire(oldest)

    def give_back(self, news: ClaimNews) -> None:
        """Take back what couldn't be told."""
        self._journal.counted |= news.counted
        for name, seen in news.settled:
            self._journal.settle(name, seen)
        for name, of_bytes in news.settled_bytes:
            self._journal.settle_bytes(name, of_bytes)

    # -- hearing

    def hear_owed(
        self, completions: Iterable[OwedClaim], of_bytes: Iterable[OwedClaim], now: float
    ) -> None:
        """Count what other nodes have heard, as far as it is up to this one."""
        for claim in completions:
            name = self._swarms.hear_completion(claim.peer, now)
            if name is not None:
                self._journal.settle(name, claim.peer.seen)
        for claim in of_bytes:
            told = claim.peer
            name = self._swarms.hear_bytes(claim, now)
            if name is not None:
                settled = Settled(told.seen, claim.began, claim.low, told.downloaded)
                self._journal.settle_bytes(name, settled)

    def hear_settled(
        self, completions: bytes, of_bytes: bytes, moment: Callable[[int], float]
    ) -> None:
        """Take in what needs to be told no more; ValueError. `moment` is as for `records`."""
        for name, value in records.split(completions):
            seen = records.unpack_said(value, moment)
            self._journal.owed.settle_said(records.unpack_claim_name(name), seen)
        for name, value in records.split(of_bytes):
            settled = records.unpack_settled(value, moment)
            self._journal.owed_bytes.settle_bytes(records.unpack_claim_name(name), settled)

    def note_count(self, node: bytes, info_hash: InfoHash, count: int) -> None:
        """Take in how many completions of a torrent a node has counted."""
        if not self._swarms.is_kept(info_hash):
            return
        counts = self._counts.setdefault(info_hash, {})
        if len(counts) >= MOST_MEMBERS and node not in counts:
            return
        counts[node] = count
        self._swarms.hear_completed(info_hash, sum(counts.values()))
