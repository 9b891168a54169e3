"""Tells the store what this node's swarms heard, in batches.

A batch is one script in Redis: peers go under the keys of their spans of time, where nodes that
come later find them, and all of it into the stream that the others read.
"""

from collections.abc import Sequence
from zlib import crc32

import trio

from seeder.cluster import records
from seeder.cluster.claims import ClaimNews, ClusterClaims
from seeder.cluster.clock import MICRO, SharedClock
from seeder.cluster.copies import SharedCopies
from seeder.cluster.keys import Keys
from seeder.cluster.scanning import SHARDS, SPAN
from seeder.cluster.scripts import TELL
from seeder.cluster.store import Argument, Store
from seeder.net.slices import Slices
from seeder.tracker.journal import Journal
from seeder.tracker.swarms import Swarms
from seeder.tracker.told import SharedPeer

BATCH = 300
"""Peers of one batch: some milliseconds of Redis' time."""
STREAM = 5_000
"""Batches that the stream keeps about: who was away for longer reads all anew."""
STREAM_KEPT = 3_600
"""Seconds after which a stream is forgotten that nobody writes."""
MOST_STORED = 4_000_000 // SHARDS
"""Peers under one key: about 600 MB for a span are the end of what the store is given."""
COUNTS_KEPT = 90 * 86_400
"""Seconds after which the completions are forgotten that a node counted which is gone for good."""


class SwarmTeller:
    """Takes the journal's news, the claims and the copies to the store.

    What couldn't be told is told later: nothing of it is forgotten before the store has it.
    """

    def __init__(
        self,
        name: str,
        swarms: Swarms,
        journal: Journal,
        claims: ClusterClaims,
        copies: SharedCopies,
        *,
        store: Store,
        keys: Keys,
        clock: SharedClock,
    ) -> None:
        self._name = name
        self._swarms = swarms
        self._journal = journal
        self._claims = claims
        self._copies = copies
        self._store = store
        self._keys = keys
        self._clock = clock
        self.peers = 0
        """Peers that the store was told of since the start."""

    async def tell_news(self) -> None:
        """Tell what is to be told; StoreAway."""
        if self._clock.is_known and self._journal.everything:
            await self._tell_everything()
        await self.tell_rest()

    async def tell_rest(self) -> None:
        """Tell what is new, in batches; StoreAway."""
        journal, claims = self._journal, self._claims
        now = trio.current_time()
        while self._clock.is_known and (
            len(journal) or claims.has_news(now) or self._copies.has_news
        ):
            taken, news = journal.take(BATCH), claims.take(now)
            peers = [
                what
                if isinstance(what, SharedPeer)
                else self._swarms.tell(info_hash, endpoint, what)
                for (info_hash, endpoint), what in taken.items()
            ]
            try:
                await self._tell([peer for peer in peers if peer is not None], news)
            except BaseException:
                journal.give_back(taken)
                claims.give_back(news)
                raise
            claims.told(news, now)

    async def _tell_everything(self) -> None:
        """Tell every peer that is known; StoreAway."""
        batch: list[SharedPeer] = []
        slices = Slices()
        for peer in self._swarms.tell_all():
            batch.append(peer)
            if len(batch) == BATCH:
                await self._tell(batch, ClaimNews())
                batch.clear()
            elif slices.is_over:
                await slices.turn()
        await self._tell(batch, ClaimNews())
        self._journal.everything = False

    async def _tell(self, peers: Sequence[SharedPeer], news: ClaimNews) -> None:
        """Tell of some peers, of what is claimed and of all visits; StoreAway."""
        swarms, keys, clock = self._swarms, self._keys, self._clock
        counts = [records.pack_count(each, swarms.completed_here(each)) for each in news.counted]
        pairs = [(records.name_of(peer), records.pack(peer, clock.at)) for peer in peers]
        visits = self._journal.take_visits()
        numbers: dict[bytes, int] = {}
        written: list[Argument] = []
        for name, value in pairs:
            key = keys.peers(records.time_of(value) // (SPAN * MICRO), crc32(name) % SHARDS)
            written += (numbers.setdefault(key, len(numbers) + 4), name, value)
        arguments = (
            self._name,
            STREAM,
            STREAM_KEPT,
            int(swarms.policy.expiry) + SPAN,
            MOST_STORED,
            COUNTS_KEPT,
            records.join(pairs),
            records.join(map(records.pack_visit, visits)),
            records.join(counts),
            *self._copies.to_tell(),
            *news.packed(clock.at),
            len(counts),
            *(part for pair in counts for part in pair),
            *written,
        )
        mine = keys.completed(self._name.encode())
        try:
            await self._store.run(TELL, [keys.news, keys.counters, mine, *numbers], arguments)
        except BaseException:
            self._journal.give_back_visits(visits)
            raise
        self._copies.told()
        self.peers += len(pairs)
