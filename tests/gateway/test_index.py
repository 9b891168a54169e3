"""The index of public torrents: in order, in pages, and never the others."""

from dataclasses import replace
from typing import Any

import pytest

from seeder.gateway.index import FRESH, Index, IndexPage
from seeder.gateway.links import Links
from seeder.torrent.catalog import Catalog, Publication, Torrent
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from tests.gateway.support import ANNOUNCE, objects_of

_LINKS = Links(ANNOUNCE, "https://t.example.org")


class Published:
    """A catalog with an index of it."""

    def __init__(self, links: Links = _LINKS) -> None:
        self.catalog, self.now = Catalog(), 0.0
        self.index = Index(self.catalog, links, lambda: self.now)

    def add(
        self, name: str, *, public: bool = True, live: bool = True, published: int | None = None
    ) -> Publication:
        bucket, _, key = name.partition("/")
        publication = Publication(ObjectRef("default", bucket, key), public)
        self.catalog.add(publication)
        if live:
            raw = build_info(name=f"{bucket}-{key}", layout=Layout(5, 16384), pieces=b"h" * 20)
            pinned = PinnedObject(publication.ref, '"e"', 5)
            torrent = Torrent(parse_info(raw), pinned, "build", published=published)
            self.catalog.serve(publication, torrent)
        self.now += FRESH
        return publication

    def names(self, page: IndexPage) -> list[str]:
        return [each.name for each in page.entries]


@pytest.fixture
def published() -> Published:
    return Published()


def test_only_public_torrents_are_listed_by_name(published: Published) -> None:
    for name in ("b/2", "b/10", "a/z", "c/x"):
        published.add(name)
    published.add("b/secret", public=False)
    published.add("b/soon", live=False)
    page = published.index.page(None, "", 100)
    assert published.names(page) == ["a/z", "b/10", "b/2", "c/x"]
    assert (page.first, page.total, page.previous, page.next) == (1, 4, None, None)
    assert [each.name for each in published.index.newest(None, 3)] == ["c/x", "a/z", "b/10"]
    assert published.names(published.index.page("b", "", 100)) == ["b/10", "b/2"]
    assert [each.name for each in published.index.newest("b", 3)] == ["b/10", "b/2"]
    assert published.index.page("nothing", "", 100).total == 0


def test_pages_follow_each_other_both_ways(published: Published) -> None:
    names = [f"b/{number:02}" for number in range(10)]
    for name in ("a/x", *names, "c/x"):
        published.add(name)
    for bucket, wanted in (("b", names), (None, ["a/x", *names, "c/x"])):
        seen: list[str] = []
        pages: list[str] = []
        after = ""
        while True:
            page = published.index.page(bucket, after, 4)
            assert page.first == len(seen) + 1
            assert page.total == len(wanted)
            assert page.previous == (pages[-1] if pages else None)
            seen += published.names(page)
            pages.append(after)
            if page.next is None:
                break
            after = page.next
        assert seen == wanted
    assert published.names(published.index.page("b", "b/021", 2)) == ["b/03", "b/04"]
    assert published.names(published.index.page("b", "zzz", 2)) == []
    assert published.names(published.index.page("b", "", 2)) == ["b/00", "b/01"]


def test_what_is_no_longer_public_is_gone_at_once_and_what_is_new_comes_soon(
    published: Published,
) -> None:
    hidden, removed = published.add("a/hidden"), published.add("a/removed")
    assert published.index.page(None, "", 9).total == 2
    hidden.public = False
    published.catalog.remove(removed.ref)
    assert published.index.page(None, "", 9).entries == []
    assert published.index.newest(None, 9) == []
    published.add("a/new")
    assert published.names(published.index.page(None, "", 9)) == ["a/new"]


def test_the_newest_are_those_that_were_published_last_in_whatever_order_a_start_finds_them(
    published: Published,
) -> None:
    for name, when in (("a/2020", 20), ("a/2026", 26), ("a/2001", 1), ("a/2023", 23)):
        published.add(name, published=when)
    newest = published.index.newest(None, 3)
    assert [(each.key, each.published) for each in newest] == [
        ("2026", 26),
        ("2023", 23),
        ("2020", 20),
    ]


def test_a_torrent_is_listed_with_its_urls(published: Published) -> None:
    torrent = published.add("a/b c/ß?.bin").torrent
    assert torrent is not None
    [listed] = published.index.newest(None, 1)
    assert listed.torrent_url == "https://t.example.org/a/b%20c/%C3%9F%3F.bin?torrent"
    assert (listed.size, listed.info_hash) == (5, torrent.info_hash.hex())
    assert listed.info_hash in listed.magnet
    assert "&dn=%C3%9F_.bin&" in listed.magnet


def test_a_bundle_is_listed_by_the_size_of_its_objects_without_padding(
    published: Published,
) -> None:
    torrent = published.add("a/b").torrent
    assert torrent is not None
    torrent.pinned = replace(torrent.pinned, size=3)
    [listed] = published.index.newest(None, 1)
    assert (listed.size, torrent.layout.size) == (3, 5)


def test_an_object_is_to_be_had_where_there_is_a_web_seed_and_a_bundle_is_none() -> None:
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
    [listed] = published.index.newest(None, 1)
    assert listed.download_url == "https://t.example.org/a/key"


class Counted(dict[ObjectRef, Publication]):
    """Counts how often somebody goes through all of it."""

    passes = 0

    def values(self) -> Any:
        self.passes += 1
        return super().values()


def test_a_page_and_a_look_up_do_not_go_through_ten_thousand(published: Published) -> None:
    through = published.catalog.publications = Counted()
    for number in range(10_000):
        ref = ObjectRef("default", f"b{number % 7}", f"{number:05}")
        published.catalog.add(Publication(ref))
    for _ in range(3):
        published.index.page(None, "", 100)
        published.index.newest("b1", 100)
    assert through.passes == 1
    assert objects_of(published.catalog).find("b0", "00007").public
    assert not published.catalog.has_bucket("b7")
    assert published.catalog.by_name("b0", "00008") is None
    assert through.passes == 1
