"""Rounds: when something is looked at again, after what."""

import logging
import random
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seeder.errors import BudgetSpent, OriginUnreachable
from seeder.publish.rounds import LONGEST_RETRY, Rounds, Timetable

REFRESH = 600.0


class Looker(Rounds):
    """Notes when it looks (s since its start), and comes to what it is told to."""

    def __init__(self, nursery: trio.Nursery, *outcomes: Exception | float) -> None:
        timetable = Timetable(nursery, random.Random(5))
        super().__init__(timetable)
        self.timetable = timetable
        self.outcomes = list(outcomes)
        self.looks: list[float] = []
        self.noted: list[str] = []
        self.begun = trio.current_time()

    @property
    def name(self) -> str:
        return "it"

    @property
    def refresh(self) -> float:
        return REFRESH

    async def look(self) -> float:
        self.looks.append(trio.current_time() - self.begun)
        await trio.lowlevel.checkpoint()
        outcome = self.outcomes.pop(0) if self.outcomes else inf
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def lack_budget(self, error: BudgetSpent) -> None:
        self.noted.append(f"budget: {error}")

    def fail(self, error: Exception, retry: float) -> float:
        self.noted.append(f"{error}: {retry:g}")
        return retry

    def break_down(self, reason: str) -> None:
        self.noted.append(reason)

    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.looks, self.looks[1:], strict=False)]


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.11)


async def test_a_failed_round_is_tried_again_later_each_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    failures = [OriginUnreachable("away") for _ in range(8)]
    it = Looker(nursery, *failures, REFRESH, OriginUnreachable("away"))
    it.start()
    await trio.sleep(3000)
    assert it.pauses() == [*map(about, (1, 2, 4, 8, 16, 32, LONGEST_RETRY, 60, REFRESH, 1))]
    assert it.noted[-1] == "away: 1"


async def test_no_retry_comes_later_than_the_next_refresh(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Looker(nursery, OriginUnreachable("away"))
    monkeypatch.setattr(it, "fail", lambda *_: inf)
    it.start(5)
    await trio.sleep(1000)
    assert it.looks[0] == 5
    assert it.pauses() == [about(REFRESH)]


async def test_a_round_without_budget_goes_on_when_there_is_some(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    it = Looker(nursery, BudgetSpent("spent"), BudgetSpent("spent"), inf)
    it.start()
    await trio.sleep(7)
    it.timetable.wake_waiting()
    await trio.sleep(1)
    assert (it.looks, it.noted) == ([0, 7], ["budget: spent"] * 2)
    await trio.sleep(REFRESH * 1.1)
    # The refresh tries it as well.
    assert it.pauses() == [7, about(REFRESH)]


async def test_a_fault_of_ours_ends_no_rounds(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    it = Looker(nursery, ZeroDivisionError("ours"), inf)
    it.start()
    await trio.sleep(REFRESH * 1.1)
    assert it.noted == ["internal error: ZeroDivisionError('ours')"]
    assert it.pauses() == [about(REFRESH)]
    assert "it: internal error" in caplog.text


async def test_what_has_no_next_round_has_no_task_until_it_is_woken(nursery: trio.Nursery) -> None:
    it = Looker(nursery)
    it.start()
    await wait_all_tasks_blocked()
    assert (len(it.looks), len(nursery.child_tasks)) == (1, 0)
    it.wake()
    assert len(nursery.child_tasks) == 1
    await wait_all_tasks_blocked()
    assert (len(it.looks), len(nursery.child_tasks)) == (2, 0)


async def test_what_is_woken_in_a_round_is_looked_at_once_more(nursery: trio.Nursery) -> None:
    it = Looker(nursery)
    it.start()
    while not it.looks:
        await trio.lowlevel.checkpoint()
    it.wake()
    await wait_all_tasks_blocked()
    assert len(it.looks) == 2


async def test_what_has_ended_is_looked_at_no_more(nursery: trio.Nursery) -> None:
    it = Looker(nursery, BudgetSpent("spent"))
    it.start()
    await wait_all_tasks_blocked()
    it.end()
    it.timetable.wake_waiting()
    it.wake()
    await wait_all_tasks_blocked()
    assert (len(it.looks), len(nursery.child_tasks)) == (1, 0)


async def test_a_trouble_is_told_once(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    it = Looker(nursery)
    for text in ("one", "one", "it: two", "one"):
        it.tell(logging.WARNING, text)
    assert [record.getMessage() for record in caplog.records] == ["it: one", "it: two", "it: one"]
