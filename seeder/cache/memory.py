"""The pieces that are served without waiting, within a budget of bytes. No I/O."""

from typing import TypeAlias

from seeder.cache.lru import ByteLru

Key: TypeAlias = tuple[str, int]
"""cache_id and piece index."""

Piece: TypeAlias = bytes | bytearray
"""A whole, verified piece; nobody writes to it any more."""


class MemoryTier:
    """Whole pieces; a piece stays alive beyond its eviction as long as somebody sends it."""

    def __init__(self, budget: int) -> None:
        self.hits = 0
        self.evictions = 0
        self._pieces: ByteLru[Key, Piece] = ByteLru(budget, len)
        self._indices: dict[str, set[int]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._pieces

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def used(self) -> int:
        """Bytes held."""
        return self._pieces.used

    def has_room(self, size: int) -> bool:
        """Tell whether `size` bytes more would fit without an eviction."""
        return self.used + size <= self._pieces.budget

    def get(self, key: Key) -> Piece | None:
        """Return the piece and mark it as used just now, or None."""
        piece = self._pieces.get(key)
        if piece is not None:
            self.hits += 1
        return piece

    def find(self, key: Key) -> Piece | None:
        """Return the piece without using it, or None."""
        return self._pieces.peek(key)

    def put(self, key: Key, piece: Piece) -> list[tuple[Key, Piece]]:
        """Hold `piece`; return the pieces that had to go, itself if it is over the budget."""
        evicted = self._pieces.put(key, piece)
        self._indices.setdefault(key[0], set()).add(key[1])
        for gone, _ in evicted:
            self._forget(gone)
            self.evictions += gone != key
        return evicted

    def pieces_of(self, cache_id: str) -> frozenset[int]:
        """Return the indices of the pieces of `cache_id` that are held."""
        return frozenset(self._indices.get(cache_id, ()))

    def drop(self, cache_id: str) -> None:
        """Let go of every piece of `cache_id`."""
        for index in self._indices.pop(cache_id, ()):
            self._pieces.pop((cache_id, index))

    def drop_piece(self, key: Key) -> None:
        """Let go of a piece, if it is held."""
        if self._pieces.pop(key) is not None:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        cache_id, index = key
        indices = self._indices[cache_id]
        indices.discard(index)
        if not indices:
            del self._indices[cache_id]
