"""The history that a running daemon keeps and tells: two-second steps in memory, the rest on disk.

A look every two seconds costs the event loop slices of a fraction of a millisecond; whatever is
told is put together in a thread.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from seeder.errors import StorageError
from seeder.ledger.counters import Account, Counters, Ledger
from seeder.ledger.node import NodeFigures
from seeder.ledger.reading import records_of
from seeder.ledger.recent import RECENT_STEP, Recent, RecentSteps
from seeder.ledger.series import Selection, Series, read_series, recent_series
from seeder.ledger.spans import Span
from seeder.net.guards import Lapses

_LOG = logging.getLogger(__name__)

_READERS = 2
"""Threads that read at a time: there is one connection for each."""


class History:
    """What was counted when; the ledger's file is at `path`, `clock` is the wall clock (s)."""

    def __init__(
        self, path: Path, ledger: Ledger, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.figures: Callable[[int], NodeFigures] = NodeFigures
        """Returns what the node has done since its start, of which this long has passed."""
        self._path = path
        self._ledger = ledger
        self._clock = clock
        self._recent = Recent()
        self._latest: NodeFigures | None = None
        self._limiter = trio.CapacityLimiter(_READERS)

    def latest(self) -> NodeFigures | None:
        """Return the figures of the last look; None before the first one."""
        return self._latest

    def begin(self) -> None:
        """Take what the ledger has now as counted before."""
        self._recent.begin(self._accounts(), self._clock())

    def _accounts(self) -> tuple[Account, ...]:
        return (self._ledger.unattributed, *self._ledger.accounts)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every two seconds until cancelled."""
        self.begin()
        began, lapses = trio.current_time(), Lapses(_LOG, "the history")
        task_status.started()
        while True:
            now = self._clock()
            await trio.sleep(RECENT_STEP - now % RECENT_STEP)
            async with lapses.spared():
                figures = self.figures(int(1000 * (trio.current_time() - began)))
                self._latest = figures
                # The step that has just ended.
                for _ in self._recent.look(
                    self._accounts(), figures, self._clock() - RECENT_STEP / 2
                ):
                    await trio.lowlevel.checkpoint()

    async def series(self, span: Span, scope: Selection | None = None) -> Series:
        """Return the steps of a span, of the whole node or of some accounts; StorageError."""
        recent = None
        if span is Span.HOUR:
            recent = self._recent.snapshot(None if scope is None else scope.has)
        return await trio.to_thread.run_sync(
            partial(_series, self._path, span, self._clock(), scope, recent), limiter=self._limiter
        )

    async def totals(
        self, begin: float | None, end: float | None = None, scope: Selection | None = None
    ) -> tuple[Counters, float | None]:
        """Return what was counted from `begin` to `end` (Unix s), and where it begins indeed.

        That is the minute as long as minutes are kept, else the hour, else the day (UTC). None is
        ever, and until now; StorageError.
        """
        return await trio.to_thread.run_sync(
            partial(read_totals, self._path, begin, end, scope), limiter=self._limiter
        )


def read_totals(
    path: Path, begin: float | None, end: float | None, scope: Selection | None
) -> tuple[Counters, float | None]:
    """Return what `History.totals` does. Blocks."""
    with records_of(path) as records:
        first, last = records.interval(begin, end)
        since = None if begin is None else float(first)
        if scope is None:
            return records.total(first, last), since
        sums = records.sums(first, last)
        total = Counters()
        for number, key, _ in records.accounts():
            if scope.has(key) and number in sums:
                total = total.plus(Counters(*sums[number]))
        return total, since


def _series(
    path: Path, span: Span, now: float, scope: Selection | None, recent: RecentSteps | None
) -> Series:
    if recent is None:
        with records_of(path) as records:
            return read_series(records, span, now, scope)
    # The hour is in memory, whatever becomes of the file.
    with suppress(StorageError), records_of(path) as records:
        return recent_series(records, recent, now, scope)
    return recent_series(None, recent, now, scope)
