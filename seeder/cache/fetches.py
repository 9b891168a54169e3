"""Pieces that are on their way from disk or S3, who waits for each, and how many bytes they are.

A peer that asks for a piece that is on its way joins the fetch. Each waiter is called once.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeAlias

from seeder.cache.memory import Key, Piece
from seeder.cache.reading import T
from seeder.errors import OriginError, PieceMismatch, SeederError
from seeder.net.guards import sparing_others

_log = logging.getLogger(__name__)

Unread: TypeAlias = Callable[[int], None]
"""Called with the size of a piece that was to be read from S3 and hasn't come; it must not block.

For speed a plain call, once for a fetch at most, in the task of the fetch.
"""

Waiter: TypeAlias = Callable[[int, Piece | None, SeederError | None], None]
"""Called with the index and either the piece or the error; it must not block.

A callback, because waking a task for each of hundreds of waiters would cost more than what they do.
It runs in the task of the fetch, or in trio's own (`run_sync_soon`) where the cache isn't running.
"""


class Fetch(Generic[T]):
    """A piece that is on its way."""

    __slots__ = ("ahead", "index", "kept", "key", "size", "told", "torrent", "unread", "waiters")

    def __init__(self, torrent: T, index: int, *, ahead: bool, unread: Unread | None) -> None:
        self.torrent = torrent
        self.index = index
        self.key: Key = torrent.piece_key(index)
        self.size = torrent.layout.piece_size(index)
        self.ahead = ahead
        """Whether nobody had asked for it when the fetch was started."""
        self.unread = unread
        """Told if it fails; not a waiter, for it outlives the peer that asked."""
        self.waiters: deque[tuple[int, Waiter]] = deque()
        """Each with its index: torrents that share a piece may number it differently."""
        self.kept = True
        """Whether the piece goes into the tiers; not after a discard."""
        self.told: set[type[OriginError]] = set()
        """The kinds of faults that were told of it, or of another one of its torrent."""


class Fetches(Generic[T]):
    """All that are under way, by piece."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes."""
        self.ahead = 0
        """Bytes that nobody had asked for."""
        self._all: dict[Key, Fetch[T]] = {}
        self._settling: Fetch[T] | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._all

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: Key) -> Fetch[T] | None:
        """Return the fetch of a piece, or None."""
        return self._all.get(key)

    def add(self, fetch: Fetch[T]) -> None:
        """Take in one that begins."""
        self._all[fetch.key] = fetch
        self.size += fetch.size
        self.ahead += fetch.size if fetch.ahead else 0

    def forget(self, key: Key, index: int, waiter: Waiter) -> None:
        """Never call `waiter` for this piece; the fetch goes on."""
        mine = (index, waiter)
        for fetch in (self._all.get(key), self._settling):
            if fetch is not None and fetch.key == key:
                fetch.waiters = deque(other for other in fetch.waiters if other != mine)

    def follow(self, torrent: T) -> None:
        """Have those of a torrent that has moved keep what they bring under its new name."""
        for key, fetch in tuple(self._all.items()):
            moved = torrent.piece_key(fetch.index)
            if fetch.torrent is torrent and moved != key and moved not in self._all:
                self._all[moved] = self._all.pop(key)
                fetch.key = moved

    def discard(self, cache_id: str) -> None:
        """Have no fetch keep what it brings under a name."""
        for fetch in self._all.values():
            if fetch.key[0] == cache_id:
                fetch.kept = False

    def is_news(self, fetch: Fetch[T], error: OriginError) -> bool:
        """Tell whether nobody was told yet that its torrent meets an error, and note that one is.

        A wrong piece is news each time.
        """
        if isinstance(error, PieceMismatch):
            return True
        if type(error) in fetch.told:
            return False
        for other in self._all.values():
            if other.torrent.cache_id == fetch.torrent.cache_id:
                other.told.add(type(error))
        return True

    def settle(self, fetch: Fetch[T], found: Piece | SeederError) -> None:
        """Call every waiter once; if one fails, the others are called all the same."""
        piece, error = (None, found) if isinstance(found, SeederError) else (found, None)
        del self._all[fetch.key]
        self.size -= fetch.size
        self.ahead -= fetch.size if fetch.ahead else 0
        if fetch.unread is not None and error is not None and not isinstance(error, PieceMismatch):
            with sparing_others(_log, "a piece that wasn't read"):
                fetch.unread(fetch.size)
        self._settling = fetch
        while fetch.waiters:
            index, waiter = fetch.waiters.popleft()
            try:
                waiter(index, piece, error)
            except Exception:
                _log.exception("a waiter for piece %d failed", index)
        self._settling = None
