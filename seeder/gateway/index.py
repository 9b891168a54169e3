"""The index: the public torrents in order; making a page looks at that page's torrents only."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seeder.gateway.links import Links
from seeder.torrent.catalog import Catalog, Publication
from seeder.torrent.info import safe_name
from seeder.torrent.objects import ObjectRef

FRESH = 1.0
"""Seconds for which a sorted order is used: sorting 10,000 names takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A public torrent."""

    bucket: str
    key: str
    size: int
    """Bytes of the object."""
    info_hash: str
    """40 hexadecimal digits."""
    torrent_url: str
    magnet: str
    download_url: str | None = None
    """Where the object itself is to be had over HTTP; None where it isn't."""
    published: int | None = None
    """Unix seconds at which there was this torrent for the first time."""

    @property
    def name(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Some of the public torrents, by name."""

    entries: Sequence[IndexEntry]
    first: int
    """The place of the first of them, from 1."""
    total: int
    previous: str | None
    """The name after which the page before begins ("" for the first page); None without one."""
    next: str | None
    """The name after which the next page begins; None without one."""


class Index:
    """Pages of the public torrents; `clock` is in seconds."""

    def __init__(self, catalog: Catalog, links: Links, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._links = links
        self._clock = clock
        self._sorted_at: float | None = None
        self._names: list[tuple[str, str]] = []
        """Bucket and key of every public torrent, in order."""
        self._newest: list[ObjectRef] = []
        """The same torrents, the one that was published last first."""

    @property
    def url(self) -> str:
        """Where clients find the index."""
        return f"{self._links.gateway}/"

    @property
    def loading(self) -> bool:
        """Whether nothing is here yet because the start isn't over."""
        return self._catalog.loading and not self._catalog.publications

    def page(self, bucket: str | None, after: str, count: int) -> IndexPage:
        """Return up to `count` torrents by name, those after `after` (BUCKET/KEY, or "").

        `bucket` None means all buckets.
        """
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
        return IndexPage(
            [entry for each in names if (entry := self._entry(self._catalog.by_name(*each)))],
            first=start - first + 1,
            total=last - first,
            previous=previous,
            next="/".join(names[-1]) if names and end < last else None,
        )

    def newest(self, bucket: str | None, count: int) -> Sequence[IndexEntry]:
        """Return up to `count` torrents, the one that was published last first."""
        self._sort()
        found: list[IndexEntry] = []
        for ref in self._newest:
            if len(found) == count:
                break
            if bucket is None or ref.bucket == bucket:
                entry = self._entry(self._catalog.publications.get(ref))
                if entry is not None:
                    found.append(entry)
        return found

    def _sort(self) -> None:
        now = self._clock()
        if self._sorted_at is not None and now < self._sorted_at + FRESH:
            return
        self._sorted_at = now
        shown = {(each.ref.bucket, each.ref.key) for each in self._catalog if _is_shown(each)}
        self._names = sorted(shown)
        # The order of a start is not that of publishing. Equal times leave the order as it is.
        live = [each for each in self._catalog.newest() if _is_shown(each)]
        self._newest = [each.ref for each in sorted(live, key=_published, reverse=True)]

    def _range(self, bucket: str | None) -> tuple[int, int]:
        """Return where the names of a bucket begin and end."""
        if bucket is None:
            return 0, len(self._names)
        return bisect_left(self._names, (bucket,)), bisect_left(self._names, (bucket + "\0",))

    def _entry(self, publication: Publication | None) -> IndexEntry | None:
        """Return the entry of a publication; None when it is no longer to be shown."""
        if publication is None or not _is_shown(publication):
            return None
        torrent, ref = publication.torrent, publication.ref
        assert torrent is not None
        return IndexEntry(
            bucket=ref.bucket,
            key=ref.key,
            size=torrent.pinned.size,  # without the padding of a bundle
            info_hash=torrent.info_hash.hex(),
            torrent_url=f"{self._links.object_url(ref)}?torrent",
            # Named after the key: a page must not read a hundred torrents for their own names.
            magnet=self._links.magnet(torrent, public=True, name=safe_name(ref.key)),
            download_url=self._links.download_url(torrent),
            published=torrent.published,
        )


def _is_shown(publication: Publication) -> bool:
    return publication.public and publication.torrent is not None


def _published(publication: Publication) -> int:
    torrent = publication.torrent
    return (torrent.published if torrent is not None else None) or 0
