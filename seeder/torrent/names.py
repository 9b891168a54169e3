"""What has a name in a bucket: objects that are published alone, and those of bundles. No I/O."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
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


class KeyOrder(Generic[T]):
    """Goes through several sequences of keys as if they were one, without merging them first.

    It is for one go: the sequences mustn't change meanwhile.
    """

    def __init__(
        self,
        sequences: Iterable[KeySequence],
        first: str = "",
        bundles: "tuple[ByPrefix[T], Callable[[T], KeySequence]] | None" = None,
    ) -> None:
        """Begin at the first key that isn't less than `first`.

        `bundles` have further keys, found by what these begin with, and a function that gives the
        keys of one. Each is taken up when its turn comes: of a thousand, a page needs few.
        """
        self._heap: list[tuple[str, int, KeySequence, int]] = []
        self._opened = 0
        self._bundles, self._keys_of = bundles or (ByPrefix[T](), _no_keys)
        self._place = 0
        """How many prefixes of the bundles have had their turn."""
        for keys in sequences:
            self._open(keys, first)
        self._pass_over(first)

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
        self._pass_over(name)

    def step(self) -> None:
        """Go on to the next key."""
        heap, key = self._heap, self.key
        while heap and heap[0][0] == key:
            _, number, keys, at = heap[0]
            self._put(number, keys, at + 1)
        self._take_turns()

    def _put(self, number: int, keys: KeySequence, at: int) -> None:
        if at < len(keys):
            heapreplace(self._heap, (keys[at], number, keys, at))
        else:
            heappop(self._heap)

    def _open(self, keys: KeySequence, first: str) -> None:
        at = bisect_left(keys, first)
        if at < len(keys):
            heappush(self._heap, (keys[at], self._opened, keys, at))
            self._opened += 1

    def _pass_over(self, name: str) -> None:
        """Have it be the turn of the bundles whose keys all come after `name`.

        Of those before, only the ones that `name` could lie in may have a key from there on.
        """
        for bundle in self._bundles.covering(name, self._place):
            self._open(self._keys_of(bundle), name)
        self._place = max(self._place, self._bundles.place_after(name))
        self._take_turns()

    def _take_turns(self) -> None:
        """Take up the bundles that may have the next key."""
        bundles, heap = self._bundles, self._heap
        while self._place < len(bundles):
            prefix, here = bundles[self._place]
            if heap and heap[0][0] < prefix:
                return
            self._place += 1
            for bundle in here:
                self._open(self._keys_of(bundle), prefix)


def _no_keys(_: object) -> KeySequence:
    return ()


class ByPrefix(Generic[T]):
    """Values by prefixes, several for a prefix; finds those whose prefix a key begins with."""

    def __init__(self) -> None:
        self._values: dict[str, list[T]] = {}
        self._order: list[str] = []

    def __len__(self) -> int:
        """Return how many prefixes there are."""
        return len(self._order)

    def __getitem__(self, place: int) -> tuple[str, Sequence[T]]:
        """Return the prefix at a place of their order, with its values."""
        prefix = self._order[place]
        return prefix, self._values[prefix]

    def place_after(self, name: str) -> int:
        """Return the place of the first prefix that comes after a name."""
        return bisect_right(self._order, name)

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

    def covering(self, key: str, least: int = 0) -> Iterator[T]:
        """Yield the values of all prefixes of a key, those of the longest first.

        Of them, those from place `least` on.
        """
        rest: str | None = key
        while rest is not None:
            at = bisect_right(self._order, rest) - 1
            if at < least:
                return
            prefix = self._order[at]
            if key.startswith(prefix):
                yield from self._values[prefix]
                rest = prefix[:-1] if prefix else None
            else:
                pairs = enumerate(zip(key, prefix, strict=False))
                rest = key[: next((at for at, (a, b) in pairs if a != b), len(rest))]
