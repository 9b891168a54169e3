"""The files of bundles by their addresses: which path is which bytes, and who may have them."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.files import BundleFiles, files_key, split_key
from seeder.gateway.finding import Offered
from seeder.gateway.links import Links
from seeder.gateway.naming import Naming
from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request
from seeder.torrent import bencode
from seeder.torrent.bundle import build_bundle_info, bundle_files, bundle_layout, parse_bundle_info
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from tests.gateway.support import ANNOUNCE, objects_of, publish

PIECE = 16384
REF = ObjectRef("default", "bucket", "data/2026/")
SIZES = {"a": 5, "b/deep/c": 3 * PIECE, "empty": 0, "x?y": PIECE + 1, "..": 7, "b/é": 1}


def bundle_torrent(ref: ObjectRef = REF, sizes: dict[str, int] = SIZES) -> Torrent:
    members = [
        PinnedObject(ObjectRef(ref.origin, ref.bucket, ref.key + name), f'"{name}"', size)
        for name, size in sizes.items()
    ]
    bundle = PinnedBundle.of(ref, members)
    count = bundle_layout([each.size for each in bundle.members], PIECE).piece_count
    raw = build_bundle_info(bundle, piece_length=PIECE, pieces=b"h" * 20 * count)
    return Torrent(parse_bundle_info(raw)[0], bundle, "build")


async def test_every_path_of_the_torrent_is_the_bytes_of_its_object() -> None:
    torrent, files = bundle_torrent(), BundleFiles()
    bundle = torrent.pinned
    assert isinstance(bundle, PinnedBundle)
    sections = {each.pinned: each.first * PIECE for each in torrent.sections}
    members = iter(bundle.members)
    start = 0
    for file in bundle_files(bundle, PIECE):
        found = await files.find(torrent, "/".join(("2026", *file.path)))
        assert found is not None
        assert (found.start, found.pinned.size) == (start, file.length)
        if not file.pad:
            assert found.pinned == next(members)
            assert found.start == sections.get(found.pinned, start)
        start += file.length
    for path in ("", "2026", "2026/", "a", "2026/b", "2026/b/deep", "2026//a", "2026/../2026/a"):
        assert await files.find(torrent, path) is None
    # However many bundles there are, the files of few are kept.
    for number in range(20):
        other = bundle_torrent(REF, {f"file {number}": 1})
        assert await files.find(other, f"2026/file {number}") is not None
    assert await files.find(torrent, "2026/a") is not None


@pytest.mark.parametrize(
    "prefix",
    ["data/2026/", "data/20", "", "/", "a//b/", "../x/", "ü %2F?#/", "~files/", "a/~files"],
)
def test_what_a_client_appends_to_a_web_seed_leads_to_the_file(prefix: str) -> None:
    ref = ObjectRef("default", "bucket", prefix)
    torrent = bundle_torrent(ref)
    catalog = Catalog()
    publication = Publication(ref)
    catalog.add(publication)
    catalog.serve(publication, torrent)
    links = Links(ANNOUNCE, "http://t.example.org", web_seed=True)
    file = links.torrent_file(torrent, public=True)
    start = file.index(b"8:url-list") + len(b"8:url-list") + 1
    length, _, rest = file[start:].partition(b":")
    url = rest[: int(length)]
    assert url.endswith(b"~files/")
    raw = url.removeprefix(b"http://t.example.org") + b"name/a%20b/c"
    bucket, key = Naming().object_of(Request(b"GET", raw, b"", [], ("", 0), ("", 0)))
    found = objects_of(catalog, links).find_content(bucket, key)
    assert found == Offered(publication, path="name/a b/c")


def test_the_file_of_a_bundle_names_the_torrents_that_it_had_before() -> None:
    now, first, second = (bundle_torrent(sizes={"a": size}) for size in (1, 2, 3))
    torrent = Torrent(
        parse_bundle_info(now.raw_info)[0],
        now.pinned,
        "build",
        similar=[first.info_hash, second.info_hash],
    )
    file = bencode.decode(Links(ANNOUNCE, "").torrent_file(torrent, public=True))
    assert isinstance(file, dict)
    assert file[b"similar"] == [first.info_hash, second.info_hash]


def test_an_object_of_that_key_comes_before_the_file_of_a_bundle() -> None:
    catalog = Catalog()
    bundle = Publication(REF)
    catalog.add(bundle)
    catalog.serve(bundle, bundle_torrent())
    key = files_key(REF.key) + "2026/a"
    assert objects_of(catalog).find_content("bucket", key) == Offered(bundle, path="2026/a")
    alone = publish(catalog, key)
    assert objects_of(catalog).find_content("bucket", key) == Offered(alone)


async def test_an_object_of_a_bundle_is_its_part_of_the_torrent_under_its_own_key_too() -> None:
    catalog = Catalog()
    bundle = Publication(REF)
    catalog.add(bundle)
    torrent = bundle_torrent()
    catalog.serve(bundle, torrent)
    objects, starts = objects_of(catalog), {each.pinned: each.first for each in torrent.sections}
    for name, size in SIZES.items():
        found = objects.find_content("bucket", REF.key + name)
        assert found.member is not None
        content = await objects.content(found)
        assert (content.torrent, content.size, content.etag) == (torrent, size, f'"{name}"')
        assert content.start == starts.get(found.member, 0) * PIECE
    for key in ("data/2026", "data/2026/b", "data/2026/a/", "data/2026/empt", "data/2026/z"):
        with pytest.raises(S3Error, match="NoSuchKey"):
            objects.find_content("bucket", key)
    # An object of its own goes first where it can be had, or must not be had by everybody.
    alone = publish(catalog, REF.key + "a")
    assert objects.find_content("bucket", alone.ref.key) == Offered(alone)
    soon = publish(catalog, REF.key + "empty", live=False)
    assert objects.find_content("bucket", soon.ref.key).publication is bundle
    secret = publish(catalog, REF.key + "b/deep/c", public=False, live=False)
    assert objects.find_content("bucket", secret.ref.key) == Offered(secret)
    catalog.retire(bundle, "replaced")
    assert objects.find_content("bucket", soon.ref.key) == Offered(soon)


async def test_what_is_in_a_bundle_that_comes_is_not_missing_but_not_here_yet() -> None:
    catalog = Catalog()
    bundle = Publication(REF, bundle=True)
    catalog.add(bundle)
    objects = objects_of(catalog)
    for key in (REF.key + "a", files_key(REF.key) + "2026/a"):
        found = objects.find_content("bucket", key)
        assert found == Offered(bundle, key=key)
        assert found.ref == replace(REF, key=key)  # what its reader's key has to cover
        with pytest.raises(S3Error, match="ServiceUnavailable"):
            await objects.content(found)
    with pytest.raises(S3Error, match="NoSuchKey"):
        objects.find_content("bucket", "other")
    catalog.serve(bundle, bundle_torrent())
    assert objects.find_content("bucket", REF.key + "a").member is not None
    with pytest.raises(S3Error, match="NoSuchKey"):
        objects.find_content("bucket", REF.key + "b")
    catalog.retire(bundle, "replaced")
    assert objects.find_content("bucket", REF.key + "b") == Offered(bundle, key=REF.key + "b")
    bundle.settle(State.FAILED, "none of the objects can be read")
    with pytest.raises(S3Error, match="NoSuchKey"):
        await objects.content(objects.find_content("bucket", REF.key + "b"))
    catalog.remove(REF)
    with pytest.raises(S3Error, match="NoSuchBucket"):
        objects.find_content("bucket", REF.key + "b")


@given(st.text(max_size=20), st.lists(st.sampled_from(["~files", "a", "", "é"]), max_size=6))
def test_any_key_may_be_split(text: str, segments: Sequence[str]) -> None:
    key = text + "/".join(segments)
    for prefix, path in split_key(key):
        assert key == files_key(prefix) + path or (
            prefix + "/~files/" + path == key or prefix + "~files/" + path == key
        )
