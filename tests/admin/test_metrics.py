"""What /metrics says of the node and of what was counted by object, origin and prefix."""

import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from seeder.admin.exposition import CONTENT_TYPE, LINES_AT_ONCE
from seeder.admin.metrics import ProcessMetrics
from seeder.admin.overview import describe_work
from seeder.admin.reloads import RELOAD_OUTCOMES, ReloadReport, Reloads
from seeder.admin.stalls import StalledObjects, work_document
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.limits import Limit, Period, Resource
from seeder.net.timings import Timings
from seeder.peer.hub import CONNECTION_STATES, HubStatistics
from seeder.peer.reasons import CLOSES, REFUSALS
from seeder.s3.operations import OPERATIONS, OUTCOMES
from seeder.s3.stalls import Stall
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.work import Work
from seeder.tracker.tallies import ANNOUNCE_OUTCOMES, TrackerTallies
from tests.admin.support import (
    IDLE_ORIGIN,
    PRICES,
    Sample,
    accounts_of,
    parts_of,
    render,
    samples_of,
)

AWKWARD = 'a "key"\\ with\nall of it'


def a_ledger() -> Ledger:
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    account.state = "serving"
    account.origin_request("pieces")
    account.origin_received("pieces", 1000)
    account.origin_received("hashing", 20)
    account.uploaded(1500)
    account.protocol(70)
    account.delivered_verified(900)
    account.delivered_claimed(5000)
    account.completed()
    account.requester_charged()
    account.peer_seen()
    former = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-0"'))
    former.state = "former"
    former.uploaded(500)
    ledger.account(AccountKey("default", "quotes", AWKWARD, "v")).uploaded(1)
    ledger.unattributed.origin_request("metainfo")
    return ledger


def value(samples: dict[Sample, float], name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


OF_AN_OBJECT = [
    ("origin_bytes_total", {"purpose": "pieces"}, 1000),
    ("origin_bytes_total", {"purpose": "hashing"}, 20),
    ("origin_bytes_total", {"purpose": "metainfo"}, 0),
    ("origin_requests_total", {"purpose": "pieces"}, 1),
    ("origin_requester_charged_requests_total", {}, 1),
    ("uploaded_bytes_total", {}, 2000),
    ("protocol_bytes_total", {}, 70),
    ("delivered_verified_bytes_total", {}, 900),
    ("delivered_claimed_bytes_total", {}, 5000),
    ("completed_downloads_total", {}, 1),
    ("peer_sessions_total", {}, 1),
    ("saved_verified_bytes", {}, -120),
    ("saved_claimed_bytes", {}, 3980),
]


@pytest.mark.parametrize(("name", "further", "expected"), OF_AN_OBJECT)
def test_an_objects_versions_are_one_series(
    name: str, further: dict[str, str], expected: float
) -> None:
    samples = samples_of(render(a_ledger()))
    labels = {"bucket": "quotes", "key": "Nelson", **further}
    assert value(samples, f"seeder_{name}", **labels) == expected


@pytest.mark.parametrize("most", [0, 2, 3, 200])
def test_more_objects_than_that_are_told_by_origin_and_prefix_only(most: int) -> None:
    """Two objects and what belongs to none are three series."""
    ledger = a_ledger()
    ledger.account(AccountKey("other", "quotes", "b/1", "v")).uploaded(7)
    ledger.account(AccountKey("other", "quotes", "b/c/1", "v")).uploaded(20)
    prefixes = (ObjectRef("other", "quotes", "b/"), ObjectRef("other", "quotes", "b/c/"))
    samples = samples_of(render(ledger, prefixes=prefixes, most=most))
    uploaded = {
        (name, *(dict(labels).get(each, "-") for each in ("origin", "bucket", "prefix"))): figure
        for (name, labels), figure in samples.items()
        if name in ("seeder_node_uploaded_bytes_total", "seeder_prefix_uploaded_bytes_total")
    }
    assert uploaded == {
        ("seeder_node_uploaded_bytes_total", "default", "-", "-"): 2001,
        ("seeder_node_uploaded_bytes_total", "other", "-", "-"): 27,
        ("seeder_node_uploaded_bytes_total", "", "-", "-"): 0,
        ("seeder_prefix_uploaded_bytes_total", "default", "quotes", ""): 2001,
        ("seeder_prefix_uploaded_bytes_total", "other", "quotes", "b/"): 7,
        ("seeder_prefix_uploaded_bytes_total", "other", "quotes", "b/c/"): 20,
        ("seeder_prefix_uploaded_bytes_total", "", "", ""): 0,
    }
    assert any("key" in dict(labels) for _, labels in samples) == (most >= 5)


@pytest.mark.parametrize("scope", ["", "node_", "prefix_"])
def test_sums_over_the_series_are_the_ledgers_totals(scope: str) -> None:
    ledger = a_ledger()
    samples, totals = samples_of(render(ledger)), ledger.totals()
    for name, total in (
        ("origin_bytes_total", totals.origin_bytes),
        ("origin_requests_total", totals.origin_requests),
        ("uploaded_bytes_total", totals.uploaded_bytes),
    ):
        found = [
            value for (sample, _), value in samples.items() if sample == f"seeder_{scope}{name}"
        ]
        assert sum(found) == total


def test_savings_are_told_in_bytes_and_money() -> None:
    ledger = a_ledger()
    samples, totals = samples_of(render(ledger)), ledger.totals()
    charged = PRICES.money(totals.origin_bytes, 1)
    for name, expected in (
        ("origin_money", charged),
        ("saved_verified_money", PRICES.money(900) - charged),
        ("saved_claimed_money", PRICES.money(5000) - charged),
    ):
        found = value(samples, f"seeder_node_{name}", origin="default")
        assert found == pytest.approx(expected)


def test_awkward_keys_come_through() -> None:
    samples = samples_of(render(a_ledger()))
    assert value(samples, "seeder_uploaded_bytes_total", bucket="quotes", key=AWKWARD) == 1


def test_all_states_are_there_and_what_stands_still_is_stalled() -> None:
    catalog, ref = Catalog(), ObjectRef("default", "quotes", "Nelson")
    other = ObjectRef("default", "quotes", "other")
    catalog.add(Publication(ref, state=State.BUILDING, pinned=PinnedObject(ref, '"e"', 100)))
    catalog.add(Publication(other, state=State.SERVING))
    stall = Stall(40.0, 8, None)
    # A question about a torrent that is served holds nobody up.
    stalled = StalledObjects({}, {ref: stall, other: stall})
    samples = samples_of(render(Ledger(), catalog=catalog, stalled=stalled))
    states = {
        dict(labels)["state"]: count
        for (name, labels), count in samples.items()
        if name == "seeder_torrents"
    }
    every = {state.value: 0 for state in State}
    assert states == {**every, "former": 0, "stalled": 1, "serving": 1}
    assert value(samples, "seeder_stalled_seconds", bucket="quotes", key="Nelson") == 40
    served = samples_of(
        render(Ledger(), catalog=catalog, stalled=StalledObjects({other: stall}, {}))
    )
    assert value(served, "seeder_torrents", state="stalled") == 1
    assert value(served, "seeder_torrents", state="building") == 1


def test_builds_are_told_with_their_progress() -> None:
    catalog, ref = Catalog(), ObjectRef("default", "quotes", "Nelson")
    work = Work(0.0)
    work.advance(25, 100, 0.0)
    publication = Publication(ref, state=State.BUILDING, progress=0.25, work=work)
    catalog.add(publication)
    samples = samples_of(render(Ledger(), catalog=catalog))
    assert value(samples, "seeder_builds") == 1
    assert value(samples, "seeder_build_bytes") == 100
    assert value(samples, "seeder_build_done_bytes") == 25
    name = "seeder_build_progress_ratio"
    assert value(samples, name, bucket="quotes", key="Nelson") == 0.25


async def test_what_is_stalled_has_no_rate_and_no_time_left(autojump_clock: MockClock) -> None:
    await trio.sleep(100)
    now, work = trio.current_time(), Work(0.0)
    work.advance(0, 100, now - 20)
    work.advance(25, 100, now - 18)
    catalog, ref = Catalog(), ObjectRef("default", "quotes", "Nelson")
    publication = Publication(ref, state=State.BUILDING, progress=0.25, work=work)
    catalog.add(publication)
    accounts, stall = accounts_of(Ledger(), catalog), Stall(18.0, 8, None)
    for stalled, rate in ((None, 25 / 20), (StalledObjects({ref: stall}, {}), 0)):
        found = stalled or StalledObjects()
        parts = await parts_of(Ledger(), catalog=catalog, stalled=stalled)
        samples = samples_of(b"".join(parts).decode())
        assert value(samples, "seeder_build_bytes_per_second") == rate
        row = accounts.row(publication, found)
        assert row.rate == rate
        document = work_document(publication, found.find(publication))
        assert document["rate"] == round(rate)
        assert (row.time_left is None) == (document["time_left"] is None) == (rate == 0)
        text = describe_work(publication, found.find(publication))
        assert text == ("25%" if not rate else "25%, 1 B/s, 60 s left")


def test_connections_and_announces_are_told_by_state_reason_event_and_outcome() -> None:
    tallies = TrackerTallies()
    tallies.announces["started", "answered"] = 3
    tallies.announces["unread", "too-often"] = 2
    hub = HubStatistics(4, 9, {"left": 4, "full": 1}, {"full": 1}, {"served": 3, "idle": 1})
    samples = samples_of(render(Ledger(), hub=hub, tracker=tallies))
    states = [value(samples, "seeder_peer_connections", state=each) for each in CONNECTION_STATES]
    assert sum(states) == 4
    assert value(samples, "seeder_peer_closes_total", reason="left") == 4
    assert value(samples, "seeder_peer_refusals_total", reason="full") == 1
    name = "seeder_announces_total"
    assert value(samples, name, event="started", outcome="answered") == 3
    assert value(samples, name, event="stopped", outcome="answered") == 0
    assert value(samples, name, event="unread", outcome="too-often") == 2
    assert sum(each for (sample, _), each in samples.items() if sample == name) == 5
    outcomes = {dict(labels)["outcome"] for sample, labels in samples if sample == name}
    assert outcomes == set(ANNOUNCE_OUTCOMES)


def test_reasons_and_places_without_a_count_are_there_as_0() -> None:
    hub = HubStatistics(1, 1, {"left": 2}, {"budget-spent": 1}, {})
    prefixes = (ObjectRef("default", "quotes", "a/"), ObjectRef("other", "quotes", ""))
    samples = samples_of(render(Ledger(), hub=hub, prefixes=prefixes))
    for name, reasons, counted in (
        ("seeder_peer_closes_total", CLOSES, {"left": 2}),
        ("seeder_peer_refusals_total", REFUSALS, {"budget-spent": 1}),
    ):
        found = {reason: value(samples, name, reason=reason) for reason in reasons}
        assert {reason: count for reason, count in found.items() if count} == counted
        assert sum(sample[0] == name for sample in samples) == len(reasons)
    about = {"bucket": "quotes", "origin": "other", "prefix": ""}
    assert value(samples, "seeder_prefix_uploaded_bytes_total", **about) == 0
    for origin in ("default", "other", ""):
        assert value(samples, "seeder_node_uploaded_bytes_total", origin=origin) == 0


def test_each_object_tells_its_state_and_prices_are_there() -> None:
    catalog, ledger = Catalog(), Ledger()
    catalog.add(Publication(ref=ObjectRef("default", "quotes", "Nelson"), state=State.FAILED))
    samples = samples_of(render(ledger, catalog=catalog))
    states = [sample for sample in samples if sample[0] == "seeder_state"]
    labels = {"bucket": "quotes", "key": "Nelson", "state": "failed"}
    assert states == [("seeder_state", frozenset(labels.items()))]
    assert value(samples, "seeder_price_per_byte", from_bytes="0") * 2**30 == pytest.approx(0.09)
    assert value(samples, "seeder_price_per_request") * 1000 == pytest.approx(0.0004)


def test_s3_is_told_by_operation_and_outcome_with_a_histogram_of_its_answers() -> None:
    timings = Timings()
    for seconds in (0.001, 0.3, 99.0):
        timings.add(seconds)
    origin = replace(
        IDLE_ORIGIN,
        operations={("GetObject", "ok"): 3, ("HeadObject", "refused"): 1},
        answer_times={"GetObject": timings},
        reachable=False,
        stall=Stall(40.0, 8, None),
    )
    samples = samples_of(render(Ledger(), origins={"default": origin}))
    name = "seeder_s3_requests_total"
    counts = {labels: count for (sample, labels), count in samples.items() if sample == name}
    assert len(counts) == len(OPERATIONS) * len(OUTCOMES)
    assert sum(counts.values()) == 4
    name, labels = "seeder_s3_answer_seconds", {"origin": "default", "operation": "GetObject"}
    for bound, count in (("0.005", 1), ("0.25", 1), ("0.5", 2), ("30.0", 2), ("+Inf", 3)):
        assert value(samples, f"{name}_bucket", le=bound, **labels) == count
    assert value(samples, f"{name}_count", **labels) == 3
    assert value(samples, f"{name}_sum", **labels) == pytest.approx(99.301)
    assert value(samples, "seeder_s3_reachable", origin="default") == 0
    assert value(samples, "seeder_s3_stalled_seconds", origin="default") == 40


def test_what_is_left_of_the_budget_is_told_by_limit_and_by_unit() -> None:
    spent = Counters(origin_bytes_pieces=850, origin_requests_pieces=3)
    limits = [
        Limit(Resource.ORIGIN_BYTES, Period.DAY, 1000),
        Limit(Resource.ORIGIN_REQUESTS, Period.MONTH, 10),
    ]
    budget = Budget(limits, PRICES, totals=spent, spent=Spent(spent, spent), now=10.0)
    samples = samples_of(render(Ledger(), budget=budget.left()))
    for name, expected in (
        ("limit", 1000),
        ("spent", 850),
        ("left", 150),
        ("level", 1),
        ("resets_timestamp_seconds", 86400),
        ("limit_bytes", 1000),
        ("spent_bytes", 850),
    ):
        label = "origin_bytes_per_day"
        assert value(samples, f"seeder_budget_{name}", budget=label) == expected
    requests = "origin_requests_per_month"
    assert value(samples, "seeder_budget_spent_requests", budget=requests) == 3
    assert ("seeder_budget_limit_bytes", frozenset({("budget", requests)})) not in samples
    assert not [name for name, _ in samples_of(render(Ledger())) if "budget" in name]


def test_the_last_reload_is_told_with_its_outcome() -> None:
    reloads = Reloads(1000.0)
    before = samples_of(render(Ledger(), reloads=reloads))
    assert value(before, "seeder_last_reload_successful") == 1
    assert value(before, "seeder_config_timestamp_seconds") == 1000
    assert [value(before, "seeder_reloads_total", outcome=each) for each in RELOAD_OUTCOMES] == [
        0,
        0,
        0,
    ]
    reloads.note(ReloadReport(2000.0, "ok"))
    reloads.note(ReloadReport(3000.0, "refused", "objects[0].key: missing"))
    after = samples_of(render(Ledger(), reloads=reloads))
    assert value(after, "seeder_last_reload_successful") == 0
    assert value(after, "seeder_config_timestamp_seconds") == 2000
    assert value(after, "seeder_reloads_total", outcome="refused") == 1
    assert reloads.document()["reason"] == "objects[0].key: missing"


def test_counters_are_counters_and_what_can_shrink_is_a_gauge() -> None:
    hub = HubStatistics(1, 1, {"left": 1}, {"full": 1}, {})
    for family in text_string_to_metric_families(render(a_ledger(), hub=hub)):
        totals = [sample.name.endswith("_total") for sample in family.samples]
        if family.type != "histogram":
            kind = "counter" if totals and all(totals) else "gauge"
            assert family.type == kind, family.name
        assert family.documentation


async def test_many_objects_are_written_in_slices_that_hold_nobody_up() -> None:
    ledger = Ledger()
    for number in range(3 * LINES_AT_ONCE):
        ledger.account(AccountKey("default", "quotes", f"key {number}", "v")).uploaded(number)
    parts = await parts_of(ledger, most=10_000)
    assert max(part.count(b"\n") for part in parts) <= 3 * LINES_AT_ONCE
    samples = samples_of(b"".join(parts).decode())
    for number in (0, LINES_AT_ONCE, 3 * LINES_AT_ONCE - 1):
        labels = {"bucket": "quotes", "key": f"key {number}"}
        assert value(samples, "seeder_uploaded_bytes_total", **labels) == number


def test_the_process_is_there() -> None:
    samples = samples_of(ProcessMetrics().text().decode())
    assert value(samples, "process_resident_memory_bytes") > 0
    assert value(samples, "process_start_time_seconds") < time.time() + 60


def test_the_content_type_is_prometheus_text_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; apt-get install prometheus brings it")
    limit = Limit(Resource.ORIGIN_MONEY, Period.DAY, 5)
    budget = Budget([limit], PRICES, totals=Counters(), spent=Spent(), now=0)
    hub = HubStatistics(1, 1, {"left": 1}, {"full": 1}, {"served": 1})
    prefixes = (ObjectRef("default", "quotes", ""),)
    text = render(a_ledger(), budget=budget.left(), hub=hub, prefixes=prefixes)
    ran = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text + ProcessMetrics().text().decode(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
