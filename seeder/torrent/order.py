"""The objects in the order of their names, kept in order as they come and go. No I/O."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import TypeAlias

from seeder.torrent.objects import ObjectRef

_MOST_IN_A_CHUNK = 2000
"""A list of so many takes a name in within microseconds."""

NameKey: TypeAlias = tuple[str, str, str, str]
"""Origin, bucket, key and version of an object."""


def name_key(ref: ObjectRef) -> NameKey:
    """Return what an object is ordered by."""
    return ref.origin, ref.bucket, ref.key, ref.version_id or ""


class NameOrder:
    """Names in order, in chunks: a million are never sorted, nor moved, at once."""

    def __init__(self) -> None:
        self._chunks: list[list[NameKey]] = []
        self._lasts: list[NameKey] = []
        """The last name of each chunk."""

    def add(self, ref: ObjectRef) -> None:
        """Take an object in, once however often it is added."""
        name = name_key(ref)
        at = min(bisect_left(self._lasts, name), len(self._chunks) - 1)
        if at < 0:
            self._chunks.append([name])
            self._lasts.append(name)
            return
        chunk = self._chunks[at]
        place = bisect_left(chunk, name)
        if place < len(chunk) and chunk[place] == name:
            return
        insort(chunk, name)
        if len(chunk) > _MOST_IN_A_CHUNK:
            half = len(chunk) // 2
            self._chunks[at : at + 1] = [chunk[:half], chunk[half:]]
            self._lasts[at : at + 1] = [chunk[half - 1], chunk[-1]]
        else:
            self._lasts[at] = chunk[-1]

    def discard(self, ref: ObjectRef) -> None:
        """Forget an object, if it is there."""
        name = name_key(ref)
        at = bisect_left(self._lasts, name)
        if at == len(self._chunks):
            return
        chunk = self._chunks[at]
        place = bisect_left(chunk, name)
        if chunk[place] != name:
            return
        del chunk[place]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at], self._lasts[at]

    def after(self, name: NameKey, *, inclusive: bool = False) -> Iterator[NameKey]:
        """Yield the names after one, or from it on; for one go, while none comes or goes."""
        bisect = bisect_left if inclusive else bisect_right
        first = bisect(self._lasts, name)
        for chunk in self._chunks[first : first + 1]:
            yield from chunk[bisect(chunk, name) :]
        for chunk in self._chunks[first + 1 :]:
            yield from chunk
