"""Where clients reach us: the URLs, and the torrent files and magnet links with them."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.config.node import CacheSettings
from seeder.config.objects import ObjectSettings
from seeder.config.public import GatewaySettings, PeerSettings, TrackerSettings
from seeder.config.sections import Config
from seeder.errors import ConfigError
from seeder.gateway.links import Links, announce_url, gateway_url
from seeder.gateway.naming import Naming
from seeder.http.messages import Request
from seeder.net.addresses import HostPort
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from tests.gateway.support import ANNOUNCE


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
    public = PeerSettings(public_address=(HostPort("2001:db8::1", 6881),))
    cases = [
        (TrackerSettings(announce_url=ANNOUNCE), public, ANNOUNCE),
        (TrackerSettings(listen=(anywhere, here)), public, "http://192.0.2.1:7000/announce"),
        (TrackerSettings(listen=(anywhere,)), public, "http://[2001:db8::1]:7000/announce"),
    ]
    for tracker, peer, url in cases:
        assert announce_url(config(tmp_path, tracker, peer), 7000) == url
    with pytest.raises(ConfigError, match=r"tracker\.announce_url"):
        announce_url(config(tmp_path, TrackerSettings(), PeerSettings()), 7000)


def test_with_a_certificate_the_announce_url_has_a_host_that_it_is_for(tmp_path: object) -> None:
    files = {"tls_certificate": Path("c"), "tls_key": Path("k")}
    tracker = TrackerSettings.model_validate(files)
    peer = PeerSettings(public_address=(HostPort("192.0.2.7", 6881), HostPort("p.example.org", 1)))
    for port, names, url in (
        (443, ("192.0.2.7", "t.example.org"), "https://192.0.2.7/announce"),
        (6969, ("t.example.org", "192.0.2.8"), "https://t.example.org:6969/announce"),
        (443, ("*.example.org",), "https://p.example.org/announce"),
        (443, ("*.example.net", "t.example.net"), "https://t.example.net/announce"),
        (443, ("*.example.net",), "https://192.0.2.7/announce"),
        (443, ("2001:db8::1",), "https://[2001:db8::1]/announce"),
        (443, (), "https://192.0.2.7/announce"),
    ):
        made = config(tmp_path, tracker, peer)
        assert announce_url(made, port, names) == url
        assert gateway_url(made, url) == url.removesuffix("/announce")
    alone = config(tmp_path, tracker, PeerSettings())
    assert announce_url(alone, 443, ("t.example.org",)) == "https://t.example.org/announce"
    with pytest.raises(ConfigError, match=r"tracker\.announce_url"):
        announce_url(alone, 443, ("*.example.org",))
    said = config(
        tmp_path, TrackerSettings.model_validate({**files, "announce_url": ANNOUNCE}), peer
    )
    assert announce_url(said, 443, ("t.example.org",)) == ANNOUNCE


def test_links_follow_an_address_and_keep_what_is_written_out(tmp_path: object) -> None:
    before, after = (
        PeerSettings(public_address=(HostPort(host, 6881),))
        for host in ("192.0.2.1", "seed.example.org")
    )
    cases = [
        (TrackerSettings(listen=(HostPort("0.0.0.0", 1),)), None, "seed.example.org:1", True),
        (TrackerSettings(listen=(HostPort("192.0.2.9", 1),)), None, "192.0.2.9:1", False),
        (TrackerSettings(announce_url="http://t/announce"), None, "t", False),
        (TrackerSettings(announce_url="http://t/announce"), "https://w/x", "t", False),
    ]
    for tracker, gateway, host, changes in cases:
        links, made = None, None
        for peer in (before, after):
            made = config(tmp_path, tracker, peer)
            made = made.model_copy(update={"gateway": GatewaySettings(url=gateway)})
            url = announce_url(made, 1)
            if links is None:
                links = Links.of(made, url)
            else:
                assert links.follow(made, url) is changes
        assert links is not None
        assert links.announce == f"http://{host}/announce"
        assert links.gateway == (gateway or f"http://{host}")
        assert links.peers == after.public_address


def torrent_of(*, private: bool, key: str = "key") -> Torrent:
    raw = build_info(name="key", layout=Layout(5, 16384), pieces=b"h" * 20, private=private)
    return Torrent(parse_info(raw), PinnedObject(ObjectRef("default", "b", key), '"e"', 5), "build")


@pytest.mark.parametrize(
    ("udp_port", "settings", "tiers"),
    [
        (0, {}, [[ANNOUNCE]]),
        (7000, {}, [[ANNOUNCE, "udp://tracker.example.org:7000/announce"]]),
        (
            7000,
            {"udp_announce_url": "udp://u.example.org:1/announce"},
            [[ANNOUNCE, "udp://u.example.org:1/announce"]],
        ),
        (
            0,
            {"announce_list": ("udp://a.example.net:1/x", "https://b.example.net/announce")},
            [[ANNOUNCE], ["udp://a.example.net:1/x"], ["https://b.example.net/announce"]],
        ),
    ],
)
def test_torrents_and_magnet_links_name_every_tracker_ours_first(
    udp_port: int, settings: dict[str, object], tiers: list[list[str]], tmp_path: object
) -> None:
    tracker = TrackerSettings.model_validate({"announce_url": ANNOUNCE} | settings)
    links = Links.of(config(tmp_path, tracker, PeerSettings()), ANNOUNCE, udp_port=udp_port)
    torrent = torrent_of(private=False)
    read = lt.load_torrent_buffer(links.torrent_file(torrent, public=True))
    numbered = [(url, tier) for tier, urls in enumerate(tiers) for url in urls]
    assert sorted(zip(read.trackers, read.tracker_tiers, strict=True)) == sorted(numbered)
    magnet = lt.parse_magnet_uri(links.magnet(torrent, public=True))
    assert magnet.trackers == [url for urls in tiers for url in urls]


def test_a_private_torrent_names_our_tracker_alone() -> None:
    links = Links(ANNOUNCE, GATEWAY, udp_port=6969, other_trackers=("udp://a.example.net:1",))
    ours = [ANNOUNCE, "udp://tracker.example.org:6969/announce"]
    torrent = torrent_of(private=True)
    read = lt.load_torrent_buffer(links.torrent_file(torrent, public=True))
    assert read.trackers == ours
    assert lt.parse_magnet_uri(links.magnet(torrent, public=True)).trackers == ours


def test_the_url_for_udp_names_an_ipv6_host_as_urls_do() -> None:
    links = Links("http://[2001:db8::1]/announce", GATEWAY, udp_port=6969)
    assert links.trackers(torrent_of(private=False))[0][1] == "udp://[2001:db8::1]:6969/announce"


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


GATEWAY = "https://data.example.org/files"


def object_named(path: str) -> tuple[str, str]:
    """Return bucket and key as the routes read them."""
    raw = path.encode()
    return Naming().object_of(Request(b"GET", raw, b"", [], ("", 0), ("", 0)))


def web_seeds(links: Links, *, key: str = "key", private: bool = False) -> list[str]:
    """Return what file and magnet link of an object in bucket b alike name as web seeds."""
    torrent = torrent_of(private=private, key=key)
    named = lt.load_torrent_buffer(links.torrent_file(torrent, public=True)).url_seeds
    assert lt.parse_magnet_uri(links.magnet(torrent, public=True)).url_seeds == named
    return list(named)


def test_a_private_torrent_names_no_web_seed() -> None:
    links = Links(ANNOUNCE, GATEWAY, web_seed=True)
    assert web_seeds(links) == [f"{GATEWAY}/b/key"]
    assert web_seeds(links, private=True) == []


def test_public_torrents_name_mirrors_behind_ours() -> None:
    mirrors = ["https://{bucket}.s3.example.net/{key}", "http://cdn.example.net/{key}"]
    named = ["https://b.s3.example.net/key", "http://cdn.example.net/key"]
    assert web_seeds(Links(ANNOUNCE, GATEWAY, mirrors=mirrors)) == named
    links = Links(ANNOUNCE, GATEWAY, mirrors=mirrors, web_seed=True)
    assert web_seeds(links) == [f"{GATEWAY}/b/key", *named]
    assert web_seeds(links, private=True) == []


def test_a_mirrors_url_has_the_key_as_our_own_has() -> None:
    links = Links(ANNOUNCE, GATEWAY, mirrors=["http://m/x?k={bucket}{key}"], web_seed=True)
    for key in ("ünï + 100%?#&", "a/{bucket}/{key}", "a//b"):
        ours, mirror = web_seeds(links, key=key)
        assert mirror == ours.replace(f"{GATEWAY}/b/", "http://m/x?k=b")


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
        ("..", "%2E%2E"),
        (".", "%2E"),
    ],
)
def test_a_web_seed_leads_to_its_key(key: str, path: str) -> None:
    url = Links("", "http://h").object_url(ObjectRef("default", "tenant:b", key))
    assert url == f"http://h/tenant%3Ab/{path}"
    assert object_named(urlsplit(url).path) == ("tenant:b", key)
    assert httpx.URL(url).raw_path.decode() == urlsplit(url).path


@given(st.text(min_size=1))
def test_any_key_comes_back_from_its_url(key: str) -> None:
    key = key.encode("utf-8", "replace").decode()
    url = Links("", "http://h").object_url(ObjectRef("default", "b", key))
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
    assert web_seeds(Links.of(made, announce)) == []
    gateway = GatewaySettings(web_seed=True, url=url)
    links = Links.of(made.model_copy(update={"gateway": gateway}), announce)
    assert web_seeds(links) == [f"{expected}/b/key"]
