"""Which entry of the configuration an object belongs to."""

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


class Entries:
    """All entries; an object belongs to its own, else to that with the longest matching prefix."""

    def __init__(self, entries: Iterable[ObjectSettings]) -> None:
        self.objects: dict[ObjectRef, ObjectSettings] = {}
        self.prefixes: dict[ObjectRef, ObjectSettings] = {}
        self._bundles: dict[ObjectRef, None] = {}
        for settings in entries:
            self.put(settings)

    def put(self, settings: ObjectSettings) -> None:
        """Take an entry in, in place of another one of the same object or prefix."""
        ref, is_followed = name_of(settings)
        if is_followed:
            self.prefixes[ref] = settings
            return
        self.objects[ref] = settings
        if settings.bundle:
            self._bundles[ref] = None
        else:
            self._bundles.pop(ref, None)

    def drop(self, name: EntryName) -> None:
        """Forget an entry, if there is one of that name."""
        kind = self.prefixes if name.is_followed else self.objects
        kind.pop(name.ref, None)
        if not name.is_followed:
            self._bundles.pop(name.ref, None)

    def belongs(self, prefix: ObjectRef) -> Callable[[str], bool]:
        """Return a function that tells whether a key below `prefix` belongs to it and no other."""
        place = prefix.origin, prefix.bucket
        named = {ref.key for ref in self.objects if _place(ref) == place and not ref.version_id}
        longer = tuple(
            ref.key
            for ref in self.prefixes
            if _place(ref) == place and ref != prefix and ref.key.startswith(prefix.key)
        )
        return lambda key: key not in named and not key.startswith(longer)

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
        return _longest(
            each
            for each in self.prefixes
            if each.origin == prefix.origin
            and each != prefix
            and _covers(each, prefix.bucket, prefix.key)
        )

    def prefix_of(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the prefix that an object without an entry of its own belongs to."""
        if ref in self.objects or ref.version_id is not None:
            return None
        return _longest(
            prefix
            for prefix in self.prefixes
            if prefix.origin == ref.origin and _covers(prefix, ref.bucket, ref.key)
        )


def _covers(prefix: ObjectRef, bucket: str, key: str) -> bool:
    return prefix.bucket == bucket and key.startswith(prefix.key)


def _longest(prefixes: Iterable[ObjectRef]) -> ObjectRef | None:
    return max(prefixes, key=lambda ref: len(ref.key), default=None)


def _place(ref: ObjectRef) -> tuple[str, str]:
    return ref.origin, ref.bucket
