import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from seeder.ledger.budget import Budget, Limit, Period, Resource, Spent
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.metrics import CONTENT_TYPE, SLICE, Metrics
from seeder.ledger.report import Report
from seeder.ledger.savings import Prices

AWKWARD = 'a "key"\\ with\nall of it'


def a_ledger() -> Ledger:
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    account.state, account.peers, account.seeds = "serving", 5, 2
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


def report_of(ledger: Ledger) -> Report:
    return Report.of(ledger, Prices(0.09, 0.0004), at=0)


def render(report: Report) -> str:
    return b"".join(Metrics(version="1.2.3").parts(report)).decode()


def samples(report: Report) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(render(report)):
        for sample in family.samples:
            place = (sample.name, frozenset(sample.labels.items()))
            assert place not in found, "one series twice"
            found[place] = sample.value
    return found


def value(report: Report, name: str, **labels: str) -> float:
    return samples(report)[name, frozenset(labels.items())]


@pytest.mark.parametrize(
    ("name", "further", "expected"),
    [
        ("seeder_origin_bytes_total", {"purpose": "pieces"}, 1000),
        ("seeder_origin_bytes_total", {"purpose": "hashing"}, 20),
        ("seeder_origin_bytes_total", {"purpose": "metainfo"}, 0),
        ("seeder_origin_requests_total", {"purpose": "pieces"}, 1),
        ("seeder_origin_requester_charged_requests_total", {}, 1),
        ("seeder_uploaded_bytes_total", {}, 2000),
        ("seeder_protocol_bytes_total", {}, 70),
        ("seeder_delivered_verified_bytes_total", {}, 900),
        ("seeder_delivered_claimed_bytes_total", {}, 5000),
        ("seeder_completed_downloads_total", {}, 1),
        ("seeder_peer_sessions_total", {}, 1),
        ("seeder_saved_verified_bytes", {}, -120),
        ("seeder_saved_claimed_bytes", {}, 3980),
        ("seeder_swarm_peers", {}, 5),
        ("seeder_swarm_seeds", {}, 2),
    ],
)
def test_an_objects_versions_are_one_series(
    name: str, further: dict[str, str], expected: float
) -> None:
    labels = {"bucket": "quotes", "key": "Nelson", **further}
    assert value(report_of(a_ledger()), name, **labels) == expected


def test_what_belongs_to_no_object_is_there_without_a_name() -> None:
    report = report_of(a_ledger())
    name = "seeder_origin_requests_total"
    assert value(report, name, bucket="", key="", purpose="metainfo") == 1


def test_sums_over_the_series_are_the_ledgers_totals() -> None:
    ledger = a_ledger()
    found = samples(report_of(ledger))
    totals = ledger.totals()
    for name, total in (
        ("seeder_origin_bytes_total", totals.origin_bytes),
        ("seeder_origin_requests_total", totals.origin_requests),
        ("seeder_uploaded_bytes_total", totals.uploaded_bytes),
    ):
        assert sum(value for (sample, _), value in found.items() if sample == name) == total


def test_awkward_keys_come_through() -> None:
    report = report_of(a_ledger())
    assert value(report, "seeder_uploaded_bytes_total", bucket="quotes", key=AWKWARD) == 1


def test_torrents_are_counted_by_state() -> None:
    report = report_of(a_ledger())
    for state in ("serving", "former", "waiting"):
        assert value(report, "seeder_torrents", state=state) == 1


def test_every_render_is_a_new_look() -> None:
    ledger = a_ledger()
    name, labels = "seeder_uploaded_bytes_total", {"bucket": "quotes", "key": "Nelson"}
    before = value(report_of(ledger), name, **labels)
    ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"')).uploaded(7)
    assert value(report_of(ledger), name, **labels) == before + 7


def test_counters_are_counters_and_what_can_shrink_is_a_gauge() -> None:
    for family in text_string_to_metric_families(render(report_of(a_ledger()))):
        if family.name.startswith("seeder_"):
            totals = [sample.name.endswith("_total") for sample in family.samples]
            assert family.type == ("counter" if all(totals) else "gauge"), family.name
            assert family.documentation


def test_what_is_left_of_the_budget_is_told_by_limit() -> None:
    spent = Counters(origin_bytes_pieces=850)
    limit = Limit(Resource.ORIGIN_BYTES, Period.DAY, 1000)
    prices = Prices(0.09, 0.0004)
    budget = Budget([limit], prices, totals=spent, spent=Spent(spent, spent), now=10.0)
    report = Report.of(Ledger(), prices, at=0, budget=budget.left())
    for name, expected in (
        ("limit", 1000),
        ("spent", 850),
        ("left", 150),
        ("level", 1),
        ("resets_timestamp_seconds", 86400),
    ):
        label = "origin_bytes_per_day"
        assert value(report, f"seeder_budget_{name}", budget=label) == expected
    assert not [name for name, _ in samples(report_of(a_ledger())) if "budget" in name]


def test_many_objects_are_written_in_slices_that_hold_nobody_up() -> None:
    ledger = Ledger()
    for number in range(3 * SLICE):
        ledger.account(AccountKey("default", "quotes", f"key {number}", "v")).uploaded(number)
    report = report_of(ledger)
    parts = list(Metrics(version="1.2.3").parts(report))
    assert max(part.count(b"\n") for part in parts) <= SLICE + 2
    name = "seeder_uploaded_bytes_total"
    found = samples(report)
    for number in (0, SLICE, 3 * SLICE - 1):
        labels = frozenset({"bucket": "quotes", "key": f"key {number}"}.items())
        assert found[name, labels] == number


def test_nothing_goes_into_the_global_registry() -> None:
    before = list(REGISTRY.collect())
    render(report_of(a_ledger()))
    render(report_of(a_ledger()))
    assert [family.name for family in REGISTRY.collect()] == [family.name for family in before]


def test_the_process_and_the_version_are_there() -> None:
    report = report_of(Ledger())
    assert value(report, "seeder_build_info", version="1.2.3") == 1
    assert value(report, "process_resident_memory_bytes") > 0


def test_the_content_type_is_prometheus_text_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")
