"""The report for finance, read from a ledger's file."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.ledger.bill import Statement
from seeder.ledger.counters import AccountKey, Counters, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.reading import records_of
from seeder.ledger.records import Entry
from seeder.ledger.savings import BYTES_PER_GB, Prices
from seeder.ledger.statement import WAYS, By, PrefixNames, read_plot, read_statement
from seeder.units import DAY, HOUR, MINUTE

GB = BYTES_PER_GB
TIERS = Prices(0.09, 0.4, "USD", ((0, 0.09), (10 * GB, 0.05)))
FLAT = Prices(0.09, 0.4, "USD")


def at(month: int, day: int, hour: int = 12) -> float:
    return datetime(2026, month, day, hour, tzinfo=UTC).timestamp()


NOW = at(6, 15)
A, B = (AccountKey("default", "data", f"{name}/file", "v") for name in ("a", "b/deep"))
EVENTS = [
    (at(4, 20), A, 8),
    (at(4, 25), B, 4),
    (at(5, 3), A, 6),
    (at(5, 3, 18), B, 6),
    (at(6, 14), A, 1),
    (at(6, 15, 11), A, 2),
    (at(6, 15, 11) + 5 * MINUTE, B, 3),
]
"""When, whose, and how many GB were delivered; a quarter came from S3, by a request a GB."""


@pytest.fixture
def filled(path: Path) -> Path:
    file, ledger = LedgerFile(path), Ledger()
    for when, key, gigabytes in EVENTS:
        account = ledger.account(key)
        account.delivered_verified(gigabytes * GB)
        account.delivered_claimed(2 * gigabytes * GB)
        account.origin_received("hashing", gigabytes * GB // 4)
        for _ in range(gigabytes):
            account.origin_request("pieces")
        file.write([Entry.of(each) for each in ledger.accounts], when)
    file.close()
    return path


def read(
    path: Path,
    by: By = "torrent",
    prices: Prices = TIERS,
    begin: float | None = None,
    end: float | None = None,
    *,
    prefixes: tuple[tuple[str, str, str], ...] = (),
) -> Statement:
    with records_of(path) as records:
        return read_statement(
            records,
            prices,
            by,
            begin=begin,
            end=end,
            now=NOW,
            prefixes=PrefixNames(prefixes),
        )


def money(*months: int) -> float:
    """Return what so many GB in each month cost at TIERS."""
    return sum(min(each, 10) * 0.09 + max(0, each - 10) * 0.05 for each in months)


def test_each_month_begins_with_the_first_tier(filled: Path) -> None:
    statement = read(filled)
    assert [month.name for month in statement.months] == ["2026-04", "2026-05", "2026-06"]
    total = statement.total
    assert total.money.without_verified == pytest.approx(money(12, 12, 6))
    assert total.money.without_claimed == pytest.approx(money(24, 24, 12))
    assert total.money.billed == pytest.approx(money(3, 3, 1.5) + 30 * 0.0004)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("prices", [TIERS, FLAT])
@pytest.mark.parametrize(
    ("begin", "end"),
    [(None, None), (at(4, 23), at(5, 3, 15)), (at(6, 15, 11) + 60, None), (None, at(5, 1, 0))],
)
def test_the_lines_add_up_to_the_whole(
    filled: Path, by: By, prices: Prices, begin: float | None, end: float | None
) -> None:
    statement = read(filled, by, prices, begin, end)
    total = statement.total
    for figure in ("origin_bytes", "origin_requests"):
        assert sum(getattr(line.counted, figure) for line in statement.lines) == getattr(
            total.counted, figure
        )
    assert sum(line.money.billed for line in statement.lines) == pytest.approx(total.money.billed)
    if by != "purpose":
        for figure in ("without_verified", "without_claimed", "saved_verified"):
            assert sum(getattr(line.money, figure) for line in statement.lines) == pytest.approx(
                getattr(total.money, figure)
            )


def test_a_part_of_a_month_costs_what_it_adds_to_it(filled: Path) -> None:
    late = read(filled, begin=at(4, 23))
    # 8 GB were delivered before: 2 of the 4 are at the first price.
    assert late.months[0].money.without_verified == pytest.approx(2 * 0.09 + 2 * 0.05)
    early = read(filled, end=at(4, 23, 0))
    together = early.total.money.plus(late.total.money)
    assert together.without_verified == pytest.approx(read(filled).total.money.without_verified)


def test_intervals_are_exact_to_the_minute_where_minutes_are_kept(filled: Path) -> None:
    begin = at(6, 15, 11) + MINUTE
    assert read(filled, begin=begin).total.counted.delivered_verified_bytes == 3 * GB
    until = read(filled, begin=at(6, 15, 0), end=begin)
    assert until.total.counted.delivered_verified_bytes == 2 * GB
    assert (until.begin, until.end) == (at(6, 15, 0), begin)


def test_what_is_too_old_for_hours_begins_with_its_day(path: Path) -> None:
    file, ledger = LedgerFile(path), Ledger()
    for day in range(101):
        ledger.account(A).delivered_verified(GB)
        file.write([Entry.of(each) for each in ledger.accounts], NOW - (100 - day) * DAY)
    file.close()
    assert read(path, begin=NOW - 95 * DAY).begin == (NOW - 95 * DAY) // DAY * DAY
    assert read(path, begin=NOW - 50 * DAY + 1800).begin == NOW - 50 * DAY
    assert len(read(path, "day", begin=NOW - 95 * DAY).lines) == 96


def test_prefixes_are_the_configured_ones_or_folders(filled: Path) -> None:
    names = [line.name for line in read(filled, "prefix").lines]
    assert sorted(names) == ["data/a/", "data/b/deep/"]
    configured = (("default", "data", "b/"), ("default", "data", ""), ("other", "data", "a/"))
    names = [line.name for line in read(filled, "prefix", prefixes=configured).lines]
    assert sorted(names) == ["data/", "data/b/"]


def test_days_are_those_of_utc(filled: Path) -> None:
    lines = {
        line.name: line.counted.delivered_verified_bytes // GB for line in read(filled, "day").lines
    }
    assert lines == {
        "2026-04-20": 8,
        "2026-04-25": 4,
        "2026-05-03": 12,
        "2026-06-14": 1,
        "2026-06-15": 5,
    }


def test_a_purpose_is_read_for_and_delivers_nothing(filled: Path) -> None:
    lines = {line.name: line for line in read(filled, "purpose").lines}
    assert set(lines) == {"metainfo", "hashing", "pieces"}
    assert lines["hashing"].counted.origin_bytes == 30 * GB // 4
    assert lines["pieces"].counted.origin_requests == 30
    document = lines["pieces"].document()
    assert document["saved_verified_money"] is None
    assert document["billed_money"] == pytest.approx(30 * 0.0004)


def test_what_nobody_knows_when_is_part_of_the_whole_and_of_no_month(path: Path) -> None:
    file, ledger = LedgerFile(path), Ledger()
    ledger.account(A).delivered_verified(5 * GB)
    entries = [Entry.of(each) for each in ledger.accounts]
    file.write_former({entry.key: entry for entry in entries})
    ledger.account(A).delivered_verified(GB)
    file.write([Entry.of(each) for each in ledger.accounts], NOW)
    file.close()
    for by in ("torrent", "day"):
        statement = read(path, by)
        assert [month.name for month in statement.months] == ["earlier", "2026-06"]
        assert sum(line.counted.delivered_verified_bytes for line in statement.lines) == 6 * GB
    assert read(path, begin=at(1, 1)).total.counted.delivered_verified_bytes == GB


def test_a_clock_that_was_wrong_makes_no_months_of_its_own(path: Path) -> None:
    file, ledger = LedgerFile(path), Ledger()
    for when in (DAY * 2, NOW, NOW + 3000 * DAY):
        ledger.account(A).delivered_verified(GB)
        file.write([Entry.of(each) for each in ledger.accounts], when)
    file.close()
    statement = read(path)
    assert [month.name for month in statement.months] == ["1970-01", "2026-06"]
    assert len(read(path, "day").lines) == 2


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "America/Los_Angeles"])
def test_no_zone_of_the_machine_moves_a_day_or_a_month(
    filled: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [read(filled, by).document() for by in WAYS]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [read(filled, by).document() for by in WAYS] == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_empty_ledger_has_a_report(path: Path) -> None:
    LedgerFile(path).close()
    for by in WAYS:
        statement = read(path, by)
        assert statement.total.counted == Counters()
        with records_of(path) as records:
            assert not read_plot(records, statement).counted


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("prices", [TIERS, FLAT])
@given(st.lists(st.integers(0, 90 * 24), min_size=1, max_size=4), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
def test_a_span_that_is_split_adds_up_to_the_whole(
    filled: Path, by: By, prices: Prices, hours: list[int], data: st.DataObject
) -> None:
    moments = [at(4, 1) + hour * HOUR for hour in sorted(set(hours))]
    ends = [None, *moments, None]
    parts = [read(filled, by, prices, *span) for span in pairwise(ends)]
    whole = read(filled, by, prices)
    for name in ("without_verified", "without_claimed", "billed", "saved_verified"):
        found = [getattr(each.total.money, name) for each in parts]
        assert sum(found) == pytest.approx(getattr(whole.total.money, name))
    for part in (*parts, whole):
        billed = [line.money.billed for line in part.lines]
        assert sum(billed) == pytest.approx(part.total.money.billed)
        if by != "purpose":
            delivered = [line.counted.delivered_verified_bytes for line in part.lines]
            assert sum(delivered) == part.total.counted.delivered_verified_bytes


@pytest.mark.parametrize("begin", [None, at(4, 25, 11), at(5, 3, 18), at(6, 14, 12)])
@pytest.mark.parametrize("end", [None, at(5, 3, 18), at(6, 14, 13), at(6, 15, 11) + 3 * MINUTE])
def test_a_plot_shows_what_its_report_is_about(
    filled: Path, begin: float | None, end: float | None
) -> None:
    statement = read(filled, begin=begin, end=end)
    with records_of(filled) as records:
        steps = [each for each in read_plot(records, statement).counted if each is not None]
    delivered = sum(each.delivered_verified_bytes for each in steps)
    assert delivered == statement.total.counted.delivered_verified_bytes


def test_objects_of_two_origins_with_one_name_are_told_apart(path: Path) -> None:
    file, ledger = LedgerFile(path), Ledger()
    for origin, version, count in (("one", "v1", 1), ("one", "v2", 2), ("two", "v1", 4)):
        ledger.account(AccountKey(origin, "data", "a/file", version)).uploaded(count)
    ledger.account(AccountKey("two", "data", "b/file", "v")).uploaded(8)
    file.write([Entry.of(each) for each in ledger.accounts], NOW)
    file.close()
    found = {line.name: line.counted.uploaded_bytes for line in read(path).lines}
    assert found == {"data/a/file (one)": 3, "data/a/file (two)": 4, "data/b/file": 8}
    found = {line.name: line.counted.uploaded_bytes for line in read(path, "prefix").lines}
    assert found == {"data/a/ (one)": 3, "data/a/ (two)": 4, "data/b/": 8}


def test_a_report_ends_now_at_the_latest(filled: Path) -> None:
    assert read(filled, end=NOW + 365 * DAY).end == NOW
    assert read(filled, end=at(5, 1)).end == at(5, 1, 0) + 12 * HOUR


def test_plots_have_hours_for_days_and_days_for_longer(filled: Path) -> None:
    with records_of(filled) as records:
        whole = read_plot(records, read(filled))
        assert whole.step == DAY
        some = [each for each in whole.counted if each is not None]
        assert sum(each.delivered_verified_bytes for each in some) == 30 * GB
        assert None in whole.counted
        late = read_plot(records, read(filled, begin=at(6, 14)))
        assert late.step == HOUR
        some = [each for each in late.counted if each is not None]
        assert sum(each.delivered_verified_bytes for each in some) == 6 * GB
