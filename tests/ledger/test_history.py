"""Series and totals: from memory, from the file, across restarts, gaps and clocks."""

import random
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.errors import LedgerDamaged, StorageError
from seeder.ledger.counters import Account, AccountKey, Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.ledger.history import History
from seeder.ledger.intervals import EVER, NEVER
from seeder.ledger.node import NodeFigures
from seeder.ledger.reading import records_of
from seeder.ledger.recent import STEPS
from seeder.ledger.records import Entry
from seeder.ledger.series import Selection, Series
from seeder.ledger.spans import Span
from seeder.units import DAY, HOUR, MINUTE
from tests.ledger.support import DEBIAN, NELSON, NOON

UPLOADED = "uploaded_bytes"


class Site:
    """A daemon's ledger, its file and its history, by a clock of their own."""

    def __init__(self, path: Path, clock: trio.testing.MockClock) -> None:
        self.path = path
        self.clock = clock
        self.offset = NOON - clock.current_time()
        self.ledger = Ledger()

    def now(self) -> float:
        return round(self.clock.current_time() + self.offset, 3)

    async def start(self, nursery: trio.Nursery) -> None:
        self.ledger = Ledger()
        self.database = await LedgerDatabase.open(self.path, clock=self.now)
        await self.database.load(self.ledger)
        self.history = History(self.path, self.ledger, clock=self.now)
        self.database.figures = self.history.latest
        self.scope = await nursery.start(self._run)
        await trio.testing.wait_all_tasks_blocked()

    async def _run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        database = self.database
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.history.run)
                    task_status.started(scope)
        finally:
            await database.aclose()

    async def stop(self) -> None:
        await self.flush()
        self.scope.cancel()
        await self.database.aclose()

    async def flush(self) -> None:
        assert await self.database.flush(self.ledger)

    async def upload(self, *counts: int, key: AccountKey = NELSON) -> None:
        """Upload in steps of two seconds, with a flush every six."""
        for number, count in enumerate(counts, 1):
            self.ledger.account(key).uploaded(count)
            self.clock.jump(2)
            await trio.testing.wait_all_tasks_blocked()
            if number % 3 == 0:
                await self.flush()
        await self.flush()

    async def series(self, span: Span, scope: Selection | None = None) -> Series:
        return await self.history.series(span, scope)


def told(series: Series, name: str = UPLOADED) -> list[tuple[int, int | None]]:
    """Return what isn't a gap: seconds after noon, and the sum."""
    return [
        (series.begin + index * series.step - NOON, value)
        for index, value in enumerate(series.columns[name])
        if value is not None
    ]


def total(series: Series, name: str = UPLOADED) -> int:
    return sum(value or 0 for value in series.columns[name])


async def test_the_hour_has_steps_of_two_seconds_and_gaps_before_the_start(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(5, 0, 7)
        series = await site.series(Span.HOUR)
        assert (series.step, len(series.columns[UPLOADED])) == (2, STEPS)
        assert told(series) == [(0, 5), (2, 0), (4, 7)]
        await site.stop()


async def test_an_hour_survives_a_restart_and_shows_the_time_in_between_as_a_gap(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(*[10] * 30)
        await site.stop()
        site.clock.jump(300)
        await site.start(nursery)
        await site.upload(7, 9)
        for scope in (
            None,
            Selection("quotes", "Nelson"),
            Selection("quotes", "Nel", is_prefix=True),
        ):
            series = await site.series(Span.HOUR, scope)
            found = dict(told(series))
            assert total(series) == 316
            assert [found[at] for at in (360, 362)] == [7, 9]
            assert all(at < 120 or at >= 360 for at in found)
            assert all(value is not None and value >= 0 for value in found.values())
        elsewhere = await site.series(Span.HOUR, Selection("quotes", "Else"))
        assert total(elsewhere) == 0
        assert told(elsewhere)  # it ran: zeros, no gap
        await site.stop()


async def test_a_restart_within_a_minute_counts_nothing_of_it_twice(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await site.start(nursery)
            await site.upload(*[10] * 5)
            await site.stop()
        await site.start(nursery)
        for scope in (None, Selection("quotes", "Nelson")):
            assert total(await site.series(Span.HOUR, scope)) == 150
            assert total(await site.series(Span.DAY, scope)) == 150
        await site.stop()


@pytest.mark.parametrize("span", [Span.DAY, Span.MONTH, Span.ALL])
async def test_longer_spans_come_from_the_file_and_tell_gaps_from_zero(
    path: Path, mock_clock: trio.testing.MockClock, span: Span
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(*[10] * 3, key=DEBIAN)
        await site.upload(*[0] * 3)
        await site.stop()
        site.clock.jump(3 * span.step)
        await site.start(nursery)
        await site.upload(8)
        series = await site.series(span)
        values = [value for _, value in told(series)]
        assert (values[0], values[-1], len(values)) == (30, 8, 2)
        assert series.columns[UPLOADED][-4:] in ([30, None, None, 8], [0, None, None, 8])
        own = await site.series(span, Selection("quotes", "Nelson"))
        assert [value for _, value in told(own)] == [0, 8]
        assert own.columns.keys() < series.columns.keys()
        await site.stop()


@pytest.mark.parametrize("days", [7, -7])
async def test_a_machine_that_slept_for_a_week_or_was_set_back_by_one_loses_nothing(
    path: Path, mock_clock: trio.testing.MockClock, days: int
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(*[10] * 10)
        site.offset += days * DAY
        await site.upload(*[1] * 40)
        everything, _ = await site.history.totals(None)
        assert everything.uploaded_bytes == 140
        for span in Span:
            series = await site.series(span)
            for column in series.columns.values():
                assert all(value is None or value >= 0 for value in column)
        if days > 0:
            columns = (await site.series(Span.MONTH)).columns[UPLOADED]
            assert columns.count(None) > 6 * 24
        await site.stop()
    with records_of(path) as records:
        assert records.total(EVER, NEVER).uploaded_bytes == 140


async def test_the_node_s_figures_have_a_history_too(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        site.history.figures = lambda ms: NodeFigures(ms, s3_answers=ms // 1000, peers=4)
        await site.upload(*[1] * 40)
        hour, day = await site.series(Span.HOUR), await site.series(Span.DAY)
        # The file's first flush is what its figures are counted from.
        assert (total(hour, "s3_answers"), total(day, "s3_answers")) == (80, 74)
        for series in (hour, day):
            assert {value for _, value in told(series, "peers")} == {4}
        await site.stop()


async def test_a_look_that_fails_by_a_fault_of_ours_costs_its_step_alone(
    path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(*[1] * 4)

        def fail(_: int) -> NodeFigures:
            raise KeyError("a bug")

        site.history.figures = fail
        await site.upload(*[1] * 2)
        assert "the history: internal error" in caplog.text
        site.history.figures = lambda ms: NodeFigures(ms, peers=4)
        await site.upload(*[1] * 4)
        series = await site.series(Span.HOUR)
        assert total(series) == 10
        assert told(series, "peers")[-1][1] == 4
        await site.stop()


async def test_an_idle_node_writes_that_it_runs_once_a_minute(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        for _ in range(10):
            await site.upload(*[0] * 9)
        assert [at for at, _ in told(await site.series(Span.DAY))] == [0, 60, 120, 180]
        with closing(sqlite3.connect(site.path)) as connection:
            assert connection.execute("SELECT count(*) FROM minutes").fetchone() == (0,)
        await site.stop()


async def test_without_the_file_the_hour_is_told_and_the_rest_says_why(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(5)
        await site.stop()
        await site.start(nursery)
        site.ledger.account(NELSON).uploaded(3)
        site.clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        site.path.rename(site.path.with_name("away"))
        assert total(await site.series(Span.HOUR)) == 3
        with pytest.raises(StorageError, match="there is no ledger"):
            await site.series(Span.DAY)
        nursery.cancel_scope.cancel()


async def test_what_is_written_within_a_step_is_not_shown_before_the_start(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    site.offset += 8
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        await site.upload(5, 7)
        site.ledger.account(NELSON).uploaded(300)
        await site.flush()
        assert told(await site.series(Span.HOUR)) == [(8, 5), (10, 7)]
        nursery.cancel_scope.cancel()


async def test_what_was_before_the_first_start_is_told_from_a_gap(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        # Nothing is written yet.
        assert (await site.series(Span.HOUR)).since == NOON
        await site.upload(5)
        await site.stop()
        site.clock.jump(7200)
        await site.start(nursery)
        for span in Span:
            for scope in (None, Selection("quotes", "Nelson")):
                assert (await site.series(span, scope)).since == NOON
        await site.upload(3)
        # Later on the minutes are dropped.
        site.clock.jump(4 * DAY)
        await site.upload(*[1] * 3)
        await site.stop()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for table, step, since in (
                ("node_minutes", MINUTE, NOON),
                ("node_hours", HOUR, NOON // HOUR * HOUR),
                ("node_days", DAY, NOON // DAY * DAY),
            ):
                assert (await site.series(Span.ALL)).since == since
                kept = NOON // DAY * DAY + 2 * DAY
                connection.execute(f"DELETE FROM {table} WHERE at < {kept}")
                connection.execute("UPDATE kept SET since = ? WHERE step = ?", (kept, step))
        nursery.cancel_scope.cancel()


async def test_counts_that_are_found_late_are_no_spike(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    site = Site(path, mock_clock)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        site.ledger.account(NELSON).uploaded(10**9)  # as if they had been joined
        site.history.begin()
        await site.upload(1)
        assert total(await site.series(Span.HOUR)) == 1
        await site.stop()


async def test_totals_are_exact_to_the_minute_and_intervals_that_meet_add_up(
    path: Path,
) -> None:
    file, ledger, rng = LedgerFile(path), Ledger(), random.Random(7)
    counted: list[tuple[int, AccountKey, int]] = []
    now = NOON
    for _ in range(300):
        now += rng.choice([30, 61, 1000, 7000])
        key, count = rng.choice([NELSON, DEBIAN]), rng.randrange(1, 1000)
        ledger.account(key).uploaded(count)
        counted.append((now, key, count))
        file.write([Entry.of(each) for each in ledger.accounts], now)
    file.close()
    history = History(path, ledger, clock=lambda: now)
    scope = Selection("quotes", "Nelson")
    cuts = [None, *sorted(rng.uniform(now - 2 * DAY, now) for _ in range(8)), None]
    sums = 0
    for begin, end in pairwise(cuts):
        for chosen in (None, scope):
            found, since = await history.totals(begin, end, chosen)
            first = 0 if begin is None else begin // MINUTE * MINUTE
            last = 2 * now if end is None else end // MINUTE * MINUTE
            assert since == (None if begin is None else first)
            assert found.uploaded_bytes == sum(
                count
                for at, key, count in counted
                if first <= at < last and (chosen is None or chosen.has(key))
            )
        sums += found.uploaded_bytes
    everything, _ = await history.totals(None, scope=scope)
    assert everything.uploaded_bytes == sums


async def test_damage_in_the_history_is_said_with_the_file(path: Path) -> None:
    file = LedgerFile(path)
    account = Account(key=NELSON)
    account.uploaded(5)
    file.write([Entry.of(account)], NOON)
    file.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE node_minutes SET uploaded_bytes = -1")
    history = History(path, Ledger(), clock=lambda: NOON)
    with pytest.raises(LedgerDamaged, match=f"^{path}: the file is damaged$"):
        await history.series(Span.DAY)


def test_scopes_are_objects_and_prefixes() -> None:
    assert Selection("quotes", "Nelson").has(NELSON)
    assert Selection("quotes", "N", is_prefix=True).has(NELSON)
    assert Selection("quotes", "", is_prefix=True, origin="default").has(NELSON)
    for scope in (
        Selection("quotes", "Nel"),
        Selection("images", "Nelson"),
        Selection("quotes", "M", is_prefix=True),
        Selection("quotes", "Nelson", origin="other"),
    ):
        assert not scope.has(NELSON)
