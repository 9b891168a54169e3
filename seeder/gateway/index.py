"""The index: the public torrents, searched and in order, a page at a time.

There may be ten thousand, so whatever looks at all of them lets other tasks run in between, and is
used for a moment. Making a page looks at that page's torrents only.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

import trio

from seeder.gateway.links import Links
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash, safe_name
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.announce import ScrapeCounts
from seeder.units import whole_number

FRESH = 1.0
"""Seconds for which a sorted order is used."""
SLICE = 500
"""Torrents that are looked at in a go: a millisecond or two."""
LONGEST_SEARCH = 200
"""Characters; what stands behind is ignored."""

_FIRST = -(10**20)
"""Less than the rank of any torrent."""

Order: TypeAlias = Literal["name", "newest", "size"]


class _Row(NamedTuple):
    """A torrent's place in an order; rows are sorted as they are."""

    rank: int
    """What comes before the name: 0, or less the later it was published, or the larger it is."""
    bucket: str
    key: str
    text: str
    """What is searched: both in lower case."""


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """Which torrents are asked for."""

    bucket: str | None = None
    """None means all buckets."""
    search: str = ""
    """Words that the name of each has to contain, or an info hash."""
    order: Order = "name"
    after: str = ""
    """What stands in `next` of the page before, or BUCKET/KEY where they go by name."""
    count: int = 100
    """Torrents on the page, at most."""

    @property
    def words(self) -> Sequence[str]:
        """The words in lower case."""
        return self.search[:LONGEST_SEARCH].lower().split()


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
    seeds: int = 1
    """Complete peers, us included."""
    leechers: int = 0
    info_hash_v2: str | None = None
    """64 hexadecimal digits of a hybrid."""
    sha256: str | None = None
    """Of the whole object, 64 hexadecimal digits; None where neither of these two told it."""
    sha256_from: Literal["s3", "publisher"] | None = None
    """Who says so: S3, which checked it, or the publisher alone, as metadata."""

    @property
    def name(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Some of the public torrents."""

    entries: Sequence[IndexEntry]
    first: int
    """The place of the first of them, from 1."""
    total: int
    previous: str | None
    """What the page before begins after ("" for the first page); None without one."""
    next: str | None
    """What the next page begins after; None without one."""


class Index:
    """Pages of the public torrents.

    `counts` tells of a torrent's swarm, `clock` is in seconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        links: Links,
        counts: Callable[[InfoHash], ScrapeCounts],
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._links = links
        self._counts = counts
        self._clock = clock
        self._orders: dict[Order, tuple[float, Sequence[_Row]]] = {}
        """The public torrents in each order, and when they were sorted."""
        self._sorting = trio.Lock()

    @property
    def url(self) -> str:
        """Where clients find the index."""
        return f"{self._links.gateway}/"

    @property
    def loading(self) -> bool:
        """Whether nothing is here yet because the start isn't over."""
        return self._catalog.loading and not self._catalog.publications

    async def page(self, query: IndexQuery) -> IndexPage:
        """Return a page."""
        rows = await self._matching(query)
        start = 0
        if query.after:
            start = bisect_right(rows, _place(query), key=lambda row: row[:3])
        some = rows[start : start + query.count]
        end = start + len(some)
        previous = None
        if start:
            before = start - query.count - 1
            previous = _name(query, rows[before]) if before >= 0 else ""
        entries = [
            entry
            for row in some
            if (entry := self._entry(self._catalog.by_name(row.bucket, row.key)))
        ]
        await trio.lowlevel.checkpoint()
        return IndexPage(
            entries,
            first=start + 1,
            total=len(rows),
            previous=previous,
            next=_name(query, some[-1]) if some and end < len(rows) else None,
        )

    async def _matching(self, query: IndexQuery) -> Sequence[_Row]:
        """Return the torrents that a query finds, in its order."""
        rows, words, bucket = await self._in_order(query.order), query.words, query.bucket
        if not words and bucket is None:
            return rows
        name = self._named_by_hash(words)
        found: list[_Row] = []
        for start in range(0, len(rows), SLICE):
            found += [
                row
                for row in rows[start : start + SLICE]
                if (bucket is None or row.bucket == bucket)
                and (name == (row.bucket, row.key) or all(word in row.text for word in words))
            ]
            await trio.lowlevel.checkpoint()
        return found

    def _named_by_hash(self, words: Sequence[str]) -> tuple[str, str] | None:
        """Return bucket and key of the torrent whose info hash is searched, if it is one."""
        if len(words) != 1 or len(words[0]) not in (40, 64):
            return None
        try:
            # Of a v2 hash, the beginning.
            torrent = self._catalog.by_hash(bytes.fromhex(words[0])[:20])
        except ValueError:
            return None
        owner = self._catalog.owner(torrent) if torrent is not None else None
        return (owner.ref.bucket, owner.ref.key) if owner is not None else None

    async def _in_order(self, order: Order) -> Sequence[_Row]:
        async with self._sorting:
            now, (sorted_at, rows) = self._clock(), self._orders.get(order, (None, ()))
            if sorted_at is None or now >= sorted_at + FRESH:
                rows = await _sorted(self._catalog, order)
                self._orders[order] = (now, rows)
            return rows

    def _entry(self, publication: Publication | None) -> IndexEntry | None:
        """Return the entry of a publication; None when it is no longer to be shown."""
        if publication is None or not _is_shown(publication):
            return None
        torrent, ref = publication.torrent, publication.ref
        assert torrent is not None
        counts = self._counts(torrent.info_hash)
        told = (publication.pinned or torrent.pinned).description
        sha256, sha256_from = (None, None) if told is None else told.digest
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
            seeds=counts.complete,
            leechers=counts.incomplete,
            info_hash_v2=torrent.v2_hash.hex() if torrent.v2_hash is not None else None,
            sha256=sha256,
            sha256_from=sha256_from,
        )


async def _sorted(catalog: Catalog, order: Order) -> Sequence[_Row]:
    """Return the public torrents of a catalog in an order, each name once."""
    all_of_them = list(catalog.publications.values())
    runs: list[Sequence[_Row]] = []
    for start in range(0, len(all_of_them), SLICE):
        rows = (_row(each, order) for each in all_of_them[start : start + SLICE])
        runs.append(sorted(row for row in rows if row is not None))
        await trio.lowlevel.checkpoint()
    ordered: list[_Row] = []
    merged = _each_once(merge(*runs))
    while some := list(islice(merged, SLICE)):
        ordered += some
        await trio.lowlevel.checkpoint()
    return ordered


def _each_once(rows: Iterable[_Row]) -> Iterator[_Row]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = row.bucket, row.key
        if name not in seen:
            seen.add(name)
            yield row


def _row(publication: Publication, order: Order) -> _Row | None:
    torrent, ref = publication.torrent, publication.ref
    if torrent is None or not publication.public:
        return None
    return _Row(_rank(torrent, order), ref.bucket, ref.key, f"{ref.bucket}/{ref.key}".lower())


def _rank(torrent: Torrent, order: Order) -> int:
    if order == "name":
        return 0
    return -((torrent.published or 0) if order == "newest" else torrent.pinned.size)


def _name(query: IndexQuery, row: _Row) -> str:
    """Return what a page that begins after a row is asked for with."""
    name = f"{row.bucket}/{row.key}"
    return name if query.order == "name" else f"{-row.rank}/{name}"


def _place(query: IndexQuery) -> tuple[int, str, str]:
    """Return where a page begins that is asked for: at the start where that can't be read."""
    rank, after = 0, query.after
    if query.order != "name":
        digits, _, after = after.partition("/")
        number = whole_number(digits)
        rank = _FIRST if number is None else -number
    bucket, _, key = after.partition("/")
    return rank, bucket, key


def _is_shown(publication: Publication) -> bool:
    return publication.public and publication.torrent is not None
