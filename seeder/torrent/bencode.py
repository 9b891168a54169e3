"""Bencode (BEP 3), read strictly: integers and lengths have one spelling, keys appear once.

Each value is matched where it stands and its end is handed back, so that the bytes of a value
inside a dictionary (`info`) can be cut out exactly as they were found.

No I/O.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

from seeder.errors import BencodeError

# Union, since `|` would need the quoted names at once, and they aren't defined yet.
Value: TypeAlias = Union[int, bytes, list["Value"], dict[bytes, "Value"]]  # noqa: UP007
Encodable: TypeAlias = Union[  # noqa: UP007
    int, bytes, Sequence["Encodable"], Mapping[bytes, "Encodable"]
]

MOST_LEVELS = 32
MOST_VALUES = 2**18
"""Far more than one file's torrent has; hostile bytes cost at most half a second and 100 MiB."""
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**63 - 1

# The digits are capped here, so that int() never sees a million of them.
_INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,9}):")
_INTEGER_LEAD, _LIST_LEAD, _DICT_LEAD, _END = b"ilde"


def encode(value: Encodable) -> bytes:
    """Return `value` as canonical bencode; ValueError beyond 64 bits, TypeError for other types."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def decode(data: bytes, *, canonical: bool = True, most_values: int = MOST_VALUES) -> Value:
    """Return the one value that `data` holds; BencodeError if it is anything else.

    Without `canonical` the keys of a dictionary may be in any order, but still none may appear
    twice.
    """
    value, end = _Reader(data, canonical, most_values).value(0)
    _expect_end(data, end)
    return value


def decode_prefix(
    data: bytes, *, canonical: bool = True, most_values: int = MOST_VALUES
) -> tuple[Value, int]:
    """Return the value at the start of `data` and the offset after it (BEP 9 messages)."""
    return _Reader(data, canonical, most_values).value(0)


def decode_dict_with_span(
    data: bytes, key: bytes, *, canonical: bool = True
) -> tuple[dict[bytes, Value], tuple[int, int] | None]:
    """Return the dictionary that `data` holds, and where the raw value of `key` lies in it.

    The span is (start, end), or None without that key. BencodeError if it isn't a dictionary.
    """
    if data[:1] != b"d":
        raise BencodeError("bencode: not a dictionary")
    spans: dict[bytes, tuple[int, int]] = {}
    value, end = _Reader(data, canonical).dictionary(0, spans=spans)
    _expect_end(data, end)
    return value, spans.get(key)


def _write(value: Encodable, parts: list[bytes]) -> None:
    if isinstance(value, bytes):
        parts.append(b"%d:" % len(value))
        parts.append(value)
    elif isinstance(value, int):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise ValueError(f"not a 64-bit integer: {value}")
        parts.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key in sorted(value):
            if not isinstance(key, bytes):
                raise TypeError(f"bencode keys are bytes, not {type(key).__name__}")
            _write(key, parts)
            _write(value[key], parts)
        parts.append(b"e")
    elif isinstance(value, (list, tuple)):
        parts.append(b"l")
        for item in value:
            _write(item, parts)
        parts.append(b"e")
    else:
        raise TypeError(f"bencode has no {type(value).__name__}")


class _Reader:
    """Reads values from `data`; each method takes an offset and returns the one after its value."""

    __slots__ = ("_canonical", "_data", "_most_values", "_values_left")

    def __init__(self, data: bytes, canonical: bool, most_values: int = MOST_VALUES) -> None:
        self._data = data
        self._canonical = canonical
        self._most_values = self._values_left = most_values

    def value(self, at: int, level: int = 1) -> tuple[Value, int]:
        self._values_left -= 1
        if self._values_left < 0:
            raise BencodeError(f"bencode: more than {self._most_values} values at byte {at}")
        lead = self._data[at] if at < len(self._data) else -1
        if lead == _INTEGER_LEAD:
            return self.integer(at)
        if lead == _LIST_LEAD:
            return self.sequence(at, level)
        if lead == _DICT_LEAD:
            return self.dictionary(at, level)
        return self.string(at)

    def integer(self, at: int) -> tuple[int, int]:
        match = _INTEGER.match(self._data, at)
        if match is None:
            raise BencodeError(f"bencode: not a 64-bit integer at byte {at}")
        value = int(match[1])
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise BencodeError(f"bencode: an integer beyond 64 bits at byte {at}")
        return value, match.end()

    def string(self, at: int) -> tuple[bytes, int]:
        match = _LENGTH.match(self._data, at)
        if match is None:
            what = "cut off" if at >= len(self._data) else "not a value"
            raise BencodeError(f"bencode: {what} at byte {at}")
        start = match.end()
        end = start + int(match[1])
        if end > len(self._data):
            raise BencodeError(f"bencode: the string at byte {at} runs past the end")
        return self._data[start:end], end

    def sequence(self, at: int, level: int) -> tuple[list[Value], int]:
        _check_level(at, level)
        items: list[Value] = []
        at += 1
        while not self._ends(at):
            item, at = self.value(at, level + 1)
            items.append(item)
        return items, at + 1

    def dictionary(
        self, at: int, level: int = 1, spans: dict[bytes, tuple[int, int]] | None = None
    ) -> tuple[dict[bytes, Value], int]:
        _check_level(at, level)
        items: dict[bytes, Value] = {}
        last_key = b""
        at += 1
        while not self._ends(at):
            key, start = self.string(at)
            if key in items:
                raise BencodeError(f"bencode: a doubled key at byte {at}")
            if self._canonical and key < last_key:
                raise BencodeError(f"bencode: keys out of order at byte {at}")
            items[key], at = self.value(start, level + 1)
            if spans is not None:
                spans[key] = (start, at)
            last_key = key
        return items, at + 1

    def _ends(self, at: int) -> bool:
        if at >= len(self._data):
            raise BencodeError(f"bencode: cut off at byte {at}")
        return self._data[at] == _END


def _check_level(at: int, level: int) -> None:
    if level > MOST_LEVELS:
        raise BencodeError(f"bencode: more than {MOST_LEVELS} levels deep at byte {at}")


def _expect_end(data: bytes, end: int) -> None:
    if end != len(data):
        raise BencodeError(f"bencode: {len(data) - end} bytes too many after byte {end}")
