import string

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.links import magnet_link
from seeder.torrent.info import InfoHash

HASH = InfoHash(bytes(range(236, 256)))
# libtorrent takes the name over as it is; a control in it is the caller's mistake (safe_name).
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60)
paths = st.text(st.sampled_from(string.ascii_letters + string.digits + "%&=+?#;:@/~'!$é[]"))


@given(st.binary(min_size=20, max_size=20).filter(any), names)
def test_hash_and_name_come_back_from_libtorrent(raw_hash: bytes, name: str) -> None:
    link = magnet_link(InfoHash(raw_hash), name=name, trackers=[])
    parsed = lt.parse_magnet_uri(link)
    assert parsed.info_hashes.v1.to_bytes() == raw_hash
    assert parsed.name == name


@given(st.lists(paths.map("http://tracker.example/announce/{}".format), unique=True, max_size=4))
def test_trackers_come_back_from_libtorrent_in_order(trackers: list[str]) -> None:
    link = magnet_link(HASH, name="Nelson", trackers=trackers)
    assert lt.parse_magnet_uri(link).trackers == trackers


@given(st.lists(paths.map("http://seed.example/{}".format), unique=True, max_size=4))
def test_web_seeds_come_back_from_libtorrent(web_seeds: list[str]) -> None:
    link = magnet_link(HASH, name="Nelson", trackers=[], web_seeds=web_seeds)
    assert sorted(lt.parse_magnet_uri(link).url_seeds) == sorted(web_seeds)


def test_peers_come_back_from_libtorrent() -> None:
    peers = ["203.0.113.7:6881", "[2001:db8::7]:51413"]
    link = magnet_link(HASH, name="Nelson", trackers=[], peers=peers)
    assert lt.parse_magnet_uri(link).peers == [("203.0.113.7", 6881), ("2001:db8::7", 51413)]


def test_everything_at_once() -> None:
    link = magnet_link(
        HASH,
        name="Lord Nelson & co.txt",
        trackers=["http://t.example/announce?a=1&b=2", "udp://t.example:6969"],
        peers=["203.0.113.7:6881"],
        web_seeds=["https://s.example/a%20b"],
    )
    assert link == (
        "magnet:?xt=urn:btih:ecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
        "&dn=Lord%20Nelson%20%26%20co.txt"
        "&tr=http%3A%2F%2Ft.example%2Fannounce%3Fa%3D1%26b%3D2"
        "&tr=udp%3A%2F%2Ft.example%3A6969"
        "&ws=https%3A%2F%2Fs.example%2Fa%2520b"
        "&x.pe=203.0.113.7:6881"
    )
    parsed = lt.parse_magnet_uri(link)
    assert parsed.name == "Lord Nelson & co.txt"
    assert parsed.trackers == ["http://t.example/announce?a=1&b=2", "udp://t.example:6969"]
    assert parsed.url_seeds == ["https://s.example/a%20b"]
    assert parsed.peers == [("203.0.113.7", 6881)]


@pytest.mark.parametrize("hostile", ["a&x.pe=198.51.100.1:1", "a#b", "a\r\nb", 'a"><b>', "a b"])
def test_no_field_breaks_out_of_its_place(hostile: str) -> None:
    link = magnet_link(HASH, name=hostile, trackers=[hostile], peers=[hostile], web_seeds=[hostile])
    assert link.count("&") == 4
    assert not set(link) & set("#\r\n\"'<> ")


def test_a_link_is_ascii() -> None:
    link = magnet_link(HASH, name="Käse 奶酪", trackers=["http://käse.example/announce"])
    assert link.isascii()


def test_a_hybrid_is_named_by_both_hashes() -> None:
    v2 = bytes(range(32))
    link = magnet_link(HASH, name="n", trackers=[], v2_hash=v2)
    assert link.startswith(f"magnet:?xt=urn:btih:{HASH.hex()}&xt=urn:btmh:1220{v2.hex()}&dn=n")
    found = lt.parse_magnet_uri(link).info_hashes
    assert (found.v1.to_bytes(), found.v2.to_bytes()) == (HASH, v2)
