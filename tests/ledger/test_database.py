import contextlib
import logging
import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.errors import LedgerRefused
from seeder.ledger.counters import FORMER, AccountKey, Counters, Ledger
from seeder.ledger.database import LedgerDatabase, LedgerStatistics
from seeder.ledger.reading import read_ledger
from seeder.ledger.records import Entry
from seeder.units import KIB
from tests.ledger.support import NELSON, NOON, counted, write_lock
from tests.support.disks import small_file_system

# -- flushing and loading


async def test_a_flush_adds_only_what_is_new(path: Path) -> None:
    ledger = Ledger()
    database = await LedgerDatabase.open(path, clock=lambda: NOON)
    for _ in range(3):
        ledger.account(NELSON).uploaded(10)
        assert await database.flush(ledger)
        assert await database.flush(ledger)
    await database.aclose()
    assert counted(path) == Counters(uploaded_bytes=30)
    assert read_ledger(path, now=NOON).at == NOON
    assert database.statistics() == LedgerStatistics(6, 0, None, flushed_at=NOON)


async def test_a_later_run_goes_on_from_the_earlier_one(path: Path) -> None:
    for run in range(1, 4):
        ledger = Ledger()
        database = await LedgerDatabase.open(path)
        await database.load(ledger)
        ledger.account(NELSON).uploaded(10)
        ledger.unattributed.origin_request("metainfo")
        assert await database.flush(ledger)
        await database.aclose()
        assert ledger.totals() == Counters(uploaded_bytes=10 * run, origin_requests_metainfo=run)
        assert counted(path) == ledger.totals()


async def test_loading_keeps_what_was_counted_before_it(path: Path) -> None:
    first = Ledger()
    first.account(NELSON).uploaded(10)
    database = await LedgerDatabase.open(path)
    await database.flush(first)
    await database.aclose()
    ledger = Ledger()
    ledger.account(NELSON).origin_request("metainfo")
    database = await LedgerDatabase.open(path)
    await database.load(ledger)
    assert await database.flush(ledger)
    await database.aclose()
    assert ledger.totals() == Counters(uploaded_bytes=10, origin_requests_metainfo=1)
    assert counted(path) == ledger.totals()


async def test_a_loaded_account_is_a_former_one_until_it_is_served_again(path: Path) -> None:
    first = Ledger()
    account = first.account(NELSON)
    account.info_hash, account.size, account.pieces = "ab" * 20, 1000, 10
    account.state, account.peers, account.seeds = "serving", 5, 2
    database = await LedgerDatabase.open(path)
    await database.flush(first)
    await database.aclose()
    recorded = read_ledger(path, now=NOON).ledger.account(NELSON)
    assert (recorded.state, recorded.peers, recorded.seeds) == ("serving", 5, 2)
    ledger = Ledger()
    database = await LedgerDatabase.open(path)
    await database.load(ledger)
    await database.flush(ledger)
    await database.aclose()
    for account in (ledger.account(NELSON), read_ledger(path, now=NOON).ledger.account(NELSON)):
        assert (account.state, account.peers, account.seeds) == (FORMER, 0, 0)
        assert (account.info_hash, account.size, account.pieces) == ("ab" * 20, 1000, 10)


async def test_a_row_stays_as_it_is_until_it_is_known_whether_its_object_is_published(
    path: Path,
) -> None:
    first = Ledger()
    for key in (NELSON, replace(NELSON, key="gone")):
        first.account(key).state = "serving"
    database = await LedgerDatabase.open(path)
    await database.flush(first)
    await database.aclose()
    ledger, settled = Ledger(), False
    database = await LedgerDatabase.open(path)
    database.is_settled = lambda: settled
    await database.load(ledger)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE seen (state)")
        connection.execute(
            "CREATE TRIGGER see AFTER UPDATE ON accounts BEGIN"
            " INSERT INTO seen VALUES (new.state); END"
        )
        connection.commit()
        await database.flush(ledger)
        ledger.account(NELSON).uploaded(10)  # what is counted is written all the same
        await database.flush(ledger)
        assert connection.execute("SELECT state FROM seen").fetchall() == [(FORMER,)]
        ledger.account(NELSON).state = "serving"
        settled = True
        await database.flush(ledger)
        await database.aclose()
        assert connection.execute("SELECT state FROM seen").fetchall() == [
            (FORMER,),
            ("serving",),
            (FORMER,),
        ]


async def test_loading_after_a_flush_is_refused(path: Path) -> None:
    ledger = Ledger()
    ledger.account(NELSON).uploaded(1)
    database = await LedgerDatabase.open(path)
    await database.flush(ledger)
    with pytest.raises(RuntimeError):
        await database.load(ledger)
    await database.aclose()


@pytest.mark.parametrize(
    ("pragma", "match"), [("user_version = 99", "newer seeder"), ("application_id = 1", "another")]
)
async def test_a_ledger_that_is_somebody_elses_is_refused(
    path: Path, pragma: str, match: str
) -> None:
    await (await LedgerDatabase.open(path)).aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    before = os.stat(path)
    with pytest.raises(LedgerRefused, match=match):
        await LedgerDatabase.open(path)
    assert os.stat(path)[:-3] == before[:-3]


# -- running


async def test_run_flushes_at_intervals_and_once_more_at_the_stop(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    ledger = Ledger()
    account = ledger.account(NELSON)
    database = await LedgerDatabase.open(path)
    refreshed = []

    async def refresh() -> None:
        await trio.lowlevel.checkpoint()
        refreshed.append(trio.current_time())
        account.peers = len(refreshed)

    async def flushed(times: int) -> None:
        while database.statistics().flushes < times:
            await trio.testing.wait_all_tasks_blocked(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: database.run(ledger, interval=5, refresh=refresh))
        for times in (1, 2):
            await trio.testing.wait_all_tasks_blocked()
            account.uploaded(1)
            mock_clock.jump(4.9)
            await trio.testing.wait_all_tasks_blocked()
            assert database.statistics().flushes == times - 1
            mock_clock.jump(0.2)
            await flushed(times)
            assert counted(path) == Counters(uploaded_bytes=times)
        account.uploaded(1)
        nursery.cancel_scope.cancel()
    assert counted(path) == Counters(uploaded_bytes=3)
    assert len(refreshed) == 3
    assert read_ledger(path, now=NOON).ledger.account(NELSON).peers == 3


async def test_a_stop_in_the_middle_of_a_flush_counts_nothing_twice(path: Path) -> None:
    ledger = Ledger()
    account = ledger.account(NELSON)
    database = await LedgerDatabase.open(path)
    account.uploaded(1)
    async with trio.open_nursery() as nursery:
        with write_lock(path):
            nursery.start_soon(lambda: database.run(ledger, interval=0))
            # The flush has begun, and its thread waits for the lock.
            await trio.testing.wait_all_tasks_blocked(0.01)
            account.uploaded(10)
            nursery.cancel_scope.cancel()
    assert counted(path) == Counters(uploaded_bytes=11)


async def test_a_stop_does_not_wait_for_ever(
    path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    ledger.account(NELSON).uploaded(1)
    database = await LedgerDatabase.open(path)
    with write_lock(path):
        mock_clock.autojump_threshold = 0
        with trio.move_on_after(1):
            await database.run(ledger)
        assert "not written at the stop" in caplog.text
        assert database.statistics().failures == 0  # it was left alone, still waiting for the lock
    # The clock stands from here on: the close waits for the thread that has the file.
    mock_clock.autojump_threshold = math.inf
    await database.aclose()
    assert not path.with_name(f"{path.name}-wal").exists()  # the last who closes it removes it


# -- failures


async def test_a_fault_of_ours_in_a_flush_is_one_that_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    database = await LedgerDatabase.open(path, clock=lambda: NOON)
    ledger.account(NELSON).uploaded(10)
    with monkeypatch.context() as broken:
        broken.setattr(Entry, "of", lambda _: 1 // 0)
        for _ in range(2):
            assert not await database.flush(ledger)
    assert "internal error: ZeroDivisionError" in str(database.statistics().fault)
    assert caplog.text.count("Traceback") == 1
    assert await database.flush(ledger)
    assert counted(path) == Counters(uploaded_bytes=10)
    await database.aclose()


async def test_what_is_counted_is_written_though_the_accounts_can_not_be_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("seeder.net.guards.PAUSE", 0)
    ledger = Ledger()
    database = await LedgerDatabase.open(path, clock=lambda: NOON)
    ledger.account(NELSON).uploaded(10)

    async def refresh() -> None:
        raise KeyError("a bug")

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(database.run, ledger, interval=0.01, refresh=refresh))
        with trio.fail_after(60):
            while database.statistics().flushes < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert counted(path) == Counters(uploaded_bytes=10)
    assert "the accounts of what is published: internal error" in caplog.text


async def test_a_flush_that_fails_loses_nothing_and_warns_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger = Ledger()
    database = await LedgerDatabase.open(path, busy=0, clock=lambda: NOON)
    with write_lock(path):
        for _ in range(3):
            ledger.account(NELSON).uploaded(10)
            assert not await database.flush(ledger)
    fault = f"{path}: another program holds its lock; end that program"
    assert database.statistics() == LedgerStatistics(0, 3, fault, flushed_at=None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert fault in caplog.text
    assert await database.flush(ledger)
    assert counted(path) == Counters(uploaded_bytes=30)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert database.statistics() == LedgerStatistics(1, 3, None, flushed_at=NOON)
    with write_lock(path):
        ledger.account(NELSON).uploaded(10)
        assert not await database.flush(ledger)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    await database.aclose()


async def test_a_full_disk_loses_nothing(small_disk: Path, fill: Callable[[], None]) -> None:
    path = small_disk / "ledger.sqlite"
    ledger = Ledger()
    database = await LedgerDatabase.open(path)
    ledger.account(NELSON).uploaded(1)
    assert await database.flush(ledger)
    fill()
    for number in range(500):
        ledger.account(AccountKey("default", "bucket", f"key-{number}", "v")).uploaded(number)
    assert not await database.flush(ledger)
    assert database.statistics().fault == f"{path}: its disk is full; make room"
    ledger.account(NELSON).uploaded(1)
    assert not await database.flush(ledger)
    assert counted(path) == Counters(uploaded_bytes=1)
    await trio.Path(small_disk / "filler").unlink()
    assert await database.flush(ledger)
    assert counted(path) == ledger.totals()
    await database.aclose()
    assert counted(path) == ledger.totals()
    assert len(read_ledger(path, now=NOON).ledger.accounts) == 501


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", 512 * KIB) as point:
        yield point


@pytest.fixture
def fill(small_disk: Path) -> Callable[[], None]:
    def fill() -> None:
        with (small_disk / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    return fill


# -- two programs, one file


async def test_two_writers_add_up(path: Path) -> None:
    databases: list[LedgerDatabase] = []

    async def open_one() -> None:
        databases.append(await LedgerDatabase.open(path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_one)
        nursery.start_soon(open_one)
    ledgers = [Ledger(), Ledger()]
    for _ in range(10):
        async with trio.open_nursery() as nursery:
            for database, ledger in zip(databases, ledgers, strict=True):
                ledger.account(NELSON).uploaded(1)
                nursery.start_soon(database.flush, ledger)
    for database in databases:
        assert database.statistics().failures == 0
        await database.aclose()
    assert counted(path) == Counters(uploaded_bytes=20)


async def test_opening_waits_for_a_reader_that_keeps_the_file_from_becoming_a_wal(
    path: Path,
) -> None:
    await (await LedgerDatabase.open(path)).aclose()
    reader = sqlite3.connect(path, isolation_level=None)
    assert reader.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM accounts").fetchone()
    locked = await LedgerDatabase.open(path, busy=0)
    assert "another program holds its lock" in str(locked.statistics().fault)
    await locked.aclose()
    opened: list[LedgerDatabase] = []

    async def open_it() -> None:
        opened.append(await LedgerDatabase.open(path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await trio.testing.wait_all_tasks_blocked(0.03)
        assert not opened
        reader.close()
    await opened[0].aclose()


async def test_many_programs_can_make_the_file_at_once(tmp_path: Path) -> None:
    async def open_and_close(path: Path) -> None:
        await (await LedgerDatabase.open(path)).aclose()

    for number in range(40):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(open_and_close, tmp_path / f"{number}.sqlite")


async def test_a_reader_sees_the_last_flush_while_the_writer_is_at_work(path: Path) -> None:
    ledger = Ledger()
    database = await LedgerDatabase.open(path)
    ledger.account(NELSON).uploaded(1)
    await database.flush(ledger)
    with write_lock(path):
        assert counted(path) == Counters(uploaded_bytes=1)
    await database.aclose()
