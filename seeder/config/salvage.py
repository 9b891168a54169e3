"""What can be read of a file that is no TOML: all above the line with the mistake."""

import re
import tomllib
from pathlib import Path

_LINE = re.compile(r"\(at line (\d+),")
_TRIES = 20
"""An array that isn't closed is noticed further down."""


def salvaged(path: Path) -> dict[str, object]:
    """Return the tables above the first mistake; nothing of a file that can't be read at all."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines(keepends=True)
    except OSError:
        return {}
    for _ in range(_TRIES):
        try:
            return tomllib.loads("".join(lines))
        except tomllib.TOMLDecodeError as error:
            place = _LINE.search(str(error))
            del lines[int(place[1]) - 1 if place else -1 :]
        except (RecursionError, ValueError):
            return {}
    return {}
