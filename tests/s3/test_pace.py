"""Which exchanges are let go: the clock is a number, a tick a second."""

from collections.abc import Callable

import pytest

from seeder.s3.pace import LEAST_RATE, Pace, Progress
from seeder.units import KIB, MIB

SIZE = 8 * MIB


class Stand:
    """Exchanges at given rates with one origin."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now = 0.0
        self.let_go: list[Progress] = []
        self._rates: dict[Progress, float] = {}
        self.requests = 0

    def begin(
        self, rate: float, *, size: int = SIZE, may_switch: bool = True, answered: bool = True
    ) -> Progress:
        """Begin an exchange that will get so many bytes a second."""
        progress = Progress(size, may_switch=may_switch)
        self.requests += 1
        self._rates[progress] = rate

        def let_go() -> None:
            self.let_go.append(progress)

        self.pace.begin(progress, self.now, let_go)
        if answered:
            progress.answered_at = self.now
        return progress

    def run(self, seconds: int, *, again: Callable[[], float | None] = lambda: None) -> None:
        """Let time pass; each exchange that ends is followed by one at the rate of `again()`."""
        for _ in range(seconds):
            self.now += 1
            for progress in tuple(self.pace.active):
                progress.received = min(
                    progress.size, int(progress.received + self._rates[progress])
                )
                if progress.received == progress.size:
                    self.pace.end(progress, self.now)
                    rate = again()
                    if rate is not None:
                        self.begin(rate)
            before = len(self.let_go)
            self.pace.tick(self.now)
            for progress in self.let_go[before:]:
                self.pace.end(progress, self.now)


@pytest.mark.parametrize("rate", [0, KIB, 50 * KIB])
def test_a_read_that_is_far_behind_the_others_is_let_go_within_seconds(rate: float) -> None:
    stand = Stand()
    for _ in range(15):
        stand.begin(4 * MIB)
    slow = stand.begin(rate, answered=rate > 0)
    stand.run(6, again=lambda: 4 * MIB)
    assert stand.let_go == [slow]
    assert slow.switched
    assert slow.fault is not None
    assert stand.pace.switches == 1


def test_a_read_that_is_alone_is_held_against_those_before_it() -> None:
    stand = Stand()
    for _ in range(8):
        stand.begin(4 * MIB)
        stand.run(2)
    stand.run(20)
    slow = stand.begin(KIB)
    stand.run(6)
    assert stand.let_go == [slow]


def test_the_first_read_of_all_is_held_against_none() -> None:
    stand = Stand()
    stand.begin(50 * KIB)
    stand.run(60)
    assert stand.let_go == []


@pytest.mark.parametrize("rate", [8 * KIB, 100 * KIB, MIB])
def test_where_all_are_slow_none_is_let_go(rate: float) -> None:
    """They were fast until now: a server that has become slow gets no more to do."""
    stand = Stand()
    for _ in range(16):
        stand.begin(8 * MIB)
    stand.run(3, again=lambda: 8 * MIB)
    while stand.pace.active:
        stand.run(1)
    for _ in range(16):
        stand.begin(rate)
    stand.run(120)
    assert stand.let_go == []


def test_where_all_fall_silent_none_is_let_go_though_one_was_the_first() -> None:
    stand = Stand()
    reads = [stand.begin(4 * MIB, size=1000 * MIB) for _ in range(16)]
    stand.run(10)
    for progress in reads:
        stand._rates[progress] = 0
        stand.run(1 if progress is reads[0] else 0)
    stand.run(28)
    assert stand.let_go == []


def test_a_read_that_will_soon_have_ended_is_left_alone() -> None:
    stand = Stand()
    for _ in range(15):
        stand.begin(4 * MIB)
    stand.begin(60 * KIB, size=512 * KIB)
    stand.run(20, again=lambda: 4 * MIB)
    assert stand.let_go == []


def test_answers_that_usually_take_long_are_waited_for() -> None:
    stand = Stand()
    for _ in range(40):
        progress = stand.begin(0, answered=False)
        stand.run(3)
        progress.answered_at = stand.now
        stand._rates[progress] = 8 * MIB
        stand.run(1)
    stand.begin(4 * MIB, size=1000 * MIB)
    late = stand.begin(0, answered=False)
    stand.run(10)
    assert stand.let_go == []
    stand.run(30)
    assert stand.let_go == [late]


def test_what_can_not_go_on_elsewhere_is_not_let_go_for_being_behind() -> None:
    stand = Stand()
    for _ in range(15):
        stand.begin(4 * MIB)
    stand.begin(100 * KIB, may_switch=False)
    stand.run(30, again=lambda: 4 * MIB)
    assert stand.let_go == []


def test_one_read_in_twenty_is_let_go_at_most() -> None:
    """Every second connection is slow, for ever."""
    stand, turn = Stand(), [0]

    def next_rate() -> float:
        turn[0] += 1
        return 8 * MIB if turn[0] % 2 else KIB

    for _ in range(16):
        stand.begin(8 * MIB)
    for _ in range(600):
        stand.run(1, again=next_rate)
        while len(stand.pace.active) < 16:
            stand.begin(next_rate())
    ended = stand.requests - len(stand.pace.active)
    assert 4 < stand.pace.switches <= 4 + ended / 20


@pytest.mark.parametrize("may_switch", [True, False])
def test_a_body_below_the_least_rate_is_let_go_whatever_the_others_do(may_switch: bool) -> None:
    stand = Stand()
    slow = stand.begin(LEAST_RATE - 1, may_switch=may_switch)
    stand.run(29)
    assert stand.let_go == []
    stand.run(3)
    assert stand.let_go == [slow]
    assert not slow.switched
    assert slow.fault == "sends less than 4 KiB a second"


def test_a_body_at_the_least_rate_may_take_its_time() -> None:
    stand = Stand()
    stand.begin(LEAST_RATE)
    stand.run(600)
    assert stand.let_go == []


def test_an_answer_that_came_late_has_the_whole_window_for_its_body() -> None:
    stand = Stand()
    progress = stand.begin(0, answered=False)
    stand.run(28)
    progress.answered_at = stand.now
    stand.run(28)
    assert stand.let_go == []
    stand.run(3)
    assert stand.let_go == [progress]


def test_a_tick_tells_whether_anything_came() -> None:
    stand = Stand()
    progress = stand.begin(0)
    assert not stand.pace.tick(1)
    progress.received = 1
    assert stand.pace.tick(2)
    assert not stand.pace.tick(3)
