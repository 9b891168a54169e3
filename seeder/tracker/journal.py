"""What the swarms of one node have heard, for the other nodes of its cluster.

Without a cluster there is no journal. With one, an announce costs an entry in a dictionary, and
only if it says something new: a peer that comes, goes, completes or changes, and once in `grid`
seconds that it is still there.

No I/O.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import NamedTuple, Protocol

from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.passkeys import Passkey

MOST_HEARD = 200_000
"""Entries that are kept while the others can't be told; beyond that they are told everything."""
MOST_GONE = 20_000
"""Peers of one swarm of which it is remembered that they went."""
MOST_VISITS = 10_000
"""Visits that are kept; others are not told of more."""


class Remembered(Protocol):
    """A listed peer."""

    @property
    def seen(self) -> float: ...
    @property
    def complete(self) -> bool: ...


class SharedPeer(NamedTuple):
    """What one node tells the others of a peer."""

    info_hash: InfoHash
    endpoint: bytes
    peer_id: bytes
    key: bytes
    seen: float
    """When it was heard of last (s, by the clock of the swarms)."""
    downloaded: int
    event: AnnounceEvent
    complete: bool
    wants_nothing: bool
    counted: bool
    """Whether its completion was counted, somewhere."""
    passkey: Passkey | None = None
    """What let it into a private swarm."""

    @property
    def gone(self) -> bool:
        return self.event is AnnounceEvent.STOPPED

    def request(self) -> AnnounceRequest:
        """Return it as the announce that it comes from."""
        return AnnounceRequest(
            self.info_hash,
            self.peer_id,
            int.from_bytes(self.endpoint[-2:], "big"),
            self.downloaded,
            0 if self.complete else None,
            self.event,
            0,
            key=self.key,
        )


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
        self.opened: set[InfoHash] = set()
        """Torrents that were opened, whose peers are to be asked for."""
        self.counted: set[InfoHash] = set()
        """Torrents of which this node has counted other completions than the others know."""
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
        if event is AnnounceEvent.NONE:
            former = self._heard.get(name)
            if isinstance(former, AnnounceEvent):
                return
        self._heard[name] = event
        if len(self._heard) > MOST_HEARD:
            self._heard.clear()
            self.everything = True

    def left(self, peer: SharedPeer) -> None:
        """Note that a peer has gone."""
        self._heard[peer.info_hash, peer.endpoint] = peer

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
        return taken

    def take_visits(self) -> Iterator[SharedVisit]:
        """Yield the visits, and forget them."""
        visits, self._visits = self._visits, {}
        for (info_hash, address), at_once in visits.items():
            yield SharedVisit(info_hash, address, at_once)

    def give_back(self, taken: "dict[tuple[InfoHash, bytes], AnnounceEvent | SharedPeer]") -> None:
        """Take back what the others couldn't be told; what was heard since is newer."""
        newer = {
            name: what
            for name, what in self._heard.items()
            # That a peer is still there doesn't undo that it completed.
            if what is not AnnounceEvent.NONE or isinstance(taken.get(name), SharedPeer | None)
        }
        self._heard = taken | newer
        if len(self._heard) > MOST_HEARD:
            self._heard.clear()
            self.everything = True


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

    def counted(self, endpoint: bytes) -> None:
        """Note that a completion was counted."""
        self.journal.counted.add(self._info_hash)
        self.journal.heard(self._info_hash, endpoint, AnnounceEvent.NONE)

    def left(self, peer: SharedPeer) -> None:
        """Note that a peer has gone."""
        self.remember_gone(peer)
        self.journal.left(peer)

    def remember_gone(self, peer: SharedPeer) -> None:
        """Remember when a peer went, so that what is told late doesn't bring it back."""
        gone = self._gone
        gone[peer.endpoint] = max(peer.seen, gone.pop(peer.endpoint, -inf))
        if len(gone) > MOST_GONE:
            del gone[next(iter(gone))]

    def is_old(self, told: SharedPeer) -> bool:
        """Tell whether a peer went after it was heard of so."""
        return self._gone.get(told.endpoint, -inf) >= told.seen

    def expire(self, oldest: float) -> None:
        """Forget the peers that went before `oldest`."""
        gone = self._gone
        while gone and gone[first := next(iter(gone))] < oldest:
            del gone[first]
