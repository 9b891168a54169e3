"""Which pieces a peer will ask for next, guessed from those that it has asked for. No I/O.

A GET of 8 MiB costs S3's price for a request and its latency once; a GET a piece costs them for
each. A peer's requests reach only a few MiB ahead, so they tell too little: a peer that goes from
front to back goes on, and one that picks at random, as BitTorrent clients do, comes for the
neighbours later, though much later: so a peer is trusted with a multiple of what it has taken. Who
takes nothing makes S3 send nothing that wasn't asked for, and nobody more than the object once.
"""

from seeder.torrent.layout import MIB, Layout

EXTENT = 8 * MIB
"""Bytes from a cold piece on that are fetched with it; S3 is at its best from 8 to 16 MiB."""
WINDOW = 128 * MIB
"""Bytes ahead of a peer that reads in order: sixteen connections, an extent each."""
TRUST = 64
"""Bytes that are guessed for a peer in all, for each byte that it has taken.

It is what a block makes S3 send anyway where pieces have a MiB.
"""
STEADY = 4
"""Pieces in order that make a peer one that reads in order."""
_NEAR = 16
"""Pieces by which the order may be off: those that are cold come as they like."""


class ReadAhead:
    """Guesses for one peer, all in whole pieces; `taken` are the bytes that it was sent so far.

    Nothing is guessed from piece `stop` on.
    """

    __slots__ = ("_guessed", "_layout", "_next", "_reached", "_row", "_stop")

    def __init__(self, layout: Layout, stop: int | None = None) -> None:
        self._layout = layout
        self._stop = layout.piece_count if stop is None else stop
        self._guessed = 0
        self._next = 0
        self._row = 0
        self._reached = 0

    def fetched(self, size: int) -> None:
        """Take note that so many bytes are on their way for a guess."""
        self._guessed += size

    def given(self, index: int, taken: int) -> range:
        """Return the pieces that are worth fetching now that the peer is sent this one."""
        step = index - self._next
        if abs(step) > _NEAR:
            self._row = self._reached = 0
            self._next = index + 1
        elif step >= 0:
            self._row += 1
            self._next = index + 1
        return self._onward(taken) if self._row >= STEADY else range(0)

    def missed(self, index: int, taken: int) -> range:
        """Return an extent that begins with this cold piece, which so comes first."""
        most = self._pieces(min(EXTENT, TRUST * taken - self._guessed))
        return range(index, min(index + most, self._stop))

    def _onward(self, taken: int) -> range:
        """Return what comes next, in steps of an extent, as soon as the window allows."""
        count = self._stop
        window = self._pieces(min(TRUST * taken, WINDOW))
        start = max(self._next, self._reached)
        stop = min(self._next + window, start + self._pieces(TRUST * taken - self._guessed), count)
        if stop < count and stop - start < max(1, min(self._pieces(EXTENT), window // 2)):
            return range(0)
        self._reached = max(start, stop)
        return range(start, stop)

    def _pieces(self, size: int) -> int:
        return size // self._layout.piece_length
