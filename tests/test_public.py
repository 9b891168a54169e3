"""What the public gets of a torrent, and what it doesn't."""

from pathlib import Path

import libtorrent as lt
import pytest

from seeder.errors import ConfigError
from seeder.public import PublicFace, announce_url
from seeder.settings import CacheSettings, Config, ObjectSettings, PeerSettings, TrackerSettings
from seeder.torrent.catalog import Catalog, ObjectRef, PinnedObject, Publication, State, Torrent
from seeder.torrent.layout import Layout
from seeder.torrent.metainfo import build_info, parse_info
from seeder.values import Address
from seeder.web.objects import NoTorrent, TorrentFile
from tests.peer.node import make_data, make_torrent

ANNOUNCE = "http://tracker.example.org:6969/announce"


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


def publish(catalog: Catalog, key: str, *, private: bool = False, live: bool = True) -> Publication:
    publication = Publication(ObjectRef("default", "bucket", key), private)
    catalog.add(publication)
    if live:
        info = parse_info(build_info(name=key, layout=Layout(5, 16384), pieces=b"h" * 20))
        catalog.serve(publication, Torrent(info, PinnedObject(publication.ref, '"e"', 5), "build"))
    return publication


def face(catalog: Catalog) -> PublicFace:
    public = PeerSettings(public_address=Address("203.0.113.7", 6881))
    return PublicFace(catalog, ANNOUNCE, public)


def test_a_torrent_file_names_our_tracker_and_is_the_same_every_time(catalog: Catalog) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    found = face(catalog).torrent_file("bucket", "key")
    assert isinstance(found, TorrentFile)
    assert found == face(catalog).torrent_file("bucket", "key")
    assert found.filename == "key.torrent"
    read = lt.load_torrent_buffer(found.body)
    assert read.trackers == [ANNOUNCE]
    assert str(read.info_hashes.v1) == torrent.info_hash.hex()


def test_a_magnet_link_names_tracker_and_seeder(catalog: Catalog) -> None:
    publish(catalog, "key")
    found = face(catalog).magnet_link("bucket", "key")
    assert isinstance(found, str)
    parsed = lt.parse_magnet_uri(found)
    assert parsed.trackers == [ANNOUNCE]
    assert parsed.peers == [("203.0.113.7", 6881)]


@pytest.mark.parametrize(
    ("bucket", "key", "code"),
    [
        ("bucket", "other", "NoSuchKey"),
        ("basket", "key", "NoSuchBucket"),
        ("bucket", "private", "AccessDenied"),
        ("bucket", "building", "ServiceUnavailable"),
        ("bucket", "failed", "NoSuchKey"),
    ],
)
def test_what_there_is_no_torrent_of_says_why(
    catalog: Catalog, bucket: str, key: str, code: str
) -> None:
    publish(catalog, "private", private=True)
    publish(catalog, "building", live=False).settle(State.BUILDING)
    publish(catalog, "failed", live=False).settle(State.FAILED, "secret reason")
    for found in (
        face(catalog).torrent_file(bucket, key),
        face(catalog).magnet_link(bucket, key),
    ):
        assert isinstance(found, NoTorrent)
        assert found.code == code
        assert "secret" not in found.message


def test_a_hybrid_whose_piece_layer_is_lost_has_no_torrent_file_for_now(
    catalog: Catalog, tmp_path: Path
) -> None:
    publication = Publication(ObjectRef("default", "bucket", "key"))
    catalog.add(publication)
    path = tmp_path / "tree"
    torrent = make_torrent(make_data(200_000), key="key", tree_path=path)
    catalog.serve(publication, torrent)
    found = face(catalog).torrent_file("bucket", "key")
    assert isinstance(found, TorrentFile)
    assert lt.load_torrent_buffer(found.body).info_hashes.v2.to_bytes() == torrent.v2_hash
    link = face(catalog).magnet_link("bucket", "key")
    assert isinstance(link, str)
    assert lt.parse_magnet_uri(link).info_hashes.v2.to_bytes() == torrent.v2_hash
    path.unlink()
    found = face(catalog).torrent_file("bucket", "key")
    assert isinstance(found, NoTorrent)
    assert found.code == "ServiceUnavailable"


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
    anywhere = Address("0.0.0.0", 6969)
    here = Address("192.0.2.1", 6969)
    public = PeerSettings(public_address=Address("2001:db8::1", 6881))
    cases = [
        (TrackerSettings(announce_url=ANNOUNCE), public, ANNOUNCE),
        (TrackerSettings(listen=(anywhere, here)), public, "http://192.0.2.1:7000/announce"),
        (TrackerSettings(listen=(anywhere,)), public, "http://[2001:db8::1]:7000/announce"),
    ]
    for tracker, peer, url in cases:
        assert announce_url(config(tmp_path, tracker, peer), 7000) == url
    with pytest.raises(ConfigError, match=r"tracker\.announce_url"):
        announce_url(config(tmp_path, TrackerSettings(), PeerSettings()), 7000)
