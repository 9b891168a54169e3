import io
import json

from rich.console import Console

from seeder.ledger.budget import Budget, Limit, Period, Resource, Spent
from seeder.ledger.counters import FORMER, Account, AccountKey, Counters, Ledger
from seeder.ledger.report import Report, TorrentRow
from seeder.ledger.savings import Prices
from seeder.ledger.table import render

KIB, MIB, GIB = 2**10, 2**20, 2**30
PRICES = Prices(price_per_gb=0.09, price_per_1000_requests=0.0004)
AT = 1_795_400_000.0  # 2026-11-23 02:13:20 UTC

NELSON = AccountKey("default", "quotes", "Nelson", '"etag-1"')
DEBIAN = AccountKey("default", "images", "debian.iso", "version-1")

CONTRACT = {
    "origin_bytes",
    "origin_requests",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "completed",
    "saved_verified_bytes",
    "saved_claimed_bytes",
    "peers",
    "seeds",
}


def a_swarm() -> tuple[Ledger, list[TorrentRow]]:
    """A torrent that pays, one that is being built, and a HEAD that failed."""
    ledger = Ledger()
    nelson = ledger.account(NELSON)
    nelson.info_hash, nelson.size, nelson.pieces = "ab" * 20, 64 * MIB, 64
    nelson.state, nelson.peers, nelson.seeds = "serving", 5, 1
    nelson.counters = Counters(
        origin_bytes_metainfo=4000,
        origin_bytes_pieces=64 * MIB,
        origin_requests_metainfo=2,
        origin_requests_pieces=1064,
        uploaded_bytes=160 * MIB,
        delivered_verified_bytes=640 * MIB,
        delivered_claimed_bytes=650 * MIB,
        completed=9,
        peers_seen=12,
    )
    debian = ledger.account(DEBIAN)
    debian.size, debian.state = 700 * MIB, "building"
    debian.origin_received("hashing", 280 * MIB)
    ledger.unattributed.origin_request("metainfo")
    rows = [
        TorrentRow.of(nelson, metainfo="checksums"),
        TorrentRow.of(debian, reason="reading the object for its hashes", progress=0.4),
    ]
    return ledger, rows


def a_report() -> Report:
    ledger, rows = a_swarm()
    return Report.of(ledger, PRICES, at=AT, rows=rows)


def rendered(report: Report, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    render(report, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


# -- the document


def test_the_document_keeps_the_contract() -> None:
    document = json.loads(json.dumps(a_report().document(), allow_nan=False))
    totals, (nelson, debian) = document["totals"], document["torrents"]
    for figures in (totals, nelson, debian):
        assert figures.keys() >= CONTRACT
    for torrent in (nelson, debian):
        assert torrent.keys() >= {"bucket", "key", "info_hash", "size", "pieces", "state"}
    assert (nelson["bucket"], nelson["key"], nelson["version"]) == ("quotes", "Nelson", '"etag-1"')
    assert (nelson["info_hash"], nelson["size"], nelson["pieces"]) == ("ab" * 20, 64 * MIB, 64)
    assert (nelson["state"], nelson["reason"], nelson["progress"]) == ("serving", None, None)
    assert (nelson["peers"], nelson["seeds"], nelson["completed"]) == (5, 1, 9)
    assert nelson["origin_bytes"] == 64 * MIB + 4000
    assert nelson["origin_bytes_by_purpose"] == {
        "metainfo": 4000,
        "hashing": 0,
        "pieces": 64 * MIB,
    }
    assert nelson["origin_requests_by_purpose"] == {"metainfo": 2, "hashing": 0, "pieces": 1064}
    assert nelson["saved_verified_bytes"] == 576 * MIB - 4000
    assert nelson["saved_claimed_bytes"] == 586 * MIB - 4000
    assert nelson["offload_verified"] == 0.75
    assert debian["info_hash"] is None
    assert (debian["state"], debian["progress"]) == ("building", 0.4)
    assert (nelson["metainfo"], debian["metainfo"]) == ("checksums", None)
    assert debian["reason"] == "reading the object for its hashes"
    assert debian["saved_verified_bytes"] == -280 * MIB
    assert debian["cache_saving"] is None
    assert (document["at"], document["since"]) == (AT, None)
    assert document["prices"] == {"price_per_gb": 0.09, "price_per_1000_requests": 0.0004}


def test_totals_are_the_torrents_and_what_belongs_to_none() -> None:
    document = json.loads(json.dumps(a_report().document()))
    parts = [*document["torrents"], document["unattributed"]]
    for name in CONTRACT - {"saved_verified_bytes", "saved_claimed_bytes"}:
        assert document["totals"][name] == sum(part.get(name, 0) for part in parts)
    assert document["unattributed"]["origin_requests"] == 1
    assert document["totals"]["saved_verified_bytes"] == (640 - 64 - 280) * MIB - 4000
    assert document["totals"]["size"] == 764 * MIB


def test_an_empty_ledger_has_a_document_too() -> None:
    document = Report.of(Ledger(), PRICES, at=AT).document()
    assert document["torrents"] == []
    totals = document["totals"]
    assert isinstance(totals, dict)
    assert {name: totals[name] for name in CONTRACT} == dict.fromkeys(CONTRACT, 0)
    assert totals["s3_copies"] is None
    json.dumps(document, allow_nan=False)


def test_former_versions_are_shown_as_far_as_they_counted_something() -> None:
    ledger, rows = a_swarm()
    counted = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-0"'))
    idle = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-00"'))
    counted.state = idle.state = FORMER
    counted.uploaded(1)
    report = Report.of(ledger, PRICES, at=AT, rows=rows)
    assert [row.key.version for row in report.rows] == ['"etag-1"', "version-1", '"etag-0"']
    assert report.totals == ledger.totals()


def test_an_account_that_two_rows_share_counts_once() -> None:
    ledger, rows = a_swarm()
    report = Report.of(ledger, PRICES, at=AT, rows=[*rows, rows[0]])
    assert [row.key for row in report.rows] == [NELSON, DEBIAN, NELSON]
    assert (report.size, report.peers, report.seeds) == (764 * MIB, 5, 1)
    assert not report.rows[2].counters


def test_an_object_that_was_never_reached_has_a_row() -> None:
    account = Account(key=AccountKey("default", "quotes", "lost", ""), state="failed")
    row = TorrentRow.of(account, reason="quotes/lost: no such key (404)")
    report = Report.of(Ledger(), PRICES, at=AT, rows=[row])
    document = json.loads(json.dumps(report.document()))
    assert document["torrents"][0]["size"] is None
    assert document["torrents"][0]["reason"] == "quotes/lost: no such key (404)"
    assert "quotes/lost  failed" in rendered(report)


def test_a_report_does_not_change_with_the_ledger() -> None:
    ledger, rows = a_swarm()
    report = Report.of(ledger, PRICES, at=AT, rows=rows)
    before = report.document()
    ledger.account(NELSON).uploaded(1)
    ledger.unattributed.origin_request("metainfo")
    assert report.document() == before


# -- the table


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
Measured: our own counts. Verified: seen by us. Claimed: announced by peers."""
    )


def a_budget(limits: list[Limit], spent: Counters) -> Budget:
    return Budget(limits, PRICES, totals=spent, spent=Spent(spent, spent), now=AT)


def test_what_is_left_of_the_budget_is_a_table_and_part_of_the_document() -> None:
    ledger, rows = a_swarm()
    limits = [
        Limit(Resource.ORIGIN_BYTES, Period.DAY, 400 * MIB),
        Limit(Resource.ORIGIN_REQUESTS, Period.MONTH, 1_000_000),
        Limit(Resource.UPLOADED_MONEY, Period.DAY, 0.01),
    ]
    budget = a_budget(limits, ledger.totals())
    report = Report.of(ledger, PRICES, at=AT, rows=rows, budget=budget.left())
    lines = rendered(report).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Budget"))
    assert lines[start - 1] == ""
    assert lines[start : start + 5] == [
        "Budget (UTC)                 Limit    Spent      Left  Holds back",
        "origin bytes a day         400 MiB  344 MiB  56.0 MiB  fewer slots",
        "origin requests a month  1,000,000    1,067   998,933",
        "uploaded money a day        0.0100   0.0141      0.00  tracker only",
        "",
    ]
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert [entry["resource"] for entry in document["budget"]] == [
        "origin_bytes",
        "origin_requests",
        "uploaded_money",
    ]
    assert document["budget"][1]["left"] == 998_933
    assert json.loads(json.dumps(a_report().document()))["budget"] == []


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
    account.counters = Counters(*[2**62] * 12)
    account.counters.delivered_verified_bytes = 0
    lines = rendered(Report.of(ledger, PRICES, at=AT, since=0)).splitlines()
    assert max(map(len, lines)) <= 80
    # The key is there whole, over as many lines as it needs.
    assert key.key.replace("-", "") in "".join(lines[1:6]).replace("-", "").replace(" ", "")
    assert "Counted from 1970-01-01 00:00 UTC until 2026-11-23 02:13 UTC." in lines


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
