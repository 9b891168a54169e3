"""The report as a document: its contract, and whose figures are in it."""

import json

from seeder.ledger.counters import FORMER, Account, AccountKey, Ledger
from seeder.ledger.report import Report, TorrentRow
from seeder.units import MIB
from tests.ledger.support import (
    AT,
    DEBIAN,
    NELSON,
    PRICES,
    a_limited_report,
    a_report,
    a_swarm,
)

CONTRACT = {
    "origin_bytes",
    "origin_requests",
    "uploaded_bytes",
    "protocol_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "completed",
    "saved_verified_bytes",
    "saved_claimed_bytes",
    "peers",
    "seeds",
}


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
    assert (nelson["uploaded_bytes"], nelson["protocol_bytes"]) == (160 * MIB, 3 * MIB)
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
    assert document["prices"] == {
        "price_per_gb": 0.09,
        "price_per_1000_requests": 0.0004,
        "currency": "",
        "tiers": [],
    }


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


def test_a_report_does_not_change_with_the_ledger() -> None:
    ledger, rows = a_swarm()
    report = Report.of(ledger, PRICES, at=AT, rows=rows)
    before = report.document()
    ledger.account(NELSON).uploaded(1)
    ledger.unattributed.origin_request("metainfo")
    assert report.document() == before


# -- the table


def test_what_is_left_of_the_budget_is_part_of_the_document() -> None:
    document = json.loads(json.dumps(a_limited_report().document(), allow_nan=False))
    assert [entry["resource"] for entry in document["budget"]] == [
        "origin_bytes",
        "origin_requests",
        "uploaded_money",
    ]
    assert document["budget"][1]["left"] == 998_933
    assert json.loads(json.dumps(a_report().document()))["budget"] == []
