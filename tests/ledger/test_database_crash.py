"""What a sudden death leaves of the ledger: a real kill -9, and any order of events at all."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seeder.ledger.counters import PURPOSES, UNATTRIBUTED, AccountKey, Counters, Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.reading import read_ledger
from seeder.ledger.retention import KEPT_FOR
from seeder.torrent.objects import Purpose
from seeder.units import DAY, HOUR, MINUTE
from tests.ledger.support import NELSON, as_nobody

ROOT = Path(__file__).parents[2]

# Counts one byte before each flush and says how many there are after it.
COUNTING = """
import sys, trio
from pathlib import Path
from seeder.ledger.counters import AccountKey, Ledger
from seeder.ledger.database import LedgerDatabase

async def main():
    ledger = Ledger()
    database = await LedgerDatabase.open(Path(sys.argv[1]))
    await database.load(ledger)
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    for _ in range(100_000):
        account.uploaded(1)
        assert await database.flush(ledger)
        print(account.counters.uploaded_bytes, flush=True)

trio.run(main)
"""


def count_until_killed(path: Path, flushes: int) -> int:
    """Let a program count and flush, kill -9 it in the act; return the last count it reported."""
    with subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        assert program.stdout is not None
        try:
            for _ in range(flushes):
                reported = program.stdout.readline()
        finally:
            program.kill()
        # It may have gone on between the last line that was read and the kill.
        later = [
            line for line in program.stdout.read().splitlines(keepends=True) if line[-1] == "\n"
        ]
    assert program.returncode == -9
    return int((later or [reported])[-1])


def test_kill_9_loses_at_most_the_flush_under_way_and_repeats_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    before = 0
    for flushes in (1, 2, 7, 30, 50):
        reported = count_until_killed(path, flushes)
        assert Path(f"{path}-wal").exists()
        found = read_ledger(path, now=0).ledger.totals().uploaded_bytes
        assert found in (reported, reported + 1)
        assert found >= before + flushes
        before = found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_only_read_can_report_what_a_killed_daemon_left() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "ledger.sqlite"
        reported = count_until_killed(path, 3)
        with as_nobody():
            found = read_ledger(path, now=0).ledger.totals().uploaded_bytes
        assert found in (reported, reported + 1)


KEYS = (NELSON, AccountKey("default", "quotes", "Nelson", '"etag-2"'), UNATTRIBUTED)


class LedgerMachine(RuleBasedStateMachine):
    """Counting, flushing, locks, time, stops and crashes in any order, beside a plain model."""

    @initialize()
    def begin(self) -> None:
        self.now = 20_000 * DAY + 1000
        self.crashes = 0
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "ledger.sqlite"
        self.lock: sqlite3.Connection | None = None
        # The model: what memory holds; what the file does, by account and minute, a flush each;
        # and what waits for the file.
        self.counted: dict[AccountKey, Counters] = defaultdict(Counters)
        self.flushed: list[tuple[AccountKey, int, Counters]] = []
        self.waiting: dict[tuple[AccountKey, int], Counters] = {}
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.unlock_if_locked()
            trio.run(self.database.aclose)
            shutil.rmtree(self.directory)

    def open(self) -> None:
        self.ledger = Ledger()
        self.database = trio.run(
            partial(LedgerDatabase.open, self.path, busy=0, clock=lambda: self.now)
        )
        trio.run(self.database.load, self.ledger)
        self.counted = self.in_file(0)

    def in_file(self, start: float) -> dict[AccountKey, Counters]:
        """Return what a report since `start` tells; a look stands by its account in whole days."""
        found: dict[AccountKey, Counters] = defaultdict(Counters)
        first_day = -(-start // DAY) * DAY
        for key, minute, counters in self.flushed:
            if minute >= start:
                looked = counters == Counters(
                    origin_requests_metainfo=counters.origin_requests_metainfo
                )
                whose = UNATTRIBUTED if looked and minute < first_day else key
                found[whose] = found[whose].plus(counters)
        return found

    def unlock_if_locked(self) -> None:
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 2**40))
    def upload(self, key: AccountKey, count: int) -> None:
        self.ledger.account(key).uploaded(count)
        self.counted[key] = self.counted[key].plus(Counters(uploaded_bytes=count))

    @rule(key=st.sampled_from(KEYS), purpose=st.sampled_from(PURPOSES))
    def ask_the_origin(self, key: AccountKey, purpose: Purpose) -> None:
        self.ledger.account(key).origin_request(purpose)
        more = Counters(**{f"origin_requests_{purpose}": 1})
        self.counted[key] = self.counted[key].plus(more)

    @rule(key=st.sampled_from(KEYS[:2]), peers=st.integers(0, 9))
    def meet_peers(self, key: AccountKey, peers: int) -> None:
        self.ledger.account(key).peers = peers

    @rule(seconds=st.integers(1, 3 * HOUR) | st.integers(1, 40 * DAY))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.lock is None)
    @rule()
    def another_program_locks(self) -> None:
        self.lock = sqlite3.connect(self.path, isolation_level=None)
        self.lock.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.lock is not None)
    @rule()
    def another_program_unlocks(self) -> None:
        self.unlock_if_locked()

    @rule()
    def flush(self) -> None:
        in_file = self.in_file(0)
        news = any(in_file[key] != counters for key, counters in self.counted.items())
        written = trio.run(self.database.flush, self.ledger)
        self.note()
        if self.lock is None:
            assert written
            self.flush_model()
        elif news:
            assert not written

    def note(self) -> None:
        known = self.in_file(0)
        for (key, _), counters in self.waiting.items():
            known[key] = known[key].plus(counters)
        for key, counters in self.counted.items():
            place = (key, self.now // MINUTE * MINUTE)
            if new := counters.minus(known[key]):
                self.waiting[place] = self.waiting.get(place, Counters()).plus(new)

    def flush_model(self) -> None:
        self.flushed += [(*place, counters) for place, counters in self.waiting.items()]
        self.waiting.clear()

    @precondition(lambda self: self.lock is None)
    @rule()
    def stop_and_start(self) -> None:
        trio.run(self.stop)
        self.note()
        self.flush_model()
        self.open()

    async def stop(self) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.database.run(self.ledger)

    @rule()
    def crash_and_start(self) -> None:
        """Go on with the files as a kill -9 would leave them at this moment."""
        self.crashes += 1
        left = self.directory / str(self.crashes)
        left.mkdir()
        for suffix in ("", "-wal"):
            file = Path(f"{self.path}{suffix}")
            if file.exists():
                shutil.copy(file, left)
        self.unlock_if_locked()
        trio.run(self.database.aclose)
        self.waiting.clear()
        self.path = left / self.path.name
        self.open()

    @invariant()
    def memory_holds_what_was_counted(self) -> None:
        for key in KEYS:
            assert self.ledger.account(key).counters == self.counted[key]

    @invariant()
    def the_file_holds_what_was_flushed(self) -> None:
        recorded = read_ledger(self.path, now=self.now).ledger
        expected = self.in_file(0)
        for key in KEYS:
            assert recorded.account(key).counters == expected[key]

    @rule(ago=st.integers(0, 5 * HOUR) | st.integers(0, 120 * DAY))
    def report_since(self, ago: int) -> None:
        since = self.now - ago
        recorded = read_ledger(self.path, now=self.now, since=since)
        start = recorded.since
        assert start is not None
        steps = [step for step, age in KEPT_FOR.items() if ago <= age]
        assert since - start < min([*steps, DAY])
        expected = self.in_file(start)
        for key in KEYS:
            assert recorded.ledger.account(key).counters == expected[key]


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
