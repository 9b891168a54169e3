"""What the swarms of one node have heard, for the other nodes of its cluster.

Without a cluster there is no journal. With one, an announce costs an entry in a dictionary, and
only if it says something new: a peer that comes, goes, completes or changes, and once in `grid`
seconds that it is still there.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from typing import NamedTuple

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import (
    LARGEST_COUNT,
    PEER_ID_LENGTH,
    AnnounceEvent,
    AnnounceRequest,
)
from seeder.tracker.owed import MOST_OWED, RETOLD_AFTER, ClaimName, Owed, OwedClaim, Settled
from seeder.tracker.passkeys import Passkey
from seeder.tracker.saved import SavedBytes, SavedCompletion
from seeder.tracker.sessions import session_name
from seeder.tracker.told import SharedPeer

MOST_HEARD = 200_000
"""Entries that are kept while the others can't be told; beyond that they are told everything."""
MOST_GONE = 20_000
"""Peers of one swarm of which it is remembered that they went."""
MOST_STRAYS = 1_000
"""Those among them that are kept until they are told, of which it isn't known that they were there.
"""
MOST_VISITS = 10_000
"""Visits that are kept; others are not told of more."""


class Remembered(NamedTuple):
    """A listed peer as it was before it announced."""

    seen: float
    complete: bool


class SharedVisit(NamedTuple):
    """A peer that came to the seeder of one node."""

    info_hash: InfoHash
    address: bytes
    at_once: int


class Journal:
    """What was heard since it was last taken."""

    def __init__(self, grid: float, counts: Callable[[bytes], bool]) -> None:
        """`grid`: in each so many seconds, others are told of a peer once that it is there.

        `counts` says whether this node counts what a session claims, by its name: one node does.
        """
        self.counts = counts
        self._grid = grid
        self._heard: dict[tuple[InfoHash, bytes], AnnounceEvent | SharedPeer] = {}
        self._visits: dict[tuple[InfoHash, bytes], int] = {}
        self._strays = 0
        self.opened: set[InfoHash] = set()
        """Torrents that were opened, whose peers are to be asked for."""
        self.counted: set[InfoHash] = set()
        """Torrents of which this node has counted other completions than the others know."""
        self.owed = Owed()
        """Completions that others are to count."""
        self.owed_bytes = Owed()
        self.settled: dict[ClaimName, float] = {}
        """Completions that others owed us, and need to tell no more: when the client had said so.
        """
        self.settled_bytes: dict[tuple[ClaimName, Settled], None] = {}
        self.everything = False
        """Whether the others are to be told of every peer: more was heard than is kept."""

    def __len__(self) -> int:
        return len(self._heard) + len(self._visits)

    def open(self, info_hash: InfoHash) -> None:
        """Note that a torrent was opened: the others may know of peers, and want our count."""
        self.opened.add(info_hash)
        self.counted.add(info_hash)

    def is_due(self, before: float, now: float) -> bool:
        """Tell whether others are to be told that a peer is still there, last seen `before`."""
        return before // self._grid != now // self._grid

    def heard(self, info_hash: InfoHash, endpoint: bytes, event: AnnounceEvent) -> None:
        """Note that there is something new of a peer that is listed."""
        name = info_hash, endpoint
        former = self._heard.get(name)
        # What still is to be said is that it began.
        if event is AnnounceEvent.NONE and isinstance(former, AnnounceEvent):
            return
        self._heard[name] = event
        self._mind_room()

    def left(self, peer: SharedPeer) -> None:
        """Note that a peer has gone."""
        name = peer.info_hash, peer.whose
        former = self._heard.get(name)
        if peer.is_stray and former is None:
            if self._strays >= MOST_STRAYS:
                return
            self._strays += 1
        self._heard[name] = peer
        self._mind_room()

    def settle(self, name: ClaimName, seen: float) -> None:
        """Have the others know that they owe a completion no more; of too many, they tell again.

        `seen` is when its client had said so.
        """
        if len(self.settled) < MOST_OWED:
            self.settled[name] = max(seen, self.settled.get(name, -inf))

    def settle_bytes(self, name: ClaimName, settled: Settled) -> None:
        """Have the others know that they owe some bytes no more; of too many, they tell again."""
        if len(self.settled_bytes) < MOST_OWED:
            self.settled_bytes[name, settled] = None

    def is_telling(self, info_hash: InfoHash, endpoint: bytes) -> bool:
        """Tell whether the others will be told of a peer next."""
        return (info_hash, endpoint) in self._heard

    def _mind_room(self) -> None:
        if len(self._heard) > MOST_HEARD:
            self._heard.clear()
            self.everything = True

    def visited(self, info_hash: InfoHash, address: bytes, at_once: int) -> None:
        """Note that a peer from an address came to our own seeder."""
        name = info_hash, address
        if len(self._visits) < MOST_VISITS or name in self._visits:
            self._visits[name] = max(at_once, self._visits.get(name, 0))

    def take(self, most: int) -> "dict[tuple[InfoHash, bytes], AnnounceEvent | SharedPeer]":
        """Return up to `most` of what was heard, the oldest first, and forget it."""
        taken = {name: self._heard[name] for name in islice(self._heard, most)}
        for name in taken:
            del self._heard[name]
        self._strays = 0
        return taken

    def take_visits(self) -> tuple[SharedVisit, ...]:
        """Return the visits, and forget them."""
        visits, self._visits = self._visits, {}
        return tuple(SharedVisit(*name, at_once) for name, at_once in visits.items())

    def give_back_visits(self, visits: Iterable[SharedVisit]) -> None:
        """Take back the visits that the others couldn't be told of."""
        for visit in visits:
            self.visited(visit.info_hash, visit.address, visit.at_once)

    def give_back(self, taken: "dict[tuple[InfoHash, bytes], AnnounceEvent | SharedPeer]") -> None:
        """Take back what the others couldn't be told; what was heard since is newer."""
        newer, self._heard = self._heard, taken
        for (info_hash, endpoint), what in newer.items():
            if isinstance(what, SharedPeer):
                self.left(what)
            else:
                self.heard(info_hash, endpoint, what)


class SwarmNews:
    """The part of a journal that one swarm writes, and which of its peers went when."""

    __slots__ = ("_gone", "_info_hash", "journal")

    def __init__(self, journal: Journal, info_hash: InfoHash) -> None:
        self.journal = journal
        self._info_hash = info_hash
        self._gone: dict[bytes, float] = {}

    def heard(
        self, request: AnnounceRequest, endpoint: bytes, former: Remembered | None, now: float
    ) -> None:
        """Note an announce if it says anything new; `former` is the peer as it was before."""
        event = request.event
        if (
            former is None
            or event is not AnnounceEvent.NONE
            or former.complete is not (request.left == 0)
            or self.journal.is_due(former.seen, now)
        ):
            self.journal.heard(self._info_hash, endpoint, event)

    def replaced(self, request: AnnounceRequest, endpoint: bytes) -> None:
        """Note that a peer is another client than it was, which others may know to have gone."""
        self.journal.heard(self._info_hash, endpoint, request.event)

    def counted(self, endpoint: bytes) -> None:
        """Note that a completion was counted."""
        self.journal.counted.add(self._info_hash)
        self.journal.heard(self._info_hash, endpoint, AnnounceEvent.NONE)

    def owes(self, request: AnnounceRequest, endpoint: bytes, now: float, session: bytes) -> None:
        """Note that somebody says it has completed, which another node is to count."""
        peer = self._claimer(request, endpoint, now, AnnounceEvent.COMPLETED)
        self.journal.owed.owe(ClaimName(self._info_hash, session), OwedClaim(peer))

    def owes_bytes(
        self,
        request: AnnounceRequest,
        endpoint: bytes,
        now: float,
        session: bytes,
        *,
        low: int,
        began: float,
    ) -> None:
        """Note that somebody says it has more than the bytes to `low`: see `OwedClaim`."""
        peer = self._claimer(request, endpoint, now, AnnounceEvent.NONE)
        # What others are told of it next says as much to the node that counts.
        waits = self.journal.is_telling(self._info_hash, endpoint)
        due = now + RETOLD_AFTER if waits else -inf
        name = ClaimName(self._info_hash, session)
        self.journal.owed_bytes.owe(name, OwedClaim(peer, low, began), due)

    def _claimer(
        self, request: AnnounceRequest, endpoint: bytes, now: float, event: AnnounceEvent
    ) -> SharedPeer:
        return SharedPeer(
            self._info_hash,
            endpoint,
            request.peer_id,
            request.key,
            now,
            min(request.downloaded, LARGEST_COUNT),
            event,
            complete=event.completes,
            wants_nothing=event.completes,
            counted=False,
        )

    def settled(self, session: bytes, settled: Settled) -> None:
        """Note which bytes others need to tell no more."""
        self.journal.settle_bytes(ClaimName(self._info_hash, session), settled)

    def owed(self) -> Iterator[SavedCompletion]:
        """Yield who has completed, which another node is to count."""
        for each, _, _ in self.journal.owed.of(self._info_hash):
            yield SavedCompletion(each.endpoint, each.peer_id, each.key, each.downloaded, each.seen)

    def owe_again(self, owed: Iterable[SavedCompletion], of_bytes: Iterable[SavedBytes]) -> None:
        """Take back what an earlier run owed."""
        for endpoint, peer_id, key, downloaded, seen in owed:
            request = AnnounceRequest(self._info_hash, peer_id, 0, downloaded, 0, key=key)
            self.owes(request, endpoint, seen, session_name(peer_id, key, endpoint))
        for endpoint, peer_id, key, low, downloaded, began, seen in of_bytes:
            request = AnnounceRequest(self._info_hash, peer_id, 0, downloaded, None, key=key)
            name = session_name(peer_id, key, endpoint)
            self.owes_bytes(request, endpoint, seen, name, low=low, began=began)

    def owed_bytes(self) -> Iterator[SavedBytes]:
        """Yield the bytes that another node is to count."""
        for each, low, began in self.journal.owed_bytes.of(self._info_hash):
            whose = each.endpoint, each.peer_id, each.key
            yield SavedBytes(*whose, low, each.downloaded, began, each.seen)

    def left(self, peer: SharedPeer) -> None:
        """Note that a peer has gone."""
        self.remember_gone(peer)
        self.journal.left(peer)

    def strayed(
        self,
        request: AnnounceRequest,
        endpoint: bytes,
        now: float,
        *,
        passkey: Passkey | None,
        uploaded: int,
    ) -> None:
        """Note that somebody has gone who wasn't known here; the others may know who that is."""
        self.left(
            SharedPeer(
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
                passkey=passkey,
                uploaded=uploaded,
                is_stray=True,
            )
        )

    def tell_again(self, listed: Iterable[bytes], gone: Iterable[tuple[bytes, float]]) -> None:
        """Have others told of who is listed, and who went and when: an earlier run may not have."""
        for endpoint in listed:
            self.journal.heard(self._info_hash, endpoint, AnnounceEvent.NONE)
        for whose, seen in gone:
            self.left(departed(self._info_hash, whose, seen))

    def remember_gone(self, peer: SharedPeer) -> None:
        """Remember when a peer went, so that what is told late doesn't bring it back."""
        gone = self._gone
        gone[peer.whose] = max(peer.seen, gone.pop(peer.whose, -inf))
        if len(gone) > MOST_GONE:
            del gone[next(iter(gone))]

    def departures(self) -> Iterator[SharedPeer]:
        """Yield who went, as others are told."""
        for whose, seen in tuple(self._gone.items()):
            yield departed(self._info_hash, whose, seen)

    def is_old(self, told: SharedPeer) -> bool:
        """Tell whether a peer went after it was heard of so."""
        gone, endpoint = self._gone, told.endpoint
        return max(gone.get(endpoint, -inf), gone.get(endpoint + told.peer_id, -inf)) >= told.seen

    def expire(self, oldest: float) -> None:
        """Forget the peers that went before `oldest`."""
        self._gone = {endpoint: seen for endpoint, seen in self._gone.items() if seen >= oldest}


def departed(info_hash: InfoHash, whose: bytes, seen: float) -> SharedPeer:
    """Return what others are told of somebody that went then (s): see `SharedPeer.whose`."""
    is_stray = len(whose) not in (V4_ENDPOINT, V6_ENDPOINT)
    endpoint = whose[:-PEER_ID_LENGTH] if is_stray else whose
    return SharedPeer(
        info_hash,
        endpoint,
        whose[-PEER_ID_LENGTH:] if is_stray else bytes(PEER_ID_LENGTH),
        b"",
        seen,
        0,
        AnnounceEvent.STOPPED,
        complete=False,
        wants_nothing=False,
        counted=False,
        is_stray=is_stray,
    )
