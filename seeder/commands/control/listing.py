"""What `seeder ls` prints: objects or prefixes, page by page, of one node or of all."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import groupby

from seeder.commands.control.client import ControlClient
from seeder.commands.control.nodes import NodesWanted
from seeder.commands.control.object_table import ObjectTable, Row, name_of
from seeder.commands.control.objects import Verb
from seeder.commands.control.output import show_answers
from seeder.commands.control.pages import LARGEST_PAGE, page_path, pages_from
from seeder.commands.ending import fail_if_any
from seeder.commands.terminal import terminal_width
from seeder.commands.texts import folded, printable
from seeder.errors import ControlFailed
from seeder.units import UNKNOWN

SHOWN = 100
"""Objects of the table, unless all are wanted."""
_LEADING = ("serving", "duplicate")
"""States that say less of an object than another node's."""


def list_objects(verb: Verb, prefix: str, state: str | None, *, everything: bool) -> None:
    """Print the objects below BUCKET/PREFIX that have a state; ControlFailed."""
    query = {name: value for name, value in (("prefix", prefix), ("state", state)) if value}
    if verb.as_json and not everything:
        told, faults = verb.nodes.each(lambda client: client.ask(page_path(query, SHOWN)))
        show_answers(told, verb.show)
        fail_if_any(faults)
        return
    with ExitStack() as stack:
        limit = LARGEST_PAGE if everything else SHOWN + 1
        rows, faults = _rows(verb.nodes, query, limit, stack)
        if rows is None:
            fail_if_any(faults)
            return
        if verb.as_json:
            _show_all_as_json(rows, verb)
        else:
            _show_table(rows, verb, prefix, state, everything=everything)
    fail_if_any(faults)


def list_prefixes(verb: Verb) -> None:
    """Print the prefixes; ControlFailed."""
    told, faults = verb.nodes.each(lambda client: client.ask("/prefixes"))
    if verb.as_json:
        show_answers(told, verb.show)
    elif told:
        found = {name_of(each): each for _, answer in told for each in answer["prefixes"]}
        width = terminal_width()
        for name, each in found.items():
            objects = UNKNOWN if each.get("objects") is None else f"{each['objects']:,}"
            yielded = folded(f"{objects.rjust(9)}  ", name, width)
            for line in ("  OBJECTS  PREFIX",) * (name == next(iter(found))) + tuple(yielded):
                verb.show(line)
            if each.get("reason"):
                verb.show(f"           {printable(each['reason'])}")
        if not found:
            verb.show("no prefixes; seeder add --prefix BUCKET/PREFIX adds one")
    fail_if_any(faults)


def _show_table(
    rows: Iterator[Row], verb: Verb, prefix: str, state: str | None, *, everything: bool
) -> None:
    table = ObjectTable(terminal_width())
    count = 0
    for row in rows:
        if count == SHOWN and not everything:
            verb.show(f"and more than these {SHOWN}: --all, or BUCKET/PREFIX, or --state STATE")
            return
        if not count:
            verb.show(table.header())
        count += 1
        for line in table.row(row):
            verb.show(line)
    if not count and (prefix or state):
        verb.show("no such object; seeder ls shows all, seeder ls --prefixes the prefixes")
    elif not count:
        verb.show("no objects; seeder add BUCKET/KEY adds one")


def _show_all_as_json(rows: Iterator[Row], verb: Verb) -> None:
    """Print one document with all, as they come."""
    verb.show('{"objects": [')
    before = None
    for row in rows:
        if before is not None:
            verb.show(f"{before},")
        before = json.dumps(row)
    if before is not None:
        verb.show(before)
    verb.show('], "next": null}')


def _rows(
    nodes: NodesWanted, query: dict[str, str], limit: int, stack: ExitStack
) -> tuple[Iterator[Row] | None, list[ControlFailed]]:
    """Return the objects of all nodes that answer, each once; and why others don't."""
    streams: list[Iterator[Row]] = []
    faults: list[ControlFailed] = []
    for node in nodes.nodes():
        client = stack.enter_context(ControlClient(node))
        try:
            page = client.ask(page_path(query, limit))
        except ControlFailed as error:
            faults.append(error)
            continue
        streams.append(pages_from(client, query, limit, page))
    if len(streams) < 2:
        return next(iter(streams), None), faults
    same = groupby(merge(*streams, key=_identity), key=_identity)
    return (_joined([*rows]) for _, rows in same), faults


def _identity(row: Row) -> tuple[str, ...]:
    return row["origin"], row["bucket"], row["key"], row.get("version_id") or ""


def _joined(rows: Sequence[Row]) -> Row:
    """Return one row of an object that several nodes have: as the one in trouble has it."""
    row = next((each for each in rows if each["state"] not in _LEADING), rows[0])
    sent = sum(each.get("uploaded_bytes") or 0 for each in rows)
    cached = max((each.get("cached_bytes") or 0 for each in rows), default=0)
    return {**row, "uploaded_bytes": sent, "cached_bytes": cached}
