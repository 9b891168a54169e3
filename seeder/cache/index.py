"""Which pieces have a file on disk, how large it is, and which of the files are known to be right.

The least recently used come first. No I/O.
"""

from collections.abc import Callable, Iterator

from seeder.cache.lru import ByteLru
from seeder.cache.memory import Key


class PieceIndex:
    """The files' sizes in bytes by piece, which never add up to more than `budget`."""

    def __init__(self, budget: int) -> None:
        self.verified: dict[Key, int] = {}
        """Pieces whose bytes were written or checked, and the mtime (ns) that their files had."""
        self.stale: set[Key] = set()
        """Pieces read since the mtime of their files was set."""
        self.evictions = 0
        self._sizes: ByteLru[Key, int] = ByteLru(budget, int)
        self._indices: dict[str, set[int]] = {}
        """Of the pieces, by cache_id."""

    def __contains__(self, key: Key) -> bool:
        return key in self._sizes

    def __iter__(self) -> Iterator[Key]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def budget(self) -> int:
        """Bytes."""
        return self._sizes.budget

    @property
    def used(self) -> int:
        """Bytes of all the files."""
        return self._sizes.used

    def has_room(self, size: int) -> bool:
        """Tell whether `size` bytes more would fit without an eviction."""
        return self._sizes.used + size <= self._sizes.budget

    def pieces_of(self, cache_id: str) -> frozenset[int]:
        """Return the indices of the pieces of `cache_id` that have a file."""
        return frozenset(self._indices.get(cache_id, ()))

    def touch(self, key: Key) -> bool:
        """Mark a piece as used just now; False if it has no file."""
        return self._sizes.get(key) is not None

    def add(self, key: Key, size: int) -> list[tuple[Key, int]]:
        """Note a file as the newest; return what had to go, itself if it is over the budget."""
        evicted = self._sizes.put(key, size)
        self._indices.setdefault(key[0], set()).add(key[1])
        self._evict(evicted)
        return evicted

    def make_room(self, size: int, spare: Callable[[Key], bool]) -> list[tuple[Key, int]]:
        """Evict the oldest until `size` bytes more fit, and return them; pieces in `spare` go last.

        ValueError beyond the budget.
        """
        evicted = self._sizes.make_room(size, spare)
        self._evict(evicted)
        return evicted

    def remove(self, key: Key) -> int | None:
        """Forget a file and return its size; None if there is none."""
        size = self._sizes.pop(key)
        if size is not None:
            self._forget(key)
        return size

    def _evict(self, evicted: list[tuple[Key, int]]) -> None:
        self.evictions += len(evicted)
        for key, _ in evicted:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self.verified.pop(key, None)
        self.stale.discard(key)
        indices = self._indices[key[0]]
        indices.discard(key[1])
        if not indices:
            del self._indices[key[0]]
