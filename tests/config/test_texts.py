"""Sizes, times and addresses as people write them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.config.texts import closest, one_of, parse_host_port
from seeder.net.addresses import HostPort
from seeder.units import parse_rate, parse_size, parse_time, show_size


@given(st.integers(0, 2**63 - 1))
def test_a_size_is_read_back_as_it_is_shown(size: int) -> None:
    assert parse_size(show_size(size)) == size


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text draws read a big table
@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_with_a_reason(text: str) -> None:
    for parse in (parse_size, parse_time, parse_host_port):
        refusal = "want "
        try:
            parse(text)
        except ValueError as error:
            refusal = str(error)
        assert refusal.startswith("want ")


@given(
    st.one_of(st.ip_addresses(), st.sampled_from(["a", "s3.example.org"])), st.integers(0, 65535)
)
def test_an_address_is_read_back_as_it_is_shown(host: object, port: int) -> None:
    address = HostPort(str(host), port)
    assert parse_host_port(str(address)) == address


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        ("250ms", 0.25),
        ("1w 1d", 691200),
    ],
)
def test_times_are_seconds(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0 B", 0), ("16KiB", 16384), (" 256 MiB ", 2**28), ("1.5 gib", 3 * 2**29), ("1 MB", 10**6)],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_guess_is_only_made_when_it_is_near() -> None:
    choices = ("memory", "disk", "directory", "listen")
    assert closest("memry", choices) == "memory"
    assert closest("udp_listen", choices) is None
    assert one_of("disk", choices) == "disk"
    with pytest.raises(ValueError, match=r'^want "a" or "b"$'):
        one_of("zzz", ("a", "b"))


def test_a_rate_is_bytes_a_second_or_unlimited() -> None:
    assert parse_rate("10 MiB/s") == 10 * 1024 * 1024
    assert parse_rate(" 1.5MB / s ") == 1_500_000
    assert parse_rate("unlimited") is None


@pytest.mark.parametrize("text", ["", "10 MiB", "10 MiB/h", "0 B/s", "8 KiB/s", "fast", "/s"])
def test_what_is_no_rate_says_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match=r"unlimited.*MiB/s"):
        parse_rate(text)
