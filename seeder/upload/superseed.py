"""Super-seeding of one torrent (BEP 16): each piece is shown to one peer and spreads from there.

While we are the only seed, a byte that we send twice is one that a leecher could have sent. So a
peer is shown a window of pieces that nobody has and nobody else was shown, and one more whenever it
has got one (BEP 16 waits until somebody else has it too, and loses most of the speed by that). What
a peer doesn't get, because it is slow or leaves, is shown to another.

A peer that is alone, or lonely as said below, needn't say that it has got a piece: being sent it
whole is enough for the next. So it never runs out of pieces to want (an rTorrent that does, for a
moment, ignores us for ten seconds), and one that never says what it has gets everything. As far as
others are concerned, it has only what it says.

All windows together are what the cache has to hold: if they fit, S3 is read once, however small the
cache. A peer that lacks pieces and gets next to nothing (others can't reach it) is lonely: its
window slides over everything that it lacks, as if we were its only source. Nobody ever stalls.

No I/O.
"""

from collections.abc import Container, Hashable, Iterable, MutableSequence, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

OVERDUE = 10.0
"""Seconds after which a piece that was shown, but not got, is shown to somebody else too."""
LONELY = 5.0
"""Seconds without a gain after which a peer counts as cut off from the others."""
TRICKLE = 4
"""A peer also counts as cut off when it has nothing of ours to get, and in LONELY seconds gains so
many times less than before."""

Peer = TypeVar("Peer", bound=Hashable)
Shown: TypeAlias = list[tuple[Peer, list[int]]]
"""Which pieces to announce to whom by HAVE."""


class RandomOrder(Protocol):
    """The part of random.Random that is used."""

    def shuffle(self, x: MutableSequence[int], /) -> None: ...
    def randrange(self, stop: int, /) -> int: ...


class _PeerState:
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
        "sent",
        "sent_open",
        "shown",
        "unshown",
    )

    def __init__(self, piece_count: int, cursor: int, now: float) -> None:
        self.has = bytearray(piece_count)
        self.missing = piece_count
        self.open: dict[int, float] = {}
        """Piece -> when it was shown."""
        self.sent = bytearray(piece_count)
        """Flags of the pieces that we sent it whole."""
        self.sent_open = 0
        """How many of those are in `open`."""
        self.shown = bytearray(piece_count)
        self.unshown = piece_count
        self.cursor = cursor
        self.gained_at = self.counted_at = now
        self.gains = 0
        """Pieces since `counted_at`."""
        self.pace = 0
        """The most pieces that it gained in any such time."""
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

    Pieces in `hand` are shown first: they can be sent without asking S3.
    """

    def __init__(
        self, piece_count: int, window: int, rng: RandomOrder, *, hand: Container[int]
    ) -> None:
        self.window = window
        self._count = piece_count
        self._rng = rng
        self._states: dict[Peer, _PeerState] = {}
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
        return len(self._states)

    def join(self, peer: Peer, now: float) -> None:
        """Take in a peer that has nothing and is shown nothing yet."""
        cursor = self._rng.randrange(self._count) if self._count else 0
        self._states[peer] = _PeerState(self._count, cursor, now)

    def arrived_with(self, peer: Peer, pieces: Iterable[int], now: float) -> Shown[Peer]:
        """Note what a peer has from elsewhere; return what to show to whom."""
        state = self._states[peer]
        for index in pieces:
            self._note(state, index)
        return self._refill([peer], now)

    def gained(self, peer: Peer, index: int, now: float) -> Shown[Peer]:
        """Note that a peer announced a piece; return what to show to whom."""
        state = self._states[peer]
        if state.has[index]:
            return []
        state.gained_at = now
        state.gains += 1
        self._note(state, index)
        return self._refill([peer], now)

    def sent(self, peer: Peer, index: int, now: float) -> Sequence[int]:
        """Note that we sent a peer a piece whole; return what to show it."""
        state = self._states[peer]
        if state.sent[index]:
            return ()
        state.sent[index] = 1
        if index in state.open:
            state.sent_open += 1
        if not self._counts_sent(state):
            return ()
        shown = self._refill([peer], now)
        return shown[0][1] if shown else ()

    def leave(self, peer: Peer, now: float) -> Shown[Peer]:
        """Forget a peer; what only it had, or was shown, is for the others again."""
        state = self._states.pop(peer)
        for index in tuple(state.open):
            self._close(state, index)
        for index in range(self._count):
            if state.has[index]:
                self._holders[index] -= 1
                if not self._holders[index]:
                    self._scarce += 1
                    self._hidden.append(index)
        return self._refill(self._states, now)

    def show(self, indices: Iterable[int], peer: Peer | None = None) -> Shown[Peer]:
        """Show a peer (None: everybody) what of `indices` it lacks, whatever the windows say."""
        chosen = tuple(indices)
        shown: Shown[Peer] = []
        for other in self._states if peer is None else (peer,):
            state = self._states[other]
            fresh = [i for i in chosen if not state.shown[i] and not state.has[i]]
            for index in fresh:
                state.shown[index] = 1
            state.unshown -= len(fresh)
            if fresh:
                shown.append((other, fresh))
        return shown

    def tick(self, now: float) -> Shown[Peer]:
        """Find peers and pieces that wait too long; return what to show to whom."""
        for state in self._states.values():
            if state.missing and not state.lonely:
                state.lonely = state.is_left_alone(now)
            late = [index for index, at in state.open.items() if now - at > OVERDUE]
            for index in late:
                if state.sent[index]:
                    # Not shown to it again, but to others, who mustn't wait for its word.
                    self._close(state, index)
                elif not self._holders[index]:
                    self._hidden.append(index)
                    state.open[index] = now
        return self._refill(self._states, now)

    def _note(self, state: _PeerState, index: int) -> None:
        if state.has[index]:
            return
        state.has[index] = 1
        state.missing -= 1
        if not self._holders[index]:
            self._scarce -= 1
        self._holders[index] += 1
        if index in state.open:
            self._close(state, index)

    def _close(self, state: _PeerState, index: int) -> None:
        del state.open[index]
        state.sent_open -= state.sent[index]
        self._offers[index] -= 1
        if not self._offers[index] and not self._holders[index]:
            self._hidden.append(index)

    # -- showing

    def _counts_sent(self, state: _PeerState) -> bool:
        """Tell whether a piece leaves a peer's window when it is sent, not only when it is had."""
        return state.lonely or len(self._states) == 1

    def _in_window(self, state: _PeerState) -> int:
        return len(state.open) - (state.sent_open if self._counts_sent(state) else 0)

    def _refill(self, peers: Iterable[Peer], now: float) -> Shown[Peer]:
        shown: Shown[Peer] = []
        for peer in peers:
            state = self._states[peer]
            fresh: list[int] = []
            while self._in_window(state) < self.window:
                index = self._next_hidden(state)
                if index is None and state.lonely:
                    index = self._next_missing(state)
                if index is None:
                    break
                self._offer(state, index, fresh, now)
            last = self._last_unshown(state) if fresh else None
            if last is not None:
                self._hidden = [index for index in self._hidden if index != last]
                self._offer(state, last, fresh, now)
            if fresh:
                shown.append((peer, fresh))
        return shown

    def _offer(self, state: _PeerState, index: int, fresh: list[int], now: float) -> None:
        state.open[index] = now
        state.sent_open += state.sent[index]
        self._offers[index] += 1
        if not state.shown[index]:
            state.shown[index] = 1
            state.unshown -= 1
            fresh.append(index)

    def _last_unshown(self, state: _PeerState) -> int | None:
        """Return the only piece that a peer wasn't shown, if it has to come from us.

        It goes along with the last but one, beyond the window. By itself it would make us a seed
        in the eyes of a libtorrent that is not interested any more, and that hangs up on those.
        """
        if state.unshown != 1:
            return None
        index = state.shown.index(0)
        elsewhere = self._holders[index] or self._offers[index]
        return None if state.has[index] or (elsewhere and not state.lonely) else index

    def _next_hidden(self, state: _PeerState) -> int | None:
        """Take a piece that nobody has and nobody is about to get; None when there is none."""
        put_back = []
        found = None
        while self._hidden and found is None:
            index = self._hidden.pop()
            if self._holders[index]:
                continue
            if index in state.open or state.sent[index]:
                put_back.append(index)
            else:
                found = index
        # To the front: what a silent peer was sent mustn't make every look a long one.
        self._hidden[:0] = put_back
        return found

    def _next_missing(self, state: _PeerState) -> int | None:
        for _ in range(self._count):
            index = state.cursor
            state.cursor = (index + 1) % self._count
            if not (state.has[index] or state.sent[index] or index in state.open):
                return index
        return None
