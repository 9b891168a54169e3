"""Mistakes in the configuration, in words: the place as TOML writes it, and what is wanted."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, time

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from seeder.config.environment import Place
from seeder.config.events import EventSettings
from seeder.config.money import BudgetSettings, SavingsSettings
from seeder.config.node import AdminSettings, CacheSettings, ClusterSettings, LogSettings
from seeder.config.objects import ObjectSettings
from seeder.config.origins import DEFAULT_ORIGIN, OriginSettings
from seeder.config.public import GatewaySettings, PeerSettings, ReadKeySettings, TrackerSettings
from seeder.config.texts import closest

TABLES: Mapping[str, type[BaseModel]] = {
    "origin": OriginSettings,
    "objects": ObjectSettings,
    "events": EventSettings,
    "tracker": TrackerSettings,
    "peer": PeerSettings,
    "cache": CacheSettings,
    "admin": AdminSettings,
    "gateway": GatewaySettings,
    "cluster": ClusterSettings,
    "savings": SavingsSettings,
    "budget": BudgetSettings,
    "log": LogSettings,
}
ARRAYS = ("objects", "events")
"""Tables of which there may be several."""
_READ_KEYS = "gateway.keys"
_TOP_KEYS = ("state_directory", "watch", "sidecar_writer", "origins", *TABLES)
_LONGEST_SHOWN = 80
_CREDENTIAL = re.compile(r"secret|access_?key|password|passwd|token|credential", re.IGNORECASE)
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def problem_of(error: ErrorDetails) -> str:
    """Return one of pydantic's errors in our words."""
    place, value, kind = error["loc"], error["input"], error["type"]
    if kind == "extra_forbidden":
        return f"{key_text(place)}: {_unknown(place)}"
    if kind == "missing":
        return f"{key_text(place)}: missing, and it has no default"
    if kind == "value_error":
        wanted = str(error["ctx"]["error"])
    elif kind == "bool_type":
        wanted = "want true or false, without quotes"
    elif kind in ("model_type", "dict_type"):
        wanted = f"want a table headed {_heading(place)}"
    elif kind == "tuple_type":
        wanted = f"want tables, each headed {_heading(place)}"
    else:
        wanted = error["msg"]
    return problem_line(place, value, wanted)


def _unknown(place: Place) -> str:
    """Return what an unknown key may have meant, without its value, which may be a secret."""
    key = str(place[-1])
    if _CREDENTIAL.search(key) and _section(place) == _READ_KEYS:
        return "unknown key; secrets never stand here: use secret_file or secret_credential"
    if _CREDENTIAL.search(key) and _section(place) == "cluster":
        return "unknown key; secrets never stand here: use password_file or password_credential"
    if _CREDENTIAL.search(key) and _section(place) == "events":
        return "unknown key; secrets never stand here: use token_file or token_credential"
    if _CREDENTIAL.search(key):
        return "unknown key; credentials never stand here: use the AWS chain (environment, profile)"
    section = _section(place)
    known = keys_of(section) if section else _TOP_KEYS
    if guess := closest(key, known):
        return f'unknown key; did you mean "{guess}"?'
    if section and key in _TOP_KEYS and key not in TABLES:
        return "unknown key here; it goes to the top of the file, above every [heading]"
    homes = [_heading((name,)) for name in TABLES if key in keys_of(name)]
    if homes:
        return f"unknown key here; it belongs to {' or '.join(homes)}"
    return f"unknown key; there are {', '.join(known)}"


def keys_of(section: str) -> tuple[str, ...]:
    if section == _READ_KEYS:
        return tuple(ReadKeySettings.model_fields)
    fields = TABLES[section].model_fields
    # An origin's name is in its heading.
    return tuple(key for key in fields if (section, key) != ("origin", "name"))


def _section(place: Place) -> str | None:
    """Return the name of the table that the last step of `place` stands in; None at the top."""
    if len(place) < 2:
        return None
    if place[:2] == ("gateway", "keys") and len(place) > 3:
        return _READ_KEYS
    return "origin" if place[0] == "origins" else str(place[0])


def _heading(place: Place) -> str:
    if place[:2] == ("gateway", "keys"):
        return "[[gateway.keys]]"
    return f"[[{place[0]}]]" if place[0] in ARRAYS else f"[{key_text(place)}]"


def problem_line(place: Place, value: object, wanted: str) -> str:
    return f"{key_text(place)} = {_shown(value)}: {wanted}"


def key_text(place: Place) -> str:
    """Return a place as it is written in TOML, such as objects[2].key."""
    if place[:2] == ("origins", DEFAULT_ORIGIN):
        place = ("origin", *place[2:])
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            bare = len(step) <= _LONGEST_SHOWN and BARE_KEY.fullmatch(step)
            text += ("." if text else "") + (step if bare else _shown(step))
    return text


def _shown(value: object) -> str:
    """Return a value on one short line, nearly as TOML writes it, without passwords in URLs."""
    if isinstance(value, str):
        text = json.dumps(re.sub(r"//\S*@", "//***@", value), ensure_ascii=False)
        text = "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in text)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int):
        text = str(value) if value.bit_length() < 256 else "(a huge number)"
    elif isinstance(value, float | date | time):
        text = str(value)
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(_shown(each) for each in value[:3])}{', ...' * (len(value) > 3)}]"
    else:
        text = "{...}" if value else "{}"  # a table, which may hold a misplaced secret
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 4]}... "


def nameless_entry(entry: object, index: int) -> Iterator[str]:
    """Yield a line if an entry of [[objects]] has neither a key nor a prefix."""
    if isinstance(entry, dict) and not {"key", "prefix"} & entry.keys():
        place = key_text(("objects", index, "key"))
        yield f"{place}: missing; name an object's key, or a prefix for all below it"
