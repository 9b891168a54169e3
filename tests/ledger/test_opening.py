"""A ledger in whose place anything may lie: the daemon counts on, and says what it set aside."""

import contextlib
import logging
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from seeder.errors import LedgerDamaged
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import FORMER, Counters, Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.reading import read_ledger
from seeder.units import DAY, KIB
from tests.ledger.support import DEBIAN, NELSON, NOON, PRICES, counted
from tests.support.disks import DAMAGE, NOT_FILES, small_file_system

LEFT = NOT_FILES | DAMAGE
BESIDE = ("-wal", "-shm", "-journal")


@asynccontextmanager
async def opened(path: Path, ledger: Ledger, at: float = NOON) -> AsyncIterator[LedgerDatabase]:
    """Open a ledger's file at a moment and load it, as a start does."""
    database = await LedgerDatabase.open(path, busy=0.01, clock=lambda: at)
    try:
        await database.load(ledger)
        yield database
    finally:
        await database.aclose()


def locked(path: Path, *, readable: bool = True) -> sqlite3.Connection:
    """Keep others from writing to a ledger until the connection is closed, or from reading it."""
    lock = sqlite3.connect(path, isolation_level=None)
    if not readable:
        lock.execute("PRAGMA locking_mode = EXCLUSIVE")
    lock.execute("BEGIN IMMEDIATE")
    return lock


async def fill(path: Path, count: int = 100, *, at: float = NOON) -> None:
    ledger = Ledger()
    async with opened(path, ledger, at) as database:
        ledger.account(NELSON).uploaded(count)
        for number in range(300):
            ledger.account(DEBIAN.__class__("default", "b", f"key {number}", "v")).peer_seen()
        assert await database.flush(ledger)


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def spoil(path: Path) -> None:
    """Overwrite every page but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", LEFT)
async def test_what_is_no_ledger_is_set_aside_with_an_error_and_counting_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    await fill(path)
    LEFT[kind](path)
    found = os.lstat(path)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
        assert database.statistics().fault is None
    if kind in ("a link outside", "a dangling link"):
        # A ledger on another disk is the operator's choice.
        assert stat.S_ISLNK(os.lstat(path).st_mode)
        assert counted(path).uploaded_bytes == (107 if kind == "a link outside" else 7)
        assert not told(caplog)
        return
    if kind in ("sparse", "flipped") and counted(path).uploaded_bytes == 107:
        # What SQLite doesn't use was hit.
        assert not told(caplog)
        return
    assert counted(path).uploaded_bytes == 7
    [line] = told(caplog)
    assert str(path) in line
    assert "begin at zero" in line
    if kind == "empty":
        return
    [aside] = [each for each in path.parent.iterdir() if ".aside-" in each.name]
    assert aside.name in line
    assert os.lstat(aside).st_ino == found.st_ino
    assert [each.levelno for each in caplog.records if each.getMessage() == line] == [logging.ERROR]


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("kind", NOT_FILES)
async def test_what_has_the_name_of_a_file_beside_the_ledger_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture, kind: str, beside: str
) -> None:
    await fill(path)
    NOT_FILES[kind](Path(f"{path}{beside}"))
    ledger = Ledger()
    async with opened(path, ledger) as database:
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 107
    [line] = told(caplog)
    assert f"{path}{beside}" in line


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("kind", ["empty", "zeros", "no text", "many digits", "all sparse"])
async def test_rubbish_beside_the_ledger_is_no_harm(path: Path, kind: str, beside: str) -> None:
    await fill(path)
    DAMAGE[kind](Path(f"{path}{beside}"))
    ledger = Ledger()
    async with opened(path, ledger) as database:
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 107


async def test_a_damaged_ledger_keeps_its_wal_beside_it(path: Path) -> None:
    await fill(path)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        ledger.account(NELSON).uploaded(1)
        await database.flush(ledger)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", path.parent / f"copy{suffix}")
    copy = path.parent / "copy"
    wal = content(f"{copy}-wal")
    DAMAGE["no text"](copy)
    async with opened(copy, Ledger()):
        pass
    [aside] = path.parent.glob("copy.aside-*[0-9Z]")
    assert wal
    assert content(f"{aside}-wal") == wal


async def test_a_ledger_that_is_damaged_while_it_runs_is_written_anew_from_memory(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(path, at=NOON - DAY)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        before = ledger.totals()
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spoil(path)
        ledger.account(NELSON).uploaded(7)
        await database.flush(ledger)
        ledger.account(NELSON).uploaded(1)
        assert await database.flush(ledger)
        assert ledger.totals() == before.plus(Counters(uploaded_bytes=8))
        assert read_ledger(path, now=NOON).ledger.totals() == ledger.totals()
        # What was counted long ago isn't spent again.
        assert (await database.spent()).this_month.uploaded_bytes == 8
    [line] = told(caplog)
    assert "a new one has its counts from memory" in line


# -- a file that can't be opened yet


@pytest.mark.parametrize("readable", [True, False])
async def test_a_ledger_that_can_not_be_opened_yet_is_joined_when_it_can(
    path: Path, caplog: pytest.LogCaptureFixture, readable: bool
) -> None:
    await fill(path, 100, at=NOON - 40 * DAY)
    await fill(path, 20, at=NOON)
    lock = locked(path, readable=readable)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        account = ledger.account(NELSON)
        assert account.counters.uploaded_bytes == (120 if readable else 0)
        spent = await database.spent()
        budget = Budget(
            [Limit(Resource.UPLOADED_BYTES, period, 1000) for period in Period],
            PRICES,
            totals=ledger.totals(),
            spent=spent,
            now=NOON,
        )
        database.joined = lambda counted, spent: budget.join(counted, spent, ledger.totals(), NOON)
        account.info_hash, account.state = "ab" * 20, "serving"
        account.uploaded(3)
        assert not await database.flush(ledger)
        assert database.statistics().fault
        lock.close()
        account.uploaded(4)
        assert await database.flush(ledger)
        assert database.statistics().fault is None
        assert account.counters.uploaded_bytes == 127
        assert (account.info_hash, account.state) == ("ab" * 20, "serving")
        [other] = [each for each in ledger.accounts if each.key.key == "key 7"]
        assert (other.state, other.counters.peers_seen) == (FORMER, 2)
        budget.update(ledger.totals(), NOON)
        assert [each.spent for each in budget.left()] == [27, 27]
        account.uploaded(1)
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 128
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(path) in errors[0].getMessage()


async def test_without_a_load_what_is_counted_is_added_to_the_file_that_opens_late(
    path: Path,
) -> None:
    await fill(path, 100)
    lock = locked(path)
    ledger = Ledger()
    database = await LedgerDatabase.open(path, busy=0.01)
    ledger.account(NELSON).uploaded(7)
    assert not await database.flush(ledger)
    lock.close()
    assert await database.flush(ledger)
    assert ledger.totals().uploaded_bytes == 7
    await database.aclose()
    assert counted(path).uploaded_bytes == 107


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("how", ["read-only", "full", "without inodes"])
async def test_a_state_disk_that_takes_nothing_at_start_is_used_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, present: bool
) -> None:
    with small_file_system(tmp_path / "disk", 512 * KIB, inodes=10) as point:
        path = point / "ledger.sqlite"
        if present:
            await fill(path)
        undo = FAILING[how](point)
        ledger = Ledger()
        async with opened(path, ledger) as database:
            assert ledger.account(NELSON).counters.uploaded_bytes == (100 if present else 0)
            ledger.account(NELSON).uploaded(7)
            assert not await database.flush(ledger)
            undo()
            assert await database.flush(ledger)
        assert counted(path).uploaded_bytes == (107 if present else 7)
    assert [line for line in told(caplog) if str(path) in line]


def _read_only(point: Path) -> Callable[[], None]:
    remount = partial(os.spawnlp, os.P_WAIT, "mount", "mount", "-o")
    assert remount("remount,ro", str(point)) == 0

    def undo() -> None:
        assert remount("remount,rw", str(point)) == 0

    return undo


def _full(point: Path) -> Callable[[], None]:
    filler = point / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler.unlink


def _without_inodes(point: Path) -> Callable[[], None]:
    fillers = []
    with contextlib.suppress(OSError):
        for number in range(20):
            filler = point / f"filler {number}"
            filler.touch()
            fillers.append(filler)

    def undo() -> None:
        for filler in fillers:
            filler.unlink()

    return undo


FAILING = {"read-only": _read_only, "full": _full, "without inodes": _without_inodes}


async def test_a_ledger_that_fails_half_way_through_its_load_is_opened_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    lock = locked(path)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        lock.close()
        load = LedgerFile.load
        with monkeypatch.context() as patch:
            patch.setattr(LedgerFile, "load", lambda _: load(None))  # type: ignore[arg-type]
            assert not await database.flush(ledger)
            assert str(database.statistics().fault).startswith("internal error: AttributeError")
        assert await database.flush(ledger)
        assert ledger.account(NELSON).counters.uploaded_bytes == 100
    assert counted(path).uploaded_bytes == 100


def execute(path: Path, *statements: str) -> None:
    """Change a ledger by hand; SQLite finds nothing wrong with it afterwards."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


NEVER_WRITTEN = {
    "too many bytes": "UPDATE days SET uploaded_bytes = 9223372036854775807",
    "fewer than none": "UPDATE days SET uploaded_bytes = -1",
    "fewer peers than none": "UPDATE accounts SET peers = -1",
    "another column": (
        "UPDATE sqlite_schema SET sql = replace(sql, 'info_hash', 'info_hasi')"
        " WHERE name = 'accounts'"
    ),
    **{
        f"no {table}": f"DROP TABLE {table}"
        for table in ("days", "hours", "minutes", "node_days", "node_minutes", "kept")
    },
    "a moment for another step": "UPDATE kept SET step = 7 WHERE step = 60",
}


@pytest.mark.parametrize("how", NEVER_WRITTEN)
async def test_what_was_never_written_in_a_sound_file_is_damage(
    path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    await fill(path)
    execute(path, NEVER_WRITTEN[how])
    with pytest.raises(LedgerDamaged, match="the file is damaged"):
        read_ledger(path, now=NOON)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        assert await database.spent() == Spent()
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 7
    [line] = told(caplog)
    assert "the file is damaged" in line


@pytest.mark.parametrize("how", NEVER_WRITTEN)
async def test_damage_that_shows_only_when_the_file_opens_late_is_set_aside(
    path: Path, how: str
) -> None:
    await fill(path)
    execute(path, NEVER_WRITTEN[how])
    lock = locked(path, readable=False)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        ledger.account(NELSON).uploaded(7)
        assert not await database.flush(ledger)
        lock.close()
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 7


async def test_counts_that_only_together_are_too_many_are_kept_and_the_budgets_begin_anew(
    path: Path,
) -> None:
    await fill(path)
    execute(path, "UPDATE node_hours SET peers_seen = (1 << 62) + 1")
    ledger = Ledger()
    async with opened(path, ledger) as database:
        assert await database.spent() == Spent()
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
    assert counted(path).uploaded_bytes == 107


async def test_a_count_with_no_room_left_is_damage_when_it_is_added_to(path: Path) -> None:
    await fill(path)
    ledger = Ledger()
    async with opened(path, ledger) as database:
        execute(path, "UPDATE days SET uploaded_bytes = 9223372036854775807")
        ledger.account(NELSON).uploaded(7)
        assert await database.flush(ledger)
        assert database.statistics().fault is None
    assert counted(path).uploaded_bytes == 107


async def test_a_flush_at_no_possible_time_is_damage_to_a_report(path: Path) -> None:
    await fill(path)
    for moment in ("9e999", "-1.0", "1e12"):
        execute(path, f"UPDATE flushes SET at = {moment}")
        with pytest.raises(LedgerDamaged, match="the file is damaged"):
            read_ledger(path, now=NOON)


async def test_what_was_counted_at_no_possible_hour_is_counted_once(path: Path) -> None:
    await fill(path)
    execute(path, *(f"UPDATE {table} SET at = -193" for table in ("minutes", "hours", "days")))
    for runs in (1, 2, 3):
        ledger = Ledger()
        async with opened(path, ledger, NOON + runs * DAY) as database:
            assert ledger.account(NELSON).counters.uploaded_bytes == 100 + 7 * (runs - 1)
            ledger.account(NELSON).uploaded(7)
            # The first flush of a day drops what is old.
            assert await database.flush(ledger)
        assert counted(path).uploaded_bytes == 100 + 7 * runs
