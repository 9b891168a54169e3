"""Which torrents are super-seeded, by how wide windows, and who is to be told what comes of it.

All windows together have to fit into the cache, so they become narrower with each peer. While S3
isn't read, they are shut, and peers are shown what the cache holds.

No I/O.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from seeder.torrent.layout import Layout, bitfield_indices
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from seeder.upload.superseed import RandomOrder, Shown, SuperSeed

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
