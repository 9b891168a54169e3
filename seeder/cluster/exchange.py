"""The swarms of all nodes as one: each tells what it hears, and hears what the others tell.

An announce is answered from this node's memory and waits for nothing. What is new of it stands in
the journal; a few times a second a batch of that goes to the store, which keeps it for nodes that
come later and passes it on in a stream. A node that starts, that was away for too long or finds
the store emptied reads all anew, and tells all that it knows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from secrets import token_hex

import trio

from seeder.cluster import records
from seeder.cluster.claims import ClusterClaims
from seeder.cluster.clock import MICRO, SharedClock
from seeder.cluster.copies import SharedCopies
from seeder.cluster.health import Health
from seeder.cluster.keys import Keys
from seeder.cluster.members import Membership
from seeder.cluster.scanning import SPAN, Pairs, Scan
from seeder.cluster.scripts import BOUNDS
from seeder.cluster.store import (
    Store,
    StreamEntry,
    listed,
    texted,
)
from seeder.cluster.telling import SwarmTeller
from seeder.errors import StoreAway
from seeder.net.slices import Slices
from seeder.torrent.info import InfoHash
from seeder.torrent.layout import SHA1_LENGTH
from seeder.tracker.journal import Journal
from seeder.tracker.owed import OwedClaim
from seeder.tracker.swarms import Swarms

TELL_EVERY = 0.25
"""Seconds between two batches."""
READS = 100
"""Entries of the stream that are read at a time."""
WAIT = 2.0
"""Seconds that a read waits for the first."""
MOST_LATE = 20_000
"""Peers that are kept until what is known of their torrents was read."""
RETRY = 1.0
"""Seconds before the store is asked again that was away."""
RECENT = 10.0
"""Seconds of the stream that a node reads which starts."""
FUTURE = 60.0
"""Seconds by which the time of a peer may be ahead; beyond that it is wrong."""
_BEGIN = b"0-0"


@dataclass(frozen=True, slots=True)
class ExchangeStatistics:
    """What was told and heard since the start, in peers."""

    told: int = 0
    heard: int = 0
    reloads: int = 0
    """How often all was read."""
    damaged: int = 0
    """What was told and is no peer."""


class SwarmExchange:
    """Tells the store what the swarms' journal has, and the swarms what the store has."""

    def __init__(
        self,
        swarms: Swarms,
        *,
        store: Store,
        keys: Keys,
        clock: SharedClock,
        health: Health,
        membership: Membership,
    ) -> None:
        """Give the swarms a journal; none of them is open yet."""
        self._swarms = swarms
        self._store = store
        self._keys = keys
        self._clock = clock
        self._health = health
        self._membership = membership
        grid = min(SPAN, swarms.policy.interval / 2)
        self._journal = swarms.journal = Journal(grid, self.counts)
        self._scan = Scan(store, keys)
        self._place: bytes | None = None
        """The id of the entry that was read last; None before it is known where to begin."""
        self._unsure = False
        """Whether entries may be lost between that one and the next."""
        self._wants_all = True
        self._reading: frozenset[InfoHash] | None = frozenset()
        """Torrents whose peers are being read now; None is all."""
        self._late: deque[tuple[bytes, bytes]] = deque(maxlen=MOST_LATE)
        """Peers that were heard of before it was read what is known of their torrents: by that it
        is seen what was counted already."""
        self.admits: Callable[[bytes], bool] = bool
        """Whether this node's tracker lets an address (packed) in; all are, unless told otherwise.
        """
        self._claims = ClusterClaims(swarms, self._journal)
        self.copies = SharedCopies(token_hex(8))
        """What addresses had of torrents, by whichever node."""
        self._teller = SwarmTeller(
            membership.name,
            swarms,
            self._journal,
            self._claims,
            self.copies,
            store=store,
            keys=keys,
            clock=clock,
        )
        self._heard = self._reloads = self._damaged = 0
        membership.era_listeners.append(self._begin_anew)

    @property
    def statistics(self) -> ExchangeStatistics:
        """A snapshot."""
        return ExchangeStatistics(self._teller.peers, self._heard, self._reloads, self._damaged)

    @property
    def untold(self) -> int:
        """How many peers, visits and claims heard here the others haven't taken in yet."""
        return len(self._journal) + self._claims.untold

    def counts(self, session: bytes) -> bool:
        """Tell whether this node counts what a session claims: one of the members does."""
        names = self._membership.names
        if len(names) < 2:
            return True
        return max(names, key=partial(_weight, session)) == self._membership.name

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled; then tell what is left."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_telling)
                nursery.start_soon(self._keep_hearing)
                nursery.start_soon(self._keep_reading)
                task_status.started()
        finally:
            # What can't be told now is in the state directory.
            with trio.move_on_after(RETRY, shield=True), suppress(StoreAway, ValueError):
                await self._teller.tell_rest()

    def _begin_anew(self) -> None:
        """The store has lost what it held."""
        self._place = _BEGIN
        self._wants_all = True
        self._journal.everything = True
        self._claims.begin_anew()

    # -- telling

    async def _keep_telling(self) -> None:
        while True:
            await trio.sleep(TELL_EVERY)
            if not await self._health.attempt("swarms", self._teller.tell_news()):
                await trio.sleep(RETRY)

    # -- hearing

    async def _keep_hearing(self) -> None:
        while not self._clock.is_known:  # noqa: ASYNC110  (the clock has no events)
            await trio.sleep(TELL_EVERY)
        while True:
            if not await self._health.attempt("news", self._hear_some()):
                self._unsure = True
                await trio.sleep(RETRY)

    async def _hear_some(self) -> None:
        """Read what is new in the stream; StoreAway."""
        if self._place is None or self._unsure:
            await self._find_place()
        place = self._place
        assert place is not None
        entries = await self._store.read(self._keys.news, place, most=READS, wait=WAIT)
        if self._place != place:
            return  # the store was emptied meanwhile
        for entry in entries:
            await self._hear(entry)
            self._place = entry.id
        # Who is behind may be overtaken by what the stream drops.
        self._unsure = len(entries) == READS

    async def _find_place(self) -> None:
        """See where the stream begins and ends; if entries were missed, all is to be read."""
        first, last = map(texted, listed(await self._store.run(BOUNDS, [self._keys.news])))
        if self._place is None:
            # The others may have left it to this node to count what came since its first beat.
            self._place = b"%d-0" % max(0, _number(last)[0] - int(1000 * RECENT))
        elif self._place != _BEGIN and (not first or _number(self._place) < _number(first)):
            self._place = _BEGIN
            self._wants_all = True
        self._unsure = False

    async def _hear(self, entry: StreamEntry) -> None:
        fields = dict(zip(entry.fields[::2], entry.fields[1::2], strict=False))
        node = fields.get(b"n", b"")
        if node == self._membership.name.encode():
            return
        await self._hear_peers(records.split(fields.get(b"p", b"")))
        now = trio.current_time()
        try:
            self.copies.hear(node, fields.get(b"b", b""), fields.get(b"k", b""), now)
            for name, value in records.split(fields.get(b"v", b"")):
                self._swarms.hear_visit(records.unpack_visit(name, value), now)
            for name, value in records.split(fields.get(b"c", b"")):
                self._claims.note_count(node, *records.unpack_count(name, value))
            self._hear_claims(fields, now)
        except ValueError:
            self._damaged += 1

    async def _hear_peers(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in what was heard just now, as far as it is known what was before."""
        ready = []
        try:
            for pair in pairs:
                if self._is_ready(pair[0][:SHA1_LENGTH]):
                    ready.append(pair)
                else:
                    self._late.append(pair)
        except ValueError:
            self._damaged += 1
        await self._apply(ready, None, fresh=True)

    def _is_ready(self, info_hash: bytes) -> bool:
        """Tell whether it was read what the others know of a torrent's peers."""
        if self._wants_all or self._reading is None or len(info_hash) != SHA1_LENGTH:
            return False
        known = InfoHash(info_hash)
        waits = known in self._journal.opened or known in self._reading
        return not waits and self._swarms.is_kept(known)

    async def _apply(
        self,
        pairs: Iterable[tuple[bytes, bytes]],
        wanted: frozenset[InfoHash] | None,
        *,
        fresh: bool,
    ) -> None:
        """Tell the swarms of peers, those of `wanted` torrents if not None."""
        swarms, moment, slices = self._swarms, self._clock.moment, Slices()
        for name, value in pairs:
            if slices.is_over:
                await slices.turn()
            if wanted is not None and name[:SHA1_LENGTH] not in wanted:
                continue
            now = trio.current_time()
            try:
                peer = records.unpack(name, value, moment)
                if peer.seen > now + FUTURE:
                    raise ValueError("not of our time")
            except ValueError:
                self._damaged += 1
                continue
            if not self.admits(peer.endpoint[:-2]):
                continue
            swarms.hear(peer._replace(seen=min(peer.seen, now)), now, fresh=fresh)
            self._heard += 1

    def _hear_claims(self, fields: Mapping[bytes, bytes], now: float) -> None:
        """Take in what is owed, and what is settled; ValueError."""
        moment = self._clock.moment
        completions = (
            OwedClaim(records.unpack(name, value, moment))
            for name, value in records.split(fields.get(b"o", b""))
        )
        of_bytes = (
            records.unpack_claim(name, value, moment)
            for name, value in records.split(fields.get(b"g", b""))
        )
        self._claims.hear_owed(self._owed(completions, now), self._owed(of_bytes, now), now)
        self._claims.hear_settled(fields.get(b"d", b""), fields.get(b"s", b""), moment)

    def _owed(self, claims: Iterable[OwedClaim], now: float) -> Iterator[OwedClaim]:
        """Yield what others have heard; what isn't known here yet is told again."""
        for claim in claims:
            if self._is_ready(claim.peer.info_hash):
                yield claim._replace(peer=claim.peer._replace(seen=min(claim.peer.seen, now)))

    # -- reading all

    async def _keep_reading(self) -> None:
        while True:
            await trio.sleep(2 * TELL_EVERY)
            if not await self._health.attempt("peers", self._read_wanted()):
                await trio.sleep(RETRY)

    async def _read_wanted(self) -> None:
        """Read what was told of torrents that were opened, or of all; StoreAway, ValueError."""
        opened = frozenset(self._journal.opened)
        if self._place is None or not (self._wants_all or opened):
            return
        everything, self._wants_all = self._wants_all, False
        self._journal.opened -= opened
        self._reading = None if everything else opened
        try:
            await self._read_all(self._reading)
        except BaseException:
            self._wants_all |= everything
            self._journal.opened |= opened
            raise
        finally:
            self._reading = frozenset()
            late, self._late = self._late, deque(maxlen=MOST_LATE)
            with trio.CancelScope(shield=True):
                await self._hear_peers(late)

    async def _read_all(self, wanted: frozenset[InfoHash] | None) -> None:
        """Read the peers of all torrents, or of `wanted` ones, and what was counted.

        StoreAway, ValueError.
        """

        async def take(pairs: Pairs) -> None:
            await self._apply(pairs, wanted, fresh=False)

        now = self._clock.now() // MICRO
        oldest, newest = now - int(self._swarms.policy.expiry), now + int(FUTURE)
        await self._scan.peers(oldest, newest, take)
        async for node, info_hash, count in self._scan.counts(self._membership.name):
            self._claims.note_count(node, info_hash, count)
        self._reloads += 1


def _weight(session: bytes, name: str) -> bytes:
    """Return what says which member counts a session (rendezvous hashing)."""
    return blake2b(session + name.encode(), digest_size=8).digest()


def _number(entry: bytes) -> tuple[int, int]:
    """Return an id as what it is ordered by."""
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds or 0), int(number or 0)
