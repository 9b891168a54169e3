"""The report for finance as lines for a terminal, and as CSV. No I/O."""

import csv
import io
from collections.abc import Iterator

from seeder.commands.texts import printable
from seeder.ledger.bill import Line, Statement
from seeder.units import UNKNOWN, rounded_size, show_moment, show_money

_ROW = "{:>10}{:>11}{:>14}{:>12}{:>12}   {}"
_FIGURES = (
    "origin_bytes",
    "origin_requests",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "without_verified_money",
    "without_claimed_money",
    "billed_money",
    "saved_verified_money",
    "saved_claimed_money",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula; names come from outside."""


def bill_lines(statement: Statement) -> Iterator[str]:
    """Yield the report as lines of text: figures, then how they were reckoned."""
    currency = f" ({statement.prices.currency})" if statement.prices.currency else ""
    yield f"What S3 would have billed without us, and what it billed{currency}:"
    yield _ROW.format("From S3", "Delivered", "Without us", "Billed", "Saved", "")
    if statement.by != "torrent" or len(statement.lines) > 1:
        for line in statement.lines:
            yield _row(line)
    yield _row(statement.total)
    claimed = statement.total
    if claimed.counted.delivered_claimed_bytes:
        yield (
            f"Claimed by peers, and no part of it: {show_money(claimed.money.without_claimed)}"
            f" without us, {show_money(claimed.money.saved_claimed)} saved."
        )
    yield ""
    yield "How it was reckoned (GB of 2^30 bytes; delivered as far as it is verified):"
    yield from statement.arithmetic()
    begin = "the beginning" if statement.begin is None else show_moment(statement.begin)
    yield ""
    yield f"From {begin} until {show_moment(statement.end)}."


def _row(line: Line) -> str:
    counted, money = line.counted, line.money
    delivered = (rounded_size(counted.delivered_verified_bytes), show_money(money.without_verified))
    saved = show_money(money.saved_verified)
    if not line.delivers:
        delivered, saved = (UNKNOWN, UNKNOWN), UNKNOWN
    return _ROW.format(
        rounded_size(counted.origin_bytes),
        *delivered,
        show_money(money.billed),
        saved,
        printable(line.name),
    )


def bill_csv(statement: Statement) -> str:
    """Return the report as CSV (RFC 4180): a header, the lines, and `all` at the end."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((statement.by, *_FIGURES, "currency"))
    for line in (*statement.lines, statement.total):
        document = line.document()
        figures = (_figure(document[each]) for each in _FIGURES)
        writer.writerow((text_cell(line.name), *figures, statement.prices.currency))
    return text.getvalue()


def text_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _figure(value: object) -> object:
    """Return a cell: nothing where there is no figure, and no more decimals than mean something."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return value
    return f"{round(value, 10) + 0.0:.10f}".rstrip("0").rstrip(".")
