"""Which entry of the configuration an object belongs to."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from seeder.config.added import EntryName, name_of
from seeder.config.objects import ObjectSettings
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that is to be published, with its own entry or the one of its prefix."""

    settings: ObjectSettings
    ref: ObjectRef
    listed: Listed | None = None
    """What the listing of its prefix says; None for an object that has an entry of its own."""


class _Place:
    """What entries name in one bucket, so that a change costs the same beside a million others."""

    __slots__ = ("_is_sorted", "_lengths", "_prefixes", "keys")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        """Of the objects without a version."""
        self._prefixes: list[str] = []
        self._is_sorted = True
        self._lengths: Counter[int] = Counter()
        """How many prefixes there are of each length."""

    def add(self, prefix: str) -> None:
        """Take note of a prefix that is new."""
        self._prefixes.append(prefix)
        self._is_sorted = False
        self._lengths[len(prefix)] += 1

    def discard(self, prefix: str) -> None:
        """Forget a prefix that is known."""
        self._prefixes.remove(prefix)
        self._lengths[len(prefix)] -= 1
        self._lengths += Counter()  # without those of which there are none

    def longer(self, prefix: str) -> Iterator[str]:
        """Yield the prefixes that begin with another one."""
        if not self._is_sorted:
            self._prefixes.sort()
            self._is_sorted = True
        for at in range(bisect_right(self._prefixes, prefix), len(self._prefixes)):
            if not self._prefixes[at].startswith(prefix):
                break
            yield self._prefixes[at]

    def beginnings(self, key: str) -> Iterator[str]:
        """Yield what a key begins with and may be one of the prefixes, longest first."""
        for length in sorted(self._lengths, reverse=True):
            if length <= len(key):
                yield key[:length]


class Entries:
    """All entries; an object belongs to its own, else to that with the longest matching prefix."""

    def __init__(self, entries: Iterable[ObjectSettings]) -> None:
        self.objects: dict[ObjectRef, ObjectSettings] = {}
        self.prefixes: dict[ObjectRef, ObjectSettings] = {}
        self._bundles: dict[ObjectRef, None] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        for settings in entries:
            self.put(settings)

    def put(self, settings: ObjectSettings) -> None:
        """Take an entry in, in place of another one of the same object or prefix."""
        ref, is_followed = name_of(settings)
        place = self._place(ref)
        if is_followed:
            if ref not in self.prefixes:
                place.add(ref.key)
            self.prefixes[ref] = settings
            return
        self.objects[ref] = settings
        if ref.version_id is None:
            place.keys.add(ref.key)
        if settings.bundle:
            self._bundles[ref] = None
        else:
            self._bundles.pop(ref, None)

    def drop(self, name: EntryName) -> None:
        """Forget an entry, if there is one of that name."""
        ref, place = name.ref, self._place(name.ref)
        if name.is_followed:
            if self.prefixes.pop(ref, None) is not None:
                place.discard(ref.key)
            return
        self.objects.pop(ref, None)
        self._bundles.pop(ref, None)
        if ref.version_id is None:
            place.keys.discard(ref.key)

    def _place(self, ref: ObjectRef) -> _Place:
        return self._places.setdefault((ref.origin, ref.bucket), _Place())

    def belongs(self, prefix: ObjectRef) -> Callable[[str], bool]:
        """Return a function that tells whether a key below `prefix` belongs to it and no other.

        It knows of objects with an entry as they come and go, and of the other prefixes of now.
        """
        place = self._place(prefix)
        named, longer = place.keys, frozenset(place.longer(prefix.key))
        # There may be as many prefixes as keys; they have few lengths.
        lengths = sorted({len(each) for each in longer})
        return lambda key: (
            key not in named and longer.isdisjoint(key[:length] for length in lengths)
        )

    def find(self, bucket: str, key: str) -> ObjectSettings | None:
        """Return the section of BUCKET/KEY, as if it were written for that key alone."""
        for ref, settings in self.objects.items():
            if (ref.bucket, ref.key) == (bucket, key):
                return settings
        covering = _longest(ref for ref in self.prefixes if _covers(ref, bucket, key))
        return None if covering is None else self.prefixes[covering].of(key)

    @property
    def bundles(self) -> Iterable[ObjectRef]:
        """The prefixes of all bundles."""
        return self._bundles

    def bundles_of(self, ref: ObjectRef) -> Iterator[ObjectRef]:
        """Yield the bundles that have an object in them."""
        for each in self._bundles:
            if each.origin == ref.origin and _covers(each, ref.bucket, ref.key):
                yield each

    def prefix_around(self, prefix: ObjectRef) -> ObjectRef | None:
        """Return the prefix that would have the objects below another one."""
        return next((each for each in self.prefixes_over(prefix) if each != prefix), None)

    def prefixes_over(self, ref: ObjectRef) -> Iterator[ObjectRef]:
        """Yield the prefixes that an object or prefix is below, longest first; itself, too."""
        for begin in self._place(ref).beginnings(ref.key):
            prefix = ObjectRef(ref.origin, ref.bucket, begin)
            if prefix in self.prefixes:
                yield prefix

    def prefix_of(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the prefix that an object without an entry of its own belongs to."""
        if ref in self.objects or ref.version_id is not None:
            return None
        return next(self.prefixes_over(ref), None)


def _covers(prefix: ObjectRef, bucket: str, key: str) -> bool:
    return prefix.bucket == bucket and key.startswith(prefix.key)


def _longest(prefixes: Iterable[ObjectRef]) -> ObjectRef | None:
    return max(prefixes, key=lambda ref: len(ref.key), default=None)
