"""`seeder report --by group` and `--by name`: a row for each group of addresses, or each holder of
passkeys, of what it got and what it claims."""

import csv
import io
import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from seeder.commands.bill_text import text_cell
from seeder.commands.keys import moment_text
from seeder.ledger.groups import GroupCounts, GroupFlow, flows
from seeder.ledger.holders import HolderCounts, HolderSum
from seeder.ledger.records import Records
from seeder.units import rounded_size

_Row = tuple[str, ...]
_Document = dict[str, object]


class _Sums(NamedTuple):
    """What a report shows, in each of its forms."""

    by: str
    documents: Sequence[_Document]
    members: Sequence[str]
    """The names of what a document has, also where there is none."""
    heads: Sequence[_Row]
    rows: Sequence[_Row]
    meaning: Sequence[str]
    """Lines behind the table."""
    none: str
    """What is said where there are no rows."""


def tell_groups(
    records: Records,
    begin: float | None,
    end: float | None,
    *,
    form: str,
    show: Callable[[str], None],
) -> None:
    """Print what groups got from `begin` to `end` (Unix s); `form`: "text", "json", "csv"."""
    first, last = records.interval(begin, end)
    found = flows(records.groups(first, last))
    sums = _Sums(
        "group",
        [each.document() for each in found],
        tuple(GroupFlow("", GroupCounts(), 0, 0, 0).document()),
        (
            ("group", "from us", "in all", "downloaded", "uploaded", "from peers",
             "of other groups"),
            ("", "measured", "verified", "claimed", "claimed", "claimed", "claimed"),
        ),
        list(map(_group_row, found)),
        (
            "",
            "Claimed: announced by peers. From peers: downloaded, less what came from us. Of other"
            " groups:",
            "at least what its own uploads don't explain, at most what the others say they"
            " uploaded.",
        ),
        "nothing was counted by group; [tracker.groups] says which networks are in which",
    )  # fmt: skip
    _tell(sums, None if begin is None else first, None if end is None else last, form, show)


def tell_names(
    records: Records,
    begin: float | None,
    end: float | None,
    *,
    form: str,
    show: Callable[[str], None],
) -> None:
    """Print what holders got from `begin` to `end` (Unix s); `form`: "text", "json", "csv"."""
    first, last = records.interval(begin, end)
    found = list(records.holders(first, last))
    found.sort(key=lambda each: (-each.counts.sent_bytes, each.name))
    sums = _Sums(
        "name",
        [_holder_document(each) for each in found],
        tuple(_holder_document(HolderSum("", 0, HolderCounts()))),
        (
            ("name", "sent (measured)", "downloaded (claimed)", "uploaded (claimed)",
             "completed (claimed)", "last seen (UTC)"),
        ),
        list(map(_holder_row, found)),
        (),
        "nobody was seen with a passkey; private objects take them (see `seeder keys`)",
    )  # fmt: skip
    _tell(sums, None if begin is None else first, None if end is None else last, form, show)


def _tell(
    sums: _Sums, first: float | None, last: float | None, form: str, show: Callable[[str], None]
) -> None:
    """Print sums in a form; `first` and `last` (Unix s) are None for ever, and for now."""
    if form == "json":
        document = {
            "by": sums.by,
            "since": first,
            "until": time.time() if last is None else last,
            f"{sums.by}s": sums.documents,
        }
        show(json.dumps(document, indent=2))
    elif form == "csv":
        show(_csv(sums).rstrip("\r\n"))
    elif not sums.rows:
        show(sums.none)
    else:
        for line in (*_table([*sums.heads, *sums.rows]), *sums.meaning):
            show(line)


def _csv(sums: _Sums) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(sums.members)
    for each in sums.documents:
        writer.writerow(
            text_cell(value) if isinstance(value, str) else value for value in each.values()
        )
    return text.getvalue()


def _table(rows: Sequence[_Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
    return [line.rstrip() for line in lines]


def _group_row(flow: GroupFlow) -> _Row:
    least, most = flow.from_others_least, flow.from_others_most
    other = (
        rounded_size(least) if least == most else f"{rounded_size(least)} to {rounded_size(most)}"
    )
    counts = flow.counts
    return (
        flow.name,
        rounded_size(counts.sent_bytes),
        rounded_size(counts.delivered_verified_bytes),
        rounded_size(counts.downloaded_claimed_bytes),
        rounded_size(counts.uploaded_claimed_bytes),
        rounded_size(flow.from_peers_claimed),
        other,
    )


def _holder_document(each: HolderSum) -> _Document:
    counts = each.counts
    return {
        "name": each.name,
        "sent_bytes": counts.sent_bytes,
        "downloaded_claimed_bytes": counts.downloaded_claimed_bytes,
        "uploaded_claimed_bytes": counts.uploaded_claimed_bytes,
        "completed": counts.completed,
        "last_seen": each.seen,
    }


def _holder_row(each: HolderSum) -> _Row:
    return (
        each.name,
        rounded_size(each.counts.sent_bytes),
        rounded_size(each.counts.downloaded_claimed_bytes),
        rounded_size(each.counts.uploaded_claimed_bytes),
        str(each.counts.completed),
        moment_text(each.seen),
    )
