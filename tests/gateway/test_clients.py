"""Which client a request comes from when proxies are in between."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.gateway.clients import ClientUnknown, TrustedProxies
from seeder.net.addresses import parse_ip

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:aaaa::/48")])


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
        ([b"198.51.100.1:4711"], "198.51.100.1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(
    forwarded: list[bytes], client: str
) -> None:
    assert str(PROXIES.client(forwarded)) == client


@pytest.mark.parametrize(
    "forwarded",
    [[], [b""], [b"unknown"], [b"198.51.100.1,"], [b"bad, 10.1.1.1"], [b"_hidden"], [b"\xff\xfe"]],
)
def test_a_proxy_that_does_not_name_its_client_is_an_error(forwarded: list[bytes]) -> None:
    with pytest.raises(ClientUnknown, match="X-Forwarded-For"):
        PROXIES.client(forwarded)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_from_a_proxy_is_refused_and_nothing_worse(forwarded: list[bytes]) -> None:
    try:
        PROXIES.client(forwarded)
    except ClientUnknown as error:
        assert "X-Forwarded-For" in str(error)  # noqa: PT017


def test_only_configured_networks_are_trusted() -> None:
    assert PROXIES.trusts(parse_ip("10.200.0.1"))
    assert PROXIES.trusts(parse_ip("::ffff:10.200.0.1"))
    assert not PROXIES.trusts(parse_ip("11.0.0.1"))
    assert not PROXIES.trusts(parse_ip("2001:db8:aaab::1"))
    assert not TrustedProxies([])
