"""Configurations as TOML."""

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Settings: TypeAlias = Mapping[str, object]
"""A configuration as nested dicts and lists."""


def toml(settings: Settings) -> str:
    """Return settings as TOML: tables, arrays of tables, and plain values."""
    return "".join(_table(settings, ()))


def _table(settings: Settings, path: tuple[str, ...]) -> Iterator[str]:
    tables = {key: value for key, value in settings.items() if _is_table(value)}
    for key, value in settings.items():
        if key not in tables:
            # JSON writes strings, numbers, booleans and arrays as TOML does.
            yield f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}\n"
    for key, value in tables.items():
        name = ".".join(json.dumps(part) for part in (*path, key))
        if isinstance(value, Mapping):
            yield f"[{name}]\n"
            yield from _table(value, (*path, key))
            continue
        assert isinstance(value, list)
        for entry in value:
            yield f"[[{name}]]\n"
            yield from _table(entry, (*path, key))


def _is_table(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping)
