"""The ledger's SQLite file: its schema, what is written to it and read from it. Blocks; no trio.

What has been written already is remembered beside the connection, and changes only after a COMMIT.
So a write that fails loses nothing and repeats nothing: the next one adds the difference to what
is really in the file.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import sub
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeGuard

from seeder.errors import LedgerDamaged, LedgerRefused, StorageError
from seeder.ledger.budget import Spent, period_starts
from seeder.ledger.counters import COUNTERS, Account, AccountKey, Counters, Ledger
from seeder.ledger.faults import DAMAGED, NotOurs, code, explaining
from seeder.units import DAY, HOUR

BUSY_SECONDS = 5.0
"""How long a statement waits for another program's lock."""
_LOCK_PAUSE = 0.01
HOURLY_FOR = 31 * DAY
"""Age in seconds at which the hours of a day are folded into one row, so that rows stay few."""

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
APPLICATION_ID = 0x53334C47  # "S3LG", tells our file from another program's database

# One tuple of statements a version. A new counter is a new version with ALTER TABLE ... ADD COLUMN.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE accounts (
            id INTEGER PRIMARY KEY,
            origin TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
            info_hash TEXT, size INTEGER, pieces INTEGER, state TEXT NOT NULL,
            peers INTEGER NOT NULL, seeds INTEGER NOT NULL,
            UNIQUE (origin, bucket, key, version)
        ) STRICT""",
        """CREATE TABLE hours (
            account INTEGER NOT NULL REFERENCES accounts, hour INTEGER NOT NULL,
            origin_bytes_metainfo INTEGER NOT NULL, origin_bytes_hashing INTEGER NOT NULL,
            origin_bytes_pieces INTEGER NOT NULL, origin_requests_metainfo INTEGER NOT NULL,
            origin_requests_hashing INTEGER NOT NULL, origin_requests_pieces INTEGER NOT NULL,
            requester_charged INTEGER NOT NULL, uploaded_bytes INTEGER NOT NULL,
            delivered_verified_bytes INTEGER NOT NULL, delivered_claimed_bytes INTEGER NOT NULL,
            completed INTEGER NOT NULL, peers_seen INTEGER NOT NULL,
            PRIMARY KEY (account, hour)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE flushes (
            last INTEGER PRIMARY KEY CHECK (last = 1), at REAL NOT NULL
        ) STRICT""",
    ),
    ("ALTER TABLE hours ADD COLUMN protocol_bytes INTEGER NOT NULL DEFAULT 0",),
)
SCHEMA = len(_MIGRATIONS)

_MOST = 2**62
"""More than is ever counted, and room in SQLite's 64 bits to go on from."""
_EVER = -(2**63)
"""The hour since which all hours count: one that no clock has told is counted, too."""
_LATEST = 2**37
"""The year 6325 (Unix s)."""
_SUMS = ", ".join(f"sum({name})" for name in COUNTERS)
_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)
_UNFOLDED = f"hour < ? AND hour % {DAY} <> 0"

_WRITE_ACCOUNT = """
INSERT INTO accounts (origin, bucket, key, version, info_hash, size, pieces, state, peers, seeds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (origin, bucket, key, version) DO UPDATE SET
    info_hash = excluded.info_hash, size = excluded.size, pieces = excluded.pieces,
    state = excluded.state, peers = excluded.peers, seeds = excluded.seeds
RETURNING id"""
_ADD_COUNTS = f"""
INSERT INTO hours (account, hour, {", ".join(COUNTERS)})
VALUES (?, ?{", ?" * len(COUNTERS)}) ON CONFLICT (account, hour) DO UPDATE SET {_ADDED}"""
_WRITE_FLUSH = """
INSERT INTO flushes (last, at) VALUES (1, ?) ON CONFLICT (last) DO UPDATE SET at = excluded.at"""
_FOLD = (
    f"""INSERT INTO hours (account, hour, {", ".join(COUNTERS)})
    SELECT account, hour - hour % {DAY}, {_SUMS} FROM hours WHERE {_UNFOLDED}
    GROUP BY 1, 2 ON CONFLICT (account, hour) DO UPDATE SET {_ADDED}""",
    f"DELETE FROM hours WHERE {_UNFOLDED}",
)
_READ = """
SELECT origin, bucket, key, version, info_hash, size, pieces, state, peers, seeds, {sums}
FROM accounts LEFT JOIN hours ON hours.account = accounts.id AND hours.hour >= ?
GROUP BY accounts.id ORDER BY accounts.id"""

# Hours in the future were written by a clock that went wrong, and would count for months.
_READ_SUMS = "SELECT {sums} FROM hours WHERE hour BETWEEN ? AND ?"

_Details: TypeAlias = tuple[str | None, int | None, int | None, str, int, int]


class Entry(NamedTuple):
    """An account as it is, or was, at one moment."""

    key: AccountKey
    details: _Details
    """info hash, size, pieces, state, peers, seeds"""
    counts: tuple[int, ...]

    @classmethod
    def of(cls, account: Account) -> "Entry":
        details = (
            account.info_hash,
            account.size,
            account.pieces,
            account.state,
            account.peers,
            account.seeds,
        )
        return cls(account.key, details, account.counters.values())

    def add_to(self, ledger: Ledger) -> None:
        """Open the account in `ledger`, or add the counts to the one that is there."""
        account = ledger.account(self.key)
        account.counters = account.counters.plus(Counters(*self.counts))
        account.info_hash, account.size, account.pieces = self.details[:3]
        account.state, account.peers, account.seeds = self.details[3:]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A ledger read back; it was last written at `at` and begins at `since` (Unix s)."""

    ledger: Ledger
    at: float | None
    since: float | None
    spent: Spent
    """In the day and month in which it is read, whatever `since` says."""


class LedgerFile:
    """The connection that writes, and what it knows to be in the file; one thread at a time."""

    def __init__(self, path: Path, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self.written: dict[AccountKey, Entry] = {}
        """What is in the file, as far as it was loaded or written."""
        self._folded_on = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent}: can't be made: {error.strerror}") from error
        with explaining(path, "written"):
            self._connection = _connect(path, "mode=rwc", busy)
            try:
                self._prepare(busy)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, busy: float) -> None:
        """Check the file, set it up, and bring its schema to the present."""
        # Nothing of another program's file may be changed, not even its journal mode.
        with self._transaction("DEFERRED"):
            _check(self.path, self._connection)
        self._use_wal(busy)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {4 * 1024 * 1024}")
        # Takes the write lock even if there is nothing to do: a file that can't be written fails
        # here.
        with self._transaction():
            version = _check(self.path, self._connection)
            for statements in _MIGRATIONS[version:]:
                for statement in statements:
                    self._connection.execute(statement)
            if version < SCHEMA:
                self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _use_wal(self, patience: float) -> None:
        """Switch to WAL, in which readers and the writer don't wait for each other."""
        deadline = time.monotonic() + patience
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # Unlike other statements this one doesn't wait for a lock by itself.
                if code(error) != "BUSY" or time.monotonic() >= deadline:
                    raise
                time.sleep(_LOCK_PAUSE)
            else:
                return

    def check(self) -> None:
        """Look at every page of the file; LedgerDamaged, StorageError."""
        with explaining(self.path, "read"):
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise LedgerDamaged(f"{self.path}: {DAMAGED}")

    def load(self) -> list[Entry]:
        """Return every account in the file, for a ledger to go on from.

        LedgerDamaged, StorageError.
        """
        if self.written:
            raise RuntimeError("the ledger is loaded once, before its first flush")
        with explaining(self.path, "read"):
            entries = list(_select(self._connection, _EVER))
        self.written = {entry.key: entry for entry in entries}
        return entries

    def write(self, entries: Sequence[Entry], now: float) -> None:
        """Bring the file up to `entries` in one transaction; StorageError leaves it as it was."""
        changed = [entry for entry in entries if self.written.get(entry.key) != entry]
        if not changed:
            return
        today = int(now) // DAY
        with explaining(self.path, "written"), self._transaction():
            for entry in changed:
                self._write_entry(entry, _hour(now))
            self._connection.execute(_WRITE_FLUSH, (now,))
            if today != self._folded_on:
                oldest = (int(now) - HOURLY_FOR) // DAY * DAY
                for statement in _FOLD:
                    self._connection.execute(statement, (oldest,))
        self.written.update((entry.key, entry) for entry in changed)
        self._folded_on = today

    def write_former(self, entries: Mapping[AccountKey, Entry]) -> None:
        """Write accounts into a new file as counted long ago; StorageError."""
        with explaining(self.path, "written"), self._transaction():
            for entry in entries.values():
                self._write_entry(entry, 0)
        self.written = dict(entries)

    def _write_entry(self, entry: Entry, hour: int) -> None:
        key = entry.key
        names = (key.origin, key.bucket, key.key, key.version)
        account = self._connection.execute(_WRITE_ACCOUNT, names + entry.details).fetchone()[0]
        before = self.written.get(key)
        counts = tuple(map(sub, entry.counts, before.counts)) if before else entry.counts
        if any(counts):
            self._connection.execute(_ADD_COUNTS, (account, hour, *counts))

    def spent(self, now: float) -> Spent:
        """Return what the file has for the day and the month of `now`.

        LedgerDamaged, StorageError.
        """
        with explaining(self.path, "read"):
            return _spent(self._connection, now)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Some failures, such as a full disk, have rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def read_ledger(path: Path, *, now: float, since: float | None = None) -> Recorded:
    """Read the ledger without writing, while the daemon runs or after it died; StorageError.

    `since` (s) goes back to the start of its hour, or of its day where hours are folded.
    """
    start = None
    if since is not None:
        start = _hour(since) if since >= now - HOURLY_FOR else int(since) // DAY * DAY
    try:
        path.stat()
        in_use = _has_content(f"{path}-wal")
    except FileNotFoundError:
        raise StorageError(f"{path}: there is no ledger yet; `seeder run` writes it") from None
    except OSError as error:
        raise StorageError(f"{path}: it can't be read: {error.strerror}") from error
    with explaining(path, "read"):
        try:
            return _read(path, "mode=ro", start, now)
        except sqlite3.Error as error:
            # SQLite makes the index of a WAL even for readers, which fails if we can't write here.
            # Without a WAL no daemon has the file open, and it can be read as it is.
            if in_use or code(error) not in ("CANTOPEN", "FULL", "IOERR", "READONLY"):
                raise
        return _read(path, "mode=ro&immutable=1", start, now)


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _read(path: Path, mode: str, start: int | None, now: float) -> Recorded:
    connection = _connect(path, mode, BUSY_SECONDS)
    try:
        connection.execute("BEGIN")
        if not _check(path, connection):
            raise StorageError(f"{path}: nothing is in it yet; `seeder run` writes it")
        at = connection.execute("SELECT at FROM flushes").fetchone()
        if at and not (isinstance(at[0], float) and 0 <= at[0] < _LATEST):
            raise LedgerDamaged(f"{path}: {DAMAGED}")
        ledger = Ledger()
        for entry in _select(connection, _EVER if start is None else start):
            entry.add_to(ledger)
        spent = _spent(connection, now)
        return Recorded(ledger, at[0] if at else None, start, spent)
    finally:
        connection.close()


def _connect(path: Path, mode: str, busy: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StorageError(
            f"{path}: the ledger needs SQLite 3.37, this Python has {sqlite3.sqlite_version}"
        )
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=busy,
        isolation_level=None,
        check_same_thread=False,  # the caller lets one thread at a time use it
    )


def _check(path: Path, connection: sqlite3.Connection) -> int:
    """Return the schema version, 0 of an empty file; StorageError when the file is not ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and application == version == 0):
        raise LedgerRefused(
            f"{path}: this is another program's database; set another state_directory"
        )
    if version > SCHEMA:
        raise LedgerRefused(
            f"{path}: a newer seeder wrote it (format {version}, this one knows {SCHEMA});"
            " run that one, or move the file away"
        )
    return version


def _select(connection: sqlite3.Connection, start: int) -> Iterator[Entry]:
    for row in connection.execute(_READ.format(sums=_sums(connection)), (start,)):
        entry = Entry(AccountKey(*row[:4]), row[4:10], _counts(row[10:]))
        info_hash, size, pieces, state, peers, seeds = entry.details
        texts = (*row[:4], state, info_hash or "")
        numbers = (size or 0, pieces or 0, peers, seeds)
        if not (all(isinstance(text, str) for text in texts) and all(map(_is_count, numbers))):
            raise NotOurs
        yield entry


def _spent(connection: sqlite3.Connection, now: float) -> Spent:
    """Sum up the day and the month of `now`; each begins where an hour or a folded day does."""
    read = _READ_SUMS.format(sums=_sums(connection))
    sums = (connection.execute(read, (start, now)).fetchone() for start in period_starts(now))
    return Spent(*(Counters(*_counts(row)) for row in sums))


def _counts(sums: Sequence[object]) -> tuple[int, ...]:
    """Return sums of counters, 0 where there was no row; NotOurs unless they could be counted."""
    counts = []
    for each in sums:
        count = 0 if each is None else each
        if not _is_count(count):
            raise NotOurs
        counts.append(count)
    return tuple(counts)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value <= _MOST


def _sums(connection: sqlite3.Connection) -> str:
    """Return the sums of every counter; those that a file of an older format hasn't got are 0."""
    present = {row[1] for row in connection.execute("PRAGMA table_info(hours)")}
    return ", ".join(f"sum({name})" if name in present else "0" for name in COUNTERS)


def _hour(at: float) -> int:
    return int(at) // HOUR * HOUR
