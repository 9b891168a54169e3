"""The durable ledger: every few seconds a flush adds what was counted since the last one.

`LedgerFile` notes what is in the file in the same thread that writes it. So a flush that fails, or
whose caller was cancelled, loses nothing and counts nothing twice. A file that can't be opened at
the start is opened by a later flush, and what former runs counted joins what was counted meanwhile.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from seeder.errors import LedgerDamaged, LedgerRefused, StorageError
from seeder.ledger.budget import Spent
from seeder.ledger.counters import FORMER, Account, AccountKey, Counters, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.groups import GroupCounts
from seeder.ledger.holders import HolderLedger
from seeder.ledger.node import NodeFigures
from seeder.ledger.opening import Former, open_ledger, read_former, replace_ledger
from seeder.ledger.records import Entry
from seeder.ledger.schema import BUSY_SECONDS
from seeder.net.guards import Lapses
from seeder.net.scarcity import why_it_failed

_LOG = logging.getLogger(__name__)

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

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
    """The ledger's file, written by one thread at a time.

    `joined` is called when former counts are found only after the start: with these, and with
    their part in the present day and month.
    """

    def __init__(self, path: Path, busy: float, clock: Callable[[], float]) -> None:
        self.joined: Callable[[Counters, Spent], object] = lambda counted, spent: None
        self.figures: Callable[[], NodeFigures | None] = lambda: None
        """Returns what the node has done since its start; None before it is known."""
        self.is_settled: Callable[[], bool] = lambda: True
        """Tells whether all that is published is known. Until then a FORMER account may be served
        again any moment, and stays as it is in the file unless something was counted on it."""
        self._path = path
        self._busy = busy
        self._clock = clock
        self._file: LedgerFile | None = None
        self._closed = False
        self._former: Former | None = None
        """Of the counts that were loaded, those that a file opened later has as well; None until
        they are loaded."""
        self._limiter = trio.CapacityLimiter(1)
        self._opening = trio.Lock()
        self._flushes = 0
        self._failures = 0
        self._fault: str | None = None
        self._flushed_at: float | None = None

    @classmethod
    async def open(
        cls, path: Path, *, busy: float = BUSY_SECONDS, clock: Callable[[], float] = time.time
    ) -> "LedgerDatabase":
        """Open the file, made if it is missing; LedgerRefused if it is somebody else's.

        If it can't be opened now, the log says so, and each flush tries again. `busy` is how long
        to wait for another program's lock (s), `clock` the wall clock (s).
        """
        database = cls(path, busy, clock)
        try:
            database._file = await database._in_thread(open_ledger, path, busy)
        except LedgerRefused:
            raise
        except StorageError as error:
            database._fault = str(error)
            _LOG.error("%s; counts wait in memory until the ledger can be opened", error)
        return database

    async def load(self, ledger: Ledger) -> None:
        """Add what former runs counted to `ledger`; once, before the first flush.

        Without the file, add what can be read of it; the rest is added when it is opened.
        """
        if self._file is None:
            self._former = await self._in_thread(read_former, self._path, self._clock())
            entries = list(self._former.entries.values())
        else:
            self._former = Former()
            entries = await self._load_file(self._file, ledger)
        for entry in entries:
            entry.add_to(ledger)
        # This run doesn't know yet which of them it serves again, and to whom.
        for account in ledger.accounts:
            account.state, account.peers, account.seeds = FORMER, 0, 0

    async def _load_file(self, file: LedgerFile, ledger: Ledger) -> list[Entry]:
        try:
            entries = await self._in_thread(file.load)
            ledger.groups.counts = await self._in_thread(file.load_groups)
            return entries
        except LedgerDamaged as error:
            await self._replace(file, error)
            return []

    async def spent(self) -> Spent:
        """Return what the file has for the present day and month; nothing if it can't be read."""
        if self._file is None:
            return Spent() if self._former is None else self._former.spent
        try:
            return await self._in_thread(self._file.spent, self._clock())
        except LedgerDamaged as error:
            await self._replace(self._file, error)
            return Spent()

    async def _replace(self, file: LedgerFile, error: LedgerDamaged) -> None:
        """Begin another file in place of a damaged one; StorageError leaves that to a later flush.

        An error is in the log in any case.
        """
        async with self._opening:
            if self._file is not file:
                return
            self._file = None
            if self._former is not None:
                self._former = Former(file.written)
            self._file = await self._in_thread(replace_ledger, file, error, self._busy)

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
        lapses = Lapses(_LOG, "the accounts of what is published")
        try:
            while True:
                await trio.sleep(interval)
                async with lapses.spared():
                    await refresh()
                await self.flush(ledger)
        finally:
            written = False
            with trio.move_on_after(STOP_SECONDS, shield=True):
                async with lapses.spared():
                    await refresh()
                written = await self.flush(ledger)
                await self.aclose()
            if not written:
                _LOG.error(
                    "the ledger %s was not written at the stop: what was counted since its last"
                    " flush is lost",
                    self._path,
                )

    async def flush(self, ledger: Ledger) -> bool:
        """Write what was counted since the last flush; False, with a warning, if that failed."""
        now = self._clock()
        try:
            file = self._file
            if file is None:
                file = await self._open_late(ledger)
            accounts = (ledger.unattributed, *ledger.accounts)
            entries = partial(_entries, accounts, settled=self.is_settled())
            others = ledger.groups.counts, ledger.holders
            await self._write(file, entries, now, self.figures(), others)
        except StorageError as error:
            self._failed(str(error))
            return False
        except Exception as error:
            # A fault of ours, maybe with one of the counts: what is served goes on.
            if self._fault is None:
                _LOG.exception("the ledger: internal error")
            self._failed(why_it_failed(error))
            return False
        self._flushes += 1
        self._flushed_at = now
        if self._fault is not None:
            self._fault = None
            _LOG.info("the ledger %s is written again", self._path)
        return True

    def _failed(self, why: str) -> None:
        self._failures += 1
        if self._fault is None:
            _LOG.warning("the ledger's counts wait in memory until it can be written: %s", why)
        self._fault = why

    async def _write(
        self,
        file: LedgerFile,
        entries: Callable[[LedgerFile], Iterator[Entry]],
        now: float,
        node: NodeFigures | None,
        others: tuple[Mapping[str, GroupCounts], HolderLedger],
    ) -> None:
        counted = (entries, now, node, others)
        try:
            await self._in_thread(_write, file, *counted, abandon_on_cancel=True)
        except LedgerDamaged as error:
            await self._replace(file, error)
            if self._file is not None:
                await self._in_thread(_write, self._file, *counted, abandon_on_cancel=True)

    async def _open_late(self, ledger: Ledger) -> LedgerFile:
        """Open the file; where former counts were wanted, add those that the ledger hasn't got."""
        async with self._opening:
            if self._file is not None:
                return self._file
            file = await self._in_thread(open_ledger, self._path, self._busy)
            if self._former is None:
                self._file = file
                return file
            try:
                entries = await self._in_thread(file.load)
                spent = await self._in_thread(file.spent, self._clock())
            except LedgerDamaged as error:
                file = await self._in_thread(replace_ledger, file, error, self._busy)
                entries, spent = [*file.written.values()], self._former.spent
            except BaseException:
                file.close()
                raise
            # From here on without an await: the file and the ledger agree, or nothing was done.
            known, before = self._former, ledger.totals()
            _join(ledger, entries, known.entries)
            self._file = file
            self.joined(
                ledger.totals().minus(before),
                Spent(
                    spent.today.minus(known.spent.today),
                    spent.this_month.minus(known.spent.this_month),
                ),
            )
            return file

    async def aclose(self) -> None:
        """Close the file, without a flush, also when cancelled; done once, a further call is none.

        A thread that still waits for another's lock is left to it; then the file stays open.
        """
        if self._file is not None and not self._closed:
            with trio.move_on_after(STOP_SECONDS, shield=True):
                await self._in_thread(self._file.close, abandon_on_cancel=True)
                self._closed = True

    async def _in_thread(
        self,
        function: Callable[[*_Arguments], _Result],
        *arguments: *_Arguments,
        abandon_on_cancel: bool = False,
    ) -> _Result:
        """Call a function in the one thread that may use the file."""
        return await trio.to_thread.run_sync(
            function, *arguments, abandon_on_cancel=abandon_on_cancel, limiter=self._limiter
        )

    def statistics(self) -> LedgerStatistics:
        """Return how many flushes succeeded and failed, and how it stands now."""
        return LedgerStatistics(self._flushes, self._failures, self._fault, self._flushed_at)


def _write(
    file: LedgerFile,
    entries: Callable[[LedgerFile], Iterator[Entry]],
    now: float,
    node: NodeFigures | None,
    others: tuple[Mapping[str, GroupCounts], HolderLedger],
) -> None:
    # Read in this thread, since there may be thousands. One thread writes at a time, so what it
    # reads is never older than what was written before; an account is read in one step.
    file.write(entries(file), now, node, *others)


def _entries(accounts: Sequence[Account], file: LedgerFile, *, settled: bool) -> Iterator[Entry]:
    """Yield accounts as they are now; unless that is `settled`, none that is a former one so far
    and on which nothing was counted."""
    for entry in map(Entry.of, accounts):
        written = file.written.get(entry.key)
        if settled or entry.state != FORMER or not written or entry.counts != written.counts:
            yield entry


def _join(ledger: Ledger, entries: Iterable[Entry], known: Mapping[AccountKey, Entry]) -> None:
    """Add what the ledger hasn't got of the entries' counts; what it serves stays as it is."""
    present = {account.key for account in (ledger.unattributed, *ledger.accounts)}
    for entry in entries:
        counted = Counters(*entry.counts)
        if entry.key in known:
            counted = counted.minus(Counters(*known[entry.key].counts))
        account = ledger.account(entry.key)
        account.add(counted)
        if entry.key not in present:
            account.info_hash, account.size, account.pieces = entry.details[:3]
            account.state = FORMER
