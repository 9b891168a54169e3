"""Addresses: how they are written, and what counts as one."""

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.addresses import (
    PRIVATE_NETWORKS,
    HostPort,
    Scope,
    compact_endpoint,
    endpoint_address,
    is_public,
    is_v6,
    network_of,
    networks_of,
    parse_ip,
    scope_of,
)
from seeder.net.sockets import packed_address

ADDRESSES = st.ip_addresses()
MAPPED = "::ffff:192.0.2.1"


def test_the_host_of_ipv6_stands_in_brackets() -> None:
    assert str(HostPort("2001:db8::1", 6881)) == "[2001:db8::1]:6881"
    assert str(HostPort("tracker.example.org", 80)) == "tracker.example.org:80"


def test_a_zone_is_no_part_of_an_address() -> None:
    assert parse_ip("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
    assert packed_address("fe80::1%eth0") == ipaddress.ip_address("fe80::1").packed


def test_mapped_ipv4_is_ipv4() -> None:
    assert parse_ip(MAPPED) == ipaddress.ip_address("192.0.2.1")
    assert packed_address(MAPPED) == bytes([192, 0, 2, 1])


@given(ADDRESSES)
def test_the_fast_way_packs_what_the_parser_reads(address: ipaddress.IPv4Address) -> None:
    assert packed_address(str(address)) == parse_ip(str(address)).packed


def test_ipv6_is_counted_by_its_64() -> None:
    assert network_of(b"abcd") == b"abcd"
    assert network_of(b"0123456789abcdef") == b"01234567"


def test_the_networks_of_an_address_are_told_apart_by_their_length() -> None:
    v4, v6 = (networks_of(packed_address(each)) for each in ("32.1.13.184", "2001:db8:1:203::9"))
    assert v4 == (b"\x20\x01\x0d\xb8", b"\x20\x01\x0d")
    assert [network.hex() for network in v6] == [
        "20010db800010203",
        "20010db8000102",
        "20010db80001",
    ]


@given(ADDRESSES)
def test_the_narrowest_network_is_what_counts_as_one_address(
    address: ipaddress.IPv4Address,
) -> None:
    networks = networks_of(address.packed)
    assert networks[0] == network_of(address.packed)
    assert all(narrow[:-1] == wide for narrow, wide in itertools.pairwise(networks))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(host: str, network: str) -> None:
    packed = ipaddress.ip_address(network).packed
    assert networks_of(packed_address(host))[0] == (packed if len(packed) == 4 else packed[:8])


def test_an_endpoint_is_the_compact_form() -> None:
    v4 = compact_endpoint(bytes([192, 0, 2, 1]), 6881)
    v6 = compact_endpoint(ipaddress.IPv6Address("::1").packed, 65535)
    assert v4 == b"\xc0\x00\x02\x01\x1a\xe1"
    assert v6 == bytes(15) + b"\x01\xff\xff"
    assert [is_v6(v4), is_v6(v6)] == [False, True]


@pytest.mark.parametrize(
    ("scope", "addresses"),
    [
        (Scope.SITE, ["10.1.2.3", "172.31.0.1", "192.168.0.1", "198.18.0.1", "198.19.255.255"]),
        (Scope.SITE, ["fc00::1", "fd00::1"]),
        (Scope.PROVIDER, ["100.64.0.1", "100.127.0.1", "192.0.0.2", "64:ff9b:1::1"]),
        (Scope.LINK, ["169.254.0.1", "fe80::1", "febf::1"]),
        (Scope.HOST, ["127.0.0.1", "::1"]),
        (Scope.EVERYWHERE, ["9.9.9.9", "172.32.0.1", "192.169.0.1", "192.0.1.1", "198.17.0.1"]),
        (Scope.EVERYWHERE, ["198.20.0.1", "100.128.0.1", "2001:db8::1", "64:ff9b::1", "fec0::1"]),
    ],
)
def test_an_address_is_private_where_it_means_another_host(
    scope: Scope, addresses: list[str]
) -> None:
    for text in addresses:
        assert scope_of(ipaddress.ip_address(text).packed) is scope, text
        inside = any(ipaddress.ip_address(text) in network for network in PRIVATE_NETWORKS)
        assert inside is (scope not in (Scope.EVERYWHERE, Scope.HOST)), text


@given(ADDRESSES, st.integers(0, 65535))
def test_an_endpoint_s_address_is_what_it_was_made_of(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    endpoint = compact_endpoint(address.packed, port)
    assert endpoint_address(endpoint) == HostPort(str(address), port)


PUBLIC = "8.8.8.8 1.1.1.1 2606:4700::1111 64:ff9b::808:808"
PRIVATE = (
    "127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 ::1"
    " fe80::1 fd00::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::1 ff02::1 :: 255.255.255.255 host"
)


def test_private_addresses_are_known_in_every_guise() -> None:
    assert all(map(is_public, PUBLIC.split()))
    assert not [each for each in PRIVATE.split() if is_public(each)]
