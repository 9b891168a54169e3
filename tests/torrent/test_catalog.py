"""The catalog: who owns an info hash, what retired torrents leave behind."""

import hashlib
from dataclasses import replace

import pytest

from seeder.torrent.catalog import Catalog
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject, cache_id
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent


def make_torrent(ref: ObjectRef, etag: str = '"one"', name: str = "same") -> Torrent:
    info = parse_info(build_info(name=name, layout=Layout(5, 16384), pieces=b"h" * 20))
    return Torrent(info, PinnedObject(ref, etag, 5), "build")


def make_catalog(*keys: str) -> tuple[Catalog, list[Publication]]:
    catalog = Catalog()
    publications = [Publication(ObjectRef("default", "bucket", key)) for key in keys]
    for publication in publications:
        catalog.add(publication)
    return catalog, publications


def test_a_served_torrent_is_found_by_its_hash_and_its_object_by_name() -> None:
    catalog, [publication] = make_catalog("key")
    torrent = make_torrent(publication.ref)
    assert catalog.serve(publication, torrent)
    assert catalog.by_hash(bytes(torrent.info_hash)) is torrent
    assert catalog.by_name("bucket", "key") is publication
    assert catalog.owner(torrent) is publication
    assert publication.state is State.SERVING


def test_an_object_is_published_once() -> None:
    catalog, [publication] = make_catalog("key")
    with pytest.raises(ValueError, match="bucket/key"):
        catalog.add(Publication(publication.ref))


def test_of_two_equal_torrents_the_first_one_is_served() -> None:
    catalog, [first, second] = make_catalog("one", "two")
    torrent = make_torrent(first.ref)
    catalog.serve(first, torrent)
    assert not catalog.serve(second, make_torrent(second.ref))
    assert second.state is State.DUPLICATE
    assert "bucket/one" in str(second.reason)
    assert catalog.by_hash(torrent.info_hash) is torrent


def test_when_the_first_of_two_equals_goes_the_second_can_take_over() -> None:
    catalog, [first, second] = make_catalog("one", "two")
    catalog.serve(first, make_torrent(first.ref))
    other = make_torrent(second.ref)
    catalog.serve(second, other)
    assert catalog.remove(second.ref) is None
    catalog.add(second)
    assert catalog.remove(first.ref) is not None
    assert catalog.serve(second, other)
    assert catalog.by_hash(other.info_hash) is other


def test_a_retired_torrent_is_no_longer_found() -> None:
    catalog, [publication] = make_catalog("key")
    torrent = make_torrent(publication.ref)
    catalog.serve(publication, torrent)
    assert catalog.retire(publication, "replaced") is torrent
    assert catalog.by_hash(torrent.info_hash) is None
    assert catalog.owner(torrent) is None
    assert (publication.state, publication.reason) == (State.WAITING, "replaced")
    assert catalog.retire(publication, "replaced") is None


def test_retiring_a_duplicate_leaves_the_served_torrent_alone() -> None:
    catalog, [first, second] = make_catalog("one", "two")
    torrent = make_torrent(first.ref)
    catalog.serve(first, torrent)
    catalog.serve(second, make_torrent(second.ref))
    assert catalog.retire(second, "replaced") is None
    assert catalog.by_hash(torrent.info_hash) is torrent


def test_by_name_prefers_the_object_without_a_version() -> None:
    catalog = Catalog()
    old = Publication(ObjectRef("default", "bucket", "key", "v1"))
    catalog.add(old)
    assert catalog.by_name("bucket", "key") is old
    newest = Publication(ObjectRef("default", "bucket", "key"))
    catalog.add(newest)
    assert catalog.by_name("bucket", "key") is newest
    assert catalog.by_name("bucket", "other") is None
    catalog.remove(newest.ref)
    assert catalog.by_name("bucket", "key") is old


def test_a_bucket_is_there_as_long_as_anything_of_it_is() -> None:
    catalog, [first, second] = make_catalog("one", "two")
    assert not catalog.has_bucket("other")
    catalog.remove(first.ref)
    assert catalog.has_bucket("bucket")
    assert catalog.by_name("bucket", "one") is None
    catalog.remove(second.ref)
    assert not catalog.has_bucket("bucket")


def test_the_identity_of_an_object_tells_apart_what_joins_alike() -> None:
    one = PinnedObject(ObjectRef("o", "a", "b/c"), '"e"', 1)
    two = PinnedObject(ObjectRef("o", "a/b", "c"), '"e"', 1)
    assert one.identity() != two.identity()
    assert cache_id(one, 16384) != cache_id(one, 32768)
    changed = PinnedObject(one.ref, '"f"', 1)
    assert changed.identity() != one.identity()
    # Versions may have one ETag and size, and other bytes.
    first, second = (
        PinnedObject(replace(one.ref, version_id=version), '"e"', 1, version) for version in "12"
    )
    assert len({one.identity(), first.identity(), second.identity()}) == 3


class NoHashes:
    """The tree of a hybrid, of which nothing is asked."""

    shape = Shape(Layout(5, 16384))
    root = b"r" * 32
    has_leaves = True

    def read(self, layer: int, first: int, count: int) -> bytes:
        raise AssertionError("nobody asks")

    def piece_layers(self) -> dict[bytes, bytes]:
        return {}


def test_a_hybrid_is_found_by_both_hashes_while_it_is_live() -> None:
    catalog, [publication] = make_catalog("key")
    layout = Layout(5, 16384)
    info = parse_info(build_info(name="n", layout=layout, pieces=b"h" * 20, root=NoHashes.root))
    pinned = PinnedObject(publication.ref, '"e"', 5)
    torrent = Torrent(info, pinned, "build", NoHashes())
    assert torrent.v2_hash == hashlib.sha256(info.raw).digest()
    assert torrent.short_v2_hash == torrent.v2_hash[:20]
    for end in ("retired", "removed"):
        catalog.serve(publication, torrent)
        assert catalog.by_hash(torrent.info_hash) is torrent
        assert catalog.by_hash(torrent.short_v2_hash) is torrent
        assert catalog.owner(torrent) is publication
        if end == "retired":
            assert catalog.retire(publication, end) is torrent
        else:
            assert catalog.remove(publication.ref) is torrent
        assert catalog.by_hash(torrent.info_hash) is None
        assert catalog.by_hash(torrent.short_v2_hash) is None


def test_a_hybrid_without_its_tree_is_a_v1_torrent() -> None:
    catalog, [publication] = make_catalog("key")
    layout = Layout(5, 16384)
    info = parse_info(build_info(name="n", layout=layout, pieces=b"h" * 20, root=NoHashes.root))
    assert info.v2 is not None
    catalog.serve(publication, Torrent(info, PinnedObject(publication.ref, '"e"', 5), "origin"))
    assert catalog.by_hash(info.v2.short_hash) is None
