"""The published objects: their torrent files, magnet links and bytes, and on what terms."""

from pathlib import Path

import libtorrent as lt
import pytest

from seeder.gateway.access import Terms
from seeder.gateway.links import Links
from seeder.gateway.published import PublishedObjects, TorrentFile
from seeder.gateway.s3errors import S3Error
from seeder.gateway.webseed import Content
from seeder.torrent.bundle import build_bundle_info, parse_bundle_info
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from tests.gateway.support import ANNOUNCE, OWNER, objects_of, publish
from tests.peer.node import make_data, make_torrent

GATEWAY = "https://data.example.org/files"


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


def test_what_may_come_is_not_said_to_be_missing(catalog: Catalog) -> None:
    publish(catalog, "key")
    objects = objects_of(catalog)
    assert refused(objects, "bucket", "a/b") == "NoSuchKey"
    catalog.loading = True
    assert refused(objects, "other", "a/b") == "ServiceUnavailable"
    assert objects.find("bucket", "key")
    catalog.loading = False
    catalog.unlisted.add(ObjectRef("default", "bucket", "a/"))
    assert refused(objects, "bucket", "a/b") == "ServiceUnavailable"
    assert refused(objects, "bucket", "b") == "NoSuchKey"
    assert refused(objects, "other", "a/b") == "NoSuchBucket"
    catalog.unlisted.clear()
    assert refused(objects, "bucket", "a/b") == "NoSuchKey"


def refused(objects: PublishedObjects, bucket: str, key: str) -> str:
    with pytest.raises(S3Error) as error:
        objects.find(bucket, key)
    return error.value.code


async def torrent_file(objects: PublishedObjects, bucket: str, key: str) -> TorrentFile:
    return await objects.torrent_file(objects.find(bucket, key))


async def magnet_link(objects: PublishedObjects, bucket: str, key: str) -> str:
    return await objects.magnet_link(objects.find(bucket, key))


async def content(objects: PublishedObjects, bucket: str, key: str) -> Content:
    return await objects.content(objects.find_content(bucket, key))


async def test_a_torrent_file_names_our_tracker_and_is_the_same_every_time(
    catalog: Catalog,
) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    found = await torrent_file(objects_of(catalog), "bucket", "key")
    assert found == await torrent_file(objects_of(catalog), "bucket", "key")
    assert found.filename == "key.torrent"
    read = lt.load_torrent_buffer(found.body)
    assert read.trackers == [ANNOUNCE]
    assert str(read.info_hashes.v1) == torrent.info_hash.hex()


async def test_the_torrent_of_a_bundle_is_found_by_its_prefix_and_named_by_its_last_segment(
    catalog: Catalog,
) -> None:
    publication = Publication(ObjectRef("default", "bucket", "data/2026/"))
    catalog.add(publication)
    member = PinnedObject(ObjectRef("default", "bucket", "data/2026/a"), '"e"', 5)
    bundle = PinnedBundle.of(publication.ref, [member])
    raw = build_bundle_info(bundle, piece_length=16384, pieces=b"h" * 20)
    catalog.serve(publication, Torrent(parse_bundle_info(raw)[0], bundle, "build"))
    found = await torrent_file(objects_of(catalog), "bucket", "data/2026/")
    assert found.filename == "2026.torrent"
    link = await magnet_link(objects_of(catalog), "bucket", "data/2026/")
    assert "&dn=2026&" in link


async def test_a_magnet_link_names_tracker_and_seeder(catalog: Catalog) -> None:
    publish(catalog, "key")
    parsed = lt.parse_magnet_uri(await magnet_link(objects_of(catalog), "bucket", "key"))
    assert parsed.trackers == [ANNOUNCE]
    assert parsed.peers == [("203.0.113.7", 6881)]


@pytest.mark.parametrize(
    ("bucket", "key", "code"),
    [
        ("bucket", "other", "NoSuchKey"),
        ("basket", "key", "NoSuchBucket"),
        ("bucket", "building", "ServiceUnavailable"),
        ("bucket", "failed", "NoSuchKey"),
    ],
)
async def test_what_there_is_no_torrent_of_says_why(
    catalog: Catalog, bucket: str, key: str, code: str
) -> None:
    publish(catalog, "building", live=False).settle(State.BUILDING)
    publish(catalog, "failed", live=False).settle(State.FAILED, "secret reason")
    for page in (torrent_file, magnet_link):
        with pytest.raises(S3Error) as caught:
            await page(objects_of(catalog), bucket, key)
        assert caught.value.code == code
        assert "secret" not in caught.value.message


def test_the_terms_of_an_object_are_its_own_and_its_origins(catalog: Catalog) -> None:
    publish(catalog, "key")
    publish(catalog, "secret", public=False, origin="payer")
    asked = objects_of(catalog)
    assert asked.terms(asked.find("bucket", "key")) == Terms(True, None, False)
    assert asked.terms(asked.find("bucket", "secret")) == Terms(False, OWNER, True)
    for bucket, key, code in (("bucket", "x", "NoSuchKey"), ("x", "key", "NoSuchBucket")):
        with pytest.raises(S3Error) as caught:
            asked.find(bucket, key)
        assert caught.value.code == code


async def test_a_hybrid_whose_piece_layer_is_lost_has_no_torrent_file_for_now(
    catalog: Catalog, tmp_path: Path
) -> None:
    publication = Publication(ObjectRef("default", "bucket", "key"))
    catalog.add(publication)
    path = tmp_path / "tree"
    torrent = make_torrent(make_data(200_000), key="key", tree_path=path)
    catalog.serve(publication, torrent)
    found = await torrent_file(objects_of(catalog), "bucket", "key")
    assert lt.load_torrent_buffer(found.body).info_hashes.v2.to_bytes() == torrent.v2_hash
    link = await magnet_link(objects_of(catalog), "bucket", "key")
    assert lt.parse_magnet_uri(link).info_hashes.v2.to_bytes() == torrent.v2_hash
    path.unlink()
    with pytest.raises(S3Error) as caught:
        await torrent_file(objects_of(catalog), "bucket", "key")
    assert caught.value.code == "ServiceUnavailable"


async def test_a_web_seed_stands_in_file_and_magnet_of_public_torrents(catalog: Catalog) -> None:
    publish(catalog, "folder/a key")
    publish(catalog, "secret", public=False)
    public = objects_of(catalog, Links(ANNOUNCE, GATEWAY, web_seed=True))
    url = f"{GATEWAY}/bucket/folder/a%20key"
    found = await torrent_file(public, "bucket", "folder/a key")
    assert lt.load_torrent_buffer(found.body).url_seeds == [url]
    magnet = await magnet_link(public, "bucket", "folder/a key")
    assert lt.parse_magnet_uri(magnet).url_seeds == [url]
    hidden = await torrent_file(public, "bucket", "secret")
    assert lt.load_torrent_buffer(hidden.body).url_seeds == []
    assert "ws=" not in await magnet_link(public, "bucket", "secret")


async def test_content_is_the_object_as_it_is_now(catalog: Catalog) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    publish(catalog, "building", live=False).settle(State.BUILDING)
    public = objects_of(catalog)
    found = await content(public, "bucket", "key")
    assert found == Content(torrent, '"e"', "key")
    for bucket, key, code in (
        ("bucket", "other", "NoSuchKey"),
        ("basket", "key", "NoSuchBucket"),
        ("bucket", "building", "ServiceUnavailable"),
    ):
        with pytest.raises(S3Error) as caught:
            await content(public, bucket, key)
        assert caught.value.code == code


async def test_of_two_objects_with_one_content_the_pieces_of_one_are_read(catalog: Catalog) -> None:
    info = parse_info(build_info(name="key", layout=Layout(5, 16384), pieces=b"h" * 20))
    torrents = []
    for bucket, etag in (("one", 'W/"1"'), ("two", "2")):
        publication = Publication(ObjectRef("default", bucket, "key"))
        catalog.add(publication)
        torrents.append(Torrent(info, PinnedObject(publication.ref, etag, 5), "build"))
        catalog.serve(publication, torrents[-1])
    for bucket, etag in (("one", '"1"'), ("two", '"2"')):
        found = await content(objects_of(catalog), bucket, "key")
        assert found == Content(torrents[0], etag, "key")
