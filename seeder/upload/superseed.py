"""Super-seeding of one torrent (BEP 16): each piece is shown to one peer and spreads from there.

While we are the only seed, a byte that we send twice is one that a leecher could have sent. So a
peer is shown a window of pieces that nobody has and nobody else was shown, and one more whenever it
has got one (BEP 16 waits until somebody else has it too, and loses most of the speed by that). What
a peer doesn't get, because it is slow or leaves, is shown to another.

All windows together are what the cache has to hold: if they fit, S3 is read once, however small the
cache. A peer that lacks pieces and gets next to nothing (others can't reach it) is lonely: its
window slides over everything that it lacks, as if we were its only source. Nobody ever stalls.

No I/O.
"""

from collections.abc import Container, Hashable, Iterable, MutableSequence
from typing import Generic, Protocol, TypeAlias, TypeVar

OVERDUE = 10.0
"""Seconds after which a piece that was shown, but not got, is shown to somebody else too."""
LONELY = 5.0
"""Seconds without a gain after which a peer counts as cut off from the others."""

TRICKLE = 4
"""A peer also counts as cut off when, with nothing of ours to get, it gains that many times less in
as many seconds than it has before."""

Peer = TypeVar("Peer", bound=Hashable)
Shown: TypeAlias = list[tuple[Peer, list[int]]]
"""Which pieces to announce to whom by HAVE."""


class Randomness(Protocol):
    """The part of random.Random that is used."""

    def shuffle(self, x: MutableSequence[int], /) -> None: ...
    def randrange(self, stop: int, /) -> int: ...


class _Viewer:
    """One peer: what it has, and what it was shown and hasn't got yet."""

    __slots__ = (
        "counted_at",
        "cursor",
        "gained_at",
        "gains",
        "has",
        "lonely",
        "missing",
        "open",
        "pace",
        "shown",
        "unshown",
    )

    def __init__(self, piece_count: int, cursor: int, now: float) -> None:
        self.has = bytearray(piece_count)
        self.missing = piece_count
        self.open: dict[int, float] = {}
        """Piece -> when it was shown."""
        self.shown = bytearray(piece_count)
        self.unshown = piece_count
        self.cursor = cursor
        self.gained_at = self.counted_at = now
        self.gains = 0
        """Pieces since `counted_at`."""
        self.pace = 0
        """The most of them in any such time."""
        self.lonely = False

    def is_left_alone(self, now: float) -> bool:
        """Tell whether the others give it nothing, or next to nothing; asked about every second."""
        if now - self.gained_at > LONELY:
            return True
        if now - self.counted_at < LONELY:
            return False
        trickles = not self.open and self.gains * TRICKLE < self.pace
        self.pace = max(self.pace, self.gains)
        self.counted_at, self.gains = now, 0
        return trickles


class SuperSeed(Generic[Peer]):
    """Which peer of one torrent is shown which pieces; `window` is how many at a time.

    Those of the pieces that are at `hand` are shown first: they are sent without asking S3.
    """

    def __init__(
        self, piece_count: int, window: int, rng: Randomness, *, hand: Container[int] = ()
    ) -> None:
        self.window = window
        self._count = piece_count
        self._rng = rng
        self._viewers: dict[Peer, _Viewer] = {}
        self._holders = [0] * piece_count
        self._scarce = piece_count
        """Pieces that no peer has."""
        self._offers = [0] * piece_count
        """How many peers have a piece in their window."""
        self._hidden = list(range(piece_count))
        rng.shuffle(self._hidden)
        # Taken from the end.
        self._hidden.sort(key=hand.__contains__)

    @property
    def stands_alone(self) -> bool:
        """Whether the peers together have every piece."""
        return self._scarce == 0

    def __len__(self) -> int:
        return len(self._viewers)

    def join(self, peer: Peer, now: float) -> None:
        """Take in a peer that has nothing and is shown nothing yet."""
        cursor = self._rng.randrange(self._count) if self._count else 0
        self._viewers[peer] = _Viewer(self._count, cursor, now)

    def arrived_with(self, peer: Peer, pieces: Iterable[int], now: float) -> Shown[Peer]:
        """Note what a peer has from elsewhere; return what to show to whom."""
        viewer = self._viewers[peer]
        for index in pieces:
            self._note(viewer, index)
        return self._refill([peer], now)

    def gained(self, peer: Peer, index: int, now: float) -> Shown[Peer]:
        """Note that a peer announced a piece; return what to show to whom."""
        viewer = self._viewers[peer]
        if viewer.has[index]:
            return []
        viewer.gained_at = now
        viewer.gains += 1
        self._note(viewer, index)
        return self._refill([peer], now)

    def leave(self, peer: Peer, now: float) -> Shown[Peer]:
        """Forget a peer; what only it had, or was shown, is for the others again."""
        viewer = self._viewers.pop(peer)
        for index in tuple(viewer.open):
            self._close(viewer, index)
        for index in range(self._count):
            if viewer.has[index]:
                self._holders[index] -= 1
                if not self._holders[index]:
                    self._scarce += 1
                    self._hidden.append(index)
        return self._refill(self._viewers, now)

    def show(self, indices: Iterable[int], peer: Peer | None = None) -> Shown[Peer]:
        """Show a peer (None: everybody) what of `indices` it lacks, whatever the windows say."""
        chosen = tuple(indices)
        shown: Shown[Peer] = []
        for other in self._viewers if peer is None else (peer,):
            viewer = self._viewers[other]
            fresh = [i for i in chosen if not viewer.shown[i] and not viewer.has[i]]
            for index in fresh:
                viewer.shown[index] = 1
            viewer.unshown -= len(fresh)
            if fresh:
                shown.append((other, fresh))
        return shown

    def tick(self, now: float) -> Shown[Peer]:
        """Find who got nothing for too long, and what nobody got; return what to show to whom."""
        for viewer in self._viewers.values():
            if viewer.missing and not viewer.lonely:
                viewer.lonely = viewer.is_left_alone(now)
            for index, shown_at in viewer.open.items():
                if now - shown_at > OVERDUE and not self._holders[index]:
                    self._hidden.append(index)
                    viewer.open[index] = now
        return self._refill(self._viewers, now)

    def _note(self, viewer: _Viewer, index: int) -> None:
        if viewer.has[index]:
            return
        viewer.has[index] = 1
        viewer.missing -= 1
        if not self._holders[index]:
            self._scarce -= 1
        self._holders[index] += 1
        if index in viewer.open:
            self._close(viewer, index)

    def _close(self, viewer: _Viewer, index: int) -> None:
        del viewer.open[index]
        self._offers[index] -= 1
        if not self._offers[index] and not self._holders[index]:
            self._hidden.append(index)

    # -- showing

    def _refill(self, peers: Iterable[Peer], now: float) -> Shown[Peer]:
        shown: Shown[Peer] = []
        for peer in peers:
            viewer = self._viewers[peer]
            fresh: list[int] = []
            while len(viewer.open) < self.window:
                index = self._next_hidden(viewer)
                if index is None and viewer.lonely:
                    index = self._next_missing(viewer)
                if index is None:
                    break
                self._offer(viewer, index, fresh, now)
            last = self._last_unshown(viewer) if fresh else None
            if last is not None:
                self._hidden = [index for index in self._hidden if index != last]
                self._offer(viewer, last, fresh, now)
            if fresh:
                shown.append((peer, fresh))
        return shown

    def _offer(self, viewer: _Viewer, index: int, fresh: list[int], now: float) -> None:
        viewer.open[index] = now
        self._offers[index] += 1
        if not viewer.shown[index]:
            viewer.shown[index] = 1
            viewer.unshown -= 1
            fresh.append(index)

    def _last_unshown(self, viewer: _Viewer) -> int | None:
        """Return the only piece that a peer wasn't shown, if it has to come from us.

        It goes along with the last but one, beyond the window. By itself it would make us a seed
        in the eyes of a libtorrent that is not interested any more, and that hangs up on those.
        """
        if viewer.unshown != 1:
            return None
        index = viewer.shown.index(0)
        elsewhere = self._holders[index] or self._offers[index]
        return None if viewer.has[index] or (elsewhere and not viewer.lonely) else index

    def _next_hidden(self, viewer: _Viewer) -> int | None:
        """Take a piece that nobody has and nobody is about to get; None when there is none."""
        put_back = []
        found = None
        while self._hidden and found is None:
            index = self._hidden.pop()
            if self._holders[index]:
                continue
            if index in viewer.open:
                put_back.append(index)
            else:
                found = index
        self._hidden += put_back
        return found

    def _next_missing(self, viewer: _Viewer) -> int | None:
        for _ in range(self._count):
            index = viewer.cursor
            viewer.cursor = (index + 1) % self._count
            if not viewer.has[index] and index not in viewer.open:
                return index
        return None
