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

from collections.abc import Callable, Container, Hashable, Iterable, MutableSequence, Sequence
from math import inf
from typing import Generic, Protocol, TypeAlias, TypeVar

from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import Layout, bitfield_indices
from seeder.units import MIB

OVERDUE = 10.0
"""Seconds after which a piece that was shown, but not got, is shown to somebody else too."""
LONELY = 5.0
"""Seconds without a gain after which a peer counts as cut off from the others."""
TRICKLE = 4
"""A peer also counts as cut off when it has nothing of ours to get, and in LONELY seconds gains so
many times less than before."""

WINDOW = 16 * MIB
"""Bytes of pieces shown to one peer at a time: enough to keep it busy until the next is shown."""
PARTS = 4
"""A peer is shown at most one such part of an object at a time: others need some too."""
FEWEST_PIECES = 16
"""With fewer there is nothing to spread."""
LOOK_EVERY = 5.0
"""Seconds between two looks at what the cache holds, while nothing else is shown."""
CACHE_SHARE = 0.8
"""Share of the cache that all windows together may take."""

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


class Seedable(Protocol):
    """What super-seeding needs to know of a torrent."""

    @property
    def layout(self) -> Layout: ...
    @property
    def info_hash(self) -> bytes: ...


class Viewer(Protocol):
    """A session that is shown pieces a few at a time.

    For speed `show` is a plain call, in the task that finds what there is to show: that of another
    session whose peer got a piece or left, or the tick. It sends there and then.
    """

    def show(self, indices: list[int]) -> None: ...
    def __hash__(self) -> int: ...


class SuperSeeds:
    """The plans of all torrents; unless `enabled`, they are made only for `show_only_held`.

    `other_seeds` returns how many seeds of an info hash the tracker knows. `cache_bytes` is what
    both tiers of the cache may hold, and `held` returns the pieces of a torrent that they have.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        other_seeds: Callable[[bytes], int],
        cache_bytes: int,
        held: Callable[[Torrent], frozenset[int]],
        rng: RandomOrder,
    ) -> None:
        self._enabled = enabled
        self._other_seeds = other_seeds
        self._cache_bytes = cache_bytes
        self._held = held
        self._rng = rng
        self._plans: dict[bytes, SuperSeed[Viewer]] = {}
        self._torrents: dict[bytes, Torrent] = {}
        """Of the plans."""
        self._only_held = False
        self._told: dict[bytes, frozenset[int]] = {}
        self._looked_at = -inf

    def show_only_held(self, only: bool) -> None:
        """Show peers only what can be sent without S3, or go back to the usual windows.

        While S3 isn't read, windows would fill up with pieces that can't be sent.
        """
        self._only_held = only
        self._told.clear()
        self._looked_at = -inf
        for info_hash, plan in tuple(self._plans.items()):
            torrent = self._torrents[info_hash]
            self._widen(torrent, plan)
            if only:
                self._look(torrent, plan)
            elif not self._spreads(torrent):
                _show(plan.show(range(torrent.layout.piece_count)))

    def _look(self, torrent: Torrent, plan: SuperSeed[Viewer]) -> None:
        """Show all peers what is held by now and wasn't before."""
        pieces = self._held(torrent)
        known = self._told.get(torrent.info_hash, frozenset())
        self._told[torrent.info_hash] = pieces
        _show(plan.show(pieces - known))

    def hides(self, torrent: Seedable) -> bool:
        """Tell whether a peer that comes now is shown pieces one by one."""
        return self._only_held or self._spreads(torrent)

    def _spreads(self, torrent: Seedable) -> bool:
        """Tell whether a torrent is to be super-seeded."""
        if not self._enabled or torrent.layout.piece_count < FEWEST_PIECES:
            return False
        plan = self._plans.get(torrent.info_hash)
        if plan is not None:
            return not plan.stands_alone
        return self._other_seeds(torrent.info_hash) == 0

    def join(self, torrent: Torrent, viewer: Viewer, now: float) -> None:
        """Take in a peer, and show it something."""
        plan = self._plans.get(torrent.info_hash)
        if plan is None:
            hand = self._held(torrent)
            plan = SuperSeed[Viewer](torrent.layout.piece_count, 1, self._rng, hand=hand)
            self._plans[torrent.info_hash] = plan
            self._torrents[torrent.info_hash] = torrent
        plan.join(viewer, now)
        self._widen(torrent, plan)
        _show(plan.arrived_with(viewer, (), now))
        if self._only_held:
            _show(plan.show(self._held(torrent), viewer))

    def arrived_with(
        self, torrent: Seedable, viewer: Viewer, pieces: bytes | bool, now: float
    ) -> None:
        """Note what a peer has: a bitfield, all or nothing."""
        count = torrent.layout.piece_count
        plan = self._plans[torrent.info_hash]
        _show(plan.arrived_with(viewer, bitfield_indices(pieces, count), now))

    def gained(self, torrent: Seedable, viewer: Viewer, index: int, now: float) -> None:
        """Note that a peer has got a piece, from whomever."""
        _show(self._plans[torrent.info_hash].gained(viewer, index, now))

    def sent(self, torrent: Seedable, viewer: Viewer, index: int, now: float) -> Sequence[int]:
        """Note that a peer was sent a piece whole; return what to show it, after that piece."""
        return self._plans[torrent.info_hash].sent(viewer, index, now)

    def leave(self, torrent: Seedable, viewer: Viewer, now: float) -> None:
        """Forget a peer, and with the last one the plan."""
        plan = self._plans[torrent.info_hash]
        shown = plan.leave(viewer, now)
        if not len(plan):
            del self._plans[torrent.info_hash], self._torrents[torrent.info_hash]
            self._told.pop(torrent.info_hash, None)
            return
        self._widen(torrent, plan)
        _show(shown)

    def tick(self, now: float) -> None:
        """Help peers that get nothing; called about once a second."""
        looks = self._only_held and now - self._looked_at >= LOOK_EVERY
        if looks:
            self._looked_at = now
        for info_hash, plan in tuple(self._plans.items()):
            _show(plan.tick(now))
            if looks:
                self._look(self._torrents[info_hash], plan)

    def _widen(self, torrent: Seedable, plan: SuperSeed[Viewer]) -> None:
        length = torrent.layout.piece_length
        window = min(WINDOW // length, torrent.layout.piece_count // PARTS)
        if len(plan) > 1:
            # A peer that is alone has each piece read once, in whatever order.
            window = min(window, int(self._cache_bytes * CACHE_SHARE) // length // len(plan))
        plan.window = 0 if self._only_held else max(1, window)


def _show(shown: Shown[Viewer]) -> None:
    for viewer, indices in shown:
        viewer.show(indices)
