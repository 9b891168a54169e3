"""`seeder report --by group`: what each group of addresses got, and of whom."""

import csv
import io
import json
import time
from collections.abc import Callable, Sequence

from seeder.ledger.groups import GroupCounts, GroupFlow, flows
from seeder.ledger.records import Records
from seeder.units import rounded_size

_NEVER_COUNTED = "nothing was counted by group; [tracker.groups] says which networks are in which"
_COLUMNS = (
    "group",
    "from us",
    "in all",
    "downloaded",
    "uploaded",
    "from peers",
    "of other groups",
)
_KINDS = ("", "measured", "verified", *("claimed",) * 4)
_MEANING = (
    "Claimed: announced by peers. From peers: downloaded, less what came from us. Of other groups:",
    "at least what its own uploads don't explain, at most what the others say they uploaded.",
)


def tell_groups(
    records: Records,
    begin: float | None,
    end: float | None,
    *,
    form: str,
    show: Callable[[str], None],
) -> None:
    """Print what was counted from `begin` to `end` (Unix s); `form`: "text", "json", "csv"."""
    first, last = records.interval(begin, end)
    found = flows(records.groups(first, last))
    if form == "json":
        document = {
            "by": "group",
            "since": None if begin is None else first,
            "until": time.time() if end is None else last,
            "groups": [each.document() for each in found],
        }
        show(json.dumps(document, indent=2))
    elif form == "csv":
        show(_csv(found).rstrip("\r\n"))
    elif not found:
        show(_NEVER_COUNTED)
    else:
        for line in (*_table(found), "", *_MEANING):
            show(line)


def _csv(found: Sequence[GroupFlow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(GroupFlow("", GroupCounts(), 0, 0, 0).document())
    writer.writerows(each.document().values() for each in found)
    return text.getvalue()


def _table(found: Sequence[GroupFlow]) -> list[str]:
    rows = [_COLUMNS, _KINDS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
    return [line.rstrip() for line in lines]


def _row(flow: GroupFlow) -> tuple[str, ...]:
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
