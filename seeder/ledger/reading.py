"""The ledger read back, while the daemon runs or after it died: without writing. Blocks; no trio.

A file of an older format is read as it is. A reader sees the file as it was at one moment, and
waits for no writer.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seeder.errors import LedgerDamaged, StorageError
from seeder.ledger.budget import Spent, period_starts
from seeder.ledger.counters import Ledger
from seeder.ledger.faults import DAMAGED, code, explaining
from seeder.ledger.intervals import start_of
from seeder.ledger.records import Records
from seeder.ledger.schema import LATEST_MOMENT, check, connect, look_for_tables, view_as_present
from seeder.units import DAY, HOUR


@dataclass(frozen=True, slots=True)
class Recorded:
    """A ledger read back; it was last written at `at` and begins at `since` (Unix s)."""

    ledger: Ledger
    at: float | None
    since: float | None
    spent: Spent
    """In the day and month in which it is read, whatever `since` says."""


def read_ledger(path: Path, *, now: float, since: float | None = None) -> Recorded:
    """Read the ledger without writing, while the daemon runs or after it died; StorageError.

    `since` (s) goes back to the start of its minute, or of its hour or day where minutes or hours
    aren't kept.
    """
    with records_of(path) as records:
        return read_recorded(records, now=now, since=since)


def read_recorded(
    records: Records, *, now: float, since: float | None = None, until: float | None = None
) -> Recorded:
    """Return what `read_ledger` does, of an open ledger; `until` (s) goes back as `since` does."""
    begin, end = records.interval(since, until)
    ledger = Ledger()
    for entry in records.entries(begin, end):
        entry.add_to(ledger)
    ledger.groups.counts = records.groups(begin, end)
    at = records.written_at()
    return Recorded(ledger, at, None if since is None else begin, spent_in(records, now))


@contextmanager
def records_of(path: Path) -> Iterator[Records]:
    """Let the block read the ledger as it is at one moment, without writing; StorageError."""
    try:
        path.stat()
        in_use = _has_content(f"{path}-wal")
    except FileNotFoundError:
        raise StorageError(f"{path}: there is no ledger yet; `seeder run` writes it") from None
    except OSError as error:
        raise StorageError(f"{path}: it can't be read: {error.strerror}") from error
    with explaining(path, "read"):
        try:
            connection = _open_to_read(path, "mode=ro")
        except sqlite3.Error as error:
            # SQLite makes the index of a WAL even for readers, which fails if we can't write here.
            # Without a WAL no daemon has the file open, and it can be read as it is.
            if in_use or code(error) not in ("CANTOPEN", "FULL", "IOERR", "READONLY"):
                raise
            connection = _open_to_read(path, "mode=ro&immutable=1")
        try:
            yield Records(connection)
        finally:
            connection.close()


def _open_to_read(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection that looks at the file as it is now, and at any format as the present."""
    connection = connect(path, mode)
    try:
        connection.execute("BEGIN")
        version = check(path, connection)
        if not version:
            raise StorageError(f"{path}: nothing is in it yet; `seeder run` writes it")
        view_as_present(connection, version)
        look_for_tables(connection)
        Records(connection).kept()
        # The first read, so that what fails by the mode fails here.
        at = connection.execute("SELECT at FROM flushes").fetchone()
        if at and not (isinstance(at[0], float) and 0 <= at[0] < LATEST_MOMENT):
            raise LedgerDamaged(f"{path}: {DAMAGED}")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def spent_in(records: Records, now: float) -> Spent:
    """Return what was counted in the day and in the month (UTC) of `now`, each from its beginning.

    What is in the future was written by a clock that went wrong, and would count for months.
    """
    day, month = period_starts(now)
    # A clock that was set back looks at a day whose hours are gone.
    hours_kept = day >= records.kept()[HOUR]
    until = start_of(now, HOUR) + HOUR if hours_kept else day + DAY
    today = records.total(day, until)
    return Spent(today, records.total(month, day).plus(today))
