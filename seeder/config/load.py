"""Reading the configuration, in a file or the environment: all mistakes at once, with places."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from seeder.config.combinations import mistakes_of_tables, mistakes_of_values
from seeder.config.directories import (
    CACHE,
    STATE,
    default_directory,
    in_common,
    instances_at,
    is_of_units,
)
from seeder.config.environment import Overlaid, Place, overlay
from seeder.config.fields import Absent, SourceFile
from seeder.config.instances import (
    PLACEHOLDER,
    has_place,
    in_common_beside,
    of_instance,
)
from seeder.config.mistakes import (
    ARRAYS,
    BARE_KEY,
    TABLES,
    key_text,
    problem_line,
    problem_of,
)
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.sections import Config
from seeder.config.toml import read_toml, salvage_toml
from seeder.errors import ConfigError, Unavailable

_KEY_ENDS = re.compile(r"[.\[]|: | = ")


def load(
    path: Path | None,
    instance: str | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    beside: bool = False,
) -> Config:
    """Read and check the configuration; ConfigError lists every mistake, one line each.

    It is Unavailable where nothing is wrong but that files aren't there which it names.
    `path` is that of the file, None for one of the environment's keys alone. `instance` is what %i
    stands for, where several nodes run by one file. `beside` says that this isn't the node itself,
    but somebody who asks about it: the units' file then means the units' directories.
    """
    given = _given(path, environment)
    try:
        written = of_instance(given.values, instance)
    except ValueError as error:
        raise ConfigError(_by_variable([*given.problems, str(error)], given)) from error
    origins, wrong = _origins(written)
    problems = [*given.problems, *wrong, *in_common(given, instance)]
    raw = _with_defaults(written, instance, of_units=beside and is_of_units(path))
    raw["origins"] = origins
    source = SourceFile(_home(path), frozenset(origins))
    config, absent = None, 0
    try:
        config = Config.model_validate(raw, context=source)
    except ValidationError as error:
        wrong_values = error.errors(include_url=False)
        problems += map(problem_of, wrong_values)
        absent = sum(isinstance(each.get("ctx", {}).get("error"), Absent) for each in wrong_values)
    if "objects" not in written:
        # Empty is what a file is, too, that is being written again: it would end every torrent.
        problems.append(
            "objects: there are none; add an [[objects]] with a bucket and a key, or write"
            " objects = [] above all sections and add them by seeder add"
        )
    problems += mistakes_of_tables(raw)
    if config is not None:
        problems += mistakes_of_values(config)
    if problems or config is None:
        kind = Unavailable if len(problems) == absent else ConfigError
        raise kind(_by_variable(problems, given))
    return config


def _given(path: Path | None, environment: Mapping[str, str]) -> Overlaid:
    """Return what file and environment say; ConfigError if the file can't be read."""
    written = {} if path is None else read_toml(Path(path))
    origins = written.get("origins")
    known = {DEFAULT_ORIGIN, *(origins if isinstance(origins, dict) else ())}
    return overlay(written, environment, SourceFile(_home(path), frozenset(known)))


def _home(path: Path | None) -> Path:
    """Return the directory where relative paths start."""
    return Path.cwd() if path is None else Path(path).absolute().parent


def _by_variable(problems: Iterable[str], given: Overlaid) -> list[str]:
    """Return the problems; one of a value from the environment begins with its variable."""
    variables = {key_text(place): name for place, name in given.variables.items()}
    return ["".join((*_variables_of(each, variables), each)) for each in problems]


def _variables_of(problem: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield "VARIABLE: " for those of the value that a problem is about: it, or what it is in."""
    key = ""
    for end in _KEY_ENDS.finditer(problem):
        key = problem[: end.start()]
        if key in variables:
            yield f"{variables[key]}: "
            return
        if end[0] not in (".", "["):
            break
    yield from (f"{name}: " for each, name in variables.items() if each.startswith(f"{key}."))


def source_name(path: Path | None) -> str:
    """Return what a configuration is called in a line for people."""
    return "the environment" if path is None else str(path)


def read_values(
    path: Path | None, environment: Mapping[str, str]
) -> tuple[Mapping[str, object], Path]:
    """Return what file and environment say, unchecked, and the directory where paths start.

    Of a file that is no TOML it is what stands above the mistake.
    """
    home = _home(path)
    try:
        return _given(path, environment).values, home
    except ConfigError:
        written = {} if path is None else salvage_toml(path)
        return overlay(written, environment, SourceFile(home, frozenset())).values, home


def doubt_instances(
    path: Path | None, instance: str | None, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield a line for each value that is the same for all instances, and hardly can be.

    ConfigError if the file can't be read.
    """
    if instance is not None:
        given = _given(path, environment)
        values = dict(given.values)
        for section in ("peer", "admin"):
            table = values.get(section, {})
            if isinstance(table, dict):
                addresses = TABLES[section].model_fields["listen"].default
                values[section] = {"listen": list(map(str, addresses))} | table
        yield from in_common_beside(values, {key_text(place[:2]) for place in given.variables})


def find_instances(
    path: Path | None, environment: Mapping[str, str] = os.environ
) -> list[str] | None:
    """Return the instances of a file that have run on this machine: their state directories exist.

    None where nothing in the file stands for an instance. ConfigError if it can't be read.
    """
    written = _given(path, environment).values
    if not has_place(written):
        return None
    directory = written.get("state_directory")
    if not isinstance(directory, str) or PLACEHOLDER not in directory:
        home = directory if isinstance(directory, str) else None
        home = home or default_directory(STATE, None, of_units=is_of_units(path))
        directory = f"{home}/{PLACEHOLDER}"
    return instances_at(str(_home(path) / Path(directory).expanduser()))


def _with_defaults(
    written: Mapping[str, object], instance: str | None, *, of_units: bool
) -> dict[str, object]:
    """Return the tables except the origins, with default directories where none is written."""
    raw = {key: value for key, value in written.items() if key != "origin"}
    for name in ARRAYS:
        tables = raw.get(name, [])
        raw[name] = tuple(tables) if isinstance(tables, list) else tables
    if "state_directory" not in raw:
        raw["state_directory"] = default_directory(STATE, instance, of_units=of_units)
    cache = raw.setdefault("cache", {})
    if isinstance(cache, dict) and "directory" not in cache:
        default = default_directory(CACHE, instance, of_units=of_units)
        raw["cache"] = {"directory": default} | cache
    return raw


def _origins(written: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return [origin] and [origins.NAME] by name, each with its name added; and the mistakes."""
    problems: list[str] = []
    default, further = written.get("origin", {}), written.get("origins", {})
    if not isinstance(further, dict):
        problems.append(problem_line(("origins",), further, "want tables headed [origins.NAME]"))
        further = {}
    origins: dict[str, object] = {DEFAULT_ORIGIN: default}
    for name, section in further.items():
        if name == DEFAULT_ORIGIN:
            problems.append(f'origins.{name}: the origin named "{name}" is headed [origin]')
        elif not BARE_KEY.fullmatch(name):
            problems.append(
                key_text(("origins", name)) + ": want a name of letters, digits, - and _"
            )
        origins.setdefault(name, section)
    for name, section in origins.items():
        if isinstance(section, dict):
            if "name" in section:
                place: Place = ("origins", name, "name")
                problems.append(
                    f"{key_text(place)}: unknown key; an origin's name is in its heading"
                )
            origins[name] = section | {"name": name}
    return origins, problems
