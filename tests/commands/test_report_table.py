"""The report as a table: it fits, and shows nothing that commands a terminal."""

import io

from rich.console import Console

from seeder.commands.report_table import MOST_ROWS, render
from seeder.ledger.counters import Account, AccountKey, Counters, Ledger
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.report import Report, TorrentRow
from tests.ledger.support import (
    AT,
    NELSON,
    PRICES,
    a_budget,
    a_limited_report,
    a_report,
)


def rendered(report: Report, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    render(report, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_the_table_fits_80_columns() -> None:
    assert (
        rendered(a_report())
        == """\
        Size   From S3   copies  Uploaded            Delivered      Saved
quotes/Nelson  serving, 5 peers, 1 seed
    64.0 MiB  64.0 MiB     1.00   160 MiB  verified    640 MiB    576 MiB
                                           claimed     650 MiB    586 MiB
images/debian.iso  building 40%
    reading the object for its hashes
     700 MiB   280 MiB     0.40       0 B  verified        0 B   -280 MiB
                                           claimed         0 B   -280 MiB

All together                  Measured  Verified  Claimed
From S3                        344 MiB
  metainfo                    3.91 KiB
  hashing                      280 MiB
  pieces                      64.0 MiB
Requests to S3                   1,067
  metainfo                           3
  hashing                            0
  pieces                         1,064
  charged to us as requester         0
Uploaded to peers              160 MiB
Sent besides (protocol)       3.00 MiB
S3 copies                         0.45
Seeder copies                     0.21
Cache saving                   -115.0%
Downloads completed                                     9
Delivered to peers                       640 MiB  650 MiB
Saved                                    296 MiB  306 MiB
Offload                                    75.0%    75.4%
Total saving                               46.2%    47.1%
Money to S3                     0.0307
Money saved                               0.0256   0.0265

Counted until 2026-11-23 02:13 UTC.
Measured: our own counts. Claimed: announced by peers. Verified: uploaded, plus
what peers can have had of each other: with k addresses, k x uploaded at most."""
    )


def test_what_is_left_of_the_budget_is_a_table() -> None:
    lines = rendered(a_limited_report()).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Budget"))
    assert lines[start - 1] == ""
    assert lines[start : start + 5] == [
        "Budget (UTC)                 Limit    Spent      Left  Holds back",
        "origin bytes a day         400 MiB  344 MiB  56.0 MiB  fewer slots",
        "origin requests a month  1,000,000    1,067   998,933",
        "uploaded money a day        0.0100   0.0143      0.00  tracker only",
        "",
    ]


def test_the_budget_is_shown_before_anything_was_counted() -> None:
    limits = [Limit(resource, period, 10**9) for resource in Resource for period in Period]
    budget = a_budget(limits, Counters())
    lines = rendered(Report.of(Ledger(), PRICES, at=AT, budget=budget.left())).splitlines()
    assert lines[0].startswith("Nothing counted yet")
    assert len(lines) == 3 + len(limits)
    assert max(map(len, lines)) <= 80


def test_the_largest_figures_fit_too() -> None:
    ledger = Ledger()
    key = AccountKey("default", "datasets", "2026/" + "very-long-name-" * 20 + ".tar", "v")
    account = ledger.account(key)
    account.size, account.peers, account.seeds = 5 * 2**40, 10**6, 10**5
    counted = Counters(*[2**62] * 12)
    counted.delivered_verified_bytes = 0
    account.add(counted)
    lines = rendered(Report.of(ledger, PRICES, at=AT, since=0)).splitlines()
    assert max(map(len, lines)) <= 80
    # The key is there whole, over as many lines as it needs.
    assert key.key.replace("-", "") in "".join(lines[1:6]).replace("-", "").replace(" ", "")
    assert "Counted from 1970-01-01 00:00 UTC until 2026-11-23 02:13 UTC." in lines


def test_an_object_that_was_never_reached_has_a_line() -> None:
    account = Account(key=AccountKey("default", "quotes", "lost", ""), state="failed")
    row = TorrentRow.of(account, reason="quotes/lost: no such key (404)")
    report = Report.of(Ledger(), PRICES, at=AT, rows=[row])
    assert "quotes/lost  failed" in rendered(report)


def test_of_many_objects_those_that_matter_are_shown_and_the_others_counted() -> None:
    ledger = Ledger()
    for number in range(MOST_ROWS + 2):
        ledger.account(AccountKey("default", "quotes", f"n{number}", "v")).uploaded(number + 1)
    lines = rendered(Report.of(ledger, PRICES, at=AT)).splitlines()
    names = [line.split()[0] for line in lines if line.startswith("quotes/n")]
    assert names == [f"quotes/n{number}" for number in range(MOST_ROWS + 1, 1, -1)]
    [told] = [line for line in lines if line.startswith("2 more objects of which fewer bytes")]
    assert "--json" in told


def test_a_table_without_counts_says_so() -> None:
    nothing = "Nothing counted yet: no byte has come from S3, and none has gone to a peer."
    assert rendered(Report.of(Ledger(), PRICES, at=AT)) == nothing
    ledger = Ledger()
    ledger.account(NELSON)
    lines = rendered(Report.of(ledger, PRICES, at=AT)).splitlines()
    assert lines[1] == "quotes/Nelson  waiting"
    assert lines[-1] == nothing
    since = rendered(Report.of(Ledger(), PRICES, at=AT, since=AT))
    assert since.startswith("Nothing counted since 2026-11-23 02:13 UTC: no byte")


def test_keys_and_reasons_can_not_command_the_terminal() -> None:
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "b", "[red]k\x1b[31m\r\n\u202e\x9b1m", "v"))
    row = TorrentRow.of(account, reason="[bold]\x1b]0;title\x07")
    text = rendered(Report.of(ledger, PRICES, at=AT, rows=[row]))
    assert r"b/[red]k\x1b[31m\r\n\u202e\x9b1m  waiting" in text
    assert r"[bold]\x1b]0;title\x07" in text
