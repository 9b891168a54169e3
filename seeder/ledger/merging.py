"""The ledgers of several nodes, read as one: each counts what went through its own hands.

Sums are added up. What describes an object is told by the ledger that was written last, of those
where the object isn't over. Blocks; no trio.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from seeder.ledger.counters import COUNTERS, FORMER, AccountKey
from seeder.ledger.faults import explaining
from seeder.ledger.groups import GROUP_COUNTS
from seeder.ledger.holders import HOLDER_COUNTS
from seeder.ledger.intervals import EVER, NEVER
from seeder.ledger.node import FIGURES
from seeder.ledger.reading import records_of
from seeder.ledger.records import Details, Records
from seeder.ledger.schema import LEVELS, bring_up


@contextmanager
def merged_records(paths: Sequence[Path]) -> Iterator[Records]:
    """Let the block read ledgers as if one node had written them; StorageError.

    It is a copy in memory where there are several.
    """
    if len(paths) == 1:
        with records_of(paths[0]) as records:
            yield records
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        bring_up(connection, 0)
        merger = _Merger(connection)
        for path in paths:
            with records_of(path) as records, explaining(path, "read"):
                merger.add(records)
        merger.finish()
        yield Records(connection)


class _Merger:
    """Adds ledgers to a new database of the present format."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._holders: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._numbers: dict[AccountKey, int] = {}
        self._told: dict[AccountKey, tuple[bool, float, Details]] = {}
        """What describes each account: whether it lives, and when that was written."""
        self._at: float | None = None
        self._kept: dict[int, int] = {}

    def add(self, records: Records) -> None:
        """Add what one ledger holds."""
        at = records.written_at()
        if at is not None:
            self._at = max(at, self._at or 0.0)
        for step, since in records.kept().items():
            # Only what all of them still have can be added up.
            self._kept[step] = max(since, self._kept.get(step, since))
        numbers = {
            number: self._number(key, details, at or 0.0)
            for number, key, details in records.accounts()
        }
        for step, table in LEVELS.items():
            self._insert(
                table,
                ("account", "at", *COUNTERS),
                ((numbers[number], *row) for number, *row in records.rows(step)),
            )
            self._insert(
                f"node_{table}",
                ("at", *FIGURES, *COUNTERS),
                (
                    (at, *figs, *counts)
                    for at, figs, counts in records.node_steps(step, EVER, NEVER)
                ),
            )
            self._insert(f"group_{table}", ("name", "at", *GROUP_COUNTS), records.group_rows(step))
            self._insert(
                f"holder_{table}",
                ("holder", "at", *HOLDER_COUNTS),
                ((self._holder(str(name)), *row) for name, *row in records.holder_rows(step)),
            )
        for each in records.holders(0, 0):
            self._holder(each.name)
            self._seen[each.name] = max(each.seen, self._seen.get(each.name, 0))

    def _holder(self, name: str) -> int:
        """Return the number of a holder of passkeys."""
        return self._holders.setdefault(name, len(self._holders) + 1)

    def _number(self, key: AccountKey, details: Details, at: float) -> int:
        """Return the number of an account, taking note of what describes it."""
        alive = details[3] != FORMER
        before = self._told.get(key)
        peers, seeds = details[4:]
        if before is not None:
            peers, seeds = max(peers, before[2][4]), max(seeds, before[2][5])
            if (before[0], before[1]) > (alive, at):
                alive, at, details = before
        self._told[key] = alive, at, (*details[:4], peers, seeds)
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    def _insert(
        self, table: str, columns: Sequence[str], rows: Iterator[tuple[object, ...]]
    ) -> None:
        """Add rows to those of the same time, and of the same account."""
        keys = columns[: columns.index("at") + 1]
        sums = ", ".join(f"{each} = {each} + excluded.{each}" for each in columns[len(keys) :])
        self._connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}",
            rows,
        )

    def finish(self) -> None:
        """Write what is known of the whole."""
        self._connection.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (number, key.origin, key.bucket, key.key, key.version, *self._told[key][2])
                for key, number in self._numbers.items()
            ),
        )
        self._connection.executemany(
            "INSERT INTO holders VALUES (?, ?, ?)",
            ((number, name, self._seen[name]) for name, number in self._holders.items()),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO kept VALUES (?, ?)", self._kept.items()
        )
        if self._at is not None:
            self._connection.execute("INSERT INTO flushes VALUES (1, ?)", (self._at,))
