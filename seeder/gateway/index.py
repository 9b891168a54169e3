"""The public torrents in order, so that a page of them costs no look at all the others."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seeder.config.sections import PeerSettings
from seeder.gateway.links import magnet_of, object_url
from seeder.torrent.catalog import Catalog, Publication
from seeder.torrent.info import safe_name
from seeder.torrent.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class Listed:
    """A public torrent."""

    bucket: str
    key: str
    size: int
    """Bytes of the object."""
    info_hash: str
    """40 hexadecimal digits."""
    torrent_url: str
    magnet: str

    @property
    def name(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the public torrents, by name."""

    torrents: Sequence[Listed]
    first: int
    """The place of the first of them, from 1."""
    total: int
    previous: str | None
    """Behind which name the page before begins ("" for the first); None where there is none."""
    next: str | None


FRESH = 1.0
"""Seconds that an order is used for: sorting 10,000 names takes some milliseconds."""

_Name = tuple[str, str]


class PublicList:
    """Pages of the public torrents; `clock` is in seconds, `base` the URL that leads to us."""

    def __init__(
        self,
        catalog: Catalog,
        announce: str,
        base: str,
        *,
        peer: PeerSettings,
        web_seed: str | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._announce = announce
        self._base = base
        self._peer = peer
        self._web_seed = web_seed
        self._clock = clock
        self._sorted_at: float | None = None
        self._names: list[_Name] = []
        self._newest: list[ObjectRef] = []

    def page(self, bucket: str | None, after: str, count: int) -> Page:
        """Return up to `count` torrents by name, those behind `after` (BUCKET/KEY, or "")."""
        self._sort()
        first, last = self._range(bucket)
        name, _, key = after.partition("/")
        start = max(first, bisect_right(self._names, (name, key)))
        names = self._names[start : min(start + count, last)]
        end = start + len(names)
        previous = None
        if start > first:
            before = start - count - 1
            previous = "/".join(self._names[before]) if before >= first else ""
        return Page(
            [listed for each in names if (listed := self._listed(self._catalog.by_name(*each)))],
            first=start - first + 1,
            total=last - first,
            previous=previous,
            next="/".join(names[-1]) if names and end < last else None,
        )

    def newest(self, bucket: str | None, count: int) -> Sequence[Listed]:
        """Return up to `count` torrents, the one that is served for the shortest time first."""
        self._sort()
        found: list[Listed] = []
        for ref in self._newest:
            if len(found) == count:
                break
            if bucket is None or ref.bucket == bucket:
                listed = self._listed(self._catalog.publications.get(ref))
                if listed is not None:
                    found.append(listed)
        return found

    def _sort(self) -> None:
        now = self._clock()
        if self._sorted_at is not None and now < self._sorted_at + FRESH:
            return
        self._sorted_at = now
        shown = {(each.ref.bucket, each.ref.key) for each in self._catalog if _is_shown(each)}
        self._names = sorted(shown)
        self._newest = [each.ref for each in self._catalog.newest() if _is_shown(each)]

    def _range(self, bucket: str | None) -> tuple[int, int]:
        if bucket is None:
            return 0, len(self._names)
        return bisect_left(self._names, (bucket,)), bisect_left(self._names, (bucket + "\0",))

    def _listed(self, publication: Publication | None) -> Listed | None:
        """Describe a publication; None when it is no longer to be shown."""
        if publication is None or not _is_shown(publication):
            return None
        torrent, ref = publication.torrent, publication.ref
        assert torrent is not None
        return Listed(
            bucket=ref.bucket,
            key=ref.key,
            size=torrent.layout.size,
            info_hash=torrent.info_hash.hex(),
            torrent_url=f"{object_url(self._base, ref)}?torrent",
            # By the key: a page must not read a hundred torrents for the names in them.
            magnet=magnet_of(
                *(torrent, self._announce, self._peer, self._web_seed), name=safe_name(ref.key)
            ),
        )


def _is_shown(publication: Publication) -> bool:
    return publication.public and publication.torrent is not None
