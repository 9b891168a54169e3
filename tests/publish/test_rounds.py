"""Rounds: when something is looked at again, after what."""

import logging
import random
import time
from collections import Counter
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seeder.errors import AccessDenied, BudgetSpent, OriginUnreachable, SignerRefused
from seeder.net import slices
from seeder.publish.embargo import Embargoes
from seeder.publish.rounds import LONGEST_RETRY, REFUSED_RETRY, SOONEST, Rounds
from seeder.publish.timetable import ASK_FOR_S3, LATEST, LOOK_FOR_S3, STEP, Timetable

REFRESH = 600.0


class Looker(Rounds):
    """Notes when it looks (s since its start), and comes to what it is told to."""

    def __init__(self, nursery: trio.Nursery, *outcomes: Exception | float) -> None:
        timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
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
    def origin(self) -> str:
        return "default"

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


class Refused(Looker):
    """S3 refuses it until it is granted."""

    granted = False

    async def look(self) -> float:
        self.outcomes = [REFRESH] if self.granted else self.outcomes[:1] or [AccessDenied("403")]
        return await super().look()

    def fail(self, error: Exception, retry: float) -> float:
        return self.put_off()


def within(pause: float, longest: float) -> bool:
    return 0.9 * SOONEST * longest <= pause <= 1.1 * longest


async def test_what_s3_refused_is_asked_for_later_each_time_until_the_refresh(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    it = Refused(nursery)
    it.start()
    await trio.sleep(3600)
    longest = [*(REFUSED_RETRY * factor for factor in (1, 2, 4, 8)), REFRESH, REFRESH]
    assert all(map(within, it.pauses(), longest)), it.pauses()
    it.wake()
    await wait_all_tasks_blocked()
    assert it.looks[-1] == 3600
    await trio.sleep(REFUSED_RETRY * 1.1)
    assert within(it.pauses()[-1], REFUSED_RETRY), "whoever mends it looks more than once"
    it.granted = True
    it.wake()
    await trio.sleep(1)
    assert not it.is_put_off
    assert it.due_at is not None
    assert it.due_at - it.begun - it.looks[-1] == about(REFRESH)


async def test_thousands_that_s3_refused_at_once_are_asked_for_one_by_one_and_seldom(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
    all_of_them = [Refused(nursery) for _ in range(2000)]
    for each in all_of_them:
        each._timetable = timetable
        each.start()
    await trio.sleep(1800)
    looks = sorted(at for each in all_of_them for at in each.looks[1:])
    assert len(looks) <= 8 * len(all_of_them)
    busiest = max(Counter(int(at / REFUSED_RETRY) for at in looks).values())
    assert busiest <= len(all_of_them), "at the beginning; half a refresh later a quarter of that"
    later = Counter(int(at / REFUSED_RETRY) for at in looks if at > REFRESH)
    assert max(later.values()) <= len(all_of_them) / 4


async def test_all_whose_signer_was_refused_are_asked_for_once_one_of_them_is_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
    one, other, ended = (Refused(nursery, SignerRefused("who is it?")) for _ in range(3))
    for each in (one, other, ended):
        each._timetable = timetable
        each.start()
    await trio.sleep(1)
    timetable.refusals["default"] = "who is it?"
    ended.end()
    for each in (one, other, ended):
        each.granted = True
    one.wake()
    await trio.sleep(1)
    assert [each.looks for each in (one, other, ended)] == [[0, 1], [0, 1], [0]]


async def test_what_can_not_even_be_noted_ends_no_round(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [OriginUnreachable("away"), BudgetSpent("spent"), KeyError("a bug")]
    it = Looker(nursery, *failures, REFRESH)

    def fail(*_: object) -> float:
        raise KeyError("another bug")

    monkeypatch.setattr(it, "fail", fail)
    monkeypatch.setattr(it, "lack_budget", fail)
    it.start()
    await trio.sleep(4 * REFRESH)
    assert it.pauses()[:3] == [about(REFRESH)] * 3
    assert it.noted == [
        f"internal error: KeyError('{what}bug')" for what in 2 * ["another "] + ["a "]
    ]
    assert caplog.text.count("it: internal error") == 3


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


async def test_all_who_wait_for_a_look_hear_of_one_that_began_afterwards(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    looker = Looker(nursery)
    looker.start()
    await wait_all_tasks_blocked()
    heard: list[bool] = []

    async def wait() -> None:
        heard.append(await looker.wait_look())

    await trio.sleep(1)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        assert heard == []
        looker.wake()
    assert (heard, looker.looked.began_at) == ([True, True], looker.begun + 1)
    async with trio.open_nursery() as waiting:
        await trio.sleep(1)
        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        looker.end()
    assert heard == [True, True, False]


async def test_a_look_beside_a_round_counts_once_that_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    looker = Looker(nursery)
    looker.note_look(trio.current_time(), "no answer")
    assert (looker.looked.began_at, looker.looked.fault) == (looker.begun, "no answer")
    await trio.sleep(1)
    looker.wake()
    looker.note_look(trio.current_time() + 1)
    assert looker.is_due
    assert looker.looked.began_at == looker.begun
    await wait_all_tasks_blocked()
    assert not looker.is_due
    assert (looker.looked.began_at, looker.looked.fault) == (looker.begun + 2, None)


async def test_what_has_ended_is_looked_at_no_more(nursery: trio.Nursery) -> None:
    it = Looker(nursery, BudgetSpent("spent"))
    it.start()
    await wait_all_tasks_blocked()
    it.end()
    it.timetable.wake_waiting()
    it.wake()
    await wait_all_tasks_blocked()
    assert (len(it.looks), len(nursery.child_tasks)) == (1, 0)


@pytest.mark.parametrize(
    "outcome", [REFRESH, OriginUnreachable("away", away=True), BudgetSpent("spent"), KeyError()]
)
async def test_what_ends_in_the_moment_in_which_its_round_is_over_has_no_other(
    outcome: Exception | float, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Looker(nursery)
    answered = trio.Event()

    async def look() -> float:
        await answered.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(it, "look", look)
    it.start()
    await wait_all_tasks_blocked()
    it.wake()
    answered.set()
    it.end()
    await wait_all_tasks_blocked()
    assert (it.due_at, it.timetable.lacking_budget) == (None, set())
    assert not nursery.child_tasks


async def test_a_trouble_is_told_once(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    it = Looker(nursery)
    for text in ("one", "one", "it: two", "one"):
        it.tell(logging.WARNING, text)
    assert [record.getMessage() for record in caplog.records] == ["it: one", "it: two", "it: one"]


class Outage:
    """An S3 that is away until it isn't, and the rounds that meet it."""

    def __init__(self, nursery: trio.Nursery, count: int) -> None:
        self.away = True
        self.asked: list[float] = []
        """When a round began (trio's clock)."""
        timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
        nursery.start_soon(timetable.watch, "default", lambda: self.away)
        self.all = [Meeting(nursery, self, timetable) for _ in range(count)]


class Meeting(Looker):
    def __init__(self, nursery: trio.Nursery, outage: Outage, timetable: Timetable) -> None:
        super().__init__(nursery)
        self._timetable = timetable
        self.outage = outage

    async def look(self) -> float:
        self.outage.asked.append(trio.current_time())
        if self.outage.away:
            self.outcomes = [OriginUnreachable("away", away=True)]
        return await super().look()


async def test_rounds_that_met_no_s3_begin_again_soon_after_it_is_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outage = Outage(nursery, 200)
    for each in outage.all:
        each.start()
    await trio.sleep(3600)
    before = len(outage.asked)
    back = trio.current_time()
    outage.away = False
    await trio.sleep(LATEST)
    asked = outage.asked[before:]
    assert all(each.looks[-1] + each.begun >= back for each in outage.all)
    assert len(asked) == len(outage.all), "each once"
    # Not all of them at a time: those that came by themselves are among them.
    assert asked[0] - back <= LOOK_FOR_S3 + STEP
    busiest = max(sum(1 for at in asked if 0 <= at - begin < 1) for begin in asked)
    assert busiest <= 1 / STEP + 3 * len(outage.all) / LONGEST_RETRY


async def test_thousands_that_met_no_s3_all_begin_within_half_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outage = Outage(nursery, 3000)
    for each in outage.all:
        each.start()
    await trio.sleep(5)
    outage.away = False
    await trio.sleep(LATEST + LOOK_FOR_S3 + 1)
    assert all(not each.outcomes and len(each.looks) > 1 for each in outage.all)


async def test_while_s3_is_away_one_of_the_rounds_asks_for_all_every_other_second(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outage = Outage(nursery, 1)
    [only] = outage.all
    only.start()
    await trio.sleep(600)
    assert max(only.pauses()) <= ASK_FOR_S3 + 2 * LOOK_FOR_S3
    assert len(only.looks) <= 3 + 600 / ASK_FOR_S3


async def test_rounds_that_ended_are_not_woken_by_an_s3_that_is_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outage = Outage(nursery, 1)
    [only] = outage.all
    only.start()
    await trio.sleep(0.5)
    only.end()
    outage.away = False
    await trio.sleep(100)
    assert len(only.looks) == 1


async def test_what_waits_has_no_task_however_many_there_are(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
    waiting = [Waiting(nursery, timetable) for _ in range(1000)]
    for each in waiting:
        each.start(REFRESH)
    await wait_all_tasks_blocked()
    assert len(nursery.child_tasks) == 1, "the timetable's own"
    await trio.sleep(REFRESH + 1)
    assert all(each.looks for each in waiting)
    assert not nursery.child_tasks


class Waiting(Looker):
    def __init__(self, nursery: trio.Nursery, timetable: Timetable, *outcomes: Exception) -> None:
        super().__init__(nursery, *outcomes)
        self._timetable = timetable


async def test_those_who_lack_budget_are_woken_in_turns_with_others(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE", -1.0)
    timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
    lacking = [Waiting(nursery, timetable, BudgetSpent("spent")) for _ in range(100)]
    for each in lacking:
        each.start()
    await trio.sleep(1)
    timetable.wake_waiting()
    assert not any(each.is_due for each in lacking)
    seen = set()
    while not all(len(each.looks) == 2 for each in lacking):
        seen.add(sum(len(each.looks) == 2 for each in lacking))
        await trio.lowlevel.checkpoint()
    assert len(seen) > 10, seen
    assert trio.current_time() == lacking[0].begun + 1


async def test_all_may_end_while_others_have_their_turn(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE", -1.0)
    it = Looker(nursery)
    it.start(REFRESH)
    await trio.lowlevel.checkpoint()
    assert nursery.child_tasks
    it.end()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks
    assert not it.looks


async def test_rounds_that_ended_or_were_put_off_take_no_room(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    timetable = Timetable(nursery, random.Random(5), Embargoes(time.time))
    stays, other = Waiting(nursery, timetable), Waiting(nursery, timetable)
    other.start(REFRESH)
    stays.start(REFRESH)
    for number in range(10_000):
        gone = Waiting(nursery, timetable)
        gone.start(REFRESH + number)
        gone.end()
        stays.start(REFRESH + number)
    assert len(timetable._due) < 2000
    await trio.sleep(REFRESH + 9998)
    assert not stays.looks
    await trio.sleep(2)
    assert (stays.looks, other.looks) == ([REFRESH + 9999], [REFRESH])
