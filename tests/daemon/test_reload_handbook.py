"""The handbook says of each setting whether a reload takes it up."""

import re
from pathlib import Path

from seeder.config.fields import Settings
from seeder.config.load import load
from seeder.config.sections import Config
from seeder.daemon.reload import keys_of_a_start
from tests.support.handbook import section

SECTION = re.compile(r"`\[+(\w+)(?:\.NAME)?\]+`")
NAME = re.compile(r"`(\w+)(\.\.\.)?`")
WITH_A_CERTIFICATE = """
state_directory = "state"
[[objects]]
bucket = "quotes"
key = "Nelson"
[tracker]
tls_certificate = "a.pem"
tls_key = "a.key"
[cache]
directory = "cache"
"""


def keys_of(config: Config, name: str) -> list[str]:
    """Return the keys of a section; what isn't one is a key itself."""
    value = getattr(config, name)
    return [*type(value).model_fields] if isinstance(value, Settings) else [name]


def changed(config: Config, name: str, key: str) -> Config:
    """Return the configuration with another value of a key."""
    value = getattr(config, name)
    other = value.model_copy(update={key: object()}) if isinstance(value, Settings) else object()
    return config.model_copy(update={name: other})


def named(cell: str, keys: list[str]) -> set[str]:
    """Return the keys that a cell names: all, `key`, or `begin...` for those that begin so."""
    if re.match("all(?! else)", cell):
        return set(keys)
    found: set[str] = set()
    for name, rest in NAME.findall(cell):
        some = {key for key in keys if key == name or (rest and key.startswith(name))}
        assert some, f"{name} is no key"
        found |= some
    return found


def test_the_handbook_knows_what_a_reload_takes_up(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text(WITH_A_CERTIFICATE, encoding="utf-8")
    config = load(path)
    every = {(name, key) for name in Config.model_fields for key in keys_of(config, name)}
    live = {each for each in every if not [*keys_of_a_start(config, changed(config, *each))]}

    said_live: set[tuple[str, str]] = set()
    said_fixed: set[tuple[str, str]] = set()
    tops = [name for name, key in every if name == key]
    for line in section("control", "Reload and restart").splitlines():
        if not line.startswith("| ") or line.startswith("| |"):
            continue
        where, taken_up, at_a_start = (cell.strip() for cell in line.strip("|").split("|"))
        sections = SECTION.findall(where)
        for name in [name for name in sections if name != "origin"] or [""]:
            keys = keys_of(config, name) if name else tops
            now, later = named(taken_up, keys), named(at_a_start, keys)
            if at_a_start.startswith("all else"):
                later = set(keys) - now
            said_live |= {(name or key, key) for key in now}
            said_fixed |= {(name or key, key) for key in later}
    assert said_live == live
    assert said_fixed == every - live
