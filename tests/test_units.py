"""Sizes, times, rates and money as people write and read them; ranges of bytes."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.units import (
    DAY,
    GIB,
    KIB,
    MIB,
    ByteRange,
    exact_size,
    parse_moment,
    parse_rate,
    parse_size,
    parse_time,
    rounded_size,
    show_moment,
    show_money,
)

NOON = 1_795_953_600.0  # 2026-11-29 12:00 UTC

# -- sizes


@given(st.integers(0, 2**63 - 1))
def test_a_size_is_read_back_as_it_is_shown(size: int) -> None:
    assert parse_size(exact_size(size)) == size


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text draws read a big table
@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_with_a_reason(text: str) -> None:
    for parse in (parse_size, parse_time, parse_rate):
        refusal = "want "
        try:
            parse(text)
        except ValueError as error:
            refusal = str(error)
        assert refusal.startswith("want ")


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


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (-1536, "-1.50 KiB"),
        (10 * KIB - 1, "10.0 KiB"),
        (100 * KIB - 1, "100 KiB"),
        (1023 * KIB, "1023 KiB"),
        (MIB - 1, "1.00 MiB"),
        (GIB - 1, "1.00 GiB"),
        (-(1023 * GIB), "-1023 GiB"),
        (2**60, "1.00 EiB"),
    ],
)
def test_sizes_are_short(count: int | None, text: str) -> None:
    assert rounded_size(count) == text


@given(st.integers(-(2**62), 2**62))
def test_a_short_size_is_near_the_long_one(count: int) -> None:
    text = rounded_size(count)
    number, unit = text.split()
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    assert len(text) <= 9
    assert float(number) * 1024 ** units.index(unit) == pytest.approx(count, rel=0.0051)


# -- rates, moments and money


def test_a_rate_is_bytes_a_second_or_unlimited() -> None:
    assert parse_rate("10 MiB/s") == 10 * 1024 * 1024
    assert parse_rate(" 1.5MB / s ") == 1_500_000
    assert parse_rate("unlimited") is None


@pytest.mark.parametrize("text", ["", "10 MiB", "10 MiB/h", "0 B/s", "8 KiB/s", "fast", "/s"])
def test_what_is_no_rate_says_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match=r"unlimited.*MiB/s"):
        parse_rate(text)


def test_a_moment_is_shown_to_the_minute_in_utc() -> None:
    assert show_moment(1_784_548_859.9) == "2026-07-20 12:00 UTC"


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0.00"), (-0.00001, "0.00"), (0.0042, "0.0042"), (-0.5, "-0.5000"), (1234.5, "1,234.50")],
)
def test_small_amounts_of_money_are_seen(amount: float, text: str) -> None:
    assert show_money(amount) == text


# -- ranges of bytes


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 0), (0, -1)])
def test_a_byte_range_that_cannot_be_is_refused(start: int, length: int) -> None:
    with pytest.raises(ValueError, match="not a byte range"):
        ByteRange(start, length)


def test_a_range_header_names_its_last_byte() -> None:
    assert ByteRange(0, 1).header == "bytes=0-0"
    assert ByteRange(500, 500).header == "bytes=500-999"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOON - 7 * DAY),
        ("90m", NOON - 5400),
        ("2026-03", 1_772_323_200),
        ("2026-03-01", 1_772_323_200),
        ("2026-03-01 12:30", 1_772_368_200),
        ("2026-03-01T12:30:15Z", 1_772_368_215),
        ("2026-03-01T12:30+01:00", 1_772_364_600),
        # An hour that Europe's clocks have twice, or not at all, is one hour of UTC.
        ("2026-10-25 02:30", 1_792_895_400),
        ("2026-03-29 02:30", 1_774_751_400),
    ],
)
def test_a_moment_is_a_time_ago_or_a_date_of_utc(text: str, moment: float) -> None:
    assert parse_moment(text, NOON) == moment


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_is_told_what_is_wanted(text: str) -> None:
    with suppress(ValueError):
        parse_moment(text, NOON)


@pytest.mark.parametrize("text", ["", "7", "2026-13", "2026-02-30", "tomorrow", "2026-03-01T25:00"])
def test_what_is_no_moment_is_told_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match="want how long ago"):
        parse_moment(text, NOON)
