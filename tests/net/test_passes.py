"""Long turns of many tasks leave room for short answers, while somebody asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import trio
import trio.testing

from seeder.net.passes import HASTE, LONGEST, Passes

TURN = LONGEST / 5


class World(trio.abc.Instrument):
    """Tasks that take `TURN` each time, by a clock that only they move."""

    def __init__(self, asked_at: float = inf) -> None:
        self.now = 0.0
        self.asked_at = asked_at
        self.passes = Passes(lambda: self.asked_at, lambda: self.now)
        self.turns: list[int] = []
        self.a_pass: list[int] = []
        """Turns in each pass that is over."""
        self._counted = 0
        self.ready = trio.Event()

    async def work(self, name: int) -> None:
        """Come as a peer's session does: woken by its socket, again and again."""
        await self.ready.wait()
        while True:
            await trio.lowlevel.checkpoint()
            if self.passes.in_haste:
                await self.passes.turn()
            self.now += TURN
            self.turns.append(name)

    def before_io_wait(self, timeout: float) -> None:
        self.a_pass.append(len(self.turns) - self._counted)
        self._counted = len(self.turns)

    async def go(self, passes: int) -> None:
        """Let the tasks work for so many passes."""
        self.ready.set()
        trio.lowlevel.add_instrument(self)
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(self)


@asynccontextmanager
async def working(world: World, tasks: int) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.passes.run)
        for name in range(tasks):
            nursery.start_soon(world.work, name)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery
        nursery.cancel_scope.cancel()


async def test_a_pass_has_as_many_turns_as_fit_while_somebody_asks() -> None:
    world = World()
    async with working(world, tasks=100):
        await world.go(200)
    # The first pass of all knows nothing yet, and eight are let go before it is known what fits.
    assert max(world.a_pass[10:]) <= LONGEST / TURN + 2
    assert sum(world.a_pass) > 200


async def test_nobody_waits_while_nobody_asks() -> None:
    world = World(asked_at=-inf)
    async with working(world, tasks=100):
        await world.go(20)
    assert set(world.a_pass[2:]) == {100}


async def test_haste_ends_some_time_after_the_last_question(
    mock_clock: trio.testing.MockClock,
) -> None:
    world = World(asked_at=trio.current_time())
    async with working(world, tasks=1):
        await world.go(5)
        assert world.passes.in_haste
        mock_clock.jump(HASTE)
        await world.go(5)
        assert not world.passes.in_haste


async def test_turns_come_to_all_alike() -> None:
    world = World()
    async with working(world, tasks=60):
        await world.go(600)
    counts = [world.turns.count(name) for name in range(60)]
    assert min(counts) > 0.7 * max(counts), counts


async def leave(passes: Passes, scope: trio.CancelScope) -> None:
    with scope:
        await passes.turn()


async def test_who_leaves_the_line_holds_nobody_up() -> None:
    world = World()
    async with working(world, tasks=20) as nursery:
        await world.go(20)
        scopes = [trio.CancelScope() for _ in range(10)]
        for scope in scopes:
            nursery.start_soon(leave, world.passes, scope)
        await trio.lowlevel.checkpoint()
        for scope in scopes:
            scope.cancel()
        before = len(world.turns)
        await world.go(50)
    assert set(world.turns[before:]) == set(range(20))
