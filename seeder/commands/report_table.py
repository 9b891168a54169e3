"""The report as a table for a terminal."""

from heapq import nlargest

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from seeder.commands.texts import printable
from seeder.ledger.bill import Money
from seeder.ledger.budget import Remaining
from seeder.ledger.counters import PURPOSES
from seeder.ledger.limits import Level
from seeder.ledger.report import Report, TorrentRow
from seeder.ledger.savings import Prices, savings
from seeder.units import UNKNOWN, counted, rounded_size, show_moment, show_money

_LINE = "{:>12}{:>10}{:>9}{:>10}  {:<9}{:>10}{:>11}"
_GAINS = ("Delivered", "Saved")
MOST_ROWS = 50
"""Of more objects, those are shown of which most bytes came and went."""


def render(report: Report, console: Console, money: Money | None = None) -> None:
    """Print the report in 80 columns, except for what doesn't fit.

    `money` is what its months came to, which counts where prices go by volume.
    """
    if report.rows:
        console.print(
            Text(_LINE.format("Size", "From S3", "copies", "Uploaded", "", *_GAINS), "bold")
        )
        shown = nlargest(MOST_ROWS, report.rows, key=_bytes_of)
        for row in shown if len(report.rows) > MOST_ROWS else report.rows:
            _render_row(row, report.prices, console)
        if more := len(report.rows) - len(shown):
            console.print(
                f"{counted(more, 'more object')} of which fewer bytes came or went:"
                " --json and --csv have them all, --by prefix adds them up"
            )
        console.print()
    if not report.totals:
        when = f" since {show_moment(report.since)}" if report.since is not None else " yet"
        console.print(
            f"Nothing counted{when}: no byte has come from S3, and none has gone to a peer."
        )
        _render_budget(report.budget, console)
        return
    console.print(_totals(report, money))
    _render_budget(report.budget, console)
    span = f"from {show_moment(report.since)} " if report.since is not None else ""
    console.print()
    console.print(f"Counted {span}until {show_moment(report.at)}.", style="dim")
    console.print(
        "Measured: our own counts. Claimed: announced by peers. Verified: uploaded, plus\n"
        "what peers can have had of each other: with k addresses, k x uploaded at most.",
        style="dim",
    )


def _bytes_of(row: TorrentRow) -> int:
    counters = row.counters
    return counters.origin_bytes + counters.uploaded_bytes + counters.delivered_claimed_bytes


def _render_row(row: TorrentRow, prices: Prices, console: Console) -> None:
    """Print what it is and how it stands, then its figures below the headings."""
    counters, saved = row.counters, savings(row.counters, size=row.size, prices=prices)
    standing = row.state if row.progress is None else f"{row.state} {row.progress:.0%}"
    if row.peers:
        standing += f", {_number(row.peers, 'peer')}, {_number(row.seeds, 'seed')}"
    title = Text.assemble((printable(str(row.key)), "bold"), f"  {printable(standing)}")
    console.print(title, overflow="fold")
    if row.reason:
        console.print(Padding(Text(printable(row.reason)), (0, 0, 0, 4)))
    measured = (
        rounded_size(row.size),
        rounded_size(counters.origin_bytes),
        _copies(saved.s3_copies),
        rounded_size(counters.uploaded_bytes),
    )
    verified = (
        rounded_size(counters.delivered_verified_bytes),
        rounded_size(saved.saved_verified_bytes),
    )
    claimed = (
        rounded_size(counters.delivered_claimed_bytes),
        rounded_size(saved.saved_claimed_bytes),
    )
    console.print(Text(_LINE.format(*measured, "verified", *verified)))
    console.print(Text(_LINE.format("", "", "", "", "claimed", *claimed)))


def _totals(report: Report, money: Money | None) -> Table:
    counters, saved = report.totals, report.savings
    currency = report.prices.currency
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("All together")
    for name in ("Measured", "Verified", "Claimed"):
        table.add_column(name, justify="right", no_wrap=True)
    of_bytes, of_requests = (
        counters.origin_bytes_by_purpose(),
        counters.origin_requests_by_purpose(),
    )
    verified, claimed = counters.delivered_verified_bytes, counters.delivered_claimed_bytes
    rows: list[tuple[str, ...]] = [
        ("From S3", rounded_size(counters.origin_bytes)),
        *((f"  {purpose}", rounded_size(of_bytes[purpose])) for purpose in PURPOSES),
        ("Requests to S3", f"{counters.origin_requests:,}"),
        *((f"  {purpose}", f"{of_requests[purpose]:,}") for purpose in PURPOSES),
        ("  charged to us as requester", f"{counters.requester_charged:,}"),
        ("Uploaded to peers", rounded_size(counters.uploaded_bytes)),
        ("Sent besides (protocol)", rounded_size(counters.protocol_bytes)),
        ("S3 copies", _copies(saved.s3_copies)),
        ("Seeder copies", _copies(saved.seeder_copies)),
        ("Cache saving", _share(saved.cache_saving)),
        ("Downloads completed", "", "", f"{counters.completed:,}"),
        ("Delivered to peers", "", rounded_size(verified), rounded_size(claimed)),
        (
            "Saved",
            "",
            rounded_size(saved.saved_verified_bytes),
            rounded_size(saved.saved_claimed_bytes),
        ),
        ("Offload", "", _share(saved.offload_verified), _share(saved.offload_claimed)),
        (
            "Total saving",
            "",
            _share(saved.total_saving_verified),
            _share(saved.total_saving_claimed),
        ),
        ("Money to S3", show_money(money.billed if money else saved.origin_money, currency)),
        (
            "Money saved",
            "",
            show_money(money.saved_verified if money else saved.saved_verified_money, currency),
            show_money(money.saved_claimed if money else saved.saved_claimed_money, currency),
        ),
    ]
    for name, *cells in rows:
        table.add_row(name, *cells, style="bold" if name == "Saved" else None)
    return table


def _render_budget(budget: tuple[Remaining, ...], console: Console) -> None:
    if not budget:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Budget (UTC)")
    for name in ("Limit", "Spent", "Left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Holds back")
    for remaining in budget:
        limit = remaining.limit
        table.add_row(
            f"{limit.resource.value.replace('_', ' ')} a {limit.period.value}",
            *(limit.show(each) for each in (limit.amount, remaining.spent, remaining.left)),
            "" if remaining.level is Level.NORMAL else str(remaining.level),
        )
    console.print()
    console.print(table)


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}"


def _copies(copies: float | None) -> str:
    return UNKNOWN if copies is None else f"{copies:.2f}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
