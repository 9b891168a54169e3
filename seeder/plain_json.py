"""JSON documents of plain values, whoever wrote them: read strictly, and sealed if we write them.

No I/O.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NoReturn
from zlib import crc32

from seeder.units import LARGEST_SIZE

_LONGEST_INTEGER = 20
"""Digits, with a sign; what has more is never converted."""
_SEAL = b', "crc32": '


def dump_json(document: Mapping[str, object]) -> bytes:
    """Return an object as JSON in one line, with a CRC-32 of it as its last member."""
    text = json.dumps(document).encode()
    return b"%s%s%d}" % (text[:-1], _SEAL, crc32(text))


def parse_json(data: bytes) -> Any:
    """Return a JSON document of plain values; ValueError for anything else.

    Plain: no number that is infinite, not a number, or an integer beyond 63 bits; no text that has
    no UTF-8; nothing nested so deep that it can't be read. What `dump_json` wrote is the same to
    the bit; older documents have no seal.
    """
    document, sealed, seal = data.rpartition(_SEAL)
    if sealed and seal.rstrip() != b"%d}" % crc32(document + b"}"):
        raise ValueError("its checksum is wrong")
    return read_json(data)


def read_json(data: bytes, *, unique: bool = False) -> Any:
    """Return plain values as `parse_json` does, of a document without a seal; ValueError.

    An object that has a member twice is refused if they are to be `unique`.
    """
    try:
        value = (_UNIQUE if unique else _PLAIN).decode(data.decode())
        if b"\\ud" in data or b"\\uD" in data:
            # Half of a surrogate pair: Python reads it, and fails where the text is written.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or abs(int(text)) > LARGEST_SIZE:
        raise ValueError("a number in it is too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("a number in it is too large")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object in it has a member twice")
    return made


_PLAIN = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)
_UNIQUE = json.JSONDecoder(
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_refuse_constant,
    object_pairs_hook=_each_once,
)
