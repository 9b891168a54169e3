"""How long the ledger's file keeps minutes and hours: what is older is dropped. Blocks; no trio."""

import sqlite3

from seeder.ledger.intervals import start_of
from seeder.ledger.records import Records
from seeder.ledger.schema import LEVELS
from seeder.units import DAY, HOUR, MINUTE

KEPT_FOR = {MINUTE: 2 * DAY, HOUR: 90 * DAY}
"""Age in seconds at which minutes and hours are dropped, so that rows stay few."""
_DROPPED_EVERY = {MINUTE: HOUR, HOUR: DAY}
_JUMP = DAY
"""Seconds by which a clock that moved between two writes counts as set, not as having run."""
_SETTLED_AFTER = HOUR
"""Seconds for which a clock that was set must run before anything is dropped by it."""
_WRITE_KEPT = """
INSERT INTO kept (step, since) VALUES (?, ?)
ON CONFLICT (step) DO UPDATE SET since = excluded.since"""


class Retention:
    """Drops what is too old, within the transaction of whoever calls.

    A clock that is wrong for a while drops nothing.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._records = Records(connection)
        self._settles_at = 0.0
        self._looked: dict[int, int] = {}
        """The time of the last look at the minutes and at the hours, which holds a while."""

    def drop_old(self, now: float, before: float | None) -> dict[int, int]:
        """Drop the minutes and hours that are too old; return for `commit` what was looked at.

        `before` is when the file was written last (Unix s); None if it never was.
        """
        if before is not None and abs(now - before) > _JUMP:
            self._settles_at = now + _SETTLED_AFTER
        if now < self._settles_at:
            return {}
        looks = {}
        kept = self._records.kept()
        for step, every in _DROPPED_EVERY.items():
            looked = start_of(now, every)
            if self._looked.get(step) == looked:
                continue
            looks[step] = looked
            since = start_of(now - KEPT_FOR[step], every)
            if kept[step] > now + every:
                since = looked + every  # dropped by a clock that was wrong
            elif kept[step] >= since:
                continue
            for kind in ("", "node_", "group_", "holder_"):
                table = f"{kind}{LEVELS[step]}"
                self._connection.execute(f"DELETE FROM {table} WHERE at < ?", (since,))
            self._connection.execute(_WRITE_KEPT, (step, since))
        return looks

    def commit(self, looks: dict[int, int]) -> None:
        """Take note that the transaction in which `drop_old` looked was committed."""
        self._looked.update(looks)
