"""The ledgers of several nodes make up one: what each counted is in the sums, and nothing twice."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.errors import StorageError
from seeder.ledger.counters import FORMER, AccountKey, Counters, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.groups import GroupCounts
from seeder.ledger.merging import merged_records
from seeder.ledger.node import NodeFigures
from seeder.ledger.reading import read_recorded
from seeder.ledger.records import Entry, Records
from seeder.units import DAY, HOUR, MINUTE
from tests.ledger.support import DEBIAN, NELSON, NOON


class NodeLedger:
    """The ledger of one node, written by and by."""

    def __init__(self, path: Path, states: dict[AccountKey, tuple[str, int]] | None = None) -> None:
        self.path = path
        self._file = LedgerFile(path)
        self._ledger = Ledger()
        self._states = states or {}
        self._ran = 0

    def upload(self, at: float, **counts: int) -> "NodeLedger":
        """Count what was uploaded of `nelson` and `debian`, and write it at a time."""
        for name, count in counts.items():
            key = {"nelson": NELSON, "debian": DEBIAN}[name]
            account = self._ledger.account(key)
            account.state, account.peers = self._states.get(key, ("serving", 0))
            account.size = 1000
            account.uploaded(count)
        self._ran += 60_000
        entries = [Entry.of(account) for account in self._ledger.accounts]
        self._file.write(entries, at, NodeFigures(milliseconds=self._ran, peers=3))
        return self

    def close(self) -> Path:
        self._file.close()
        return self.path


def uploaded(records: Records, begin: float | None = None) -> dict[str, int]:
    ledger = read_recorded(records, now=NOON, since=begin).ledger
    return {str(each.key): each.counters.uploaded_bytes for each in ledger.accounts}


def test_sums_are_of_all_nodes_and_of_any_time(tmp_path: Path) -> None:
    one = NodeLedger(tmp_path / "1").upload(NOON - DAY, nelson=1).upload(NOON, nelson=20).close()
    two = NodeLedger(tmp_path / "2").upload(NOON, nelson=300, debian=4000).close()
    three = NodeLedger(tmp_path / "3").upload(NOON - DAY, debian=50000).close()
    with merged_records([one, two, three]) as records:
        assert uploaded(records) == {"quotes/Nelson": 321, "images/debian.iso": 54000}
        assert uploaded(records, NOON) == {"quotes/Nelson": 320, "images/debian.iso": 4000}
        minute = int(NOON) // MINUTE * MINUTE
        assert records.total(minute, minute + MINUTE) == Counters(uploaded_bytes=4320)
        [step] = records.node_steps(MINUTE, minute, minute + MINUTE)
        assert step.figures[-1] == 6  # peers connected, of the two that were there
        assert records.written_at() == NOON


def test_one_ledger_is_read_as_it_is(tmp_path: Path) -> None:
    one = NodeLedger(tmp_path / "1").upload(NOON, nelson=20).close()
    with merged_records([one]) as records:
        assert uploaded(records) == {"quotes/Nelson": 20}


def test_an_object_lives_where_one_node_serves_it(tmp_path: Path) -> None:
    one = NodeLedger(tmp_path / "1", {NELSON: ("serving", 5)}).upload(NOON, nelson=1).close()
    later = NodeLedger(tmp_path / "2", {NELSON: (FORMER, 0)}).upload(NOON + 60, nelson=1).close()
    for paths in ([one, later], [later, one]):
        with merged_records(paths) as records:
            [(_, key, details)] = records.accounts()
        assert (key, details[3:]) == (NELSON, ("serving", 5, 0))


def test_all_nodes_hold_a_swarms_peers_and_they_count_once(tmp_path: Path) -> None:
    one = NodeLedger(tmp_path / "1", {NELSON: ("serving", 5)}).upload(NOON, nelson=1).close()
    two = NodeLedger(tmp_path / "2", {NELSON: ("serving", 6)}).upload(NOON, nelson=1).close()
    with merged_records([one, two]) as records:
        [(_, _, details)] = records.accounts()
    assert details[4] == 6


def test_times_that_one_node_has_dropped_are_told_by_days(tmp_path: Path) -> None:
    old = NodeLedger(tmp_path / "1")
    old.upload(NOON - 90 * DAY, nelson=1)
    for back in range(60, -1, -1):  # a day at a time, so that its clock is believed
        old.upload(NOON - back * DAY, nelson=1)
    new = NodeLedger(tmp_path / "2").upload(NOON, nelson=1)
    with merged_records([old.close(), new.close()]) as records:
        kept = records.kept()
        assert kept[MINUTE] > 0
        assert kept[HOUR] > 0
        assert uploaded(records) == {"quotes/Nelson": 63}
        assert uploaded(records, NOON - DAY) == {"quotes/Nelson": 3}


def test_a_ledger_that_is_missing_is_named(tmp_path: Path) -> None:
    one = NodeLedger(tmp_path / "1").upload(NOON, nelson=1).close()
    with (
        pytest.raises(StorageError, match=f"{tmp_path}/2: there is no ledger yet"),
        merged_records([one, tmp_path / "2"]),
    ):
        pass


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    paths = [NodeLedger(tmp_path / name).upload(NOON, nelson=1).close() for name in "12"]
    with sqlite3.connect(paths[1]) as connection:
        connection.execute("UPDATE minutes SET uploaded_bytes = -1")
    connection.close()
    with (
        pytest.raises(StorageError, match=f"{paths[1]}: the file is damaged"),
        merged_records(paths),
    ):
        pass


@settings(max_examples=10, deadline=None)
@given(
    writes=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 3 * DAY), st.integers(0, 1000)), max_size=8
    ),
    since=st.integers(0, 3 * DAY),
)
def test_the_sum_is_that_of_each_for_any_interval(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int, int]], since: int
) -> None:
    directory = tmp_path_factory.mktemp("ledgers")
    nodes = [NodeLedger(directory / str(number)) for number in range(2)]
    begin = NOON - 3 * DAY
    for node, at, count in sorted(writes, key=lambda each: each[1]):
        nodes[node].upload(begin + at, nelson=count)
    paths = [node.upload(NOON, nelson=0).close() for node in nodes]
    with merged_records(paths) as records:
        # What one has dropped, none is asked for.
        first, _ = records.interval(begin + since, None)
        together = uploaded(records, begin + since)["quotes/Nelson"]
    alone = 0
    for path in paths:
        with merged_records([path]) as records:
            alone += uploaded(records, first)["quotes/Nelson"]
    assert together == alone


def test_what_groups_of_addresses_had_is_added_up(tmp_path: Path) -> None:
    paths = [NodeLedger(tmp_path / name).upload(NOON, nelson=1).close() for name in "12"]
    for path, name in zip(paths, ("office", "home"), strict=True):
        with sqlite3.connect(path) as connection:
            for group in (name, "office"):
                connection.execute(
                    "INSERT INTO group_days VALUES (?, ?, 1, 2, 3, 4) ON CONFLICT DO NOTHING",
                    (group, int(NOON) // DAY * DAY),
                )
        connection.close()
    with merged_records(paths) as records:
        found = records.groups()
    assert found == {"office": GroupCounts(2, 4, 6, 8), "home": GroupCounts(1, 2, 3, 4)}
