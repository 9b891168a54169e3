"""What has a name in a bucket: objects that are published alone, and those of bundles. No I/O."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Generic, Protocol, TypeVar

from seeder.torrent.objects import PinnedBundle, PinnedObject

T = TypeVar("T")


class KeySequence(Protocol):
    """KeySequence in the order of their UTF-8, each once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> str: ...


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """The keys of a bundle's objects."""

    bundle: PinnedBundle

    def __len__(self) -> int:
        return len(self.bundle.members)

    def __getitem__(self, index: int, /) -> str:
        return self.bundle.members[index].ref.key


def member_of(bundle: PinnedBundle, key: str) -> PinnedObject | None:
    """Return the object of a bundle that has a key."""
    keys = MemberKeys(bundle)
    at = bisect_left(keys, key)
    return bundle.members[at] if at < len(keys) and keys[at] == key else None


def beyond(prefix: str) -> str | None:
    """Return the least text after all that begin with a prefix; None where none comes after."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # UTF-8 has no surrogates.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


class KeyOrder:
    """Goes through several sequences of keys as if they were one, without merging them first.

    It is for one go: the sequences mustn't change meanwhile.
    """

    def __init__(self, sequences: Iterable[KeySequence], first: str = "") -> None:
        """Begin at the first key that isn't less than `first`."""
        found = ((keys, _start(keys, first)) for keys in sequences)
        self._heap = [
            (keys[at], number, keys, at)
            for number, (keys, at) in enumerate(found)
            if at < len(keys)
        ]
        heapify(self._heap)

    @property
    def key(self) -> str | None:
        """The present key; None at the end."""
        return self._heap[0][0] if self._heap else None

    def seek(self, name: str) -> None:
        """Go on to the first key that isn't less than `name`."""
        heap = self._heap
        while heap and heap[0][0] < name:
            _, number, keys, at = heap[0]
            self._put(number, keys, bisect_left(keys, name, at + 1))

    def step(self) -> None:
        """Go on to the next key."""
        heap, key = self._heap, self.key
        while heap and heap[0][0] == key:
            _, number, keys, at = heap[0]
            self._put(number, keys, at + 1)

    def _put(self, number: int, keys: KeySequence, at: int) -> None:
        if at < len(keys):
            heapreplace(self._heap, (keys[at], number, keys, at))
        else:
            heappop(self._heap)


def _start(keys: KeySequence, first: str) -> int:
    """Return the place of the first key that isn't less than `first`."""
    # Of a thousand bundles, nearly all lie on one side of it.
    if not keys or keys[0] >= first:
        return 0
    return len(keys) if keys[len(keys) - 1] < first else bisect_left(keys, first)


class ByPrefix(Generic[T]):
    """Values by prefixes, several for a prefix; finds those whose prefix a key begins with."""

    def __init__(self) -> None:
        self._values: dict[str, list[T]] = {}
        self._order: list[str] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, prefix: str, value: T) -> None:
        """Take a value in."""
        if prefix not in self._values:
            insort(self._order, prefix)
        self._values.setdefault(prefix, []).append(value)

    def discard(self, prefix: str, value: T) -> None:
        """Forget a value if it is there."""
        values = self._values.get(prefix, [])
        if value in values:
            values.remove(value)
            if not values:
                del self._values[prefix]
                del self._order[bisect_left(self._order, prefix)]

    def covering(self, key: str) -> Iterator[T]:
        """Yield the values of all prefixes of a key, those of the longest first."""
        rest: str | None = key
        while rest is not None:
            at = bisect_right(self._order, rest) - 1
            if at < 0:
                return
            prefix = self._order[at]
            if key.startswith(prefix):
                yield from self._values[prefix]
                rest = prefix[:-1] if prefix else None
            else:
                pairs = enumerate(zip(key, prefix, strict=False))
                rest = key[: next((at for at, (a, b) in pairs if a != b), len(rest))]

    def below(self, prefix: str) -> Iterator[T]:
        """Yield the values of all prefixes that begin with `prefix`."""
        end = beyond(prefix)
        stop = len(self._order) if end is None else bisect_left(self._order, end)
        for each in self._order[bisect_left(self._order, prefix) : stop]:
            yield from self._values[each]
