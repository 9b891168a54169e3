"""The table of `seeder ls`, a row at a time: there may be a hundred thousand."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from seeder.commands.texts import folded, printable
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.units import UNKNOWN, rounded_size

Row: TypeAlias = Mapping[str, Any]
"""An object or a prefix as the API has it."""
_SETTLED = "serving"
_COLUMNS = (("STATE", 9), ("SIZE", 9), ("CACHED", 6), ("PEERS", 5), ("SEEDS", 5), ("SENT", 9))
"""What stands before the name, and how wide it is."""
_FEWER_BELOW = {90: ("SEEDS", "SENT"), 70: ("CACHED", "PEERS")}
"""What is left out on a narrow terminal, by columns."""
_LEFT = ("STATE",)


class ObjectTable:
    """Lines for a terminal of a width, or for a file (None)."""

    def __init__(self, width: int | None) -> None:
        self._width = width
        hidden = {
            name
            for below, names in _FEWER_BELOW.items()
            if width is not None and width < below
            for name in names
        }
        self._columns = [each for each in _COLUMNS if each[0] not in hidden]

    def header(self) -> str:
        """Return the line above all rows."""
        return self._head({name: name for name, _ in self._columns}) + "OBJECT"

    def row(self, found: Row) -> Iterator[str]:
        """Yield the lines of an object: its row, and why it isn't served."""
        size, cached = found.get("size"), found.get("cached_bytes")
        cells = {
            "STATE": str(found["state"]),
            "SIZE": rounded_size(size),
            "CACHED": share(cached, size),
            "PEERS": _count(found.get("peers")),
            "SEEDS": _count(found.get("seeds")),
            "SENT": rounded_size(found.get("uploaded_bytes")),
        }
        yield from folded(self._head(cells), name_of(found), self._width)
        reason = without_name(found, found.get("reason"))
        if reason and found["state"] != _SETTLED:
            yield from folded(" " * 4, reason, self._width)

    def _head(self, cells: Mapping[str, str]) -> str:
        texts = (
            printable(cells[name]).ljust(width)
            if name in _LEFT
            else printable(cells[name]).rjust(width)
            for name, width in self._columns
        )
        return "".join(f"{text}  " for text in texts)


def prefix_header() -> str:
    """Return the line above all prefixes."""
    return "  OBJECTS  PREFIX"


def prefix_row(found: Row, width: int | None) -> Iterator[str]:
    """Yield the lines of a prefix: its row, and what is wrong with it."""
    objects = found.get("objects")
    count = UNKNOWN if objects is None else f"{objects:,}"
    yield from folded(f"{count.rjust(9)}  ", name_of(found), width)
    if found.get("reason"):
        yield from folded(" " * 4, without_name(found, found["reason"]), width)


def name_of(found: Row) -> str:
    """Return what an object or prefix is called, and what sets it apart from others like it."""
    key = found.get("key", found.get("prefix", ""))
    notes = []
    if found.get("origin", DEFAULT_ORIGIN) != DEFAULT_ORIGIN:
        notes.append(f"origin {found['origin']}")
    if found.get("version_id"):
        notes.append(f"version {found['version_id']}")
    if found.get("bundle"):
        notes.append("bundle")
    if found.get("source") == "added":
        notes.append("added, but the file's counts" if found.get("shadowed") else "added")
    told = f"  ({', '.join(notes)})" if notes else ""
    return printable(f"{found['bucket']}/{key}{told}")


def without_name(found: Row, reason: str | None) -> str:
    """Return a reason that a node gives without the object's name, which stands beside it."""
    name = printable(f"{found['bucket']}/{found.get('key', found.get('prefix', ''))}")
    return printable(reason or "").removeprefix(f"{name}: ")


def share(part: int | None, whole: int | None) -> str:
    """Return how much of it there is, such as "40%", and 100% only of all."""
    if part is None or whole is None:
        return UNKNOWN
    if part >= whole:
        return "100%"
    return f"{min(part / whole, 0.99):.0%}"


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"
