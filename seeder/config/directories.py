"""Where a node keeps its state and its cache: as written, as systemd says, or below the home
directory. Several nodes of one file never have one in common.

systemd says it to the service alone. Whoever asks about the service by hand finds its directories
by its file.
"""

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from seeder.config.environment import Overlaid, Place
from seeder.config.instances import PLACEHOLDER, is_instance


class _Directory(NamedTuple):
    """A directory that each node has for itself."""

    place: Place
    variable: str
    """What systemd tells it by (systemd.exec(5)), if the unit names one."""
    unit_key: str
    """What names it in the unit."""
    below_home: str
    of_units: str
    """Where that of the units (systemd/) is; those of instances are in it."""


SYSTEM_FILE = Path("/etc/seeder/seeder.toml")
"""The file of the units, which is meant where none is named."""
STATE = _Directory(
    ("state_directory",),
    "STATE_DIRECTORY",
    "StateDirectory",
    ".local/state/seeder",
    "/var/lib/seeder",
)
CACHE = _Directory(
    ("cache", "directory"),
    "CACHE_DIRECTORY",
    "CacheDirectory",
    ".cache/seeder",
    "/var/cache/seeder",
)


def default_directory(which: _Directory, instance: str | None, *, of_units: bool = False) -> str:
    """Return systemd's directory (the first of its list), else one below the home directory.

    `of_units` says that the units' is meant before that, unless only that below home is there.
    """
    own = f"/{instance}" if instance else ""
    if found := _of_systemd(which):
        return found
    below_home = f"~/{which.below_home}"
    # To whom it is closed, it is there all the same. Before the service's first start neither is.
    if of_units and (
        os.path.lexists(which.of_units) or not os.path.lexists(os.path.expanduser(below_home))
    ):
        return f"{which.of_units}{own}"
    return f"{below_home}{own}"


def is_of_units(path: Path | None) -> bool:
    """Tell whether a file is the units'."""
    return path is not None and Path(path).resolve() == SYSTEM_FILE.resolve()


def in_common(given: Overlaid, instance: str | None) -> Iterator[str]:
    """Yield a line for each directory that another instance of the same file would have, too.

    In a file %i has to make the difference. Whatever else says it says so to this node alone, and
    the instance's name has to be in it. `given` has the places for the instance unfilled.
    """
    if instance is None:
        return
    for which in (STATE, CACHE):
        key = ".".join(map(str, which.place))
        value = _written(given.values, which.place)
        if value is None:
            path = _of_systemd(which)
            if path and instance not in path:
                yield (
                    f"{key}: systemd's {which.unit_key} is {path} for every instance; write"
                    f" {which.unit_key}=seeder/{PLACEHOLDER} into the unit"
                )
        elif isinstance(value, str) and PLACEHOLDER not in value:
            from_file = which.place not in given.variables
            if from_file or instance not in value:
                yield (
                    f'{key} = "{value}": is the same for every instance, and they would take each'
                    f' other\'s; write {PLACEHOLDER}, such as "{value.rstrip("/")}/{PLACEHOLDER}"'
                )


def instances_at(pattern: str) -> list[str]:
    """Return the instances for which something is at a path, in which %i stands for them."""
    before, _, after = pattern.partition(PLACEHOLDER)
    # What stands for it once more stands for the same.
    others = glob.escape(after).replace(PLACEHOLDER, "*")
    names = []
    for found in glob.iglob(f"{glob.escape(before)}*{others}"):
        name = found[len(before) :].partition("/")[0].removesuffix(after.partition("/")[0])
        if is_instance(name) and found == before + name + after.replace(PLACEHOLDER, name):
            names.append(name)
    return sorted(names, key=lambda name: (len(name), name))


def _of_systemd(which: _Directory) -> str:
    return os.environ.get(which.variable, "").partition(":")[0]


def _written(values: Mapping[str, object], place: Place) -> object:
    found: object = values
    for step in place:
        found = found.get(str(step)) if isinstance(found, Mapping) else None
    return found
