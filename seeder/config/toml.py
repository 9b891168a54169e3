"""A configuration file as TOML: all of it, or what is wrong with it and what stands above that."""

import re
import tomllib
from pathlib import Path

from seeder.errors import ConfigError

_SLASHED_KEY = re.compile(r"\s*[\w.-]+(/[\w.-]+)+\s*=")
_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
"""How tomllib's messages end."""
_STATE_LINE = re.compile(
    r"""state_directory\s*=\s*("[^"\\\x00-\x1f\x7f]+"|'[^'\x00-\x1f\x7f]+')\s*(#.*)?"""
)
"""There is one such key, which belongs to no table."""
_TRIES = 20
"""An array that isn't closed is noticed further down."""


def read_toml(path: Path) -> dict[str, object]:
    """Return the file's TOML as Python values; ConfigError, of one line, when it can't be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror or error}"]) from error
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = (
            f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        )
        raise ConfigError([problem]) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from error
    except (RecursionError, ValueError) as error:
        # tomllib doesn't catch these: arrays hundreds deep, numbers of thousands of digits.
        raise ConfigError([f"{path}: not TOML that can be read: {error}"]) from error


def _syntax_problem(path: Path, text: str, message: str) -> str:
    found = _PLACE.search(message)
    message = _PLACE.sub("", message)
    if found and found[1]:
        place = f"line {found[1]}, column {found[2]}"
    else:
        lines = text.rstrip("\n").split("\n")
        place = f"line {len(lines)}, column {len(lines[-1]) + 1} (the end)"
    problem = f"{path}, {place}: not TOML: {message[:1].lower()}{message[1:]}"
    if found and found[1] and _SLASHED_KEY.match(text.splitlines()[int(found[1]) - 1]):
        problem += "; a name with a slash stands in quotes"
    return problem


def salvage_toml(path: Path) -> dict[str, object]:
    """Return the tables above the file's first mistake, and the state directory wherever it stands;
    nothing where the file can't be read at all.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines(keepends=True)
    except OSError:
        return {}
    said = [line for line in lines if _STATE_LINE.fullmatch(line.rstrip())][:1]
    state = tomllib.loads("".join(said))
    for _ in range(_TRIES):
        try:
            return state | tomllib.loads("".join(lines))
        except tomllib.TOMLDecodeError as error:
            place = _PLACE.search(str(error))
            del lines[int(place[1]) - 1 if place and place[1] else -1 :]
        except (RecursionError, ValueError):
            break
    return state
