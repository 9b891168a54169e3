"""What one peer is refused for now, and from when on it may ask again.

A peer is refused everything while the choker gives others their turn, a cold piece that takes too
long, and a piece that can't be had for a while, which is taken back from it (BEP 54).
"""

from collections.abc import Callable, Iterable
from math import inf

from seeder.cache.reading import REFUSED_FOR
from seeder.errors import BudgetSpent, SeederError
from seeder.peer.connection import PeerConnection
from seeder.upload.feed import PIECE_PATIENCE, Feed


class Refusals:
    """What the peer of `wire` is refused; `resume` sends the messages that result from that.

    The methods are called in the tasks of the choker and the cache, and in the hub's tick.
    """

    __slots__ = ("_choked_at", "_regain_at", "_resume", "_served", "_wire")

    def __init__(self, wire: PeerConnection, resume: Callable[[], None]) -> None:
        self._wire = wire
        self._resume = resume
        self._served = False
        """Whether the choker has given it a slot."""
        self._choked_at = -inf
        """When it was last choked because a piece can't be had yet (s)."""
        self._regain_at = 0.0

    def serve(self, now: float) -> None:
        """Let the peer request."""
        self._served = True
        self._unchoke(now)

    def hold(self) -> None:
        """Refuse the peer everything until `serve`."""
        self._served = False
        self._wire.choke()
        self._resume()

    def _unchoke(self, now: float) -> None:
        if self._served and self._wire.choking and now - self._choked_at > PIECE_PATIENCE:
            self._wire.unchoke()
            self._resume()

    def failed(self, index: int, error: SeederError, now: float) -> None:
        """Turn down what is wanted of a piece that can't be had now."""
        if isinstance(error, BudgetSpent):
            # If we only rejected them, libtorrent would request the pieces that it has begun again
            # and again, and never get to those that it could have.
            self.lose(index, now)
        if index in self._wire.wanted:
            self._turn_down([index], now)

    def _turn_down(self, indices: Iterable[int], now: float) -> None:
        if self._wire.fast:
            for index in indices:
                self._wire.reject_piece(index)
        else:
            # Without the fast extension a choke is the only way to say "ask somebody else".
            self._wire.choke()
            self._choked_at = now

    def lose(self, index: int, now: float) -> None:
        """Take back a piece that can't be had for a while (BEP 54)."""
        if self._wire.lose(index):
            self._regain_at = now + REFUSED_FOR
            self._resume()

    def regain(self) -> None:
        """Tell the peer that the pieces taken back from it can be had again."""
        for index in tuple(self._wire.lost):
            self._wire.regain(index)
        self._resume()

    def review(self, feed: Feed | None, silent_since: float, now: float) -> None:
        """Once a second: turn down what has waited too long, allow again what can be had."""
        if self._wire.lost:
            self._look_for_lost(feed, now)
        late = feed.overdue(now) if feed is not None else []
        if late:
            self._turn_down(late, now)
        self._unchoke(now)
        self._wire.nudge(max(silent_since, self._choked_at + PIECE_PATIENCE), now)

    def _look_for_lost(self, feed: Feed | None, now: float) -> None:
        """Announce those lost pieces again that are at hand, or may be had by now."""
        for index in tuple(self._wire.lost):
            if now >= self._regain_at or (feed is not None and feed.is_at_hand(index)):
                self._wire.regain(index)
