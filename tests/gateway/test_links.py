"""What the public gets of a torrent, and what it doesn't."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.config.sections import (
    CacheSettings,
    Config,
    GatewaySettings,
    ObjectSettings,
    PeerSettings,
    TrackerSettings,
)
from seeder.errors import ConfigError
from seeder.gateway.access import Terms
from seeder.gateway.links import (
    announce_url,
    gateway_url,
    magnet_of,
    object_url,
    torrent_file_of,
    web_seed_url,
)
from seeder.gateway.naming import Naming
from seeder.gateway.objects import PublicFace
from seeder.gateway.s3errors import S3Error
from seeder.gateway.webseed import Content
from seeder.http.messages import Request
from seeder.net.addresses import HostPort
from seeder.torrent.bundle import build_bundle_info, parse_bundle_info
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from tests.gateway.support import ANNOUNCE, face
from tests.peer.node import make_data, make_torrent


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


def publish(
    catalog: Catalog, key: str, *, origin: str = "default", public: bool = True, live: bool = True
) -> Publication:
    publication = Publication(ObjectRef(origin, "bucket", key), public)
    catalog.add(publication)
    if live:
        info = parse_info(build_info(name=key, layout=Layout(5, 16384), pieces=b"h" * 20))
        catalog.serve(publication, Torrent(info, PinnedObject(publication.ref, '"e"', 5), "build"))
    return publication


async def test_a_torrent_file_names_our_tracker_and_is_the_same_every_time(
    catalog: Catalog,
) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    found = await face(catalog).torrent_file("bucket", "key")
    assert found == await face(catalog).torrent_file("bucket", "key")
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
    found = await face(catalog).torrent_file("bucket", "data/2026/")
    assert found.filename == "2026.torrent"
    link = await face(catalog).magnet_link("bucket", "data/2026/")
    assert "&dn=2026&" in link


async def test_a_magnet_link_names_tracker_and_seeder(catalog: Catalog) -> None:
    publish(catalog, "key")
    parsed = lt.parse_magnet_uri(await face(catalog).magnet_link("bucket", "key"))
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
    for page in (face(catalog).torrent_file, face(catalog).magnet_link):
        with pytest.raises(S3Error) as caught:
            await page(bucket, key)
        assert caught.value.code == code
        assert "secret" not in caught.value.message


def test_the_terms_of_an_object_are_its_own_and_its_origins(catalog: Catalog) -> None:
    publish(catalog, "key")
    publish(catalog, "secret", public=False, origin="payer")
    asked = face(catalog)
    assert asked.terms("bucket", "key") == Terms(True, None, False)
    assert asked.terms("bucket", "secret") == Terms(False, "111122223333", True)
    for bucket, key, code in (("bucket", "x", "NoSuchKey"), ("x", "key", "NoSuchBucket")):
        with pytest.raises(S3Error) as caught:
            asked.terms(bucket, key)
        assert caught.value.code == code


async def test_a_hybrid_whose_piece_layer_is_lost_has_no_torrent_file_for_now(
    catalog: Catalog, tmp_path: Path
) -> None:
    publication = Publication(ObjectRef("default", "bucket", "key"))
    catalog.add(publication)
    path = tmp_path / "tree"
    torrent = make_torrent(make_data(200_000), key="key", tree_path=path)
    catalog.serve(publication, torrent)
    found = await face(catalog).torrent_file("bucket", "key")
    assert lt.load_torrent_buffer(found.body).info_hashes.v2.to_bytes() == torrent.v2_hash
    link = await face(catalog).magnet_link("bucket", "key")
    assert lt.parse_magnet_uri(link).info_hashes.v2.to_bytes() == torrent.v2_hash
    path.unlink()
    with pytest.raises(S3Error) as caught:
        await face(catalog).torrent_file("bucket", "key")
    assert caught.value.code == "ServiceUnavailable"


def config(tmp_path: object, tracker: TrackerSettings, peer: PeerSettings) -> Config:
    return Config.model_validate(
        {
            "state_directory": tmp_path,
            "origins": {},
            "objects": (ObjectSettings(bucket="bucket", key="key"),),
            "cache": CacheSettings.model_validate({"directory": tmp_path}),
            "tracker": tracker,
            "peer": peer,
        }
    )


def test_the_announce_url_is_made_from_an_address_that_clients_can_reach(tmp_path: object) -> None:
    anywhere = HostPort("0.0.0.0", 6969)
    here = HostPort("192.0.2.1", 6969)
    public = PeerSettings(public_address=HostPort("2001:db8::1", 6881))
    cases = [
        (TrackerSettings(announce_url=ANNOUNCE), public, ANNOUNCE),
        (TrackerSettings(listen=(anywhere, here)), public, "http://192.0.2.1:7000/announce"),
        (TrackerSettings(listen=(anywhere,)), public, "http://[2001:db8::1]:7000/announce"),
    ]
    for tracker, peer, url in cases:
        assert announce_url(config(tmp_path, tracker, peer), 7000) == url
    with pytest.raises(ConfigError, match=r"tracker\.announce_url"):
        announce_url(config(tmp_path, TrackerSettings(), PeerSettings()), 7000)


@pytest.mark.parametrize(
    ("announce", "configured", "url"),
    [
        (ANNOUNCE, None, "http://tracker.example.org:6969"),
        ("https://[2001:db8::1]/x/announce.php?k=/1", None, "https://[2001:db8::1]/x"),
        (ANNOUNCE, "https://t.example.org", "https://t.example.org"),
    ],
)
def test_the_gateway_is_where_the_tracker_is_unless_it_says_otherwise(
    tmp_path: object, announce: str, configured: str | None, url: str
) -> None:
    made = config(tmp_path, TrackerSettings(), PeerSettings())
    made = made.model_copy(update={"gateway": GatewaySettings(url=configured)})
    assert gateway_url(made, announce) == url


BEFORE = "https://data.example.org/files"


def object_named(path: str) -> tuple[str, str]:
    """Return bucket and key as the routes read them."""
    raw = path.encode()
    return Naming().object_of(Request(b"GET", raw, b"", [], ("", 0), ("", 0)))


async def test_a_web_seed_stands_in_file_and_magnet_of_public_torrents(catalog: Catalog) -> None:
    publish(catalog, "folder/a key")
    publish(catalog, "secret", public=False)
    public = PublicFace(catalog, ANNOUNCE, PeerSettings(), {}, BEFORE)
    url = f"{BEFORE}/bucket/folder/a%20key"
    found = await public.torrent_file("bucket", "folder/a key")
    assert lt.load_torrent_buffer(found.body).url_seeds == [url]
    magnet = await public.magnet_link("bucket", "folder/a key")
    assert lt.parse_magnet_uri(magnet).url_seeds == [url]
    assert (
        lt.load_torrent_buffer((await public.torrent_file("bucket", "secret")).body).url_seeds == []
    )
    assert "ws=" not in await public.magnet_link("bucket", "secret")


def test_a_private_torrent_names_no_web_seed() -> None:
    raw = build_info(name="key", layout=Layout(5, 16384), pieces=b"h" * 20, private=True)
    pinned = PinnedObject(ObjectRef("default", "bucket", "key"), '"e"', 5)
    torrent = Torrent(parse_info(raw), pinned, "build")
    assert lt.load_torrent_buffer(torrent_file_of(torrent, ANNOUNCE, BEFORE)).url_seeds == []
    assert "ws=" not in magnet_of(torrent, ANNOUNCE, PeerSettings(), BEFORE)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Nelson", "Nelson"),
        ("a/b/c.d", "a/b/c.d"),
        ("ünï + 100%?#&", "%C3%BCn%C3%AF%20%2B%20100%25%3F%23%26"),
        # Clients append the name to what ends in a slash, and clean dots and nothings away.
        ("folder/", "folder%2F"),
        ("a//b", "a%2F%2Fb"),
        ("/a", "%2Fa"),
        ("a/../b", "a%2F..%2Fb"),
        ("./a", ".%2Fa"),
    ],
)
def test_a_web_seed_leads_to_its_key(key: str, path: str) -> None:
    url = object_url("http://h", ObjectRef("default", "tenant:b", key))
    assert url == f"http://h/tenant%3Ab/{path}"
    assert object_named(urlsplit(url).path) == ("tenant:b", key)
    assert httpx.URL(url).raw_path.decode() == urlsplit(url).path


@given(st.text(min_size=1).filter(lambda key: key not in (".", "..")))
def test_any_key_comes_back_from_its_url(key: str) -> None:
    key = key.encode("utf-8", "replace").decode()
    url = object_url("http://h", ObjectRef("default", "b", key))
    assert url.isascii()
    assert object_named(url.removeprefix("http://h")) == ("b", key)
    assert not url.endswith("/")


@pytest.mark.parametrize(
    ("announce", "url", "expected"),
    [
        ("http://t.example.org:6969/announce", None, "http://t.example.org:6969"),
        ("https://t.example.org/bt/announce.php?key=a/b", None, "https://t.example.org/bt"),
        ("http://t.example.org/announce", "https://cdn.example.org/x", "https://cdn.example.org/x"),
    ],
)
def test_the_web_seed_lies_beside_the_tracker_unless_it_is_said(
    tmp_path: object, announce: str, url: str | None, expected: str
) -> None:
    made = config(tmp_path, TrackerSettings(), PeerSettings())
    assert web_seed_url(made, announce) is None
    gateway = GatewaySettings(web_seed=True, url=url)
    assert web_seed_url(made.model_copy(update={"gateway": gateway}), announce) == expected


def test_content_is_the_object_as_it_is_now(catalog: Catalog) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    publish(catalog, "building", live=False).settle(State.BUILDING)
    public = face(catalog)
    found = public.content("bucket", "key")
    assert found == Content(torrent, '"e"', "key")
    for bucket, key, code in (
        ("bucket", "other", "NoSuchKey"),
        ("basket", "key", "NoSuchBucket"),
        ("bucket", "building", "ServiceUnavailable"),
    ):
        with pytest.raises(S3Error) as caught:
            public.content(bucket, key)
        assert caught.value.code == code


def test_of_two_objects_with_one_content_the_pieces_of_one_are_read(catalog: Catalog) -> None:
    info = parse_info(build_info(name="key", layout=Layout(5, 16384), pieces=b"h" * 20))
    torrents = []
    for bucket, etag in (("one", 'W/"1"'), ("two", "2")):
        publication = Publication(ObjectRef("default", bucket, "key"))
        catalog.add(publication)
        torrents.append(Torrent(info, PinnedObject(publication.ref, etag, 5), "build"))
        catalog.serve(publication, torrents[-1])
    for bucket, etag in (("one", '"1"'), ("two", '"2"')):
        assert face(catalog).content(bucket, "key") == Content(torrents[0], etag, "key")
