"""The types of the configuration's values: how each is written, and what is refused.

A file's values are validated with its `SourceFile` as pydantic's context. Python code that builds a
section by itself has no such context and passes what a file's text stands for: 1024 for "1 KiB",
30.0 for "30s"; see `written`. The text of each ValueError is half a line that says what is wanted;
it is shown after the key and the value.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationInfo

from seeder.config.texts import one_of, parse_host_port
from seeder.net.addresses import HostPort
from seeder.units import LARGEST_SIZE, exact_size, parse_rate, parse_size, parse_time

LARGEST_SUM = 10**15
"""The largest limit in money, and in requests."""
LONGEST_OBJECT_KEY = 1024
"""Bytes of UTF-8: S3's own limit."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The file that values come from: where relative paths start, which origins it names."""

    directory: Path
    origins: frozenset[str]


class Settings(BaseModel):
    """A section of the configuration: a table with no keys but its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def source_of(info: ValidationInfo) -> SourceFile | None:
    """Return the file that a value is read from; None if Python code passed it."""
    return info.context if isinstance(info.context, SourceFile) else None


def parsed(parse: Callable[[str], object], of: type) -> PlainValidator:
    """Return a validator that parses a text, and takes an instance of `of` as it is."""

    def check(value: object) -> object:
        if isinstance(value, of):
            return value
        return parse(_text(value))

    return PlainValidator(check)


def checked(check: Callable[[str], str]) -> BeforeValidator:
    """Return a validator that replaces a text by what `check` returns for it."""
    return BeforeValidator(lambda value: check(_text(value)))


def choice(choices: tuple[str, ...]) -> BeforeValidator:
    """Return a validator for one of a few words."""
    return checked(lambda word: one_of(word, choices))


def written(read: Callable[[object], object]) -> BeforeValidator:
    """Return a validator for a value that a file writes in another form than Python code.

    `read` turns what the file says into the value. Python code passes the value itself, which has
    to be of the field's type and isn't checked any further.
    """

    def check(value: object, info: ValidationInfo) -> object:
        return value if source_of(info) is None else read(value)

    return BeforeValidator(check)


def size(
    *, least: int = 0, most: int = LARGEST_SIZE, power_of_two: bool = False
) -> BeforeValidator:
    """Return a validator for a size from `least` to `most` bytes, such as "256 MiB"."""

    def read(value: object) -> int:
        given = parse_size(_text(value))
        if not least <= given <= most or (power_of_two and given & (given - 1)):
            kind = "a power of two" if power_of_two else "a size"
            upper = f' to "{exact_size(most)}"' if most < LARGEST_SIZE else " up"
            raise ValueError(f'want {kind} from "{exact_size(least)}"{upper}')
        return given

    return written(read)


def _time(value: object) -> float:
    seconds = parse_time(_text(value))
    if seconds < 1:
        raise ValueError('want a time of at least "1s"')
    return seconds


def _moment(value: object) -> float:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(
            "want a date and a time with its offset, without quotes: 2027-01-15T18:00:00Z"
        )
    try:
        # It is told in UTC, where the year may be another one.
        return value.astimezone(UTC).timestamp()
    except (OverflowError, ValueError):
        raise ValueError("want a date between the years 1 and 9999, in UTC too") from None


def _rate(value: object) -> float | None:
    return parse_rate(_text(value))


def count(least: int, most: int) -> BeforeValidator:
    """Return a validator for a whole number from `least` to `most`."""
    return BeforeValidator(lambda value: _whole(value, least, most))


def _whole(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"want a whole number from {least} to {most}")
    return value


def _slots(value: object) -> int | str:
    if value in ("auto", "unlimited"):
        return str(value)
    try:
        return _whole(value, 1, 1_000_000)
    except ValueError:
        raise ValueError('want "auto", "unlimited", or a whole number from 1 up') from None


def _copies(value: object) -> float | None:
    if value == "unlimited":
        return None
    number = _number(value)
    if not 1 <= number <= 1_000_000:
        raise ValueError('want how many copies, 1 or more such as 1.5, or "unlimited"')
    return float(number)


def _price(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= 1_000_000:
        raise ValueError("want a price, zero or more, such as 0.09")
    return float(number)


def _prices(value: object) -> float | tuple[tuple[int, float], ...]:
    """Return one price, or prices by the bytes of a month from which on they hold."""
    if not isinstance(value, dict):
        return _price(value)
    try:
        tiers = sorted((parse_size(text), _price(price)) for text, price in value.items())
    except ValueError:
        tiers = []
    volumes = [volume for volume, _ in tiers]
    if not tiers or volumes[0] or len(set(volumes)) < len(volumes):
        raise ValueError(
            "want a price, or prices by the volume of a month from which on they hold,"
            ' such as { "0 B" = 0.09, "10 TiB" = 0.085 }'
        )
    return tuple(tiers)


def _money(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= LARGEST_SUM:
        raise ValueError("want an amount of money, zero or more, such as 10.0")
    return float(number)


def _number(value: object) -> float:
    """Return a number; NaN for anything else, since no comparison is true of it."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _text(value: object) -> str:
    """Return a text; "" for anything else, since no parser takes it."""
    return value if isinstance(value, str) else ""


def _quoted(value: object) -> str:
    """Return the hint for a number that should have been a text."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**20
    return f': write "{value}", with the quotes' if whole else ""


def _byte_count(value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError:  # a variable of the environment may have any bytes
        raise ValueError("want UTF-8") from None


def text(pattern: str, wanted: str, most: int = 1024) -> BeforeValidator:
    """Return a validator for 1 to `most` bytes of UTF-8 that match `pattern` from end to end."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"want {wanted}{_quoted(value)}")
        if _byte_count(value) > most:
            raise ValueError(f"want at most {most} bytes")
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError(f"want {wanted}")
        return value

    return BeforeValidator(check)


def _prefix(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"want what keys begin with{_quoted(value)}")
    if _byte_count(value) > LONGEST_OBJECT_KEY:
        raise ValueError(f"want at most {LONGEST_OBJECT_KEY} bytes")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    """Return a path with ~ expanded; a relative one starts at the file's directory."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("want a path")
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError("want a path without ~: there is no home directory here") from None
    source = source_of(info)
    return source.directory / path if source else path


def _path_or_off(value: object, info: ValidationInfo) -> object:
    return value if value in ("off", None) else _path(value, info)


def _directory(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    # A link that leads nowhere may lead to a disk that isn't mounted yet.
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError("want a directory, and this is something else")
    return path


class Absent(ValueError):
    """A value names a file that can't be had; the value may be right."""


def _file(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if not os.path.exists(path):
        raise Absent(f"want a file, and there is none at {path}")
    if not path.is_file():
        raise ValueError(f"want a file, and {path} is something else")
    if not os.access(path, os.R_OK):
        raise Absent(f"want a file that can be read: {path} refuses, see its permissions")
    return path


def one_or_more(parse: Callable[[str], object], of: type) -> BeforeValidator:
    """Return a validator that makes a tuple of an array, or of one text that `parse` takes."""

    def check(value: object) -> object:
        if isinstance(value, list | tuple) and not isinstance(value, of):
            return tuple(value)
        return (value if isinstance(value, of) else parse(_text(value)),)

    return BeforeValidator(check)


def array(example: str, *, least: int = 0) -> BeforeValidator:
    """Return a validator that makes a tuple of an array of at least `least` values."""

    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(f"want a list such as {example}")
        return tuple(value)

    return BeforeValidator(check)


Rate = Annotated[float | None, written(_rate)]
Time = Annotated[float, written(_time)]
Moment = Annotated[float, written(_moment)]
"""Unix seconds."""
Price = Annotated[float, BeforeValidator(_price)]
PriceByVolume = Annotated[float | tuple[tuple[int, float], ...], written(_prices)]
Currency = Annotated[str, text(r"[^\W\d_]{1,8}|\S", 'a currency such as "USD" or "€"', 16)]
ByteLimit = Annotated[int, size()] | None
RequestLimit = Annotated[int, count(0, LARGEST_SUM)] | None
MoneyLimit = Annotated[float, BeforeValidator(_money)] | None
SlotCount = Annotated[int | Literal["auto", "unlimited"], BeforeValidator(_slots)]
Copies = Annotated[float | None, written(_copies)]
ObjectKey = Annotated[str, text(".*", "the key of an object", LONGEST_OBJECT_KEY)]
KeyPrefix = Annotated[str, BeforeValidator(_prefix)]
# A token goes into a header or a query; AWS's version ids hold slashes.
Token = Annotated[str, text("[!-~]+", "visible ASCII characters")]
AnyPath = Annotated[Path, BeforeValidator(_path)]
PathOrOff = Annotated[Path | Literal["off"] | None, BeforeValidator(_path_or_off)]
Directory = Annotated[Path, BeforeValidator(_directory)]
ExistingFile = Annotated[Path, BeforeValidator(_file)]
ListenAddress = Annotated[HostPort, parsed(parse_host_port, HostPort)]
Credential = Annotated[str, text("[A-Za-z0-9._-]+", "the name of a systemd credential", 255)]
