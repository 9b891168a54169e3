"""What `seeder add`, `set`, `rm`, `show`, `refresh` and `warm` do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, TypeAlias

from seeder.commands.control.client import ControlClient, Json
from seeder.commands.control.details import object_lines, prefix_lines
from seeder.commands.control.following import Goal, follow
from seeder.commands.control.names import Target
from seeder.commands.control.nodes import NodesWanted
from seeder.commands.control.output import show_answers, show_json
from seeder.commands.ending import complain_plainly, fail_if_any
from seeder.commands.texts import printable
from seeder.config.unlikely import doubt_entry
from seeder.errors import ControlFailed, ControlRefused
from seeder.torrent.publications import State

Action: TypeAlias = Literal["refresh", "rehash", "warm"]
_PLACE = "objects[0]."
_STAYS = "it is added all the same, and tried again; seeder rm takes it out"
_BEGUN: Mapping[Action, str] = {
    "refresh": "S3 is being asked",
    "rehash": "its metainfo is being made anew",
    "warm": "the cache is being filled",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """Which nodes a verb is for, and how it tells what came of it."""

    nodes: NodesWanted
    show: Callable[[str], None]
    as_json: bool = False


def add(verb: Verb, target: Target, settings: Mapping[str, object], *, wait: bool) -> None:
    """Publish an object or prefix from now on; ControlFailed."""
    path = "/prefixes" if target.is_prefix else "/objects"
    with verb.nodes.one() as client:
        found = _tell(client, path, "POST", {**target.entry(), **settings})
        for why in doubt_entry(target.bucket, target.key, is_key=not target.is_prefix):
            complain_plainly(printable(f"warning: {target}: {why}; seeder rm takes it out"))
        _warn(found)
        how = "serving" if found.get("state") == State.SERVING else "added"
        if wait:
            goal: Goal = "listing" if target.is_prefix else "torrent"
            try:
                found, how = follow(client, target, goal, found)
            except ControlFailed as error:
                raise ControlFailed(f"{error}; {_STAYS}") from error
    if verb.as_json:
        show_json(found, verb.show)
        return
    verb.show(printable(f"{target}: {how}"))
    for name in ("torrent_url", "magnet"):
        if found.get(name):
            verb.show(printable(found[name]))


def change(verb: Verb, target: Target, settings: Mapping[str, object]) -> None:
    """Change keys of an entry that was added, None to the default; ControlFailed."""
    with verb.nodes.one() as client:
        found = _tell(client, target.path(), "PATCH", settings)
        _warn(found)
    if verb.as_json:
        show_json(found, verb.show)
        return
    verb.show(printable(f"{target}: changed"))


def _warn(found: Json) -> None:
    for line in found.get("warnings") or ():
        complain_plainly(printable(f"warning: {line}"))


def remove(verb: Verb, target: Target) -> None:
    """Take out what was added; ControlFailed."""
    with verb.nodes.one() as client:
        _ask(client, target, target.path(), method="DELETE")
    if not verb.as_json:
        verb.show(printable(f"{target}: removed"))


def show(verb: Verb, target: Target) -> None:
    """Print all that is known of an object or prefix; ControlFailed."""
    with verb.nodes.one() as client:
        found, node = _ask(client, target, target.path()), client.instance
    if verb.as_json:
        show_json(found, verb.show)
        return
    for line in prefix_lines(found) if target.is_prefix else object_lines(found, node):
        verb.show(line)


def act(verb: Verb, target: Target, action: Action, *, wait: bool) -> None:
    """Have every node do something with an object or what is below a prefix; ControlFailed."""

    def ask(client: ControlClient) -> tuple[Json, str]:
        found = _ask(client, target, target.path(action), method="POST")
        if wait:
            return follow(client, target, _goal(target, action), found)
        return found, _BEGUN[action]

    told, faults = verb.nodes.each(ask)
    if told:
        # Each node has what it was told to publish, and its own file.
        faults = [each for each in faults if not _is_absence(each)]
    if verb.as_json:
        show_answers([(instance, found) for instance, (found, _) in told], verb.show)
    else:
        for instance, (_, how) in told:
            node = "" if instance is None else f"{instance}: "
            verb.show(printable(f"{node}{target}: {how}"))
    fail_if_any(faults)


def _goal(target: Target, action: Action) -> Goal:
    if action == "warm":
        return "cache"
    if target.is_prefix and not target.is_bundle and action == "rehash":
        return "hashes"
    return "listing" if target.is_prefix else "answer"


def _is_absence(error: ControlFailed) -> bool:
    return isinstance(error, ControlRefused) and error.status == HTTPStatus.NOT_FOUND


def _tell(client: ControlClient, path: str, method: str, settings: Mapping[str, object]) -> Json:
    """Send keys of an entry; every mistake in them is a problem of its own."""
    try:
        return client.ask(path, method=method, body=settings)
    except ControlRefused as error:
        # There is one entry, and it stands in no file.
        problems = [each.removeprefix(_PLACE) for each in error.problems or (str(error),)]
        raise ControlRefused(problems[0], error.status, problems) from error


def _ask(client: ControlClient, target: Target, path: str, *, method: str = "GET") -> Json:
    """Ask for something of an object or prefix; what isn't there may have another name."""
    try:
        return client.ask(path, method=method)
    except ControlRefused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        hint = "seeder ls shows the objects, seeder ls --prefixes the prefixes"
        if not target.is_prefix:
            hint += "; a prefix takes --prefix"
        raise ControlRefused(f"{error}; {hint}", error.status) from error
