"""Addresses and words as people write them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.config.texts import closest, one_of, parse_host_port
from seeder.net.addresses import HostPort


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text draws read a big table
@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_with_a_reason(text: str) -> None:
    refusal = "want "
    try:
        parse_host_port(text)
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith("want ")


@given(
    st.one_of(st.ip_addresses(), st.sampled_from(["a", "s3.example.org"])), st.integers(0, 65535)
)
def test_an_address_is_read_back_as_it_is_shown(host: object, port: int) -> None:
    address = HostPort(str(host), port)
    assert parse_host_port(str(address)) == address


def test_a_guess_is_only_made_when_it_is_near() -> None:
    choices = ("memory", "disk", "directory", "listen")
    assert closest("memry", choices) == "memory"
    assert closest("udp_listen", choices) is None
    assert closest("kez", ("bucket", "key")) == "key"
    assert closest("kzz", ("bucket", "key")) is None
    assert one_of("disk", choices) == "disk"
    with pytest.raises(ValueError, match=r'^want "a" or "b"$'):
        one_of("zzz", ("a", "b"))
