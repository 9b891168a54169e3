"""Keys that stand in the environment instead of the file, or over it: SEEDER_SECTION__KEY.

A variable holds what the file would: a text without its quotes, all else as TOML. Two underscores
lead into a table; a number picks one of an array of tables, counted from zero.
"""

import copy
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from seeder.config.fields import SourceFile
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.config.sections import Config
from seeder.config.texts import closest

PREFIX = "SEEDER_"
NO_KEYS = ("SEEDER_CONFIG", "SEEDER_INSTANCE")
"""Variables of ours that stand for options of the command line."""
_LINKS = (
    re.compile(r"SEEDER_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)=.*"),
    re.compile(r"SEEDER_(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?=\w+://.*"),
    re.compile(r"SEEDER_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.*"),
)
"""What Kubernetes and Docker set for a service whose name is seeder, or begins with it."""
_MOST_DIGITS = 7
_EXAMPLE = "want SEEDER_SECTION__KEY, such as SEEDER_TRACKER__ANNOUNCE_URL"

Place = tuple[int | str, ...]
"""Where a value stands, as in pydantic's `loc`: ("objects", 2, "key")."""
_Kind = Any
"""The type of a value, as it is annotated; Any is a value in a table without fixed keys."""


@dataclass(frozen=True, slots=True)
class Overlaid:
    """A file's values with those of the environment over them."""

    values: dict[str, object]
    variables: dict[Place, str] = field(default_factory=dict)
    """The variable that a value comes from."""
    problems: list[str] = field(default_factory=list)


def entry_value(key: str, text: str, source: SourceFile) -> object:
    """Return what a text stands for as a value of [[objects]], as a variable's does; ValueError.

    What can't be, the check of the whole entry tells.
    """
    kind = (_keys(ObjectSettings) or {}).get(key, Any)
    return _value(kind, text, source)


def names_keys(environment: Mapping[str, str]) -> bool:
    """Tell whether any variable stands for a key, or is meant to."""
    return next(_ours(environment), None) is not None


def overlay(
    written: Mapping[str, object], environment: Mapping[str, str], source: SourceFile
) -> Overlaid:
    """Return a file's values with the environment's over them; what is wrong is a line each."""
    found = Overlaid(dict(written))
    names = sorted(_ours(environment), key=_order)
    if names:
        found.values.update(copy.deepcopy(found.values))  # it is the caller's
    for name in names:
        try:
            _put(found, name, environment[name], source)
        except ValueError as error:
            found.problems.append(f"{name}: {error}")
    return found


def _ours(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NO_KEYS:
            whole = f"{name}={value}"
            if "__" in name or not any(link.fullmatch(whole) for link in _LINKS):
                yield name


def _order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Whole tables come before their keys, and entries in the order of their numbers."""
    steps = name.split("__")
    return len(steps), [(int(step) if step.isdecimal() else -1, step) for step in steps]


def _put(found: Overlaid, name: str, text: str, source: SourceFile) -> None:
    """Put a variable's value in its place; ValueError if it has none."""
    steps = name.removeprefix(PREFIX).lower().split("__")
    kinds = [*_kinds(steps, name)]
    value = _value(kinds[-1], text, source)
    table: Any = found.values
    place: Place = ()
    for step, kind in zip(steps, kinds, strict=True):
        key = _key_of(table, step, place)
        place = (*place, key)
        if len(place) == len(steps):
            break
        new: Any = [] if _entry(kind) is not None else {}
        if isinstance(table, list):
            table.extend([new] * (key == len(table)))
        else:
            table.setdefault(key, new)
        table = table[key]
        if not isinstance(table, type(new)):
            return  # the file has something else there, which is told as the file's mistake
    if isinstance(table, list):
        table[key : key + 1] = [value]
    else:
        table[key] = value
    found.variables[place] = name


def _kinds(steps: Sequence[str], name: str) -> Iterator[_Kind]:
    """Yield the kind of what each step of a variable's name leads to; ValueError."""
    kind: _Kind = Config
    for number, step in enumerate(steps):
        above = PREFIX + "__".join(steps[:number]).upper()
        if (keys := _keys(kind)) is not None:
            kind = keys.get(step)
            if kind is None:
                if guess := _guess(name, steps):
                    raise ValueError(f"unknown variable; did you mean {guess}?")
                if number == 0 or number < len(steps) - 1:
                    raise ValueError(f"unknown variable; {_EXAMPLE}")
                kind = Any  # unknown in a known table, which is told as it is of a file
        elif (entry := _entry(kind)) is not None:
            if not step.isdecimal() or len(step) > _MOST_DIGITS:
                raise ValueError(f"want a number behind {above}__, 0 for the first")
            kind = entry
        elif (value := _named(kind)) is not None:
            kind = value
        else:
            raise ValueError(f"unknown variable; {above} holds a value, and there is none below it")
        yield kind


def _key_of(table: Any, step: str, place: Place) -> Any:
    """Return the key that a step of a variable's name stands for; ValueError."""
    if isinstance(table, dict):
        same = [each for each in table if each.replace("-", "_").lower() == step]
        return same[0] if len(same) == 1 else step
    if int(step) > len(table):
        before = "__".join(str(each).upper() for each in (*place, len(table)))
        raise ValueError(f"there is no {PREFIX}{before} before it")
    return int(step)


def _guess(name: str, steps: Sequence[str]) -> str | None:
    """Return the variable that a name is probably a misspelling of."""
    numbers = [step for step in steps if step.isdecimal()]
    pattern = "_".join("0" if step.isdecimal() else step for step in steps)
    known = {"_".join(each): each for each in _all_steps(Config)}
    found = closest(pattern, [*known])
    if found is None:
        return None
    filled = (numbers.pop(0) if step == "0" and numbers else step for step in known[found])
    guess = PREFIX + "__".join(filled).upper()
    return guess if guess != name else None


def _all_steps(kind: _Kind) -> Iterator[tuple[str, ...]]:
    """Yield the steps to every key below a kind, with 0 for a number."""
    for step, below in (_keys(kind) or {}).items():
        yield (step,)
        entry = _entry(below)
        start = (step,) if entry is None else (step, "0")
        yield from ((*start, *more) for more in _all_steps(below if entry is None else entry))


def _value(kind: _Kind, text: str, source: SourceFile) -> object:
    """Return what a variable's text stands for: itself where the key takes a text, else TOML."""
    if not _is_table(kind) and kind is not Any and _takes(kind, text, source):
        return text
    try:
        read = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        if text.lstrip()[:1] in ("[", "{") or _is_table(kind):
            raise ValueError(f"not TOML: {error}") from None
        return text
    return read["value"] if len(read) == 1 else text


def _takes(kind: _Kind, text: str, source: SourceFile) -> bool:
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(text, context=source)
    except ValidationError:
        return False
    return True


def _keys(kind: _Kind) -> dict[str, _Kind] | None:
    """Return the keys of a table with their kinds; None if it is no table with keys of its own."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    keys = {name: each.rebuild_annotation() for name, each in kind.model_fields.items()}
    if kind is Config:
        return {"origin": OriginSettings, **keys}
    if kind is OriginSettings:
        del keys["name"]  # it is in the heading
    return keys


def _entry(kind: _Kind) -> _Kind | None:
    """Return the kind of the tables of an array; None if it is none."""
    form, of = _parts(kind)
    return of[0] if form is tuple and _keys(of[0]) is not None else None


def _named(kind: _Kind) -> _Kind | None:
    """Return the kind of the values of a table whose keys are names; None if it is none."""
    form, of = _parts(kind)
    if form not in (dict, Mapping):
        return None
    return of[1] if _keys(of[1]) is not None else Any


def _parts(kind: _Kind) -> tuple[Any, tuple[_Kind, ...]]:
    """Return a type without its parameters, and these."""
    form: Any = typing.get_origin(kind)
    if form is Annotated:
        return _parts(typing.get_args(kind)[0])
    return form, typing.get_args(kind)


def _is_table(kind: _Kind) -> bool:
    return any(look(kind) is not None for look in (_keys, _entry, _named))
