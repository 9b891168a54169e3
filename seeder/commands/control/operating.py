"""What `seeder status`, `reload`, `ban`, `unban` and `bans` do."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from seeder.commands.control.client import ControlClient, Json
from seeder.commands.control.object_table import Row
from seeder.commands.control.objects import Verb
from seeder.commands.control.output import show_answers
from seeder.commands.control.pages import page_path
from seeder.commands.control.status_text import MOST_TROUBLED, TROUBLED, status_lines
from seeder.commands.ending import fail_if_any
from seeder.commands.texts import printable
from seeder.errors import ControlRefused, ControlSilent
from seeder.units import counted, show_moment

_AWHILE = 2.0
"""Seconds that a reload may take without --wait."""


def status(verb: Verb) -> None:
    """Print how the nodes stand; ControlFailed where one can't be asked."""
    told, faults = verb.nodes.each(partial(_status, with_objects=not verb.as_json))
    if verb.as_json:
        show_answers([(instance, answer) for instance, (answer, _) in told], verb.show)
    else:
        now = time.time()
        for place, (instance, (answer, troubled)) in enumerate(told):
            if place:
                verb.show("")
            for line in status_lines(answer, instance, now, troubled):
                verb.show(line)
    fail_if_any(faults)


def _status(client: ControlClient, *, with_objects: bool) -> tuple[Json, list[Row]]:
    """Return how a node stands, and some of the objects of each state that takes a person."""
    answer = client.ask("/status")
    found: list[Row] = []
    for state in TROUBLED if with_objects else ():
        if answer["objects"].get(state):
            page = page_path("objects", {"state": state}, MOST_TROUBLED)
            found += client.ask(page)["objects"]
    return answer, found


def reload(verb: Verb, *, wait: bool) -> None:
    """Have every node read its configuration again; ControlFailed where one refuses it."""
    told, faults = verb.nodes.each(lambda client: _reload(client, wait=wait))
    if verb.as_json:
        show_answers([each for each in told if each[1] is not None], verb.show)
    else:
        for instance, answer in told:
            node = "" if instance is None else f"{instance}: "
            verb.show(printable(node + _outcome(answer)))
    fail_if_any(faults)


def _reload(client: ControlClient, *, wait: bool) -> Json:
    """Return what came of it; None if it isn't over and nobody waits."""
    try:
        return client.ask("/reload", method="POST", patience=None if wait else _AWHILE)
    except ControlSilent:
        return None


def _outcome(answer: Mapping[str, Json] | None) -> str:
    if answer is None:
        return "the reload goes on; what came of it: seeder status, or --wait"
    changed = ", ".join(answer.get("changed") or ()) or "nothing changed"
    if answer["outcome"] == "ok":
        return f"reloaded: {changed}"
    return f"reloaded in part: {answer.get('reason')}"


def ban(verb: Verb, network: str, seconds: str | None, note: str | None) -> None:
    """Let nobody of a network in any more; ControlFailed."""
    body = {"network": network, "for": seconds} | ({} if note is None else {"note": note})
    told, faults = verb.nodes.each(lambda client: client.ask("/bans", method="POST", body=body))
    if verb.as_json:
        show_answers(told, verb.show)
    else:
        for _, answer in told[:1]:
            verb.show(printable(f"{answer['network']}: banned {_until(answer)}"))
    fail_if_any(faults)


def unban(verb: Verb, network: str) -> None:
    """End a ban; ControlFailed."""
    path = f"/bans/{quote(network, safe='')}"

    def end(client: ControlClient) -> None:
        try:
            client.ask(path, method="DELETE")
        except ControlRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            text = f"{printable(network)}: isn't banned; seeder bans lists who is"
            raise ControlRefused(text, error.status) from error

    told, faults = verb.nodes.each(end)
    if told and not verb.as_json:
        verb.show(printable(f"{network}: no longer banned"))
    fail_if_any(faults)


def bans(verb: Verb) -> None:
    """Print who is banned; ControlFailed."""
    told, faults = verb.nodes.each(lambda client: client.ask("/bans"))
    if verb.as_json:
        show_answers(told, verb.show)
    elif told:
        # A network that is banned at each node is one line.
        found = {each["network"]: each for _, answer in told for each in answer["bans"]}
        for line in _ban_lines([*found.values()]):
            verb.show(printable(line))
    fail_if_any(faults)


def _ban_lines(found: Sequence[Mapping[str, Json]]) -> list[str]:
    if not found:
        return ["nobody is banned"]
    width = max(len(each["network"]) for each in found)
    lines = []
    for each in found:
        since = show_moment(each["at"])
        note = f"  {each['note']}" if each.get("note") else ""
        lines.append(f"{each['network'].ljust(width)}  since {since}  {_until(each)}{note}")
    return [*lines, counted(len(found), "ban")]


def _until(ban: Mapping[str, Json]) -> str:
    until = ban.get("until")
    return "for good" if until is None else f"until {show_moment(until)}"
