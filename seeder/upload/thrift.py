"""Thrift while a swarm can help itself: a peer waits a little for pieces that others have.

A piece that we send twice is one that a peer could have sent. So requests for a piece that another
peer has, or is getting from us, wait a few seconds before they are answered. Meanwhile most peers
get the piece elsewhere, and cancel the requests or had made few. What no other peer has is sent at
once, and clients ask for the rarest pieces first. A peer that the others don't feed, because it
can't reach them or they are slower than we are, needn't wait: thrift costs a swarm little speed.

No I/O.
"""

from array import array
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)

WITHHELD_FOR = 2.0
"""Seconds for which a request waits; clients wait 20 s and more before they give up on a peer."""
TRIAL = 4.0
"""Seconds after a peer's arrival before it is judged whether others feed it."""
SHARE = 1 / 3
"""Share of a peer's gains that has to come from others for it to count as fed by them."""
HALF_LIFE = 5.0
"""Seconds after which a gain counts half in that share."""


class Availability(Generic[P]):
    """How many peers have each piece of a torrent, as far as they say; and who gets it from us."""

    def __init__(self, piece_count: int) -> None:
        self._holders = array("I", bytes(4 * piece_count))
        self._getting: dict[int, P] = {}

    def gained(self, indices: Iterable[int]) -> None:
        """Note that a peer has pieces that it was not known to have."""
        for index in indices:
            self._holders[index] += 1

    def lost(self, indices: Iterable[int]) -> None:
        """Note that a peer which had these pieces is gone."""
        for index in indices:
            self._holders[index] -= 1

    def give(self, peer: P, index: int) -> None:
        """Note that a peer is being sent a piece."""
        self._getting[index] = peer

    def given(self, peer: P, index: int) -> None:
        """Note that a peer is being sent a piece no more: it has it, or is gone."""
        if self._getting.get(index) == peer:
            del self._getting[index]

    def is_elsewhere(self, index: int, peer: P) -> bool:
        """Tell whether a peer that lacks a piece can have it from another one, or soon will."""
        return self._holders[index] > 0 or self._getting.get(index, peer) != peer


class Thrift(Generic[P]):
    """Which requests of one peer have to wait for other peers to answer them."""

    __slots__ = (
        "_availability",
        "_came_at",
        "_fed",
        "_from_all",
        "_from_us",
        "_gained",
        "_let",
        "_peer",
        "_sent",
        "_waiting",
        "_weighed_at",
    )

    def __init__(self, availability: Availability[P], peer: P, now: float) -> None:
        self._availability = availability
        self._peer = peer
        self._came_at = self._weighed_at = now
        self._waiting: dict[int, float] = {}
        """Since when a piece's requests wait."""
        self._let: set[int] = set()
        """Pieces that are sent to it whatever the others have."""
        self._fed = True
        self._sent = self._gained = 0
        self._from_us = self._from_all = 0.0

    def withholds(self, index: int, now: float) -> bool:
        """Tell whether the requests for a piece have to wait; once they needn't, never again."""
        if index in self._let:
            return False
        if self._fed and self._availability.is_elsewhere(index, self._peer):
            since = self._waiting.setdefault(index, now)
            if now - since < WITHHELD_FOR:
                return True
        self._waiting.pop(index, None)
        self._let.add(index)
        self._availability.give(self._peer, index)
        return False

    def gained(self, indices: Iterable[int]) -> None:
        """Note that the peer has pieces that it was not known to have."""
        indices = tuple(indices)
        self._availability.gained(indices)
        if self._let or self._waiting:
            for index in indices:
                self._waiting.pop(index, None)
                if index in self._let:
                    self._let.discard(index)
                    self._availability.given(self._peer, index)

    def lost(self, indices: Iterable[int]) -> None:
        """Note that the peer hasn't these pieces after all."""
        self._availability.lost(indices)

    def weigh(self, sent: int, gained: int, now: float) -> None:
        """See whether others feed the peer; called about once a second.

        `sent` are the bytes that it has had from us by now, `gained` those from everybody.
        """
        left = 0.5 ** ((now - self._weighed_at) / HALF_LIFE)
        self._weighed_at = now
        self._from_us = self._from_us * left + sent - self._sent
        self._from_all = self._from_all * left + gained - self._gained
        self._sent, self._gained = sent, gained
        if now - self._came_at >= TRIAL:
            self._fed = self._from_all - self._from_us > SHARE * self._from_all

    def leave(self, has: Iterable[int]) -> None:
        """Forget the peer, which has these pieces."""
        self._availability.lost(has)
        for index in self._let:
            self._availability.given(self._peer, index)
