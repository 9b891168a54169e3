"""Super-seeding of every torrent that wants it: when it begins, how wide the windows are, its end.

It begins with the first peer while nobody else has the whole object, and a peer that comes when the
others have everything among themselves is shown all at once. No I/O.
"""

from collections.abc import Callable, Container
from typing import Literal, Protocol, TypeAlias

from seeder.peer.messages import bitfield_indices
from seeder.peer.superseed import Randomness, Shown, SuperSeed
from seeder.torrent.layout import MIB, Layout

SuperSeeding: TypeAlias = Literal["auto", "off"]

WINDOW = 16 * MIB
"""Shown to one peer at a time: enough for it to be busy until the next is shown."""
PARTS = 4
"""Of a small object a peer is shown at most this part at a time: the next ones want some, too."""
FEWEST_PIECES = 16
"""Of an object of fewer there is nothing to spread."""
CACHE_SHARE = 0.8
"""Of the cache, that all windows together may need."""


class Spread(Protocol):
    """What has to be known of a torrent."""

    @property
    def layout(self) -> Layout: ...
    @property
    def info_hash(self) -> bytes: ...


class Cached(Spread, Protocol):
    """What has to be known of one that is about to be spread."""

    @property
    def cache_id(self) -> str: ...


class Viewer(Protocol):
    """A session that is shown pieces a few at a time."""

    def show(self, indices: list[int]) -> None: ...
    def __hash__(self) -> int: ...


class Spreading:
    """The plans of all torrents; `other_seeds` counts those that the tracker knows of.

    `cache_bytes` is what both tiers hold, and `at_hand` which pieces of a `cache_id` they have.
    """

    def __init__(
        self,
        mode: SuperSeeding,
        *,
        other_seeds: Callable[[bytes], int],
        cache_bytes: int,
        at_hand: Callable[[str], Container[int]],
        rng: Randomness,
    ) -> None:
        self._mode = mode
        self._other_seeds = other_seeds
        self._cache_bytes = cache_bytes
        self._at_hand = at_hand
        self._rng = rng
        self._plans: dict[bytes, SuperSeed[Viewer]] = {}
        self._openly = False

    def show_all(self, openly: bool) -> None:
        """Show everybody everything from now on, or go back to windows for those who come.

        While S3 isn't read, what can be had is in the cache, and windows would be full of the rest.
        """
        self._openly = openly
        if openly:
            for plan in tuple(self._plans.values()):
                _show(plan.reveal())

    def hides(self, torrent: Spread) -> bool:
        """Tell whether a peer that comes now is shown pieces one by one."""
        if self._mode == "off" or self._openly or torrent.layout.piece_count < FEWEST_PIECES:
            return False
        plan = self._plans.get(torrent.info_hash)
        if plan is not None:
            return not plan.stands_alone
        return self._other_seeds(torrent.info_hash) == 0

    def join(self, torrent: Cached, viewer: Viewer, now: float) -> None:
        """Take in a peer, and show it something."""
        plan = self._plans.get(torrent.info_hash)
        if plan is None:
            hand = self._at_hand(torrent.cache_id)
            plan = SuperSeed[Viewer](torrent.layout.piece_count, 1, self._rng, hand=hand)
            self._plans[torrent.info_hash] = plan
        plan.join(viewer, now)
        self._widen(torrent, plan)
        _show(plan.arrived_with(viewer, (), now))

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
            del self._plans[torrent.info_hash]
            return
        self._widen(torrent, plan)
        _show(shown)

    def tick(self, now: float) -> None:
        """Help those who get nothing; called about once a second."""
        for plan in tuple(self._plans.values()):
            _show(plan.tick(now))

    def _widen(self, torrent: Spread, plan: SuperSeed[Viewer]) -> None:
        length = torrent.layout.piece_length
        window = min(WINDOW // length, torrent.layout.piece_count // PARTS)
        if len(plan) > 1:
            # What one peer gets alone is read once anyway, in whatever order.
            window = min(window, int(self._cache_bytes * CACHE_SHARE) // length // len(plan))
        plan.window = max(1, window)


def _show(shown: Shown[Viewer]) -> None:
    for viewer, indices in shown:
        viewer.show(indices)
