"""The pieces that one peer wants: those in memory at hand, cold ones asked of the cache.

A few cold pieces are on their way at a time, the others stand in line; a piece that came stays
here until its requests are answered. So one peer holds a bounded part of the memory, whatever it
asks for, and whatever the cache evicts meanwhile.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable

from seeder.cache.pieces import PieceCache
from seeder.errors import BudgetSpent, SeederError
from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import MIB

AHEAD = 8 * MIB
MOST_AHEAD = 16
"""Cold pieces that one peer has on their way or waiting to be sent: these bytes, this many."""
PATIENCE = 10.0
"""A cold piece that takes longer is turned down: clients wait 20 s before they give up on us."""
PATIENCE_IN_LINE = 2 * PATIENCE
FAILURE_PAUSE = 10.0
"""Seconds before a piece that failed is asked for again on behalf of one peer."""


class Stock:
    """Finds one peer's pieces; `wanted` are the indices that it has requests for.

    `tell` is called, later, when a piece has come (None) or failed (the error). `clock` returns
    seconds.
    """

    def __init__(
        self,
        cache: PieceCache[Torrent],
        torrent: Torrent,
        wanted: Container[int],
        *,
        tell: Callable[[int, SeederError | None], None],
        clock: Callable[[], float],
    ) -> None:
        self.waiting: dict[int, float] = {}
        """Cold pieces, and since when they are waited for."""
        self._cache = cache
        self._torrent = torrent
        self._wanted = wanted
        self._tell = tell
        self._clock = clock
        self._most = max(1, min(MOST_AHEAD, AHEAD // torrent.layout.piece_length))
        self._line: deque[int] = deque()
        self._fetching: set[int] = set()
        self._held: dict[int, bytes | bytearray] = {}
        self._failed: dict[int, float] = {}
        self._hopeless: set[int] = set()
        """Those of them that S3 isn't asked for: whoever wants them is told so soon."""

    def find(self, index: int) -> bytes | bytearray | None:
        """Return a piece that is at hand; None puts it in line, for `fetch` to ask for it."""
        if index in self.waiting:
            return None
        piece = self._held.get(index)
        if piece is None:
            piece = self._cache.peek(self._torrent, index)
        if piece is None:
            self.waiting[index] = self._clock()
            if index not in self._failed:
                self._line.append(index)
        return piece

    def look_ahead(self, indices: Iterable[int]) -> None:
        """Ask for those of `indices` that are cold, though none of them can be sent yet."""
        for index in indices:
            self.find(index)
        self.fetch()

    def fetch(self) -> None:
        """Ask the cache for the pieces in line, as far as the limits go."""
        if self._held:
            for index in [index for index in self._held if index not in self._wanted]:
                del self._held[index]
        line, fetching = self._line, self._fetching
        while line and len(fetching) + len(self._held) < self._most:
            index = line.popleft()
            if index in fetching or index not in self.waiting:
                continue
            if index not in self._wanted:
                del self.waiting[index]
                continue
            fetching.add(index)
            self._cache.request(self._torrent, index, self._arrived)

    def _arrived(
        self, index: int, piece: bytes | bytearray | None, error: SeederError | None
    ) -> None:
        self._fetching.discard(index)
        self.waiting.pop(index, None)
        if error is not None:
            self._failed[index] = self._clock()
            if isinstance(error, BudgetSpent):
                self._hopeless.add(index)
        elif piece is not None and index in self._wanted:
            self._held[index] = piece
        self._tell(index, error)

    def overdue(self, now: float) -> list[int]:
        """Return the wanted pieces that took too long; they may be asked for again."""
        late: list[int] = []
        for index, since in tuple(self.waiting.items()):
            wanted, fetched = index in self._wanted, index in self._fetching
            in_line = not fetched and index not in self._failed
            too_long = (
                now - since > (PATIENCE_IN_LINE if in_line else PATIENCE) or index in self._hopeless
            )
            if wanted and too_long:
                late.append(index)
            if fetched:
                self.waiting[index] = now if too_long else since
            elif too_long or not wanted or self._cache.peek(self._torrent, index) is not None:
                # Turned down, cancelled, or brought into memory on behalf of somebody else.
                del self.waiting[index]
        self._line = deque(index for index in self._line if index in self.waiting)
        for index, at in tuple(self._failed.items()):
            if now - at > FAILURE_PAUSE and index not in self.waiting:
                del self._failed[index]
                self._hopeless.discard(index)
        return late

    def close(self) -> None:
        """Wait for nothing any more; fetches under way go on."""
        for index in self._fetching:
            self._cache.forget(self._torrent, index, self._arrived)
        self._fetching.clear()
        self._held.clear()
