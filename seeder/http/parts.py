"""A body in many parts, which would take long to join and to send in one go."""

from collections import deque
from collections.abc import Iterable, Sequence

import trio

from seeder.units import KIB

_AT_ONCE = 256 * KIB
_MOST_PARTS = 1024


class BodyParts:
    """A `BodySource` of bytes; `length` is how many."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = deque(memoryview(part) for part in parts if part)
        self.length = sum(map(len, self._parts))

    async def offer(self) -> Sequence[memoryview]:
        """Return the next of them, and let other tasks run before."""
        await trio.lowlevel.checkpoint()
        offered: list[memoryview] = []
        size = 0
        for part in self._parts:
            offered.append(part)
            size += len(part)
            if size >= _AT_ONCE or len(offered) == _MOST_PARTS:
                break
        return offered

    def took(self, count: int) -> None:
        """Drop what was sent."""
        while count:
            first = self._parts.popleft()
            if count < len(first):
                self._parts.appendleft(first[count:])
            count -= min(count, len(first))

    def close(self) -> None:
        """Drop the rest."""
        self._parts.clear()
