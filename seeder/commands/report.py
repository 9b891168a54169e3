"""`seeder report`: what was saved, for people, for programs and for finance."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from seeder.commands.bill_page import bill_page
from seeder.commands.bill_text import bill_csv, bill_lines
from seeder.commands.report_sums import tell_groups, tell_names
from seeder.commands.report_table import render
from seeder.config.sections import Config
from seeder.errors import StorageError
from seeder.ledger.bill import Plot, Statement
from seeder.ledger.merging import merged_records
from seeder.ledger.reading import Recorded, read_recorded
from seeder.ledger.report import Report
from seeder.ledger.spending import budget_of, prices_of
from seeder.ledger.statement import By, PrefixNames, read_plot, read_statement


@dataclass(frozen=True, slots=True)
class ReportWanted:
    """What the report is about, and in which form it is wanted."""

    by: By | Literal["group", "name"] = "torrent"
    since: float | None = None
    until: float | None = None
    """Unix seconds; None: ever, and now."""
    as_json: bool = False
    as_csv: bool = False
    page: Path | None = None
    """The HTML file to be written."""


def report(
    config: Config, ledgers: Sequence[Path], asked: ReportWanted, show: Callable[[str], None]
) -> None:
    """Print the report of ledgers as if they were one, or write it to a file; StorageError."""
    now = time.time()
    prices = prices_of(config)
    prefixes = PrefixNames(
        [
            (entry.origin, entry.bucket, entry.prefix)
            for entry in config.objects
            if entry.prefix is not None
        ]
    )
    with merged_records(ledgers) as records:
        if asked.by == "group" or asked.by == "name":  # noqa: PLR1714  (mypy understands this)
            form = "json" if asked.as_json else "csv" if asked.as_csv else "text"
            tell = tell_groups if asked.by == "group" else tell_names
            tell(records, asked.since, asked.until, form=form, show=show)
            return
        statement = read_statement(
            records,
            prices,
            asked.by,
            begin=asked.since,
            end=asked.until,
            now=now,
            prefixes=prefixes,
        )
        if asked.page is not None:
            _write(asked.page, statement, read_plot(records, statement))
            show(f"{asked.page}: written")
            return
        if asked.as_csv:
            show(bill_csv(statement).rstrip("\r\n"))
            return
        recorded = read_recorded(records, now=now, since=asked.since, until=asked.until)
    found = _figures(config, recorded, now)
    if asked.as_json:
        show(_json(found, statement))
        return
    if asked.by == "torrent":
        render(found, Console(), statement.total.money)
        show("")
    for line in bill_lines(statement):
        show(line)


def _json(found: Report, statement: Statement) -> str:
    document = found.document()
    totals = document["totals"]
    assert isinstance(totals, dict)
    # With prices by volume, the months say what they cost; their sum as one month says nothing.
    money = statement.total.money
    totals["origin_money"] = money.billed
    totals["saved_verified_money"] = money.saved_verified
    totals["saved_claimed_money"] = money.saved_claimed
    return json.dumps({**document, "bill": statement.document()}, indent=2)


def _figures(config: Config, recorded: Recorded, now: float) -> Report:
    spent = recorded.spent
    budget = budget_of(config, totals=spent.this_month, spent=spent, now=now)
    return Report.of(
        recorded.ledger,
        prices_of(config),
        at=recorded.at or now,
        since=recorded.since,
        budget=budget.left(),
    )


def _write(page: Path, statement: Statement, plot: Plot) -> None:
    try:
        page.write_text(bill_page(statement, plot), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{page}: can't be written: {error.strerror}") from error
