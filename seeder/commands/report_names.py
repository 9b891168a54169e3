"""`seeder report --by name`: what each holder of passkeys was sent, and what it claims."""

import csv
import io
import json
import time
from collections.abc import Callable, Sequence

from seeder.commands.keys import moment_text
from seeder.ledger.holders import HolderCounts, HolderSum
from seeder.ledger.records import Records
from seeder.units import rounded_size

_NEVER_COUNTED = "nobody was seen with a passkey; private objects take them (see `seeder keys`)"


def tell_names(
    records: Records,
    begin: float | None,
    end: float | None,
    *,
    form: str,
    show: Callable[[str], None],
) -> None:
    """Print who was sent how much from `begin` to `end` (Unix s); `form`: "text", "json", "csv"."""
    first, last = records.interval(begin, end)
    found = list(records.holders(first, last))
    found.sort(key=lambda each: (-each.counts.sent_bytes, each.name))
    if form == "json":
        document = {
            "by": "name",
            "since": None if begin is None else first,
            "until": time.time() if end is None else last,
            "names": [_document(each) for each in found],
        }
        show(json.dumps(document, indent=2))
    elif form == "csv":
        show(_csv(found).rstrip("\r\n"))
    elif not found:
        show(_NEVER_COUNTED)
    else:
        for line in _table(found):
            show(line)


def _document(each: HolderSum) -> dict[str, object]:
    counts = each.counts
    return {
        "name": each.name,
        "sent_bytes": counts.sent_bytes,
        "downloaded_claimed_bytes": counts.downloaded_claimed_bytes,
        "uploaded_claimed_bytes": counts.uploaded_claimed_bytes,
        "completed": counts.completed,
        "last_seen": each.seen,
    }


def _csv(found: Sequence[HolderSum]) -> str:
    text = io.StringIO()
    names = tuple(_document(HolderSum("", 0, HolderCounts())))
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(_document(each).values() for each in found)
    return text.getvalue()


def _table(found: Sequence[HolderSum]) -> list[str]:
    rows = [
        (
            "name",
            "sent (measured)",
            "downloaded (claimed)",
            "uploaded (claimed)",
            "completed (claimed)",
            "last seen (UTC)",
        )
    ]
    rows += [
        (
            each.name,
            rounded_size(each.counts.sent_bytes),
            rounded_size(each.counts.downloaded_claimed_bytes),
            rounded_size(each.counts.uploaded_claimed_bytes),
            str(each.counts.completed),
            moment_text(each.seen),
        )
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
