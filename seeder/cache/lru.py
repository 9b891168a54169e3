"""Which entries stay when bytes are short: the least recently used leave first. No I/O."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_SPARED = 256
"""Entries that one make_room() may spare; without a limit a call may go through the whole table."""


class ByteLru(Generic[K, V]):
    """Values by key, oldest use first, whose sizes never add up to more than `budget` bytes."""

    __slots__ = ("_entries", "_size_of", "budget", "used")

    def __init__(self, budget: int, size_of: Callable[[V], int]) -> None:
        self.budget = budget
        self.used = 0
        self._size_of = size_of
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value and mark it as used just now, or None."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def peek(self, key: K) -> V | None:
        """Return the value without a mark, or None."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> list[tuple[K, V]]:
        """Store as the newest; return what had to go, which is `value` if it is over the budget."""
        self.pop(key)
        size = self._size_of(value)
        if size > self.budget:
            return [(key, value)]
        evicted = self.make_room(size)
        self._entries[key] = value
        self.used += size
        return evicted

    def pop(self, key: K) -> V | None:
        """Remove and return the value, or None."""
        value = self._entries.pop(key, None)
        if value is not None:
            self.used -= self._size_of(value)
        return value

    def make_room(self, size: int, spare: Callable[[K], bool] | None = None) -> list[tuple[K, V]]:
        """Evict the oldest until `size` bytes more would fit; ValueError beyond the budget.

        A key for which `spare` is true becomes the newest instead, up to MOST_SPARED of them.
        """
        if size > self.budget:
            raise ValueError(f"{size} bytes don't fit into {self.budget}")
        evicted: list[tuple[K, V]] = []
        spared = 0
        while self.used + size > self.budget:
            key = next(iter(self._entries))
            if spare is not None and spared < MOST_SPARED and spare(key):
                self._entries.move_to_end(key)
                spared += 1
                continue
            value = self._entries.pop(key)
            self.used -= self._size_of(value)
            evicted.append((key, value))
        return evicted
