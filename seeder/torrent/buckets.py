"""What is published of one bucket, by key and by prefix. No I/O."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from seeder.torrent.names import ByPrefix, KeyOrder, KeySequence

P = TypeVar("P")


class Bucket(Generic[P]):
    """The publications of a bucket, whatever the origin and the version; bundles by prefix, too."""

    __slots__ = ("_bundles", "_by_key", "_order", "_prefixes", "since")

    def __init__(self) -> None:
        self.since: int | None = None
        """When the first of its torrents was published (Unix s); None while there was none."""
        self._by_key: dict[str, list[P]] = {}
        self._order: list[str] | None = None
        """All keys in order, once they were listed: to sort thousands takes milliseconds."""
        self._bundles: ByPrefix[P] = ByPrefix()
        """Those that have a torrent."""
        self._prefixes: ByPrefix[P] = ByPrefix()
        """Bundles whether they have a torrent or not."""

    def __len__(self) -> int:
        """Return how many keys anything is published of."""
        return len(self._by_key)

    def add(self, key: str, publication: P, *, bundle: bool) -> None:
        """Take a publication in; one of a `bundle` has its prefix as its key."""
        if key not in self._by_key and self._order is not None:
            insort(self._order, key)
        self._by_key.setdefault(key, []).append(publication)
        if bundle:
            self._prefixes.add(key, publication)

    def remove(self, key: str, publication: P) -> None:
        """Forget a publication that was added."""
        self._by_key[key].remove(publication)
        if not self._by_key[key]:
            del self._by_key[key]
            if self._order is not None:
                del self._order[bisect_left(self._order, key)]
        self._prefixes.discard(key, publication)
        self._bundles.discard(key, publication)

    def open_bundle(self, key: str, publication: P) -> None:
        """Take note that a bundle has a torrent."""
        self._bundles.add(key, publication)

    def close_bundle(self, key: str, publication: P) -> None:
        """Take note that a bundle has no torrent any more, if it had one."""
        self._bundles.discard(key, publication)

    def note_published(self, at: int) -> None:
        """Take note of when one of its torrents was published (Unix s)."""
        self.since = at if self.since is None else min(at, self.since)

    def keys(self, first: str, members: Callable[[P], KeySequence]) -> KeyOrder[P]:
        """Return its keys in order, from `first` on; for one go.

        Those of what is published, bundles by their prefixes too, and of the objects of bundles,
        which `members` gives.
        """
        if self._order is None:
            self._order = sorted(self._by_key)
        return KeyOrder((self._order,), first, (self._bundles, members) if self._bundles else None)

    def of_key(self, key: str) -> Sequence[P]:
        """Return the publications of a key."""
        return self._by_key.get(key, ())

    def bundles_with(self, key: str) -> Iterator[P]:
        """Yield the bundles that have a torrent and may have an object, longest prefix first."""
        return self._bundles.covering(key)

    def prefixes_of(self, key: str) -> Iterator[P]:
        """Yield all bundles that an object may be in, longest prefix first."""
        return self._prefixes.covering(key)
