"""Files of very many [[objects]], each key on a line: read line by line, five times as fast.

Where such a file has anything in which TOML is more than that, it is left to tomllib. No I/O.
"""

import re
import tomllib

_HEADER = "[[objects]]"
_TEXT = r'"[^"\\\x00-\x1f\x7f]*"'
_LINE = re.compile(
    rf"([\w-]+) = (?:({_TEXT})|(true|false)|(0|[1-9]\d{{0,8}})|(\[(?:{_TEXT}(?:, {_TEXT})*)?\]))",
    re.ASCII,
)
_NOTHING = re.compile(r"(#[^\x00-\x1f\x7f]*)?")
_ELEMENT = re.compile(_TEXT)


def read_plain(text: str) -> dict[str, object] | None:
    """Return what tomllib.loads does; None where only that can tell, or complain."""
    lines = text.replace("\r\n", "\n").split("\n")
    if _HEADER not in lines:
        return None
    first = lines.index(_HEADER)
    objects, stop = _objects(lines, first)
    above, below = lines[:first], lines[stop:]
    if below and not below[0].startswith("["):
        return None  # it belongs to the last entry
    try:
        # By itself: what is open above isn't closed below.
        rest = tomllib.loads("\n".join(above))
        if below:
            rest = tomllib.loads("\n".join((*above, *below)))
    except (RecursionError, ValueError):
        return None
    return None if "objects" in rest else rest | {"objects": objects}


def _objects(lines: list[str], first: int) -> tuple[list[dict[str, object]], int]:
    """Return the entries from a line on, and the line that is of none of them."""
    objects: list[dict[str, object]] = []
    entry: dict[str, object] = {}
    for number in range(first, len(lines)):
        line = lines[number]
        if line == _HEADER:
            entry = {}
            objects.append(entry)
        elif (found := _LINE.fullmatch(line)) is not None:
            key, said, truth, count, several = found.groups()
            if key in entry:
                return objects, number
            if said is not None:
                entry[key] = said[1:-1]
            elif truth is not None:
                entry[key] = truth == "true"
            elif count is not None:
                entry[key] = int(count)
            else:
                entry[key] = [each[1:-1] for each in _ELEMENT.findall(several)]
        elif _NOTHING.fullmatch(line) is None:
            return objects, number
    return objects, len(lines)
