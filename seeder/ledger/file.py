"""The ledger's SQLite file as its daemon writes it. Blocks; no trio. Others use `reading`.

What has been written already is remembered beside the connection, and changes only after a COMMIT.
So a write that fails loses nothing and repeats nothing: what was counted waits under the minute in
which it was, and the next one writes it.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from seeder.errors import LedgerDamaged, StorageError
from seeder.ledger.budget import Spent
from seeder.ledger.counters import NO_COUNTS, UNATTRIBUTED, AccountKey
from seeder.ledger.faults import DAMAGED, code, explaining
from seeder.ledger.groups import GroupCounts
from seeder.ledger.holders import HolderLedger, HolderNews
from seeder.ledger.intervals import start_of
from seeder.ledger.node import NodeFigures
from seeder.ledger.pending import MinuteCounts, Pending
from seeder.ledger.reading import spent_in
from seeder.ledger.records import Entry, Records
from seeder.ledger.retention import Retention
from seeder.ledger.rows import RowWriter
from seeder.ledger.schema import (
    BUSY_SECONDS,
    bring_up,
    check,
    connect,
    look_for_tables,
)
from seeder.units import MINUTE

_LOCK_PAUSE = 0.01
_UNATTRIBUTED = Entry(UNATTRIBUTED, (None, None, None, "", 0, 0), NO_COUNTS)
"""The account of what belongs to no object, as long as nothing was counted on it."""


class LedgerFile:
    """The connection that writes, and what it knows to be in the file; one thread at a time.

    StorageError where it can't be opened; LedgerRefused and LedgerDamaged say why not.
    """

    def __init__(self, path: Path, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self.written: dict[AccountKey, Entry] = {}
        """What is in the file, as far as it was loaded or written."""
        self._pending = Pending()
        self.groups: dict[str, GroupCounts] = {}
        """What is in the file or pending by group, as far as it was loaded or written."""
        self._holders = HolderNews()
        self._wrote_at: float | None = None
        """When it was last written (Unix s); None: this connection hasn't."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent}: can't be made: {error.strerror}") from error
        with explaining(path, "written"):
            self._connection = connect(path, "mode=rwc", busy)
            try:
                self._prepare(busy)
            except BaseException:
                self._connection.close()
                raise
        self._records = Records(self._connection)
        self._rows = RowWriter(self._connection)
        self._retention = Retention(self._connection)

    def _prepare(self, busy: float) -> None:
        """Check the file, set it up, and bring its schema to the present."""
        # Nothing of another program's file may be changed, not even its journal mode.
        with self._transaction("DEFERRED"):
            check(self.path, self._connection)
        self._use_wal(busy)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {4 * 1024 * 1024}")
        # Takes the write lock even if there is nothing to do: a file that can't be written fails
        # here.
        with self._transaction():
            bring_up(self._connection, check(self.path, self._connection))

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
            look_for_tables(self._connection)
            self._records.kept()
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
            entries = list(self._records.entries())
        self.written = {entry.key: entry for entry in entries}
        return entries

    def load_groups(self) -> dict[str, GroupCounts]:
        """Return what was counted by group, for a ledger to go on from.

        LedgerDamaged, StorageError.
        """
        with explaining(self.path, "read"):
            found = self._records.groups()
        self.groups = found
        return {name: GroupCounts(*counts.values()) for name, counts in found.items()}

    def write(
        self,
        entries: Iterable[Entry],
        now: float,
        node: NodeFigures | None = None,
        groups: Mapping[str, GroupCounts] = MappingProxyType({}),
        holders: HolderLedger | None = None,
    ) -> None:
        """Bring the file up to `entries` in one transaction; StorageError leaves it as it was.

        `node` is what the node has done since its start, None if that isn't known; `groups` is what
        was counted by group, `holders` by the names of passkeys since the start.
        """
        changed = [entry for entry in entries if self.written.get(entry.key) != entry]
        minute = start_of(now, MINUTE)
        by_group = self._news(groups)
        by_name = {} if holders is None else self._holders.take(holders)
        news = bool(by_group or by_name)
        idle = not (changed or news or self._pending.minutes)
        if idle and (node is None or self._has_minute(minute)):
            return
        self._pending.note(
            minute, changed, self.written, node=node, groups=by_group, holders=by_name
        )
        with explaining(self.path, "written"), self._transaction():
            before = self._records.written_at() if self._wrote_at is None else self._wrote_at
            self._write_minutes(changed, self._pending.minutes)
            if changed or news:
                self._rows.write_moment(now)
            looks = self._retention.drop_old(now, before)
        self.written.update((entry.key, entry) for entry in changed)
        self._pending.clear()
        self._retention.commit(looks)
        self._wrote_at = now

    def _write_minutes(self, entries: Iterable[Entry], minutes: Mapping[int, MinuteCounts]) -> None:
        """Write the entries, and what was counted by the minute, which is of no other accounts."""
        rows, unattributed = self._rows, self.written.get(UNATTRIBUTED, _UNATTRIBUTED)
        numbers = {entry.key: rows.write_account(entry) for entry in entries}
        for at, counts in minutes.items():
            rows.write_minute(at, counts, numbers, unattributed)

    def _news(self, groups: Mapping[str, GroupCounts]) -> dict[str, GroupCounts]:
        """Return what was counted by group since the last call."""
        news = {}
        # In the thread that writes, while others count: what is missed now comes next time.
        for name, counts in tuple(groups.items()):
            present = GroupCounts(*counts.values())
            new = present.minus(self.groups.get(name, GroupCounts()))
            if new:
                news[name] = new
                self.groups[name] = present
        return news

    def _has_minute(self, minute: int) -> bool:
        return self._wrote_at is not None and start_of(self._wrote_at, MINUTE) == minute

    def write_former(
        self,
        entries: Mapping[AccountKey, Entry],
        groups: Mapping[str, GroupCounts] = MappingProxyType({}),
    ) -> None:
        """Write accounts and groups into a new file as counted long ago; StorageError."""
        long_ago = MinuteCounts({key: entry.counts for key, entry in entries.items()})
        long_ago.add_groups(groups)
        with explaining(self.path, "written"), self._transaction():
            self._write_minutes(entries.values(), {0: long_ago})
        self.written = dict(entries)
        self.groups = dict(groups)

    def spent(self, now: float) -> Spent:
        """Return what the file has for the day and the month of `now`.

        LedgerDamaged, StorageError.
        """
        with explaining(self.path, "read"):
            return spent_in(self._records, now)

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
