"""Sizes, times, rates and amounts of money, read from texts and shown; ranges of bytes. No I/O."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
LARGEST_SIZE = 2**63 - 1
SLOWEST_RATE = 16 * KIB
"""Bytes a second: below a block a second peers give up."""
LONGEST_TIME = 365 * 86400.0
_SIZE_UNITS = {
    "b": 1,
    **{name: 1024**power for power, name in enumerate(("kib", "mib", "gib", "tib"), 1)},
    **{name: 1000**power for power, name in enumerate(("kb", "mb", "gb", "tb"), 1)},
}
_SIZE = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)\s*", re.ASCII)
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TIME_PART = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d|w)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes in a text such as "256 MiB"."""
    match = _SIZE.fullmatch(text)
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError('want a size such as "256 MiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)')
    size = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if size > LARGEST_SIZE:
        raise ValueError("want a size that a disk can hold")
    return size


def show_size(size: int) -> str:
    """Return the shortest exact text of a size in bytes, such as "16 KiB"."""
    for unit, name in ((1024 * GIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def show_moment(at: float) -> str:
    """Return a Unix time (s) as "2026-07-20 12:00 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


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
    """Return the seconds in a text such as "30s" or "1h30m"; at most a year, never zero."""
    seconds, end = 0.0, 0
    while match := _TIME_PART.match(text, end):
        seconds += float(match[1]) * _TIME_UNITS[match[2]]
        end = match.end()
    if end == 0 or text[end:].strip():
        raise ValueError('want a time such as "30s", "10m" or "1h30m" (ms, s, m, h, d, w)')
    if not 0 < seconds <= LONGEST_TIME:
        raise ValueError("want a time above zero and of at most a year")
    return seconds


UNKNOWN = "–"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human(count: int | None) -> str:
    """Return a byte count in at most 9 characters, such as "1.50 GiB"; 1 KiB is 1024 bytes."""
    if count is None:
        return UNKNOWN
    power, size = 0, float(abs(count))
    # Rounding must not show 1024 of a unit.
    while size >= (1023.5 if power else 1024) and power < len(_UNITS) - 1:
        power, size = power + 1, size / 1024
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    sign = "-" if count < 0 else ""
    return f"{sign}{size:.{digits}f} {_UNITS[power]}"


def show_money(amount: float) -> str:
    """Return an amount with as many decimals as it takes to see it."""
    shown = round(amount, 4) + 0.0  # never "-0.00"
    return f"{shown:,.2f}" if abs(shown) >= 1 or shown == 0 else f"{shown:.4f}"


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
        """The offset just behind the last byte."""
        return self.start + self.length

    @property
    def header(self) -> str:
        """The value of an HTTP Range header (RFC 9110, 14.2)."""
        return f"bytes={self.start}-{self.stop - 1}"
