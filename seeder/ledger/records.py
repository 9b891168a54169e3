"""What stands in the ledger's tables, read from a connection. Blocks; no trio.

Whoever wrote the file may have written anything: what can't have been counted is NotOurs.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import add
from typing import NamedTuple, TypeAlias, TypeGuard

from seeder.ledger.counters import COUNTERS, NO_COUNTS, Account, AccountKey, Counters, Ledger
from seeder.ledger.faults import NotOurs
from seeder.ledger.groups import GROUP_COUNTS, GroupCounts
from seeder.ledger.holders import HOLDER_COUNTS, HolderCounts, HolderSum
from seeder.ledger.intervals import EVER, NEVER, cover, known_moment
from seeder.ledger.node import FIGURES
from seeder.ledger.schema import LEVELS
from seeder.units import HOUR, MINUTE

_MOST = 2**62
"""More than is ever counted, and room in SQLite's 64 bits to go on from."""
_SUMS = ", ".join(f"sum({name})" for name in COUNTERS)
_GROUP_SUMS = ", ".join(f"sum({name})" for name in GROUP_COUNTS)
_HOLDER_SUMS = ", ".join(f"sum({name})" for name in HOLDER_COUNTS)
_ACCOUNTS = """
SELECT id, origin, bucket, key, version, info_hash, size, pieces, state, peers, seeds
FROM accounts ORDER BY id"""
_NODE = ", ".join((*FIGURES, *COUNTERS))

Details: TypeAlias = tuple[str | None, int | None, int | None, str, int, int]


class Entry(NamedTuple):
    """An account as it is, or was, at one moment."""

    key: AccountKey
    details: Details
    """info hash, size, pieces, state, peers, seeds"""
    counts: tuple[int, ...]

    @property
    def state(self) -> str:
        """The state of its torrent."""
        return self.details[3]

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
        account.add(Counters(*self.counts))
        account.info_hash, account.size, account.pieces = self.details[:3]
        account.state, account.peers, account.seeds = self.details[3:]


class NodeStep(NamedTuple):
    """What the whole node did and counted in one step that begins at `at` (Unix s)."""

    at: int
    figures: tuple[int, ...]
    """In the order of FIGURES."""
    counts: tuple[int, ...]
    """In the order of COUNTERS."""


class Records:
    """The tables behind a connection, which looks at a file of the present format."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def kept(self) -> dict[int, int]:
        """Return since when (Unix s) there are minutes and hours, by their seconds."""
        kept = {HOUR: NEVER, MINUTE: NEVER}
        for step, since in self._connection.execute("SELECT step, since FROM kept"):
            if step not in kept or not isinstance(since, int) or abs(since) > NEVER:
                raise NotOurs
            kept[step] = since
        return kept

    def written_at(self) -> float | None:
        """Return when the file was last written (Unix s); None if nothing is in it."""
        found = self._connection.execute("SELECT at FROM flushes").fetchone()
        return found[0] if found else None

    def moment(self, at: float) -> int:
        """Return the last moment up to `at` (Unix s) where sums can begin or end."""
        return known_moment(at, self.kept())

    def interval(self, begin: float | None, end: float | None) -> tuple[int, int]:
        """Return the moments that sums from `begin` to `end` are of; None is ever, and for ever."""
        first = EVER if begin is None else self.moment(begin)
        return first, NEVER if end is None else max(first, self.moment(end))

    def entries(self, begin: int = EVER, end: int = NEVER) -> Iterator[Entry]:
        """Yield every account, with what was counted from one moment to another."""
        sums = self.sums(begin, end)
        for number, key, details in self.accounts():
            yield Entry(key, details, sums.get(number, NO_COUNTS))

    def accounts(self) -> Iterator[tuple[int, AccountKey, Details]]:
        """Yield the number, the key and the details of every account, oldest first."""
        for row in self._connection.execute(_ACCOUNTS):
            info_hash, size, pieces, state, peers, seeds = row[5:]
            texts = (*row[1:5], state, info_hash or "")
            numbers = (size or 0, pieces or 0, peers, seeds)
            if not (all(isinstance(text, str) for text in texts) and all(map(_is_count, numbers))):
                raise NotOurs
            yield row[0], AccountKey(*row[1:5]), row[5:]

    def sums(self, begin: int = EVER, end: int = NEVER) -> dict[int, tuple[int, ...]]:
        """Return what was counted from one moment to another, by the number of the account."""
        found: dict[int, tuple[int, ...]] = {}
        for step, first, last in cover(begin, end):
            for number, *row in self._connection.execute(
                # Account by account, in the order of the table's key: nothing has to be sorted.
                f"SELECT accounts.id, {_SUMS} FROM accounts CROSS JOIN {LEVELS[step]} AS some"
                " ON some.account = accounts.id AND some.at >= ? AND some.at < ?"
                " GROUP BY accounts.id",
                (first, last),
            ):
                counts, before = _counts(row), found.get(number)
                found[number] = tuple(map(add, before, counts)) if before else counts
        return found

    def rows(self, step: int) -> Iterator[tuple[int, ...]]:
        """Yield every row of a table: the number of its account, its time, and its counts."""
        names = ", ".join(COUNTERS)
        for number, at, *row in self._connection.execute(
            f"SELECT account, at, {names} FROM {LEVELS[step]}"
        ):
            yield number, at, *_counts(row)

    def total(self, begin: int, end: int) -> Counters:
        """Return what all accounts counted from one moment to another."""
        total = Counters()
        for step, first, last in cover(begin, end):
            row = self._connection.execute(
                f"SELECT {_SUMS} FROM node_{LEVELS[step]} WHERE at >= ? AND at < ?", (first, last)
            ).fetchone()
            total = total.plus(Counters(*_counts(row)))
        return total

    def node_steps(self, step: int, begin: int, end: int) -> Iterator[NodeStep]:
        """Yield the steps of the whole node in an interval; one that is missing is a gap."""
        size = len(FIGURES)
        for at, *row in self._connection.execute(
            f"SELECT at, {_NODE} FROM node_{LEVELS[step]} WHERE at >= ? AND at < ? ORDER BY at",
            (begin, end),
        ):
            counts = _counts(row)
            yield NodeStep(at, counts[:size], counts[size:])

    def steps(
        self, step: int, begin: int, end: int, accounts: Collection[int]
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the steps in which these accounts counted something, and their sums."""
        for at, *row in self._connection.execute(
            f"SELECT at, {_SUMS} FROM {LEVELS[step]} WHERE at >= ? AND at < ?"
            " AND account IN (SELECT value FROM json_each(?)) GROUP BY at ORDER BY at",
            (begin, end, json.dumps(sorted(accounts))),
        ):
            yield at, _counts(row)

    def groups(self, begin: int = EVER, end: int = NEVER) -> dict[str, GroupCounts]:
        """Return what was counted by group from one moment to another."""
        found: dict[str, GroupCounts] = {}
        for step, first, last in cover(begin, end):
            for name, *row in self._connection.execute(
                f"SELECT name, {_GROUP_SUMS} FROM group_{LEVELS[step]}"
                " WHERE at >= ? AND at < ? GROUP BY name",
                (first, last),
            ):
                if not isinstance(name, str):
                    raise NotOurs
                found[name] = found.get(name, GroupCounts()).plus(GroupCounts(*_counts(row)))
        return found

    def group_rows(self, step: int) -> Iterator[tuple[str | int, ...]]:
        """Yield every row of a table of groups: the group's name, its time, and its counts."""
        names = ", ".join(GROUP_COUNTS)
        for name, at, *row in self._connection.execute(
            f"SELECT name, at, {names} FROM group_{LEVELS[step]}"
        ):
            if not isinstance(name, str):
                raise NotOurs
            yield name, at, *_counts(row)

    def holders(self, begin: int = EVER, end: int = NEVER) -> Iterator[HolderSum]:
        """Yield every holder of passkeys, with what was counted from one moment to another."""
        found: dict[int, HolderCounts] = {}
        for step, first, last in cover(begin, end):
            for number, *row in self._connection.execute(
                f"SELECT holder, {_HOLDER_SUMS} FROM holder_{LEVELS[step]}"
                " WHERE at >= ? AND at < ? GROUP BY holder",
                (first, last),
            ):
                counts = HolderCounts(*_counts(row))
                found[number] = found.get(number, HolderCounts()).plus(counts)
        for number, name, seen in self._connection.execute(
            "SELECT id, name, seen FROM holders ORDER BY id"
        ):
            if not (isinstance(name, str) and _is_count(seen)):
                raise NotOurs
            yield HolderSum(name, seen, found.get(number, HolderCounts()))

    def holder_rows(self, step: int) -> Iterator[tuple[str | int, ...]]:
        """Yield every row of a table of holders: the holder's name, its time, and its counts."""
        names = ", ".join(HOLDER_COUNTS)
        for name, at, *row in self._connection.execute(
            f"SELECT holders.name, at, {names} FROM holder_{LEVELS[step]}"
            " JOIN holders ON holders.id = holder"
        ):
            if not isinstance(name, str):
                raise NotOurs
            yield name, at, *_counts(row)

    def first_day(self) -> int | None:
        """Return the first day (Unix s) of which it is known when something was counted."""
        row = self._connection.execute("SELECT min(at) FROM node_days WHERE at > 0").fetchone()
        return row[0] if isinstance(row[0], int) else None

    def first_step(self) -> int | None:
        """Return when the node ran first (Unix s), to the minute or hour if these are all kept."""
        day = self.first_day()
        if day is None:
            return None
        kept = self.kept()
        for step in (MINUTE, HOUR):
            query = f"SELECT min(at) FROM node_{LEVELS[step]} WHERE at >= ?"
            [first] = self._connection.execute(query, (day,)).fetchone()
            if kept[step] <= day and isinstance(first, int):
                return first
        return day


def _counts(sums: Sequence[object] | Iterable[object]) -> tuple[int, ...]:
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
