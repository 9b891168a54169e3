"""Swarms saved now and then, a ledger flushed now and then, and a crash: nothing counts twice."""

import copy
import json
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import ROW_ENTRIES, Counted, SwarmRow
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from tests.tracker.announcing import HASH, OWN_PORT, SIZE, Ledger, Tracker

NAMES = "abcd"


def address(name: str) -> str:
    return f"192.0.{ord(name)}.1"


class Restarted(Tracker):
    """A tracker that goes on from saved rows and from what a ledger has on disk."""

    def __init__(self, rows: list[SwarmRow], flushed: Ledger, *, elapsed: float = 0.0) -> None:
        super().__init__(opened=False)
        self.ledger = copy.copy(flushed)
        self.swarms.restore(json.loads(json.dumps(rows)), self.now, elapsed=elapsed)
        counted = Counted(flushed.completions, flushed.delivered)
        self.swarms.open(HASH, size=SIZE, claims=self.ledger, counted=counted)


def saved(tracker: Tracker) -> list[SwarmRow]:
    return list(tracker.swarms.export(tracker.now))


class CrashMachine(RuleBasedStateMachine):
    """What is counted never exceeds what clients got, whatever was saved before a crash."""

    @initialize()
    def begin(self) -> None:
        self.tracker = Tracker()
        self.rows = saved(self.tracker)
        self.flushed = Ledger()
        self.seen: dict[str, int] = {}
        self.truth = 0
        self.has: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.done: set[str] = set()
        self.crashed = False

    def announce(self, name: str, event: AnnounceEvent = AnnounceEvent.NONE) -> None:
        has = self.has[name]
        self.tracker.announce(
            name, address(name), key=name.encode(), downloaded=has, left=SIZE - has, event=event
        )
        # Its first sight ever counts nothing.
        self.truth += has - self.seen.get(name, has)
        self.seen[name] = has

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, SIZE))
    def download(self, name: str, count: int) -> None:
        self.has[name] = min(SIZE, self.has[name] + count)

    @rule(name=st.sampled_from(NAMES))
    def tell(self, name: str) -> None:
        self.announce(name)

    @rule(name=st.sampled_from(NAMES))
    def complete(self, name: str) -> None:
        """Say so, perhaps for the second time: an answer may have been lost."""
        self.has[name] = SIZE
        self.done.add(name)
        self.announce(name, AnnounceEvent.COMPLETED)

    @rule()
    def save(self) -> None:
        self.rows = saved(self.tracker)

    @rule()
    def flush(self) -> None:
        self.flushed = copy.copy(self.tracker.ledger)

    @rule()
    def stop_and_start(self) -> None:
        """Save, then flush, as a clean stop does."""
        self.save()
        self.flush()
        self.tracker = Restarted(self.rows, self.flushed)

    @rule()
    def crash(self) -> None:
        self.tracker = Restarted(self.rows, self.flushed)
        self.crashed = True

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        if not hasattr(self, "tracker"):
            return
        ledger = self.tracker.ledger
        assert ledger.delivered <= self.truth
        assert ledger.completions <= len(self.done)
        if not self.crashed:
            assert ledger.delivered == self.truth
            assert ledger.completions == len(self.done)


TestCrashMachine = CrashMachine.TestCase
TestCrashMachine.settings = settings(max_examples=300, stateful_step_count=25, deadline=None)


def test_what_was_saved_and_flushed_together_is_counted_on_without_a_loss() -> None:
    tracker = Tracker()
    for downloaded in (0, 300):
        tracker.announce("a", key=b"k", downloaded=downloaded)
    rows, flushed = saved(tracker), copy.copy(tracker.ledger)
    tracker.announce("a", key=b"k", downloaded=400)
    again = Restarted(rows, flushed)
    again.announce("a", key=b"k", downloaded=700)
    assert again.ledger.delivered == 700
    again.announce("a", key=b"k", downloaded=SIZE, left=0, event=AnnounceEvent.COMPLETED)
    assert (again.ledger.delivered, again.ledger.completions) == (SIZE, 1)


def test_what_the_ledger_has_beyond_the_swarms_is_not_counted_again() -> None:
    tracker = Tracker()
    for downloaded in (0, 300):
        tracker.announce("a", key=b"k", downloaded=downloaded)
    rows = saved(tracker)
    tracker.announce("a", key=b"k", downloaded=SIZE, left=0, event=AnnounceEvent.COMPLETED)
    again = Restarted(rows, tracker.ledger)
    for _ in range(2):
        again.announce("a", key=b"k", downloaded=SIZE, left=0, event=AnnounceEvent.COMPLETED)
        assert (again.ledger.delivered, again.ledger.completions) == (SIZE, 1)


def test_a_seed_that_announces_before_it_says_again_that_it_has_completed_counts_once() -> None:
    tracker = Tracker()
    rows = saved(tracker)
    tracker.announce("a", key=b"k", downloaded=0)
    tracker.announce("a", key=b"k", downloaded=SIZE, left=0, event=AnnounceEvent.COMPLETED)
    again = Restarted(rows, tracker.ledger)
    for event in (AnnounceEvent.NONE, AnnounceEvent.COMPLETED):
        again.announce("a", key=b"k", downloaded=SIZE, left=0, event=event)
    assert again.ledger.completions == 1


def test_a_downtime_counts_as_silence() -> None:
    policy = SwarmPolicy()
    tracker = Tracker()
    tracker.announce("a", address("a"), key=b"k")
    tracker.now += 1000
    tracker.announce("b", address("b"), key=b"k")
    rows = saved(tracker)
    for elapsed, left in (
        (0, 2),
        (policy.expiry - 999, 1),
        (policy.expiry - 1, 1),
        (policy.expiry + 1, 0),
    ):
        again = Restarted(rows, Ledger(), elapsed=elapsed)
        assert again.swarms.statistics(HASH).peers == left
    again = Restarted(rows, Ledger(), elapsed=policy.expiry - 10)
    again.now += 20
    assert sum(again.swarms.expire(again.now)) == 1


def test_a_large_swarm_is_several_rows_and_others_may_change_it_between_two() -> None:
    policy = SwarmPolicy(peers_per_address=5000)
    tracker = Tracker(policy)
    count = 3 * ROW_ENTRIES + 7
    for port in range(1, count + 1):
        tracker.announce(f"{port}", port=port, key=b"k%d" % port)
    rows = []
    for number, row in enumerate(tracker.swarms.export(tracker.now)):
        rows.append(row)
        assert len(row["peers"]) + len(row["sessions"]) <= ROW_ENTRIES
        tracker.now += 1
        tracker.announce("1", port=1, key=b"k1", downloaded=number * 10)
        tracker.announce(f"new {number}", port=9000 + number, key=b"n%d" % number)
    assert len(rows) == -(-2 * count // ROW_ENTRIES)
    again = Tracker(policy, opened=False)
    again.now = tracker.now
    again.swarms.restore(rows, again.now)
    again.open()
    assert again.swarms.statistics(HASH).peers == count
    # The one that was seen last goes last.
    ages = list(again.swarms._swarms[HASH]._list().peers.seen)
    assert ages == sorted(ages)
    assert sum(again.swarms.expire(10**9)) == count


def test_an_earlier_release_did_not_say_what_was_claimed_and_nothing_is_owed() -> None:
    tracker = Tracker()
    for downloaded in (0, 300):
        tracker.announce("a", key=b"k", downloaded=downloaded)
    rows: list[dict[str, object]] = [dict(row) for row in saved(tracker)]
    for row in rows:
        del row["claimed"]
    again = Tracker(opened=False)
    again.swarms.restore(rows, again.now)  # type: ignore[arg-type]
    counted = Counted(claimed=300)
    again.swarms.open(HASH, size=SIZE, claims=again.ledger, counted=counted)
    again.announce("a", key=b"k", downloaded=500)
    assert again.ledger.delivered == 200


def test_changes_tell_whether_there_is_something_to_save() -> None:
    swarms = Swarms(SwarmPolicy(), OwnSeeder(OWN_PORT), rng=random.Random(1))
    tracker = Tracker()
    tracker.swarms = swarms
    before = swarms.changes
    tracker.open()
    assert swarms.changes == before
    tracker.announce("a")
    assert swarms.changes > before
    before = swarms.changes
    sum(swarms.expire(tracker.now))
    assert swarms.changes == before
    sum(swarms.expire(tracker.now + 10**6))
    assert swarms.changes > before
    before = swarms.changes
    swarms.close(HASH, "gone")
    assert swarms.changes > before
