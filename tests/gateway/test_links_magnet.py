import string
from collections.abc import Sequence

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.links import magnet_link
from seeder.net.addresses import HostPort
from seeder.torrent.info import InfoHash

HASH = InfoHash(bytes(range(236, 256)))
# libtorrent takes the name over as it is; a control in it is the caller's mistake (safe_name).
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60)
paths = st.text(st.sampled_from(string.ascii_letters + string.digits + "%&=+?#;:@/~'!$é[]"))


def link_of(
    info_hash: InfoHash = HASH,
    *,
    name: str = "Nelson",
    tracker: str = "http://tracker.example/announce",
    peers: Sequence[HostPort] = (),
    web_seeds: Sequence[str] = (),
    v2_hash: bytes | None = None,
) -> str:
    return magnet_link(
        info_hash, name=name, trackers=[tracker], peers=peers, web_seeds=web_seeds, v2_hash=v2_hash
    )


@given(st.binary(min_size=20, max_size=20).filter(any), names)
def test_hash_and_name_come_back_from_libtorrent(raw_hash: bytes, name: str) -> None:
    link = link_of(InfoHash(raw_hash), name=name)
    parsed = lt.parse_magnet_uri(link)
    assert parsed.info_hashes.v1.to_bytes() == raw_hash
    assert parsed.name == name


@given(paths.map("http://tracker.example/announce/{}".format))
def test_the_tracker_comes_back_from_libtorrent(tracker: str) -> None:
    assert lt.parse_magnet_uri(link_of(tracker=tracker)).trackers == [tracker]


@given(st.lists(paths.map("http://seed.example/{}".format), unique=True, max_size=4))
def test_web_seeds_come_back_from_libtorrent(web_seeds: list[str]) -> None:
    link = link_of(web_seeds=web_seeds)
    assert sorted(lt.parse_magnet_uri(link).url_seeds) == sorted(web_seeds)


@pytest.mark.parametrize("peer", [("203.0.113.7", 6881), ("2001:db8::7", 51413)])
def test_the_peer_comes_back_from_libtorrent(peer: tuple[str, int]) -> None:
    assert lt.parse_magnet_uri(link_of(peers=[HostPort(*peer)])).peers == [peer]
    both = [HostPort("198.51.100.1", 1), HostPort(*peer)]
    assert lt.parse_magnet_uri(link_of(peers=both)).peers == both


def test_everything_at_once() -> None:
    link = link_of(
        name="Lord Nelson & co.txt",
        tracker="http://t.example/announce?a=1&b=2",
        peers=[HostPort("203.0.113.7", 6881)],
        web_seeds=["https://s.example/a%20b"],
    )
    assert link == (
        "magnet:?xt=urn:btih:ecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
        "&dn=Lord%20Nelson%20%26%20co.txt"
        "&tr=http%3A%2F%2Ft.example%2Fannounce%3Fa%3D1%26b%3D2"
        "&ws=https%3A%2F%2Fs.example%2Fa%2520b"
        "&x.pe=203.0.113.7:6881"
    )
    parsed = lt.parse_magnet_uri(link)
    assert parsed.name == "Lord Nelson & co.txt"
    assert parsed.trackers == ["http://t.example/announce?a=1&b=2"]
    assert parsed.url_seeds == ["https://s.example/a%20b"]
    assert parsed.peers == [("203.0.113.7", 6881)]


@pytest.mark.parametrize("hostile", ["a&x.pe=198.51.100.1:1", "a#b", "a\r\nb", 'a"><b>', "a b"])
def test_no_field_breaks_out_of_its_place(hostile: str) -> None:
    link = link_of(
        name=hostile, tracker=hostile, peers=[HostPort(hostile, 6881)], web_seeds=[hostile]
    )
    assert link.count("&") == 4
    assert not set(link) & set("#\r\n\"'<> ")


def test_a_link_is_ascii() -> None:
    link = link_of(name="Käse 奶酪", tracker="http://käse.example/announce")
    assert link.isascii()


def test_a_hybrid_is_named_by_both_hashes() -> None:
    v2 = bytes(range(32))
    link = link_of(name="n", v2_hash=v2)
    assert link.startswith(f"magnet:?xt=urn:btih:{HASH.hex()}&xt=urn:btmh:1220{v2.hex()}&dn=n")
    found = lt.parse_magnet_uri(link).info_hashes
    assert (found.v1.to_bytes(), found.v2.to_bytes()) == (HASH, v2)
