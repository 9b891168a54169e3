"""Who may ask S3 while it is away: one for all, less and less often, until it answers."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from seeder.s3.gate import Gate, Setback
from seeder.s3.retry import RetryPolicy

POLICY = RetryPolicy()
LONG = POLICY.patience


class Desk:
    """A gate, and calls that ask through it until one of their attempts is answered."""

    def __init__(self, roll: float = 1.0) -> None:
        self.gate = Gate(POLICY, lambda: roll)
        self.answers = False
        self.pause: float | None = None
        self.takes = 0.01
        """Seconds that an attempt takes."""
        self.asked: list[float] = []
        """When each attempt began."""
        self.inside = self.most_inside = 0
        self.got: list[float] = []
        """When each call was answered, or gave up."""
        self.gave_up: list[float] = []

    async def call(self, patience: float = LONG) -> None:
        troubled: float | None = None
        tried = False
        while True:
            now = trio.current_time()
            since = troubled if troubled is not None else now
            entered = await self.gate.enter(since, patience, tried=tried)
            if entered is None:
                self.gave_up.append(trio.current_time())
                return
            if not self.gate.is_open and troubled is None:
                troubled = now
            began = trio.current_time()
            self.asked.append(began)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            try:
                await trio.sleep(self.takes)
            finally:
                self.inside -= 1
                self.gate.leave(entered)
            now, tried = trio.current_time(), True
            if self.answers:
                self.gate.answered(now)
                self.got.append(now)
                return
            troubled = now if troubled is None else troubled
            assert self.gate.failed(entered, Setback("refused", pause=self.pause), began, now)


async def at(moment: float, do: Callable[[], None]) -> None:
    await trio.sleep_until(moment)
    do()


async def test_one_asks_for_all_that_wait_and_all_go_on_when_it_is_answered(
    autojump_clock: MockClock,
) -> None:
    start = trio.current_time()
    desk = Desk()

    def come_back() -> None:
        desk.answers = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call)
        await trio.sleep(0.05)
        for _ in range(100):
            nursery.start_soon(desk.call)
        nursery.start_soon(at, start + 30, come_back)
    assert len(desk.got) == 101
    before = [moment - start for moment in desk.asked if moment < start + 30]
    # 0, 0.2, 0.6, 1.4, then every second.
    assert before[:5] == pytest.approx([0, 0.2, 0.6, 1.4, 2.4], abs=0.05)
    assert len(before) <= 5 + 30 / POLICY.longest_wait
    assert max(desk.got) - start < 30 + POLICY.longest_wait + 0.5


async def test_those_who_waited_come_a_few_at_first(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call)
        await trio.sleep(0.05)
        for _ in range(30):
            nursery.start_soon(desk.call)
        await trio.testing.wait_all_tasks_blocked()
        desk.most_inside = 0
        desk.answers = True
        await trio.sleep(POLICY.longest_wait + desk.takes / 2)
    # The one that tried; two; then more and more. Not all 30 at once.
    assert len(desk.got) == 31
    began = desk.asked[1:]
    assert [began.count(moment) for moment in sorted(set(began))][:3] == [1, 2, 8]


async def test_it_closes_again_if_s3_still_has_too_much_to_do(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    gate = Gate(POLICY, lambda: 0.0)
    first = await gate.enter(start, LONG, tried=False)
    assert first is not None
    gate.leave(first)
    assert gate.failed(first, Setback("503"), start, start)
    gate.answered(start)
    assert not gate.is_open
    again = await gate.enter(start, LONG, tried=True)
    assert again is not None
    assert not gate.failed(
        again, Setback("503"), start - 1, start + 2
    )  # another was answered meanwhile
    assert gate.next_in(start + 2) == 0
    assert gate.failed(again, Setback("503"), start + 2, start + 2)
    assert gate.next_in(start + 2) > 0


async def test_a_failure_while_it_opens_lets_half_as_many_in(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    gate = Gate(POLICY, lambda: 0.0)
    entered = await gate.enter(start, LONG, tried=False)
    assert entered is not None
    assert gate.failed(entered, Setback("503"), start, start)
    for _ in range(2):
        gate.answered(start)
    # The first one is inside still, and there is room for three more.
    for _ in range(2):
        entered = await gate.enter(start, LONG, tried=True)
        assert entered is not None
    assert not gate.failed(entered, Setback("500"), start, start)
    with trio.move_on_after(1) as waiting:
        await gate.enter(start, LONG, tried=True)
    assert waiting.cancelled_caught
    gate.answered(start)
    assert await gate.enter(start, LONG, tried=True) is not None


async def test_being_asked_too_much_closes_it_at_once(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    gate = Gate(POLICY, lambda: 0.0)
    entered = await gate.enter(start, LONG, tried=False)
    assert entered is not None
    gate.answered(start)
    assert not gate.failed(entered, Setback("reset"), start + 0.1, start + 0.2)
    assert gate.failed(entered, Setback("503", throttled=True), start + 0.1, start + 0.2)


async def test_a_failure_beside_answers_closes_nothing(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    gate = Gate(POLICY, lambda: 0.0)
    entered = await gate.enter(start, LONG, tried=False)
    assert entered is not None
    gate.answered(start + 1)
    assert not gate.failed(entered, Setback("500"), start, start + 30)
    assert not gate.failed(entered, Setback("500"), start + 1.5, start + 1.9)
    assert gate.is_open
    assert gate.failed(entered, Setback("500"), start + 1.5, start + 3)
    assert not gate.is_open


async def test_the_patient_wait_ten_minutes_and_the_others_five_attempts(
    autojump_clock: MockClock,
) -> None:
    start = trio.current_time()
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call, 0.0)
        nursery.start_soon(desk.call)
        nursery.start_soon(desk.call)
        await trio.sleep(10)
        assert [moment - start for moment in desk.gave_up] == pytest.approx([2.4], abs=0.1)
        assert desk.gate.hopes(trio.current_time())
    assert [moment - start for moment in desk.gave_up[1:]] == pytest.approx([LONG, LONG], abs=2)
    assert not desk.gate.hopes(start + LONG + 1)
    assert desk.got == []


async def test_after_that_only_a_call_that_comes_when_one_is_due_asks(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    await desk.call()
    before = len(desk.asked)
    for _ in range(200):
        await desk.call()  # refused at once, unless it may try
        await trio.sleep(0.5)
    assert len(desk.asked) - before == pytest.approx(100 / POLICY.hopeless_wait, abs=2)
    desk.answers = True
    # However long it was away, nobody waits longer for its return.
    await trio.sleep(3)
    assert desk.gate.next_in(trio.current_time()) == 0
    await desk.call()
    assert len(desk.got) == 1


async def test_s3_is_left_alone_for_as_long_as_it_says(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    desk = Desk()
    desk.pause = 20.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call)
        await trio.sleep(1)
        desk.answers = True
        assert desk.gate.next_in(trio.current_time()) == pytest.approx(19, abs=0.1)
        nursery.start_soon(desk.call, 0.0)  # which doesn't wait for so long
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert len(desk.gave_up) == 1
    assert [moment - start for moment in desk.asked] == pytest.approx([0, 20], abs=0.1)
    assert len(desk.got) == 1


async def test_no_server_keeps_us_away_for_longer_than_the_patience(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    desk.pause = 1e9
    await desk.call()
    assert len(desk.gave_up) == 1
    desk.answers = True
    await trio.sleep(LONG)
    await desk.call()
    assert len(desk.got) == 1


async def test_one_that_leaves_passes_its_turn_on(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    desk = Desk()
    desk.takes = 1000.0
    leaving = trio.CancelScope()

    async def leave() -> None:
        with leaving:
            await desk.call()

    first = await desk.gate.enter(start, LONG, tried=False)
    assert first is not None
    desk.gate.leave(first)
    assert desk.gate.failed(first, Setback("refused"), start, start)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(desk.call)
        await trio.sleep(5)
        assert desk.inside == 1
        desk.takes, desk.answers = 0.01, True
        leaving.cancel()
        await trio.sleep(1)
        assert len(desk.got) == 1


async def test_waiting_costs_no_time_of_the_processor(autojump_clock: MockClock) -> None:
    desk = Desk()
    woken = 0

    class Count(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal woken
            woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call)
        await trio.sleep(0.05)
        for _ in range(200):
            nursery.start_soon(desk.call)
        await trio.sleep(10)
        trio.lowlevel.add_instrument(Count())
        await trio.sleep(60)
        assert woken < 1000
        nursery.cancel_scope.cancel()
