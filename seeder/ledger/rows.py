"""Rows of the ledger's tables, as its daemon writes them. Blocks; no trio.

`seeder.ledger.records` reads them.
"""

import sqlite3
from collections.abc import Mapping

from seeder.ledger.counters import COUNTERS, NO_COUNTS, UNATTRIBUTED, AccountKey
from seeder.ledger.groups import GROUP_COUNTS
from seeder.ledger.holders import HOLDER_COUNTS
from seeder.ledger.intervals import start_of
from seeder.ledger.node import FIGURES, NodeFigures
from seeder.ledger.pending import MinuteCounts
from seeder.ledger.records import Entry
from seeder.ledger.schema import LEVELS
from seeder.units import DAY, HOUR, MINUTE

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


class RowWriter:
    """Writes into the tables behind a connection, within the transaction of whoever calls."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write_moment(self, now: float) -> None:
        """Write down when something was counted last (Unix s)."""
        self._connection.execute(_WRITE_FLUSH, (now,))

    def write_account(self, entry: Entry) -> int:
        """Write an account's key and details; return its number."""
        key = entry.key
        names = (key.origin, key.bucket, key.key, key.version)
        number: int = self._connection.execute(_WRITE_ACCOUNT, names + entry.details).fetchone()[0]
        return number

    def write_minute(
        self,
        minute: int,
        pending: MinuteCounts,
        numbers: Mapping[AccountKey, int],
        unattributed: Entry,
    ) -> None:
        """Add what was counted in a minute (Unix s) to it, to its hour and to its day.

        `numbers` are those of the accounts that have something pending. The account of what belongs
        to no object is written as `unattributed` where it gets something, too.
        """
        starts = {step: start_of(minute, step) for step in LEVELS}
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
            number = self.write_account(unattributed)
            counts = tuple(looks if place == _LOOK else 0 for place in range(len(COUNTERS)))
            for step in (HOUR, MINUTE):
                self._add(step, number, starts[step], counts)
        sums = tuple(map(sum, zip(NO_COUNTS, *pending.counts.values(), strict=True)))
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
                self._connection.execute(
                    _ADD_HOLDER[step], (number, start_of(minute, step), *counts)
                )
