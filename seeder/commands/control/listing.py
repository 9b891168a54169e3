"""What `seeder ls` prints: objects or prefixes, page by page, of one node or of all."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import groupby

from seeder.commands.control.client import ControlClient
from seeder.commands.control.nodes import NodesWanted
from seeder.commands.control.object_table import ObjectTable, Row, prefix_header, prefix_row
from seeder.commands.control.objects import Verb
from seeder.commands.control.output import show_answers
from seeder.commands.control.pages import MOST_A_PAGE, ListName, page_path, pages_from
from seeder.commands.ending import fail_if_any
from seeder.commands.terminal import terminal_width
from seeder.errors import ControlFailed

SHOWN = 100
"""Rows of the table, unless all are wanted."""
_LEADING = ("serving", "duplicate")
"""States that say less of an object than another node's."""


def list_kind(verb: Verb, kind: ListName, query: Mapping[str, str], *, everything: bool) -> None:
    """Print the objects or prefixes that a query leaves; ControlFailed."""
    if verb.as_json and not everything:
        told, faults = verb.nodes.each(lambda node: node.ask(page_path(kind, query, SHOWN)))
        show_answers(told, verb.show)
        fail_if_any(faults)
        return
    with ExitStack() as stack:
        limit = MOST_A_PAGE if everything else SHOWN + 1
        rows, faults = _rows(verb.nodes, kind, query, limit, stack)
        if rows is None:
            fail_if_any(faults)
        elif verb.as_json:
            _show_all_as_json(rows, kind, verb)
        elif kind == "objects":
            _show_objects(rows, verb, query, everything=everything)
        else:
            _show_prefixes(rows, verb, query, everything=everything)
    fail_if_any(faults)


def _show_objects(
    rows: Iterator[Row], verb: Verb, query: Mapping[str, str], *, everything: bool
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
    if not count and query:
        verb.show("no such object; seeder ls shows all, seeder ls --prefixes the prefixes")
    elif not count:
        verb.show("no objects; seeder add BUCKET/KEY adds one")


def _show_prefixes(
    rows: Iterator[Row], verb: Verb, query: Mapping[str, str], *, everything: bool
) -> None:
    count, width = 0, terminal_width()
    for row in rows:
        if count == SHOWN and not everything:
            verb.show(f"and more than these {SHOWN}: --all, or BUCKET/PREFIX")
            return
        if not count:
            verb.show(prefix_header())
        count += 1
        for line in prefix_row(row, width):
            verb.show(line)
    if not count:
        those = "no such prefix" if query else "no prefixes"
        verb.show(f"{those}; seeder add --prefix BUCKET/PREFIX adds one")


def _show_all_as_json(rows: Iterator[Row], kind: ListName, verb: Verb) -> None:
    """Print one document with all, as they come."""
    verb.show(f'{{"{kind}": [')
    before = None
    for row in rows:
        if before is not None:
            verb.show(f"{before},")
        before = json.dumps(row)
    if before is not None:
        verb.show(before)
    verb.show('], "next": null}')


def _rows(
    nodes: NodesWanted, kind: ListName, query: Mapping[str, str], limit: int, stack: ExitStack
) -> tuple[Iterator[Row] | None, list[ControlFailed]]:
    """Return those of all nodes that answer, each once; and why others don't."""
    streams: list[Iterator[Row]] = []
    faults: list[ControlFailed] = []
    for node in nodes.nodes():
        client = stack.enter_context(ControlClient(node))
        try:
            streams.append(pages_from(client, kind, query, limit))
        except ControlFailed as error:
            faults.append(error)
    if len(streams) < 2:
        return next(iter(streams), None), faults
    same = groupby(merge(*streams, key=_identity), key=_identity)
    return (_joined([*rows]) for _, rows in same), faults


def _identity(row: Row) -> tuple[str, ...]:
    name = row["key"] if "key" in row else row["prefix"]
    return row["origin"], row["bucket"], name, row.get("version_id") or ""


def _joined(rows: Sequence[Row]) -> Row:
    """Return one row of what several nodes have: as the one in trouble has it."""
    row = next((each for each in rows if each["state"] not in _LEADING), rows[0])
    if "uploaded_bytes" not in row:
        return row
    sent = sum(each.get("uploaded_bytes") or 0 for each in rows)
    cached = max((each.get("cached_bytes") or 0 for each in rows), default=0)
    return {**row, "uploaded_bytes": sent, "cached_bytes": cached}
