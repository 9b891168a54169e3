"""The durable ledger: every few seconds a flush adds what was counted since the last one.

`LedgerFile` notes what is in the file in the same thread that writes it. So a flush that fails, or
whose caller was cancelled, loses nothing and counts nothing twice.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from seeder.errors import StorageError
from seeder.ledger.budget import Spent
from seeder.ledger.counters import FORMER, Account, Ledger
from seeder.ledger.file import BUSY_SECONDS, Entry, LedgerFile

_LOG = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
STOP_SECONDS = 2 * BUSY_SECONDS
"""How long the last flush may take: it waits for one that is under way, then for its own lock."""


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """How the flushes go."""

    flushes: int
    failures: int
    fault: str | None
    """Why the last flush failed; None if it didn't."""
    flushed_at: float | None
    """When a flush last succeeded (Unix s): up to then the file has every count."""


class LedgerDatabase:
    """The ledger's file, written by one thread at a time."""

    def __init__(self, file: LedgerFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._limiter = trio.CapacityLimiter(1)
        self._flushes = 0
        self._failures = 0
        self._fault: str | None = None
        self._flushed_at: float | None = None

    @classmethod
    async def open(
        cls, path: Path, *, busy: float = BUSY_SECONDS, clock: Callable[[], float] = time.time
    ) -> "LedgerDatabase":
        """Open the file, made if it is missing; StorageError when it can't serve as the ledger.

        `busy` is how long to wait for another program's lock (s), `clock` the wall clock (s).
        """
        return cls(await trio.to_thread.run_sync(LedgerFile, path, busy), clock)

    async def load(self, ledger: Ledger) -> None:
        """Add what former runs counted to `ledger`; once, before the first flush; StorageError."""
        for entry in await trio.to_thread.run_sync(self._file.load, limiter=self._limiter):
            entry.add_to(ledger)
        # This run doesn't know yet which of them it serves again, and to whom.
        for account in ledger.accounts:
            account.state, account.peers, account.seeds = FORMER, 0, 0

    async def spent(self) -> Spent:
        """Return what the file has for the present day and month; StorageError."""
        return await trio.to_thread.run_sync(self._file.spent, self._clock(), limiter=self._limiter)

    async def run(
        self,
        ledger: Ledger,
        *,
        interval: float = FLUSH_SECONDS,
        refresh: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Flush every `interval` seconds until cancelled; then flush once more and close.

        `refresh` is called before each flush, to bring the accounts' states and peers up to date.
        """
        task_status.started()
        try:
            while True:
                await trio.sleep(interval)
                await refresh()
                await self.flush(ledger)
        finally:
            written = False
            with trio.move_on_after(STOP_SECONDS, shield=True):
                await refresh()
                written = await self.flush(ledger)
                await self.aclose()
            if not written:
                _LOG.error(
                    "the ledger %s was not written at the stop: what was counted since its last"
                    " flush is lost",
                    self._file.path,
                )

    async def flush(self, ledger: Ledger) -> bool:
        """Write what was counted since the last flush; False, with a warning, if that failed."""
        accounts = (ledger.unattributed, *ledger.accounts)
        now = self._clock()
        try:
            await trio.to_thread.run_sync(
                self._write,
                accounts,
                now,
                abandon_on_cancel=True,
                limiter=self._limiter,
            )
        except StorageError as error:
            self._failures += 1
            if self._fault is None:
                _LOG.warning(
                    "the ledger's counts wait in memory until it can be written: %s", error
                )
            self._fault = str(error)
            return False
        self._flushes += 1
        self._flushed_at = now
        if self._fault is not None:
            self._fault = None
            _LOG.info("the ledger %s is written again", self._file.path)
        return True

    def _write(self, accounts: Sequence[Account], now: float) -> None:
        # Read in this thread, since there may be thousands. One thread writes at a time, so what it
        # reads is never older than what was written before; an account is read in one step.
        self._file.write([Entry.of(account) for account in accounts], now)

    async def aclose(self) -> None:
        """Close the file, without a flush."""
        await trio.to_thread.run_sync(
            self._file.close, abandon_on_cancel=True, limiter=self._limiter
        )

    def statistics(self) -> LedgerStatistics:
        """Return how many flushes succeeded and failed, and how it stands now."""
        return LedgerStatistics(self._flushes, self._failures, self._fault, self._flushed_at)
