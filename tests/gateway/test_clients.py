"""Which client a request comes from when proxies are in between."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.clients import MOST_HOPS, Clients, TrustedProxies
from seeder.net.addresses import parse_ip
from seeder.net.buckets import AddressLimiter

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:aaaa::/48")])
ASKER = parse_ip("10.0.0.1")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([b"198.51.100.1"], "198.51.100.1"),
        ([b"6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ([b"6.6.6.6", b"198.51.100.1"], "198.51.100.1"),
        ([b"6.6.6.6, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
        ([b"6.6.6.6,198.51.100.1", b" 10.1.1.1 ,2001:db8:aaaa::1"], "198.51.100.1"),
        ([b"nonsense, 198.51.100.1"], "198.51.100.1"),
        ([b"10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        ([b"::ffff:198.51.100.1"], "198.51.100.1"),
        ([b"::ffff:10.1.1.1, ::ffff:10.1.1.2"], "10.1.1.1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"fe80::1%eth0"], "fe80::1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(
    forwarded: list[bytes], client: str
) -> None:
    assert str(PROXIES.client(ASKER, forwarded)) == client


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        (b"198.51.100.1:4711", "198.51.100.1"),
        (b"198.51.100.1:_port", "198.51.100.1"),
        (b"198.51.100.1:", "198.51.100.1"),
        (b"[198.51.100.1]:4711", "198.51.100.1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:4711", "2001:db8::1"),
        (b"[2001:db8::1]:_port", "2001:db8::1"),
        (b"[fe80::1%eth0]:4711", "fe80::1"),
        (b'"[2001:db8::1]:4711"', "2001:db8::1"),
        (b'"198.51.100.1"', "198.51.100.1"),
        (b"[::ffff:198.51.100.1]:4711", "198.51.100.1"),
    ],
)
def test_ports_brackets_and_quotes_do_not_hide_an_address(hop: bytes, client: str) -> None:
    assert str(PROXIES.client(ASKER, [hop])) == client


@pytest.mark.parametrize(
    "forwarded",
    [
        [],
        [b""],
        [b"unknown"],
        [b"unix:"],
        [b"unix:/run/proxy.sock"],
        [b"_hidden"],
        [b"_SEVKISEK"],
        [b"198.51.100.1,"],
        [b"198.51.100.1, unknown"],
        [b"198.51.100.1, unix:"],
        [b"[2001:db8::1"],
        [b"2001:db8::1]"],
        [b"[2001:db8::1]4711"],
        [b"[]"],
        [b"[]:80"],
        [b"0.0.0.0"],
        [b"::"],
        [b"224.0.0.1"],
        [b"198.51.100"],
        [b"198.51.100.1 198.51.100.2"],
        [b"\xff\xfe"],
        [b"\xb2"],
    ],
)
def test_where_a_proxy_names_nobody_the_last_certain_address_is_taken(
    forwarded: list[bytes],
) -> None:
    assert PROXIES.client(ASKER, forwarded) == ASKER
    nearer = [*forwarded, b"10.7.7.7"]
    assert str(PROXIES.client(ASKER, nearer)) == "10.7.7.7"


def test_whoever_is_no_proxy_is_not_asked_for_whom_it_speaks() -> None:
    stranger = parse_ip("203.0.113.5")
    assert PROXIES.client(stranger, [b"198.51.100.1"]) == stranger


def test_a_header_as_long_as_it_may_be_is_not_read_to_its_end() -> None:
    near = b",".join([b"10.1.1.1"] * (MOST_HOPS - 1))
    assert str(PROXIES.client(ASKER, [b"198.51.100.1", near])) == "198.51.100.1"
    assert str(PROXIES.client(ASKER, [b"198.51.100.1, 10.1.1.2", near])) == "10.1.1.2"


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_nobody_is_refused_for_what_a_proxy_says(forwarded: list[bytes]) -> None:
    PROXIES.client(ASKER, forwarded)


def test_only_configured_networks_are_trusted() -> None:
    assert PROXIES.trusts(parse_ip("10.200.0.1"))
    assert PROXIES.trusts(parse_ip("::ffff:10.200.0.1"))
    assert not PROXIES.trusts(parse_ip("11.0.0.1"))
    assert not PROXIES.trusts(parse_ip("2001:db8:aaab::1"))
    assert not TrustedProxies([])


def test_once_an_hour_the_log_tells_of_an_address_that_asks_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, one, other = 0.0, b"\xc6\x33\x64\x01", bytes.fromhex("20010db8000100020000000000000001")
    often, ranges = AddressLimiter(rate=1, burst=2), AddressLimiter(rate=0.001, burst=2)
    clients = Clients(TrustedProxies([]), often, ranges, lambda: now)
    for client in (one, other):
        assert [clients.admit(client) for _ in range(4)] == [True, True, False, False]
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(",")[0] for line in lines] == [
        "more requests come from 198.51.100.1",
        "more requests come from 2001:db8:1:2::/64",
    ]
    assert all("tracker.trusted_proxies" in line for line in lines)
    # Of ranges, too, but not of the same address again.
    assert [clients.wait_for_range(one) for _ in range(3)] == [0, 0, None]
    assert len(caplog.records) == 2
    now = 3600.0
    assert [clients.admit(one) for _ in range(3)] == [True, True, False]
    assert len(caplog.records) == 3
