"""Super-seeding of every torrent that wants it: when it begins, how wide the windows are, its end.

It begins with the first peer while nobody else has the whole object, and a peer that comes when the
others have everything among themselves is shown all at once. No I/O.
"""

from collections.abc import Callable
from math import inf
from typing import Literal, Protocol, TypeAlias

from seeder.peer.messages import bitfield_indices
from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import MIB, Layout
from seeder.upload.superseed import Randomness, Shown, SuperSeed

SuperSeeding: TypeAlias = Literal["auto", "off"]

WINDOW = 16 * MIB
"""Shown to one peer at a time: enough for it to be busy until the next is shown."""
PARTS = 4
"""Of a small object a peer is shown at most this part at a time: the next ones want some, too."""
FEWEST_PIECES = 16
"""Of an object of fewer there is nothing to spread."""
LOOK_EVERY = 5.0
"""Seconds between two looks at what the cache holds, while nothing else is shown."""
CACHE_SHARE = 0.8
"""Of the cache, that all windows together may need."""


class Spread(Protocol):
    """What has to be known of a torrent."""

    @property
    def layout(self) -> Layout: ...
    @property
    def info_hash(self) -> bytes: ...


Held: TypeAlias = Callable[[Torrent], frozenset[int]]
"""Which pieces of a torrent can be had without S3."""


class Viewer(Protocol):
    """A session that is shown pieces a few at a time."""

    def show(self, indices: list[int]) -> None: ...
    def __hash__(self) -> int: ...


class Spreading:
    """The plans of all torrents; `other_seeds` counts those that the tracker knows of.

    `cache_bytes` is what both tiers hold, and `held` which pieces of a cache id they have.
    """

    def __init__(
        self,
        mode: SuperSeeding,
        *,
        other_seeds: Callable[[bytes], int],
        cache_bytes: int,
        held: Held,
        rng: Randomness,
    ) -> None:
        self._mode = mode
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
        """Show peers just what can be had without S3, or go back to what is usual.

        While S3 isn't read, a window would be full of what can't be had.
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
        """Show everybody what is held by now and wasn't before."""
        pieces = self._held(torrent)
        known = self._told.get(torrent.info_hash, frozenset())
        self._told[torrent.info_hash] = pieces
        _show(plan.show(pieces - known))

    def hides(self, torrent: Spread) -> bool:
        """Tell whether a peer that comes now is shown pieces one by one."""
        return self._only_held or self._spreads(torrent)

    def _spreads(self, torrent: Spread) -> bool:
        """Tell whether a torrent is to be super-seeded."""
        if self._mode == "off" or torrent.layout.piece_count < FEWEST_PIECES:
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
        self, torrent: Spread, viewer: Viewer, pieces: bytes | bool, now: float
    ) -> None:
        """Note what a peer has: a bitfield, all or nothing."""
        count = torrent.layout.piece_count
        plan = self._plans[torrent.info_hash]
        _show(plan.arrived_with(viewer, bitfield_indices(pieces, count), now))

    def gained(self, torrent: Spread, viewer: Viewer, index: int, now: float) -> None:
        """Note that a peer has got a piece, from whomever."""
        _show(self._plans[torrent.info_hash].gained(viewer, index, now))

    def leave(self, torrent: Spread, viewer: Viewer, now: float) -> None:
        """Let a peer go; with the last one goes the plan."""
        plan = self._plans[torrent.info_hash]
        shown = plan.leave(viewer, now)
        if not len(plan):
            del self._plans[torrent.info_hash], self._torrents[torrent.info_hash]
            self._told.pop(torrent.info_hash, None)
            return
        self._widen(torrent, plan)
        _show(shown)

    def tick(self, now: float) -> None:
        """Help those who get nothing; called about once a second."""
        looks = self._only_held and now - self._looked_at >= LOOK_EVERY
        if looks:
            self._looked_at = now
        for info_hash, plan in tuple(self._plans.items()):
            _show(plan.tick(now))
            if looks:
                self._look(self._torrents[info_hash], plan)

    def _widen(self, torrent: Spread, plan: SuperSeed[Viewer]) -> None:
        length = torrent.layout.piece_length
        window = min(WINDOW // length, torrent.layout.piece_count // PARTS)
        if len(plan) > 1:
            # What one peer gets alone is read once anyway, in whatever order.
            window = min(window, int(self._cache_bytes * CACHE_SHARE) // length // len(plan))
        plan.window = 0 if self._only_held else max(1, window)


def _show(shown: Shown[Viewer]) -> None:
    for viewer, indices in shown:
        viewer.show(indices)
