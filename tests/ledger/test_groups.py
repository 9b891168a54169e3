"""What is counted by groups of addresses: kept over restarts, told as measured and as claimed."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import LedgerDamaged, StorageError
from seeder.ledger.counters import Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.ledger.groups import GROUP_COUNTS, GroupCounts, GroupLedger, flows
from seeder.ledger.opening import replace_ledger
from seeder.ledger.reading import read_ledger, records_of
from seeder.ledger.report import Report
from seeder.net.groups import OTHERS, Groups
from seeder.units import DAY, GIB, HOUR
from tests.ledger.support import AT, NOON, PRICES, write_lock


def test_what_came_of_other_groups_lies_between_what_the_reports_allow() -> None:
    counts = {
        "b": GroupCounts(100, 900, downloaded_claimed_bytes=1000, uploaded_claimed_bytes=300),
        OTHERS: GroupCounts(0, 0, 0, 0),
        "a": GroupCounts(700, 700, downloaded_claimed_bytes=1000, uploaded_claimed_bytes=900),
    }
    a, b, others = flows(counts)
    assert [each.name for each in (a, b, others)] == ["a", "b", OTHERS]
    # 300 came of peers, and its own could have sent them all; b sent 300 at most.
    assert (a.from_peers_claimed, a.from_others_least, a.from_others_most) == (300, 0, 300)
    # 900 came of peers, of which its own sent 300 at most.
    assert (b.from_peers_claimed, b.from_others_least, b.from_others_most) == (900, 600, 900)
    assert (others.from_peers_claimed, others.from_others_least, others.from_others_most) == (
        0,
    ) * 3


def test_reports_that_contradict_each_other_give_no_more_than_the_others_sent() -> None:
    [a, _] = flows(
        {
            "a": GroupCounts(downloaded_claimed_bytes=1000),
            "b": GroupCounts(uploaded_claimed_bytes=50),
        }
    )
    assert (a.from_others_least, a.from_others_most) == (50, 50)


@given(
    st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=2, max_size=4),
    st.data(),
)
def test_the_truth_lies_within_the_bounds(sent: list[list[int]], data: st.DataObject) -> None:
    """Whatever went from whom to whom, if all reports are true."""
    names = [f"g{number}" for number in range(len(sent))]
    moved = {
        (one, other): data.draw(st.integers(0, 100)) for one in names for other in names
    }  # from one group to another
    counts = {}
    for name, (ours, _, _) in zip(names, sent, strict=True):
        received = ours + sum(moved[other, name] for other in names)
        uploaded = sum(moved[name, other] for other in names)
        counts[name] = GroupCounts(ours, received, received, uploaded)
    for flow in flows(counts):
        crossed = sum(moved[other, flow.name] for other in names if other != flow.name)
        assert flow.from_others_least <= crossed <= flow.from_others_most


def test_an_address_is_counted_where_it_belongs_and_nowhere_without_groups() -> None:
    ledger = GroupLedger()
    address = ipaddress.ip_address("10.1.0.1").packed
    assert ledger.at(address) is None
    ledger.groups = Groups({"a": [ipaddress.ip_network("10.1.0.0/16")]})
    for _ in range(2):
        counts = ledger.at(address)
        assert counts is not None
        counts.sent(5)
    outside = ledger.at(b"\1\1\1\1")
    assert outside is not None
    outside.claimed(uploaded=7)
    assert ledger.counts == {"a": GroupCounts(10), OTHERS: GroupCounts(uploaded_claimed_bytes=7)}
    ledger.groups = None
    assert ledger.at(address) is None
    assert ledger.counts["a"].sent_bytes == 10
    assert ledger.present() == {}


def groups_in(path: Path, since: float | None = None) -> dict[str, GroupCounts]:
    return read_ledger(path, now=NOON, since=since).ledger.groups.counts


def test_each_byte_is_written_once_and_a_restart_goes_on(path: Path) -> None:
    counts = {"a": GroupCounts(1, 2, 3, 4)}
    file = LedgerFile(path)
    file.write([], NOON, groups=counts)
    counts["a"].sent(10)
    counts["b"] = GroupCounts(uploaded_claimed_bytes=GIB)
    file.write([], NOON + HOUR, groups=counts)
    file.write([], NOON + HOUR, groups=counts)
    file.close()
    assert groups_in(path) == counts
    assert groups_in(path, NOON + HOUR) == {
        "a": GroupCounts(10),
        "b": GroupCounts(uploaded_claimed_bytes=GIB),
    }
    again = LedgerFile(path)
    loaded = again.load_groups()
    assert loaded == counts
    loaded["a"].delivered(100)
    again.write([], NOON + DAY, groups=loaded)
    again.close()
    assert groups_in(path)["a"] == GroupCounts(11, 102, 3, 4)


def test_a_write_that_fails_loses_nothing_and_repeats_nothing(path: Path) -> None:
    file = LedgerFile(path, busy=0.0)
    counts = {"a": GroupCounts(1)}
    with write_lock(path), pytest.raises(StorageError):
        file.write([], NOON, groups=counts)
    counts["a"].sent(2)
    file.write([], NOON, groups=counts)
    file.write([], NOON, groups=counts)
    file.close()
    assert groups_in(path) == {"a": GroupCounts(3)}


def test_a_file_that_takes_the_place_of_a_damaged_one_has_what_was_counted(path: Path) -> None:
    file = LedgerFile(path)
    counts = {"a": GroupCounts(5)}
    file.write([], NOON, groups=counts)
    new = replace_ledger(file, LedgerDamaged(f"{path}: damaged"), 1.0)
    counts["a"].sent(1)
    new.write([], NOON, groups=counts)
    new.close()
    assert groups_in(path) == {"a": GroupCounts(6)}
    assert groups_in(path, NOON - DAY) == {"a": GroupCounts(1)}


async def test_the_daemons_ledger_goes_on_from_former_runs(path: Path) -> None:
    for run in (1, 2):
        database = await LedgerDatabase.open(path)
        ledger = Ledger()
        await database.load(ledger)
        ledger.groups.groups = Groups({"a": [ipaddress.ip_network("10.0.0.0/8")]})
        counts = ledger.groups.at(bytes([10, 0, 0, 1]))
        assert counts is not None
        counts.sent(100)
        await database.flush(ledger)
        await database.aclose()
        assert groups_in(path) == {"a": GroupCounts(100 * run)}


def test_old_minutes_are_dropped_and_days_stay(path: Path) -> None:
    file = LedgerFile(path)
    counts = {"a": GroupCounts(1)}
    for days in range(4):
        counts["a"].sent(1)
        file.write([], NOON + days * DAY, groups=counts)
        file.write([], NOON + days * DAY + 2 * HOUR, groups=counts)
    file.close()
    with records_of(path) as records:
        steps = records._connection.execute("SELECT count(*) FROM group_minutes").fetchone()[0]
    assert steps < 4
    assert groups_in(path) == {"a": GroupCounts(5)}


def test_a_report_tells_each_figure_by_its_kind() -> None:
    ledger = Ledger()
    ledger.groups.counts["a"] = GroupCounts(1, 2, 30, 4)
    document = Report.of(ledger, PRICES, at=AT).document()
    assert isinstance(document["groups"], list)
    [group] = document["groups"]
    assert group == {
        "name": "a",
        **dict(zip(GROUP_COUNTS, (1, 2, 30, 4), strict=True)),
        "from_peers_claimed_bytes": 29,
        "from_other_groups_claimed_least_bytes": 0,
        "from_other_groups_claimed_most_bytes": 0,
    }
