"""The index of public torrents: in order, in pages, found by what is searched, never the others."""

from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.index import FRESH, SLICE, Index, IndexEntry, IndexPage, IndexQuery, Order
from seeder.gateway.links import Links
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import Description, ObjectRef, PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.tracker.announce import ScrapeCounts
from tests.gateway.steps import StepsOf
from tests.gateway.support import ANNOUNCE, objects_of

_LINKS = Links(ANNOUNCE, "https://t.example.org")


class Published:
    """A catalog with an index of it."""

    def __init__(self, links: Links = _LINKS) -> None:
        self.catalog, self.now = Catalog(), 0.0
        self.swarms: dict[InfoHash, ScrapeCounts] = {}
        self.index = Index(
            self.catalog,
            links,
            lambda info_hash: self.swarms.get(info_hash, ScrapeCounts()),
            lambda: self.now,
        )

    def add(
        self,
        name: str,
        *,
        public: bool = True,
        live: bool = True,
        published: int | None = None,
        size: int = 5,
        told: Description | None = None,
    ) -> Publication:
        bucket, _, key = name.partition("/")
        publication = Publication(ObjectRef("default", bucket, key), public)
        self.catalog.add(publication)
        if live:
            layout = Layout(size, 16384)
            raw = build_info(
                name=f"{bucket}-{key}", layout=layout, pieces=b"h" * 20 * layout.piece_count
            )
            pinned = PinnedObject(publication.ref, '"e"', size, description=told)
            torrent = Torrent(parse_info(raw), pinned, "build", published=published)
            self.catalog.serve(publication, torrent)
        self.now += FRESH
        return publication

    async def names(self, query: IndexQuery) -> list[str]:
        return names(await self.index.page(query))

    async def entry(self) -> IndexEntry:
        [entry] = (await self.index.page(IndexQuery())).entries
        return entry


def names(page: IndexPage) -> list[str]:
    return [each.name for each in page.entries]


@pytest.fixture
def published() -> Published:
    return Published()


async def test_only_public_torrents_are_listed_by_name(published: Published) -> None:
    for name in ("b/2", "b/10", "a/z", "c/x"):
        published.add(name)
    published.add("b/secret", public=False)
    published.add("b/soon", live=False)
    page = await published.index.page(IndexQuery())
    assert names(page) == ["a/z", "b/10", "b/2", "c/x"]
    assert (page.first, page.total, page.previous, page.next) == (1, 4, None, None)
    assert await published.names(IndexQuery("b")) == ["b/10", "b/2"]
    assert (await published.index.page(IndexQuery("nothing"))).total == 0


@pytest.mark.parametrize("order", ["name", "newest", "size"])
async def test_pages_follow_each_other_both_ways(published: Published, order: Order) -> None:
    for number in range(10):
        # Some have the same date and size, and go by name then.
        published.add(f"b/{number:02}", published=number // 3, size=1 + number % 4)
    for name in ("a/x", "c/x"):
        published.add(name)
    for query in (
        IndexQuery("b", order=order),
        IndexQuery(order=order),
        IndexQuery(search="X", order=order),
    ):
        wanted = await published.names(replace(query, count=100))
        assert len(wanted) == {"b": 10, None: 2 if query.search else 12}[query.bucket]
        seen: list[str] = []
        pages: list[str] = []
        after = ""
        while True:
            page = await published.index.page(replace(query, after=after, count=4))
            assert page.first == len(seen) + 1
            assert page.total == len(wanted)
            assert page.previous == (pages[-1] if pages else None)
            seen += names(page)
            pages.append(after)
            if page.next is None:
                break
            after = page.next
        assert seen == wanted


async def test_a_page_begins_after_any_text(published: Published) -> None:
    for number in range(10):
        published.add(f"b/{number:02}", published=number)
    assert await published.names(IndexQuery("b", after="b/021", count=2)) == ["b/03", "b/04"]
    assert await published.names(IndexQuery("b", after="zzz")) == []
    # Also where its torrent is gone meanwhile.
    newest = IndexQuery(order="newest", count=2)
    assert await published.names(replace(newest, after="7/b/075")) == ["b/06", "b/05"]
    assert await published.names(replace(newest, after="nonsense")) == ["b/09", "b/08"]
    for odd in ("99999999999999999999999999/b/0", "\xb2/b/", "/", "-1/a/b"):
        await published.names(replace(newest, after=odd))


async def test_what_is_no_longer_public_is_gone_at_once_and_what_is_new_comes_soon(
    published: Published,
) -> None:
    hidden, removed = published.add("a/hidden"), published.add("a/removed")
    assert (await published.index.page(IndexQuery())).total == 2
    hidden.public = False
    published.catalog.remove(removed.ref)
    assert (await published.index.page(IndexQuery())).entries == []
    published.add("a/new")
    assert await published.names(IndexQuery()) == ["a/new"]


async def test_the_newest_were_published_last_in_whatever_order_a_start_finds_them(
    published: Published,
) -> None:
    for name, when in (("a/2020", 20), ("a/2026", 26), ("a/2001", 1), ("a/2023", 23)):
        published.add(name, published=when, size=when)
    for order in ("newest", "size"):
        page = await published.index.page(IndexQuery(order=order, count=3))
        assert [(each.key, each.published) for each in page.entries] == [
            ("2026", 26),
            ("2023", 23),
            ("2020", 20),
        ]


async def test_found_is_what_has_all_words_or_the_info_hash(published: Published) -> None:
    for name in ("data/Weather 2025.csv", "data/Weather 2026.csv", "pictures/ÄPFEL.png"):
        published.add(name)
    for search, found in {
        "weather": ["data/Weather 2025.csv", "data/Weather 2026.csv"],
        "2026  WEATHER": ["data/Weather 2026.csv"],
        "äpfel": ["pictures/ÄPFEL.png"],
        "data/w": ["data/Weather 2025.csv", "data/Weather 2026.csv"],
        "weather 2027": [],
        "": ["data/Weather 2025.csv", "data/Weather 2026.csv", "pictures/ÄPFEL.png"],
        "f" * 40: [],
        "g" * 40: [],
        "\ud7ff" * 500: [],
    }.items():
        assert await published.names(IndexQuery(search=search)) == found
    [entry] = (await published.index.page(IndexQuery(search="2025"))).entries
    for digits in (entry.info_hash, f" {entry.info_hash.upper()} "):
        assert await published.names(IndexQuery(search=digits)) == [entry.name]
    # A hash finds nothing that isn't listed.
    hidden = published.add("data/secret", public=False).torrent
    assert hidden is not None
    assert await published.names(IndexQuery(search=hidden.info_hash.hex())) == []


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_may_be_searched_and_be_where_a_page_begins(search: str, after: str) -> None:
    published = Published()
    published.add("a/b")
    for order in ("name", "newest", "size"):
        trio.run(published.names, IndexQuery(search=search, after=after, order=order))


async def test_a_torrent_is_listed_with_its_urls(published: Published) -> None:
    torrent = published.add("a/b c/ß?.bin").torrent
    assert torrent is not None
    published.swarms[torrent.info_hash] = ScrapeCounts(3, 7, 2)
    listed = await published.entry()
    assert listed.torrent_url == "https://t.example.org/a/b%20c/%C3%9F%3F.bin?torrent"
    assert (listed.size, listed.info_hash) == (5, torrent.info_hash.hex())
    assert listed.info_hash in listed.magnet
    assert "&dn=%C3%9F_.bin&" in listed.magnet
    assert (listed.seeds, listed.leechers) == (3, 2)


async def test_a_bundle_is_listed_by_the_size_of_its_objects_without_padding(
    published: Published,
) -> None:
    torrent = published.add("a/b").torrent
    assert torrent is not None
    torrent.pinned = replace(torrent.pinned, size=3)
    assert ((await published.entry()).size, torrent.layout.size) == (3, 5)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, (None, None)),
        (Description(), (None, None)),
        (Description(sha256="0f" * 32), ("0f" * 32, "s3")),
        (Description(headers=(("x-amz-meta-sha256", "0F" * 32),)), ("0f" * 32, "publisher")),
        (
            Description(headers=(("x-amz-meta-sha256", "00" * 32),), sha256="0f" * 32),
            ("0f" * 32, "s3"),
        ),
        (Description(headers=(("x-amz-meta-sha256", "0f" * 31),)), (None, None)),
        (Description(headers=(("x-amz-meta-sha256", "<b>" * 8),)), (None, None)),
    ],
)
async def test_the_sha_256_is_what_s3_checked_or_else_what_the_publisher_says(
    published: Published, told: Description | None, expected: tuple[str | None, str | None]
) -> None:
    published.add("a/b", told=told)
    entry = await published.entry()
    assert (entry.sha256, entry.sha256_from) == expected


async def test_an_object_is_to_be_had_where_there_is_a_web_seed_and_a_bundle_is_none() -> None:
    ref = ObjectRef("default", "a", "b c/ß")
    raw = build_info(name="n", layout=Layout(16384, 16384), pieces=b"h" * 20)
    torrent = Torrent(parse_info(raw), PinnedObject(ref, '"e"', 16384), "build")
    bundle = Torrent(parse_info(raw), PinnedBundle.of(ref, [torrent.pinned]), "build")
    with_seed = Links(ANNOUNCE, "https://t.example.org", web_seed=True)
    assert with_seed.download_url(torrent) == "https://t.example.org/a/b%20c/%C3%9F"
    assert with_seed.download_url(bundle) is None
    assert Links(ANNOUNCE, "https://t.example.org").download_url(torrent) is None
    published = Published(with_seed)
    published.add("a/key")
    assert (await published.entry()).download_url == "https://t.example.org/a/key"


async def test_ten_thousand_are_looked_at_in_slices_and_once_for_a_moment(
    published: Published,
) -> None:
    many = 20 * SLICE
    raw = build_info(name="n", layout=Layout(5, 16384), pieces=b"h" * 20)
    info = parse_info(raw)
    for number in range(many):
        ref = ObjectRef("default", f"b{number % 7}", f"{number:05}")
        publication = Publication(ref)
        published.catalog.add(publication)
        publication.torrent = Torrent(info, PinnedObject(ref, '"e"', 5), "build")
    steps = StepsOf(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(steps)
    page = await published.index.page(IndexQuery())
    assert (len(page.entries), page.total) == (100, many)
    assert steps.count >= 2 * many // SLICE  # to sort each slice, and to merge them
    steps.count = 0
    page = await published.index.page(IndexQuery(after=page.next or ""))
    assert page.first == 101
    assert steps.count < 5
    steps.count = 0
    page = await published.index.page(IndexQuery("b1", search="9"))
    assert page.total
    assert steps.count >= many // SLICE
    trio.lowlevel.remove_instrument(steps)
    assert objects_of(published.catalog).find("b0", "00007").public
    assert not published.catalog.has_bucket("b7")
    assert published.catalog.by_name("b0", "00008") is None
