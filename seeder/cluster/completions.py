"""The completions of all nodes: how many each has counted, and who counts which.

One member counts what a session says, whoever hears it (`seeder.cluster.exchange`). Who heard it
tells that it is owed until the one that counts says that it is settled (`seeder.tracker.owed`).
Each node's count is a number of its own that only grows, and the sum is everybody's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from seeder.cluster import records
from seeder.cluster.members import MOST_MEMBERS
from seeder.torrent.info import InfoHash
from seeder.torrent.layout import SHA1_LENGTH
from seeder.tracker.journal import Journal
from seeder.tracker.owed import CompletionName
from seeder.tracker.swarms import Swarms
from seeder.tracker.told import SharedPeer

BATCH = 300
"""Of each kind, in a batch."""


@dataclass(slots=True)
class CompletionNews:
    """What is to be told in one batch."""

    counted: set[InfoHash] = field(default_factory=set)
    """Torrents of which this node has counted others."""
    owed: Mapping[CompletionName, SharedPeer] = field(default_factory=dict)
    settled: tuple[CompletionName, ...] = ()

    def packed_owed(self, at: Callable[[float], int]) -> bytes:
        """Return what is owed in one piece; `at` as for `records.pack`."""
        peers = self.owed.values()
        return records.join((records.name_of(peer), records.pack(peer, at)) for peer in peers)

    def packed_settled(self) -> bytes:
        """Return what is settled in one piece."""
        return records.join((each.info_hash + each.session, b"") for each in self.settled)


class SharedCompletions:
    """Has this node count what is up to it, and all know what was counted."""

    def __init__(self, swarms: Swarms, journal: Journal) -> None:
        self._swarms = swarms
        self._journal = journal
        self._counts: dict[InfoHash, dict[bytes, int]] = {}
        """By torrent, and by node."""

    def begin_anew(self) -> None:
        """The store has lost what it held."""
        self._journal.counted |= self._swarms.open_torrents()
        self._journal.owed.begin_anew()

    # -- telling

    def has_news(self, now: float) -> bool:
        """Tell whether there is anything to tell."""
        journal = self._journal
        return bool(journal.counted or journal.settled) or any(journal.owed.due(now))

    def take(self, now: float) -> CompletionNews:
        """Return what is to be told next, and forget it but for what is owed."""
        journal = self._journal
        owed = dict(islice(journal.owed.due(now), BATCH))
        for name, peer in tuple(owed.items()):
            # The member that was to count it is gone, and it is up to this one.
            if journal.counts(name.session):
                self._swarms.hear_completion(peer, now)
                journal.owed.settle(name)
                del owed[name]
        counted = {journal.counted.pop() for _ in range(min(BATCH, len(journal.counted)))}
        settled = tuple(islice(journal.settled, BATCH))
        for name in settled:
            del journal.settled[name]
        return CompletionNews(counted, owed, settled)

    def told(self, news: CompletionNews, now: float) -> None:
        """Note that these were told; what is owed stays until it is settled."""
        self._journal.owed.told(news.owed, now)
        self._journal.owed.expire(now - self._swarms.policy.expiry)

    def give_back(self, news: CompletionNews) -> None:
        """Take back what couldn't be told."""
        self._journal.counted |= news.counted
        for name in news.settled:
            self._journal.settle(name)

    # -- hearing

    def hear_owed(self, peers: Iterable[SharedPeer], now: float) -> None:
        """Count what other nodes have heard, as far as it is up to this one."""
        for peer in peers:
            name = self._swarms.hear_completion(peer, now)
            if name is not None:
                self._journal.settle(name)

    def hear_settled(self, data: bytes) -> None:
        """Take in what needs to be told no more; ValueError."""
        for name, _ in records.split(data):
            settled = CompletionName(InfoHash(name[:SHA1_LENGTH]), name[SHA1_LENGTH:])
            self._journal.owed.settle(settled)

    def note_count(self, node: bytes, info_hash: InfoHash, count: int) -> None:
        """Take in how many completions of a torrent a node has counted."""
        if not self._swarms.is_kept(info_hash):
            return
        counts = self._counts.setdefault(info_hash, {})
        if len(counts) >= MOST_MEMBERS and node not in counts:
            return
        counts[node] = count
        self._swarms.hear_completed(info_hash, sum(counts.values()))
