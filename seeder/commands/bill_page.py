"""The report for finance as one HTML page that needs nothing else: no script, no other file.

No I/O.
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate

from seeder.commands.charts import Axis, Curve, chart
from seeder.commands.texts import printable
from seeder.ledger.bill import Bill, Line, Plot, Statement
from seeder.ledger.counters import Counters
from seeder.units import DAY, UNKNOWN, rounded_size, show_moment, show_money

_MOST_LINES = 1000
"""Rows of the table; CSV and JSON have all."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5c6773; --paper: #fff; --line: #e2e6ea;
  --card: #f6f8fa; --c1: #b35900; --c2: #0b6bcb; --c3: #1a7f37; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #9aa5b1; --paper: #14171a;
  --line: #2d343b; --card: #1c2126; --c1: #f0a35e; --c2: #6cb2f5; --c3: #5fc27e; --bad: #f28b82; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
p, figcaption, th { color: var(--dim); } p { margin: .25rem 0; }
.sums { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem;
  margin: 1.5rem 0; }
.sums div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .9rem 1.1rem; }
.sums b { display: block; font-size: 1.7rem; font-variant-numeric: tabular-nums; line-height: 1.3; }
.sums .saved b { color: var(--c3); } .loss, .sums .saved b.loss { color: var(--bad); }
figure { margin: 1rem 0; } figcaption { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem;
  justify-content: space-between; font-size: .9rem; }
.legend { display: flex; gap: 1rem; }
.legend i { display: inline-block; width: .8rem; height: .2rem; margin-right: .35rem;
  vertical-align: middle; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--dim); font-size: 11px; }
svg line { stroke: var(--line); } svg line.zero { stroke: var(--dim); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; } .hit { fill: transparent; }
.hit:hover { fill: var(--line); fill-opacity: .5; }
polyline.c1 { stroke: var(--c1); } polyline.c2 { stroke: var(--c2); }
polyline.c3 { stroke: var(--c3); } circle.c1, i.c1 { fill: var(--c1); }
circle.c2 { fill: var(--c2); } circle.c3 { fill: var(--c3); }
i.c1 { background: var(--c1); } i.c2 { background: var(--c2); } i.c3 { background: var(--c3); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; } th:first-child, td:first-child { text-align: left; white-space: normal;
  overflow-wrap: anywhere; } tbody th { color: inherit;
  font-weight: inherit; } tfoot td, tfoot th { font-weight: 600; color: inherit; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem;
  overflow-x: auto; font-size: .82rem; }
@media print { body { max-width: none; padding: 0; } .wide, pre { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""


def bill_page(statement: Statement, plot: Plot) -> str:
    """Return the page."""
    return "\n".join(_parts(statement, plot)) + "\n"


def _parts(statement: Statement, plot: Plot) -> Iterator[str]:
    begin = "the beginning" if statement.begin is None else show_moment(statement.begin)
    currency = statement.prices.currency
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield (
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )
    yield f"<title>What S3 cost and what was saved</title><style>{_STYLE}</style></head>"
    yield "<body><main>"
    yield "<h1>What S3 cost, and what was saved</h1>"
    yield f"<p>From {begin} until {show_moment(statement.end)}, days and months of UTC.</p>"
    total = statement.total
    loss = ' class="loss"' if total.money.saved_verified < 0 else ""
    yield '<div class="sums">'
    yield _sum(
        "S3 would have billed without us", show_money(total.money.without_verified, currency)
    )
    yield _sum("S3 billed", show_money(total.money.billed, currency))
    saved = show_money(total.money.saved_verified, currency)
    yield f'<div class="saved">Saved (verified)<b{loss}>{escape(saved)}</b></div></div>'
    if total.counted.delivered_claimed_bytes:
        claimed = show_money(total.money.saved_claimed, currency)
        yield f"<p>By the word of peers (claimed, no part of the above): {escape(claimed)}.</p>"
    yield from _charts(statement, plot)
    yield f"<h2>By {statement.by}</h2>"
    yield from _table(statement)
    yield "<h2>How it was reckoned</h2>"
    yield (
        "<p>A GB has 2^30 bytes. Without us S3 would have sent what was delivered, as far as that"
        " is verified; how many requests that would have taken isn't known, and none are"
        " counted.</p>"
    )
    arithmetic = escape("\n".join(statement.arithmetic()))
    yield f'<pre tabindex="0">{arithmetic}</pre></main></body></html>'


def _sum(name: str, amount: str) -> str:
    return f"<div>{escape(name)}<b>{escape(amount)}</b></div>"


def _charts(statement: Statement, plot: Plot) -> Iterator[str]:
    if not plot.counted:
        return
    axis = Axis(plot.begin, plot.step)
    each = "day" if plot.step == DAY else "hour"

    def sizes(name: str, colour: int, values: Sequence[int | None]) -> Curve:
        return Curve(name, colour, [None if value is None else float(value) for value in values])

    def of(figure: str) -> list[int | None]:
        return [None if step is None else getattr(step, figure) for step in plot.counted]

    between = [
        None if step is None else max(0, step.delivered_verified_bytes - step.uploaded_bytes)
        for step in plot.counted
    ]
    yield "<h2>Over time</h2>"
    yield chart(
        f"Bytes by {each}",
        axis,
        [
            sizes("from S3", 1, of("origin_bytes")),
            sizes("to peers", 2, of("uploaded_bytes")),
            sizes("between peers (verified)", 3, between),
        ],
        lambda value: rounded_size(int(value)),
        scale=1024,
    )
    in_currency = f", {statement.prices.currency}" if statement.prices.currency else ""
    spent = list(_money_steps(statement, plot))
    yield chart(
        f"Saved (verified), added up by {each}{in_currency}",
        axis,
        [Curve("saved", 3, list(accumulate(spent)), level=True)],
        show_money,
    )


def _money_steps(statement: Statement, plot: Plot) -> Iterator[float]:
    """Yield what each step saved, at the prices of its month."""
    bills: list[Bill] = [bill for bill in statement.months if bill.begin > 0]
    for index, counted in enumerate(plot.counted):
        at = plot.begin + index * plot.step
        bill = next((each for each in bills if at < each.end), None)
        yield 0.0 if bill is None or counted is None else bill.share(counted).saved_verified


def _table(statement: Statement) -> Iterator[str]:
    yield (
        f'<div class="wide" tabindex="0" role="region" aria-label="By {statement.by}">'
        "<table><thead><tr>"
    )
    for name in (
        statement.by.capitalize(),
        "From S3",
        "Requests",
        "Delivered",
        "Without us",
        "Billed",
        "Saved",
    ):
        yield f'<th scope="col">{name}</th>'
    yield "</tr></thead><tbody>"
    for line in statement.lines[:_MOST_LINES]:
        yield _row(line)
    more = len(statement.lines) - _MOST_LINES
    if more > 0:
        yield f'<tr><td colspan="7">and {more:,} more: see --csv</td></tr>'
    yield f"</tbody><tfoot>{_row(statement.total)}</tfoot></table></div>"


def _row(line: Line) -> str:
    counted: Counters = line.counted
    money = line.money
    saved = show_money(money.saved_verified)
    cells = (
        rounded_size(counted.origin_bytes),
        f"{counted.origin_requests:,}",
        rounded_size(counted.delivered_verified_bytes) if line.delivers else UNKNOWN,
        show_money(money.without_verified) if line.delivers else UNKNOWN,
        show_money(money.billed),
    )
    loss = ' class="loss"' if line.delivers and money.saved_verified < 0 else ""
    return (
        f'<tr><th scope="row">{escape(printable(line.name))}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f"<td{loss}>{saved if line.delivers else UNKNOWN}</td></tr>"
    )
