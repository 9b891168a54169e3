"""Moments of trio's clock, told by a clock that is set."""

import trio
import trio.testing

from seeder.net.epoch import Epoch

NOW = 1_796_014_400.0


class Wall:
    """The machine's clock, ahead of trio's by something."""

    def __init__(self, now: float) -> None:
        self.ahead = now - trio.current_time()

    def __call__(self) -> float:
        return trio.current_time() + self.ahead


async def test_what_was_before_the_clock_was_set_is_told_by_the_clock_as_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wall = Wall(946_684_800.0)
    epoch, began = Epoch(wall), trio.current_time()
    await trio.sleep(100)
    wall.ahead = NOW - trio.current_time()
    assert epoch.unix(began) == NOW - 100
    wall.ahead -= 86_400
    assert epoch.unix(began) == NOW - 100 - 86_400


async def test_a_moment_is_the_same_each_time_while_the_clock_is_only_put_right(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wall = Wall(NOW)
    epoch, began = Epoch(wall), trio.current_time()
    for _ in range(10):
        await trio.sleep(1000)
        wall.ahead += 0.1
        assert epoch.unix(began) == NOW


async def test_nothing_is_over_for_a_clock_that_is_ahead_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wall = Wall(NOW)
    epoch = Epoch(wall)
    await trio.sleep(10)
    wall.ahead += 1e9
    assert epoch.least() == NOW + 10
    wall.ahead -= 2e9
    assert epoch.least() == NOW + 10 - 1e9
