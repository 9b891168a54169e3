"""What the public gets of a torrent, and what it doesn't."""

import libtorrent as lt
import pytest

from seeder.errors import ConfigError
from seeder.public import PublicFace, announce_url, gateway_url
from seeder.settings import (
    CacheSettings,
    Config,
    GatewaySettings,
    ObjectSettings,
    OriginSettings,
    PeerSettings,
    TrackerSettings,
)
from seeder.torrent.catalog import Catalog, ObjectRef, PinnedObject, Publication, State, Torrent
from seeder.torrent.layout import Layout
from seeder.torrent.metainfo import build_info, parse_info
from seeder.values import Address
from seeder.web.access import Terms
from seeder.web.s3errors import S3Error

ANNOUNCE = "http://tracker.example.org:6969/announce"


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


def face(catalog: Catalog) -> PublicFace:
    public = PeerSettings(public_address=Address("203.0.113.7", 6881))
    origins = {
        "default": OriginSettings(),
        "payer": OriginSettings(request_payer=True, expected_bucket_owner="111122223333"),
    }
    return PublicFace(catalog, ANNOUNCE, public, origins)


def test_a_torrent_file_names_our_tracker_and_is_the_same_every_time(catalog: Catalog) -> None:
    torrent = publish(catalog, "key").torrent
    assert torrent is not None
    found = face(catalog).torrent_file("bucket", "key")
    assert found == face(catalog).torrent_file("bucket", "key")
    assert found.filename == "key.torrent"
    read = lt.load_torrent_buffer(found.body)
    assert read.trackers == [ANNOUNCE]
    assert str(read.info_hashes.v1) == torrent.info_hash.hex()


def test_a_magnet_link_names_tracker_and_seeder(catalog: Catalog) -> None:
    publish(catalog, "key")
    parsed = lt.parse_magnet_uri(face(catalog).magnet_link("bucket", "key"))
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
def test_what_there_is_no_torrent_of_says_why(
    catalog: Catalog, bucket: str, key: str, code: str
) -> None:
    publish(catalog, "building", live=False).settle(State.BUILDING)
    publish(catalog, "failed", live=False).settle(State.FAILED, "secret reason")
    for page in (face(catalog).torrent_file, face(catalog).magnet_link):
        with pytest.raises(S3Error) as caught:
            page(bucket, key)
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
