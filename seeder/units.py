"""Sizes, times, rates and amounts of money, read from texts and shown; ranges of bytes.

A size is shown in two ways: exactly, as a configuration may say it (`exact_size`), and rounded, for
reports and logs (`rounded_size`).

No I/O.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR

LARGEST_SIZE = 2**63 - 1
SLOWEST_RATE = 16 * KIB
"""Bytes a second: peers give up when they get less than a block a second."""
LONGEST_TIME = 365.0 * DAY
UNKNOWN = "–"
"""What is shown for a figure that isn't known."""

_SIZE_UNITS = {
    "b": 1,
    **{name: 1024**power for power, name in enumerate(("kib", "mib", "gib", "tib"), 1)},
    **{name: 1000**power for power, name in enumerate(("kb", "mb", "gb", "tb"), 1)},
}
_SIZE = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)\s*", re.ASCII)
_EXACT_UNITS = ((1024 * GIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_ROUNDED_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)
_LAST_MOMENT = 253_402_300_800
"""The year 10000 (Unix s)."""
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TIME_PART = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d|w)", re.ASCII)


def whole_number(text: str | None) -> int | None:
    """Return a number that is written in 1 to 19 digits; None for everything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def port_number(text: str | None) -> int | None:
    """Return the number of a port, 1 to 65535; None for everything else."""
    number = whole_number(text)
    return number if number is not None and 0 < number < 65536 else None


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number and what it counts, such as "1 object" and "2 objects"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


# -- sizes


def parse_size(text: str) -> int:
    """Return the bytes in a text such as "256 MiB"; ValueError says what is wanted."""
    match = _SIZE.fullmatch(text)
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError('want a size such as "256 MiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)')
    size = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if size > LARGEST_SIZE:
        raise ValueError("want a size that a disk can hold")
    return size


def exact_size(size: int) -> str:
    """Return the shortest text that `parse_size` reads as `size` bytes again, such as "16 KiB"."""
    for unit, name in _EXACT_UNITS:
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def rounded_size(count: int | None) -> str:
    """Return a byte count in at most 9 characters, such as "1.50 GiB"; "–" for None."""
    if count is None:
        return UNKNOWN
    power, size = 0, float(abs(count))
    # Rounding must not show 1024 of a unit.
    while size >= (1023.5 if power else 1024) and power < len(_ROUNDED_UNITS) - 1:
        power, size = power + 1, size / 1024
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    sign = "-" if count < 0 else ""
    return f"{sign}{size:.{digits}f} {_ROUNDED_UNITS[power]}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`; length is at least 1."""

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.length < 1:
            raise ValueError(f"not a byte range: start {self.start}, length {self.length}")

    @property
    def stop(self) -> int:
        """The offset just after the last byte."""
        return self.start + self.length

    @property
    def header(self) -> str:
        """The value of an HTTP Range header (RFC 9110, 14.2)."""
        return f"bytes={self.start}-{self.stop - 1}"


# -- rates and times


def parse_rate(text: str) -> float | None:
    """Return the bytes a second in a text such as "10 MiB/s", None for "unlimited"; ValueError."""
    if text.strip() == "unlimited":
        return None
    size, slash, unit = text.rpartition("/")
    try:
        rate = parse_size(size) if slash and unit.strip() == "s" else 0
    except ValueError:
        rate = 0
    if rate < SLOWEST_RATE:
        raise ValueError('want "unlimited", or a rate from "16 KiB/s" up, such as "10 MiB/s"')
    return float(rate)


def parse_time(text: str) -> float:
    """Return the seconds in a text such as "1h30m": above zero, at most a year; ValueError."""
    seconds, end = 0.0, 0
    while match := _TIME_PART.match(text, end):
        seconds += float(match[1]) * _TIME_UNITS[match[2]]
        end = match.end()
    if end == 0 or text[end:].strip():
        raise ValueError('want a time such as "30s", "10m" or "1h30m" (ms, s, m, h, d, w)')
    if not 0 < seconds <= LONGEST_TIME:
        raise ValueError("want a time above zero and of at most a year")
    return seconds


def rounded_time(seconds: float) -> str:
    """Return a time in the largest unit that leaves two or more of it, such as "40 s", "3 min"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def parse_moment(text: str, now: float) -> float:
    """Return the moment (Unix s) of a text such as "7d" ago or "2026-03-01 12:30"; ValueError.

    What names no zone is UTC, as are the days of budgets and of S3's bills.
    """
    moment = _moment(text.strip(), now)
    if moment is None:
        raise ValueError(
            'want how long ago, such as "7d", or a date such as "2026-03", "2026-03-01" or'
            ' "2026-03-01 12:30" (UTC)'
        )
    if not 0 <= moment < _LAST_MOMENT:
        raise ValueError("want a moment between the years 1970 and 9999")
    return moment


def _moment(text: str, now: float) -> float | None:
    with suppress(ValueError):
        return now - parse_time(text)
    try:
        date = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def show_moment(at: float) -> str:
    """Return a Unix time (s) as "2026-07-20 12:00 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- money


def show_money(amount: float, currency: str = "") -> str:
    """Return an amount of money: with 2 decimals, or 4 below 1, so that small ones show."""
    shown = round(amount, 4) + 0.0  # never "-0.00"
    text = f"{shown:,.2f}" if abs(shown) >= 1 or shown == 0 else f"{shown:.4f}"
    return f"{text} {currency}" if currency else text
