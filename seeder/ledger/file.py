"""The ledger's SQLite file as its daemon writes it. Blocks; no trio. Others use `reading`.

What has been written already is remembered beside the connection, and changes only after a COMMIT.
So a write that fails loses nothing and repeats nothing: what was counted waits under the minute in
which it was, and the next one writes it.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import add, sub
from pathlib import Path
from types import MappingProxyType

from seeder.errors import LedgerDamaged, StorageError
from seeder.ledger.budget import Spent
from seeder.ledger.counters import COUNTERS, UNATTRIBUTED, AccountKey
from seeder.ledger.faults import DAMAGED, code, explaining
from seeder.ledger.groups import GROUP_COUNTS, GroupCounts
from seeder.ledger.holders import HOLDER_COUNTS, HolderCounts, HolderLedger, HolderNews
from seeder.ledger.node import FIGURES, NodeFigures
from seeder.ledger.reading import spent_in
from seeder.ledger.records import Entry, Records
from seeder.ledger.schema import (
    BUSY_SECONDS,
    LEVELS,
    bring_up,
    check,
    connect,
    look_for_tables,
)
from seeder.units import DAY, HOUR, MINUTE

_LOCK_PAUSE = 0.01
KEPT_FOR = {MINUTE: 2 * DAY, HOUR: 90 * DAY}
"""Age in seconds at which minutes and hours are dropped, so that rows stay few."""
_DROPPED_EVERY = {MINUTE: HOUR, HOUR: DAY}
_JUMP = DAY
"""Seconds by which a clock that moved between two writes counts as set, not as having run."""
_SETTLED_AFTER = HOUR
"""Seconds for which a clock that was set must run before anything is dropped by it."""
_PENDING_AT_MOST = 180
"""Minutes that wait for a file that can't be written; more are added up."""

_LOOK = COUNTERS.index("origin_requests_metainfo")
_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)
_NODE_ADDED = ", ".join(
    f"{name} = max({name}, excluded.{name})"
    if name == "peers"
    else f"{name} = {name} + excluded.{name}"
    for name in FIGURES
)

_WRITE_ACCOUNT = """
INSERT INTO accounts (origin, bucket, key, version, info_hash, size, pieces, state, peers, seeds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (origin, bucket, key, version) DO UPDATE SET
    info_hash = excluded.info_hash, size = excluded.size, pieces = excluded.pieces,
    state = excluded.state, peers = excluded.peers, seeds = excluded.seeds
RETURNING id"""
_ADD_COUNTS = {
    step: f"""
INSERT INTO {table} (account, at, {", ".join(COUNTERS)})
VALUES (?, ?{", ?" * len(COUNTERS)}) ON CONFLICT (account, at) DO UPDATE SET {_ADDED}"""
    for step, table in LEVELS.items()
}
_ADD_NODE = {
    step: f"""
INSERT INTO node_{table} (at, {", ".join((*FIGURES, *COUNTERS))})
VALUES (?{", ?" * len((*FIGURES, *COUNTERS))})
ON CONFLICT (at) DO UPDATE SET {_NODE_ADDED}, {_ADDED}"""
    for step, table in LEVELS.items()
}
_GROUP_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in GROUP_COUNTS)
_ADD_GROUP = {
    step: f"""
INSERT INTO group_{table} (name, at, {", ".join(GROUP_COUNTS)})
VALUES (?, ?{", ?" * len(GROUP_COUNTS)}) ON CONFLICT (name, at) DO UPDATE SET {_GROUP_ADDED}"""
    for step, table in LEVELS.items()
}
_WRITE_HOLDER = """
INSERT INTO holders (name, seen) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET seen = max(seen, excluded.seen)
RETURNING id"""
_HOLDER_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in HOLDER_COUNTS)
_ADD_HOLDER = {
    step: f"""
INSERT INTO holder_{table} (holder, at, {", ".join(HOLDER_COUNTS)})
VALUES (?, ?{", ?" * len(HOLDER_COUNTS)}) ON CONFLICT (holder, at) DO UPDATE SET {_HOLDER_ADDED}"""
    for step, table in LEVELS.items()
}
_WRITE_FLUSH = """
INSERT INTO flushes (last, at) VALUES (1, ?) ON CONFLICT (last) DO UPDATE SET at = excluded.at"""
_WRITE_KEPT = """
INSERT INTO kept (step, since) VALUES (?, ?)
ON CONFLICT (step) DO UPDATE SET since = excluded.since"""
_NONE = (0,) * len(COUNTERS)


@dataclass(slots=True)
class _Pending:
    """What was counted in one minute and isn't in the file yet."""

    counts: dict[AccountKey, tuple[int, ...]] = field(default_factory=dict)
    node: NodeFigures | None = None
    groups: dict[str, GroupCounts] = field(default_factory=dict)
    holders: dict[str, HolderCounts] = field(default_factory=dict)
    """Of those that were seen."""

    def add(self, key: AccountKey, counts: tuple[int, ...]) -> None:
        self.counts[key] = tuple(map(add, self.counts.get(key, _NONE), counts))

    def add_node(self, figures: NodeFigures) -> None:
        self.node = figures if self.node is None else self.node.plus(figures)

    def add_groups(self, groups: Mapping[str, GroupCounts]) -> None:
        for name, counts in groups.items():
            self.groups[name] = self.groups.get(name, GroupCounts()).plus(counts)

    def take_over(self, other: "_Pending") -> None:
        for key, counts in other.counts.items():
            self.add(key, counts)
        if other.node is not None:
            self.add_node(other.node)
        self.add_groups(other.groups)
        for holder, holder_counts in other.holders.items():
            self.add_holder(holder, holder_counts)

    def add_holder(self, holder: str, counts: HolderCounts) -> None:
        self.holders[holder] = self.holders.get(holder, HolderCounts()).plus(counts)


class LedgerFile:
    """The connection that writes, and what it knows to be in the file; one thread at a time."""

    def __init__(self, path: Path, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self.written: dict[AccountKey, Entry] = {}
        """What is in the file, as far as it was loaded or written."""
        self._pending: dict[int, _Pending] = {}
        """By the minute (Unix s)."""
        self._noted: dict[AccountKey, tuple[int, ...]] = {}
        """What is in the file or pending, of the accounts that have something pending."""
        self.groups: dict[str, GroupCounts] = {}
        """What is in the file or pending by group, as far as it was loaded or written."""
        self._holders = HolderNews()
        self._node: NodeFigures | None = None
        """At the last call; what came before the first one was counted for another file, if any."""
        self._wrote_at: float | None = None
        """When it was last written (Unix s); None: this connection hasn't."""
        self._settles_at = 0.0
        self._dropped: dict[int, int] = {}
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
        minute = _floor(now, MINUTE)
        by_group = self._news(groups)
        by_name = {} if holders is None else self._holders.take(holders)
        news = bool(by_group or by_name)
        idle = not (changed or news or self._pending)
        if idle and (node is None or self._has_minute(minute)):
            return
        self._note(changed, minute, node, by_name)
        self._pending[minute].add_groups(by_group)
        with explaining(self.path, "written"), self._transaction():
            numbers = {entry.key: self._write_account(entry) for entry in changed}
            for at, pending in self._pending.items():
                self._write_pending(at, pending, numbers)
            if changed or news:
                self._connection.execute(_WRITE_FLUSH, (now,))
            dropped = self._drop_old(now)
        self.written.update((entry.key, entry) for entry in changed)
        self._pending.clear()
        self._noted.clear()
        self._dropped.update(dropped)
        self._wrote_at = now

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
        return self._wrote_at is not None and _floor(self._wrote_at, MINUTE) == minute

    def _note(
        self,
        changed: Iterable[Entry],
        minute: int,
        node: NodeFigures | None,
        holders: Mapping[str, HolderCounts],
    ) -> None:
        """Keep what was counted since the last call under its minute."""
        pending = self._pending.setdefault(minute, _Pending())
        for holder, holder_counts in holders.items():
            pending.add_holder(holder, holder_counts)
        for entry in changed:
            before = self.written.get(entry.key)
            noted = self._noted.get(entry.key, before.counts if before else _NONE)
            if entry.counts != noted:
                pending.add(entry.key, tuple(map(sub, entry.counts, noted)))
                self._noted[entry.key] = entry.counts
        if node is not None:
            pending.add_node(node.since(self._node or node))
            self._node = node
        if len(self._pending) > _PENDING_AT_MOST:
            first, second, *_ = sorted(self._pending)
            self._pending[second].take_over(self._pending.pop(first))

    def _write_account(self, entry: Entry) -> int:
        key = entry.key
        names = (key.origin, key.bucket, key.key, key.version)
        number: int = self._connection.execute(_WRITE_ACCOUNT, names + entry.details).fetchone()[0]
        return number

    def _write_pending(
        self, minute: int, pending: _Pending, numbers: Mapping[AccountKey, int]
    ) -> None:
        """Add what was counted in a minute to it, to its hour and to its day."""
        starts = {step: _floor(minute, step) for step in LEVELS}
        looks = 0
        for key, counts in pending.counts.items():
            if key != UNATTRIBUTED and counts[_LOOK] == sum(counts):
                # Thousands of objects are looked at now and then: a row each would be many.
                looks += counts[_LOOK]
                self._add(DAY, numbers[key], starts[DAY], counts)
                continue
            for step, start in starts.items():
                self._add(step, numbers[key], start, counts)
        if looks:
            unattributed = self._number_of_unattributed()
            counts = tuple(looks if place == _LOOK else 0 for place in range(len(COUNTERS)))
            for step in (HOUR, MINUTE):
                self._add(step, unattributed, starts[step], counts)
        sums = tuple(map(sum, zip(_NONE, *pending.counts.values(), strict=True)))
        for name, counted in pending.groups.items():
            for step, start in starts.items():
                self._connection.execute(_ADD_GROUP[step], (name, start, *counted.values()))
        for holder, holder_counts in pending.holders.items():
            self._add_holder(holder, minute, holder_counts.values())
        figures = (pending.node or NodeFigures()).values()
        if pending.node is not None or any(sums):
            for step, start in starts.items():
                self._connection.execute(_ADD_NODE[step], (start, *figures, *sums))

    def _add(self, step: int, account: int, start: int, counts: tuple[int, ...]) -> None:
        self._connection.execute(_ADD_COUNTS[step], (account, start, *counts))

    def _add_holder(self, holder: str, minute: int, counts: tuple[int, ...]) -> None:
        seen = max(0, minute)
        [number] = self._connection.execute(_WRITE_HOLDER, (holder, seen)).fetchone()
        if any(counts):
            for step in LEVELS:
                self._connection.execute(_ADD_HOLDER[step], (number, _floor(minute, step), *counts))

    def _number_of_unattributed(self) -> int:
        entry = self.written.get(UNATTRIBUTED)
        return self._write_account(
            entry or Entry(UNATTRIBUTED, (None, None, None, "", 0, 0), _NONE)
        )

    def _drop_old(self, now: float) -> dict[int, int]:
        """Drop the minutes and hours that are too old; return when each was looked at.

        A clock that is wrong for a while drops nothing.
        """
        before = self._wrote_at
        if before is None:
            found = self._connection.execute("SELECT at FROM flushes").fetchone()
            before = found[0] if found else now
        if abs(now - before) > _JUMP:
            self._settles_at = now + _SETTLED_AFTER
        if now < self._settles_at:
            return {}
        dropped = {}
        kept = self._records.kept()
        for step, every in _DROPPED_EVERY.items():
            looked = _floor(now, every)
            if self._dropped.get(step) == looked:
                continue
            dropped[step] = looked
            since = _floor(now - KEPT_FOR[step], every)
            if kept[step] > now + every:
                since = looked + every  # dropped by a clock that was wrong
            elif kept[step] >= since:
                continue
            kinds = ("", "node_", "group_", "holder_")
            for table in (f"{kind}{LEVELS[step]}" for kind in kinds):
                self._connection.execute(f"DELETE FROM {table} WHERE at < ?", (since,))
            self._connection.execute(_WRITE_KEPT, (step, since))
        return dropped

    def write_former(
        self,
        entries: Mapping[AccountKey, Entry],
        groups: Mapping[str, GroupCounts] = MappingProxyType({}),
    ) -> None:
        """Write accounts and groups into a new file as counted long ago; StorageError."""
        long_ago = _Pending({key: entry.counts for key, entry in entries.items()})
        long_ago.add_groups(groups)
        with explaining(self.path, "written"), self._transaction():
            numbers = {key: self._write_account(entry) for key, entry in entries.items()}
            self._write_pending(0, long_ago, numbers)
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


def _floor(at: float, step: int) -> int:
    return int(at) // step * step
