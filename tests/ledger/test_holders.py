"""What is counted by the names of passkeys: it comes back by its days, and never twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder.errors import StorageError
from seeder.ledger.counters import Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.holders import HolderCounts, HolderLedger, HolderSum
from seeder.ledger.reading import records_of
from seeder.ledger.retention import KEPT_FOR
from seeder.ledger.schema import SCHEMA
from seeder.units import DAY, HOUR, MINUTE
from tests.ledger.support import NOON, make_older, write_lock

ALICE = "Alice B. #1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def sums(path: Path, begin: float | None = None, end: float | None = None) -> list[HolderSum]:
    with records_of(path) as records:
        return list(records.holders(*records.interval(begin, end)))


def write(file: LedgerFile, holders: HolderLedger, now: float = NOON) -> None:
    file.write((), now, holders=holders)


@pytest.fixture
def file(path: Path) -> Iterator[LedgerFile]:
    made = LedgerFile(path)
    yield made
    made.close()


def test_what_was_counted_comes_back_by_name(file: LedgerFile, path: Path) -> None:
    holders = HolderLedger()
    holders.sent(ALICE, 1000)
    holders.announced(ALICE, uploaded=7, downloaded=900, completed=True)
    holders.announced("bob", uploaded=0, downloaded=0, completed=False)
    write(file, holders)
    assert sums(path) == [
        HolderSum(ALICE, NOON, HolderCounts(1000, 7, 900, 1)),
        HolderSum("bob", NOON, HolderCounts()),
    ]


def test_only_the_growth_is_added_and_who_was_seen_is_noted(file: LedgerFile, path: Path) -> None:
    holders = HolderLedger()
    for number in range(3):
        holders.sent(ALICE, 10)
        write(file, holders, NOON + number * MINUTE)
    write(file, holders, NOON + DAY)
    [alice] = sums(path)
    assert alice == HolderSum(ALICE, NOON + 2 * MINUTE, HolderCounts(30))
    later = LedgerFile(path)
    write(later, HolderLedger(), NOON + DAY)
    again = HolderLedger()
    again.sent(ALICE, 5)
    write(later, again, NOON + DAY)
    later.close()
    [alice] = sums(path)
    assert alice == HolderSum(ALICE, NOON + DAY, HolderCounts(35))


def test_an_interval_has_what_was_counted_in_it(file: LedgerFile, path: Path) -> None:
    holders = HolderLedger()
    for moment, count in ((NOON - DAY, 1), (NOON - HOUR, 10), (NOON, 100)):
        holders.sent(ALICE, count)
        write(file, holders, moment)
    for begin, end, expected in (
        (None, None, 111),
        (NOON - HOUR, None, 110),
        (NOON - MINUTE, None, 100),
        (None, NOON - HOUR, 1),
        (NOON + MINUTE, None, 0),
    ):
        [alice] = sums(path, begin, end)
        assert alice.counts.sent_bytes == expected


def test_a_write_that_fails_loses_nothing_and_counts_nothing_twice(path: Path) -> None:
    file = LedgerFile(path, busy=0.01)
    holders = HolderLedger()
    holders.sent(ALICE, 1)
    with write_lock(path), pytest.raises(StorageError):
        write(file, holders)
    holders.sent(ALICE, 2)
    write(file, holders, NOON + MINUTE)
    write(file, holders, NOON + 2 * MINUTE)
    file.close()
    assert [each.counts.sent_bytes for each in sums(path)] == [3]
    assert [each.counts.sent_bytes for each in sums(path, end=NOON + MINUTE)] == [1]


def test_old_minutes_and_hours_go_and_the_days_stay(path: Path) -> None:
    file, holders = LedgerFile(path), HolderLedger()
    holders.sent(ALICE, 1)
    write(file, holders)
    moment = NOON
    while moment < NOON + KEPT_FOR[HOUR] + 3 * DAY:
        moment += HOUR * 20
        holders.sent(ALICE, 1)
        write(file, holders, moment)
    tables = {
        table: file._connection.execute(f"SELECT min(at) FROM holder_{table}").fetchone()[0]
        for table in ("minutes", "hours", "days")
    }
    assert tables["days"] == NOON - NOON % DAY
    assert tables["minutes"] > tables["hours"] > NOON
    expected = holders.counts[ALICE].sent_bytes
    file.close()
    assert [each.counts.sent_bytes for each in sums(path)] == [expected]


@pytest.mark.parametrize("version", range(1, SCHEMA))
def test_a_ledger_of_an_older_format_knows_nobody(path: Path, version: int) -> None:
    make_older(path, version, {NOON: 11})
    assert sums(path) == []
    file, holders = LedgerFile(path), HolderLedger()
    holders.sent(ALICE, 1)
    write(file, holders)
    file.close()
    assert [each.name for each in sums(path)] == [ALICE]


def test_the_ledger_of_a_node_has_room_for_names() -> None:
    ledger = Ledger()
    ledger.holders.sent(ALICE, 3)
    assert ledger.holders.counts == {ALICE: HolderCounts(3)}
    assert not ledger.totals()
