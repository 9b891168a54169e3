"""The tables of the ledger's SQLite file, in every format that it has had. Blocks; no trio.

What was counted stands three times, by minute, by hour and by day, of each account, of each group
of addresses, of each holder of passkeys and of the whole node; a row is written where something was
counted, and for the node also where it only ran.
Minutes and hours are dropped when they get old, `kept` says since when there are any; days stay for
ever, so their sum is all that was ever counted.
"""

import sqlite3
from pathlib import Path

from seeder.errors import LedgerRefused, StorageError
from seeder.ledger.counters import COUNTERS
from seeder.ledger.groups import GROUP_COUNTS
from seeder.ledger.holders import HOLDER_COUNTS
from seeder.ledger.node import FIGURES
from seeder.units import DAY, HOUR, MINUTE

BUSY_SECONDS = 5.0
"""How long a statement waits for another program's lock."""
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
APPLICATION_ID = 0x53334C47  # "S3LG", tells our file from another program's database

LEVELS = {DAY: "days", HOUR: "hours", MINUTE: "minutes"}
"""Seconds that a row of a table stands for, and the table's name; `node_` in front for the node."""
LATEST_MOMENT = 2**37
"""The year 6325 (Unix s)."""
_HOURS_OF_2 = 31 * DAY
"""Age at which format 2 folded the hours of a day into one row."""

# The counters of format 3: the statements of a format never change.
_THIRD = (
    "origin_bytes_metainfo",
    "origin_bytes_hashing",
    "origin_bytes_pieces",
    "origin_requests_metainfo",
    "origin_requests_hashing",
    "origin_requests_pieces",
    "requester_charged",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "completed",
    "peers_seen",
    "protocol_bytes",
)
_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _THIRD)
_NAMES, _SUMS = ", ".join(_THIRD), ", ".join(f"sum({name})" for name in _THIRD)
_NODE_COLUMNS = ", ".join(
    f"{name} INTEGER NOT NULL DEFAULT 0"
    for name in (
        "milliseconds",
        "s3_answers",
        "s3_wait_ms",
        "s3_failures",
        "memory_hits",
        "disk_hits",
        "misses",
        "peers",
    )
)
_FLUSHED = f"min(max(coalesce((SELECT CAST(at AS INTEGER) FROM flushes), 0), 0), {LATEST_MOMENT})"

# One tuple of statements a version. A new counter is a new version with ALTER TABLE ... ADD COLUMN
# for each table of LEVELS, with and without `node_`.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
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
    (
        "ALTER TABLE hours RENAME COLUMN hour TO at",
        *(
            f"""CREATE TABLE {table} (
                account INTEGER NOT NULL REFERENCES accounts, at INTEGER NOT NULL, {_COLUMNS},
                PRIMARY KEY (account, at)
            ) STRICT, WITHOUT ROWID"""
            for table in ("minutes", "days")
        ),
        "CREATE INDEX minutes_at ON minutes (at)",
        "CREATE INDEX hours_at ON hours (at)",
        *(
            f"""CREATE TABLE node_{table} (
                at INTEGER PRIMARY KEY, {_NODE_COLUMNS}, {_COLUMNS}
            ) STRICT"""
            for table in ("minutes", "hours", "days")
        ),
        "CREATE TABLE kept (step INTEGER PRIMARY KEY, since INTEGER NOT NULL) STRICT",
        f"""INSERT INTO days (account, at, {_NAMES})
        SELECT account, at - at % {DAY}, {_SUMS} FROM hours GROUP BY 1, 2""",
        # What was folded stands at the first hour of its day, as if all of it were counted there.
        f"""INSERT INTO kept SELECT {HOUR}, CASE WHEN EXISTS (SELECT * FROM hours)
        THEN max({_FLUSHED} - {_HOURS_OF_2}, 0) / {DAY} * {DAY} ELSE 0 END""",
        f"""INSERT INTO kept SELECT {MINUTE}, CASE WHEN EXISTS (SELECT * FROM hours)
        THEN {_FLUSHED} / {HOUR} * {HOUR} + {HOUR} ELSE 0 END""",
        f"DELETE FROM hours WHERE at < (SELECT since FROM kept WHERE step = {HOUR})",
        *(
            f"""INSERT INTO node_{table} (at, {_NAMES})
            SELECT at, {_SUMS} FROM {table} GROUP BY at"""
            for table in ("hours", "days")
        ),
    ),
    (
        *(
            f"""CREATE TABLE group_{table} (
                name TEXT NOT NULL, at INTEGER NOT NULL,
                sent_bytes INTEGER NOT NULL, delivered_verified_bytes INTEGER NOT NULL,
                downloaded_claimed_bytes INTEGER NOT NULL, uploaded_claimed_bytes INTEGER NOT NULL,
                PRIMARY KEY (name, at)
            ) STRICT, WITHOUT ROWID"""
            for table in ("minutes", "hours", "days")
        ),
        "CREATE INDEX group_minutes_at ON group_minutes (at)",
        "CREATE INDEX group_hours_at ON group_hours (at)",
    ),
    (
        """CREATE TABLE holders (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL
        ) STRICT""",
        *(
            f"""CREATE TABLE holder_{table} (
                holder INTEGER NOT NULL REFERENCES holders, at INTEGER NOT NULL,
                sent_bytes INTEGER NOT NULL, uploaded_claimed_bytes INTEGER NOT NULL,
                downloaded_claimed_bytes INTEGER NOT NULL, completed INTEGER NOT NULL,
                PRIMARY KEY (holder, at)
            ) STRICT, WITHOUT ROWID"""
            for table in ("minutes", "hours", "days")
        ),
        "CREATE INDEX holder_minutes_at ON holder_minutes (at)",
        "CREATE INDEX holder_hours_at ON holder_hours (at)",
    ),
)
SCHEMA = len(MIGRATIONS)


def connect(path: Path, mode: str, busy: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the file; StorageError if this Python's SQLite is too old, else sqlite3's errors."""
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


def check(path: Path, connection: sqlite3.Connection) -> int:
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


def look_for_tables(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.OperationalError unless every table and view is there, with its columns."""
    counters = ", ".join(COUNTERS)
    figures = ", ".join(FIGURES)
    for table in LEVELS.values():
        connection.execute(f"SELECT account, at, {counters} FROM {table} LIMIT 0")
        connection.execute(f"SELECT at, {figures}, {counters} FROM node_{table} LIMIT 0")
        connection.execute(f"SELECT name, at, {', '.join(GROUP_COUNTS)} FROM group_{table} LIMIT 0")
        connection.execute(
            f"SELECT holder, at, {', '.join(HOLDER_COUNTS)} FROM holder_{table} LIMIT 0"
        )
    connection.execute("SELECT id, name, seen FROM holders LIMIT 0")
    connection.execute("SELECT step, since FROM kept LIMIT 0")


def bring_up(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an older format, or an empty one (0), to the present; in a transaction."""
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < SCHEMA:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def view_as_present(connection: sqlite3.Connection, version: int) -> None:
    """Have a file of an older format look like the present one to this connection alone."""
    if version < 4:
        _view_without_groups(connection)
    if version < 5:
        _view_without_holders(connection)
    if version < 3:
        _view_without_days(connection)


def _view_without_groups(connection: sqlite3.Connection) -> None:
    none = ", ".join(f"0 AS {name}" for name in GROUP_COUNTS)
    for table in LEVELS.values():
        connection.execute(
            f"CREATE TEMP VIEW group_{table} AS SELECT '' AS name, 0 AS at, {none} WHERE 0"
        )


def _view_without_holders(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP VIEW holders AS SELECT 0 AS id, '' AS name, 0 AS seen WHERE 0")
    none = ", ".join(f"0 AS {name}" for name in HOLDER_COUNTS)
    for table in LEVELS.values():
        connection.execute(
            f"CREATE TEMP VIEW holder_{table} AS SELECT 0 AS holder, 0 AS at, {none} WHERE 0"
        )


def _view_without_days(connection: sqlite3.Connection) -> None:
    present = {row[1] for row in connection.execute("PRAGMA main.table_info(hours)")}
    names = ", ".join(name if name in present else f"0 AS {name}" for name in COUNTERS)
    sums = ", ".join(f"sum({name}) AS {name}" for name in COUNTERS)
    none = ", ".join(f"0 AS {name}" for name in (*FIGURES, *COUNTERS))
    since = f"max({_FLUSHED} - {_HOURS_OF_2}, 0) / {DAY} * {DAY}"
    for name, query in (
        ("every", f"SELECT account, hour AS at, {names} FROM main.hours"),
        ("kept", f"SELECT {HOUR} AS step, {since} AS since UNION SELECT {MINUTE}, {LATEST_MOMENT}"),
        ("hours", "SELECT * FROM every WHERE at >= (SELECT min(since) FROM kept)"),
        ("days", f"SELECT account, at - at % {DAY} AS at, {sums} FROM every GROUP BY 1, 2"),
        ("minutes", "SELECT * FROM every WHERE 0"),
        *(
            (
                f"node_{table}",
                f"SELECT at, {', '.join(f'0 AS {name}' for name in FIGURES)}, {sums}"
                f" FROM {table} GROUP BY at",
            )
            for table in ("hours", "days")
        ),
        ("node_minutes", f"SELECT 0 AS at, {none} WHERE 0"),
    ):
        connection.execute(f"CREATE TEMP VIEW {name} AS {query}")
