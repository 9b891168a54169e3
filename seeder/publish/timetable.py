"""When rounds begin: those that are due, in order of time, and what all of them wait for.

What waits has no task, for there may be a hundred thousand of them.
"""

import random
from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

import trio

from seeder.net.slices import Slices
from seeder.publish.embargo import Embargoes

LOOK_FOR_S3 = 1.0
"""Seconds between two looks whether S3 is back, while rounds wait for it."""
ASK_FOR_S3 = 2.0
"""Seconds after which one of those rounds asks S3 itself: maybe nobody else does."""
STEP = 0.05
"""Seconds between two of them that begin when S3 is back."""
LATEST = 30.0
"""Seconds within which all of them begin, however many they are."""
_SPARE = 1000
"""Times that may be out of date before they are sorted out; or as many as there are others."""


class Timed(Protocol):
    """Something that is looked at in rounds."""

    due_at: float | None
    """When the next round begins (trio's clock); None if none is due."""

    @property
    def origin(self) -> str:
        """The name of the origin that it asks."""

    def go(self) -> None:
        """Begin the round that is due, in a task of its own."""

    def wake(self) -> None:
        """Have the next round begin now."""


class Timetable:
    """What all rounds share: their nursery, randomness, and which of them wait for what."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random, embargoes: Embargoes) -> None:
        self.nursery = nursery
        self.embargoes = embargoes
        self.rng = rng
        self.lacking_budget: set[Timed] = set()
        """Those that are woken when there is budget again."""
        self.refusals: dict[str, str] = {}
        """What S3 says of whoever signs, hence of every object, by origin; as it was logged."""
        self._refused: dict[str, set[Timed]] = {}
        """Those that are woken when S3 takes the requests of whoever signs again, by origin."""
        self._due: list[tuple[float, int, Timed]] = []
        """A heap; out of date where `due_at` is another time by now."""
        self._outdated = 0
        """At most so many of them are."""
        self._number = 0
        """Those of the same time come in the order in which they were lined up."""
        self._waking: list[Timed] = []
        """Those that are woken next: of a hundred thousand that takes a while."""
        self._earlier = trio.Event()
        """Set when there is something to do before the first time that there was."""
        self._runs = False
        self._cut_off: dict[str, OrderedDict[Timed, None]] = {}
        """Those that are woken when S3 is back, by origin."""
        self._first = trio.Event()
        """Set when there may be a first one."""

    def line_up(self, rounds: Timed, delay: float) -> None:
        """Have the next round begin in `delay` seconds, whenever it was due before."""
        at = trio.current_time() + delay
        if rounds.due_at == at:
            return
        self.cross_out(rounds)
        rounds.due_at = at
        self._number += 1
        entry = at, self._number, rounds
        heappush(self._due, entry)
        if self._due[0] is entry:
            self._go_on()

    def cross_out(self, rounds: Timed) -> None:
        """Have no next round begin."""
        if rounds.due_at is None:
            return
        rounds.due_at = None
        self._outdated += 1
        if self._outdated > _SPARE + len(self._due) // 2 or self._outdated >= len(self._due):
            self._due = [entry for entry in self._due if entry[0] == entry[2].due_at]
            heapify(self._due)
            self._outdated = 0
            self._earlier.set()

    def _go_on(self) -> None:
        self._earlier.set()
        if not self._runs:
            self._runs = True
            self.nursery.start_soon(self._run)

    async def _run(self) -> None:
        slices = Slices()
        while True:
            if slices.is_over:
                await slices.turn()  # in which all may end
            if self._waking:
                self._waking.pop().wake()
                continue
            if not self._due:
                break
            at, _, rounds = self._due[0]
            if rounds.due_at != at:
                heappop(self._due)
                self._outdated -= 1
            elif at > trio.current_time():
                self._earlier = trio.Event()
                with trio.move_on_at(at):
                    await self._earlier.wait()
            else:
                heappop(self._due)
                rounds.due_at = None
                rounds.go()
        self._runs = False

    def wake_waiting(self) -> None:
        """Wake those that wait for budget: there is some."""
        if self.lacking_budget:
            self._waking += self.lacking_budget
            self.lacking_budget.clear()
            self._go_on()

    def refuse(self, rounds: Timed) -> None:
        """Have rounds woken when the S3 of their origin takes our requests again."""
        self._refused.setdefault(rounds.origin, set()).add(rounds)

    def wake_refused(self, origin: str) -> None:
        """Wake those whose requests S3 refused for whoever signs: it takes them again."""
        self._waking += self._refused.pop(origin, ())
        self._go_on()

    def cut_off(self, rounds: Timed) -> None:
        """Have rounds woken when the S3 of their origin is back."""
        self._cut_off.setdefault(rounds.origin, OrderedDict())[rounds] = None
        self._first.set()

    def begin(self, rounds: Timed) -> None:
        """Take note that a round begins: it needn't be woken."""
        waiting = self._cut_off.get(rounds.origin)
        if waiting is not None:
            waiting.pop(rounds, None)
        refused = self._refused.get(rounds.origin)
        if refused is not None:
            refused.discard(rounds)

    def forget(self, rounds: Timed) -> None:
        """Wake rounds no more, and have none begin."""
        self.cross_out(rounds)
        self.lacking_budget.discard(rounds)
        self.begin(rounds)

    async def watch(self, origin: str, is_away: Callable[[], bool]) -> None:
        """Wake rounds soon after the S3 of an origin is back, until cancelled.

        They begin a few at a time, for there may be thousands; and their own next times stand.
        """
        waiting = self._cut_off.setdefault(origin, OrderedDict())
        ask_at = 0.0
        while True:
            while not waiting:
                self._first = first = trio.Event() if self._first.is_set() else self._first
                await first.wait()
            await trio.sleep(LOOK_FOR_S3)
            if not is_away():
                await self._wake_all(waiting, is_away)
            elif waiting and trio.current_time() >= ask_at:
                ask_at = trio.current_time() + ASK_FOR_S3
                _wake_first(waiting)

    async def _wake_all(
        self, waiting: OrderedDict[Timed, None], is_away: Callable[[], bool]
    ) -> None:
        step = min(STEP, LATEST / max(1, len(waiting)))
        while waiting and not is_away():
            _wake_first(waiting)
            await trio.sleep(step)


def _wake_first(waiting: OrderedDict[Timed, None]) -> None:
    # Of a dict, each first one would be looked for behind all that have gone.
    rounds, _ = waiting.popitem(last=False)
    rounds.wake()
