"""The rounds in which an object or a prefix is kept up to date, and what follows a failed one.

A failed round is tried again, later each time, and what S3 refused much later; one that lacks
budget, as soon as there is some, and one that met no S3, soon after that is back. Whatever somebody
wants a look at has one at once. A fault of ours in one round affects no other object.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import trio

from seeder.errors import BudgetSpent, OriginUnreachable, SeederError, SignerRefused
from seeder.net.scarcity import why_it_failed
from seeder.publish.timetable import Timetable

_LOG = logging.getLogger(__name__)

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Seconds until a failed round is tried again: the first, doubled each time up to the longest."""
REFUSED_RETRY = 60.0
"""Seconds until S3 is asked again after a 403 or 404, doubled each time, `refresh` at most: it
takes a person to change that, and each question is paid for."""
SOONEST = 0.5
"""The least part of them that is waited: many that were refused at once come one by one."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of the last look at something; moments are of trio's clock."""

    asked_at: float | None = None
    """When somebody wanted a look, last; None: nobody did."""
    began_at: float | None = None
    """When the last look that is over had begun; None: there was none."""
    fault: str | None = None
    """Why that look failed, if it did."""


_NEVER = Looked()


class Rounds(ABC):
    """Something that is looked at in rounds, each by a task that lives no longer.

    `wake` has the next round begin at once.
    """

    # There may be a hundred thousand of them.
    __slots__ = (
        *("_ended", "_noted_at", "_over", "_refusals", "_retry", "_scope", "_timetable"),
        *("_woken", "due_at", "last_error", "looked", "told"),
    )

    def __init__(self, timetable: Timetable) -> None:
        self.told: str | None = None
        """The last problem logged: the same one isn't logged every minute."""
        self.last_error: tuple[float, str] | None = None
        """What went wrong last, and when (trio's clock)."""
        self.due_at: float | None = None
        """When the next round begins (trio's clock); None if none is due. The timetable sets it."""
        self.looked = _NEVER
        self._timetable = timetable
        self._woken = False
        self._noted_at = -inf
        """When S3 was asked last beside the round that is under way."""
        self._over: trio.Event | None = None
        """Set when a round is over, if somebody waits for one."""
        self._retry = FIRST_RETRY
        """Seconds until a round that fails is tried again."""
        self._refusals = 0
        """How often S3 has refused it in a row."""
        self._scope: trio.CancelScope | None = None
        """Around the task of a round; None while there is none."""
        self._ended = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What the log calls it."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """The name of the origin that it asks."""

    @property
    @abstractmethod
    def refresh(self) -> float:
        """Seconds between two rounds, and the most until a failed one is tried again."""

    @abstractmethod
    async def look(self) -> float:
        """Bring it up to date; return the seconds until the next round, inf for none.

        BudgetSpent, or any other SeederError.
        """

    @abstractmethod
    def lack_budget(self, error: BudgetSpent) -> None:
        """Take note that a round has to wait for budget."""

    @abstractmethod
    def fail(self, error: SeederError, retry: float) -> float:
        """Take note of a failed round; return the seconds until a new try, `retry` by default."""

    @abstractmethod
    def break_down(self, reason: str) -> None:
        """Take note of a round that failed by a fault of ours."""

    def start(self, delay: float = 0.0) -> None:
        """Begin the first round in `delay` seconds."""
        self._timetable.line_up(self, delay)

    def wake(self) -> None:
        """Have the next round begin now, or as soon as the present one is over."""
        self.note_asked()
        self._refusals = 0
        if self._woken or self._ended:
            return
        self._woken = True
        if self._scope is None:
            self._timetable.line_up(self, 0.0)

    def go(self) -> None:
        """Begin the round that is due."""
        self._scope = trio.CancelScope()
        self._timetable.nursery.start_soon(self._run, self._scope)

    @property
    def is_put_off(self) -> bool:
        """Whether S3 refused it, and is asked later each time."""
        return self._refusals > 0

    def put_off(self) -> float:
        """Return the seconds until S3 is asked again for what it has just refused."""
        longest = min(REFUSED_RETRY * 2.0 ** min(self._refusals, 16), self.refresh)
        self._refusals += 1
        return longest * self._timetable.rng.uniform(SOONEST, 1.0)

    @property
    def is_due(self) -> bool:
        """Whether a round is under way, or begins at once: what is known may be out of date."""
        return self._scope is not None or self._woken

    def note_asked(self) -> None:
        """Take note that somebody wants a look, in a round or otherwise."""
        self.looked = replace(self.looked, asked_at=trio.current_time())

    def note_look(self, began_at: float, fault: str | None = None) -> None:
        """Take note that S3 was asked about it since then, in no round of its own.

        It counts once the round is over that is under way or begins at once, if there is one: that
        still has something to find out.
        """
        if self.is_due:
            self._noted_at = began_at
        else:
            self.looked = replace(self.looked, began_at=began_at, fault=fault)

    async def wait_look(self) -> bool:
        """Wait until a round is over that begins from now on; False if it is looked at no more."""
        now = trio.current_time()
        while not self._ended and (self.looked.began_at is None or self.looked.began_at < now):
            if self._over is None:
                self._over = trio.Event()
            await self._over.wait()
        return not self._ended

    def _tell_over(self) -> None:
        if self._over is not None:
            self._over.set()
            self._over = None

    def end(self) -> None:
        """Look at it no more."""
        self._ended = True
        self._tell_over()
        self._timetable.forget(self)
        if self._scope is not None:
            self._scope.cancel()

    def tell(self, level: int, error: SeederError | str) -> None:
        """Log a problem under this name, unless it is the one that was logged last.

        Where all of the origin is away, its own line says so for all objects; where S3 refuses
        whoever signs, that of the first object does.
        """
        text, name = str(error), self.name
        self.last_error = trio.current_time(), text
        if isinstance(error, OriginUnreachable) and error.away:
            level = logging.DEBUG
        if text == self.told:
            return
        self.told = text
        if isinstance(error, SignerRefused):
            refusals, why = self._timetable.refusals, text.removeprefix(f"{name}: ")
            if refusals.get(self.origin) == why:
                level = logging.DEBUG
            refusals[self.origin] = why
        _LOG.log(level, "%s", text if name in text else f"{name}: {text}")

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something of this one; if that fails by a fault of ours, it is noted here alone."""
        try:
            action()
        except Exception as error:
            self._blame_ourselves(error)

    def _blame_ourselves(self, error: Exception) -> None:
        """Take note of a fault of ours with one of them: the others must not pay for it."""
        _LOG.exception("%s: internal error", self.name)
        self.break_down(why_it_failed(error))

    def _note_success(self) -> None:
        self._refusals = 0
        if self._timetable.refusals.pop(self.origin, None) is not None:
            _LOG.info("origin %s: S3 takes our requests again", self.origin)
            self._timetable.wake_refused(self.origin)

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            self._woken = False
            self._timetable.begin(self)
            began_at = trio.current_time()
            try:
                delay, fault = await self._go_round()
            except Exception as error:
                delay, fault = self.refresh, why_it_failed(error)
                self._blame_ourselves(error)
            began_at = max(began_at, self._noted_at)
            self.looked = replace(self.looked, began_at=began_at, fault=fault)
            self._scope = None
            self._tell_over()
            if self._ended:
                # It ended when this task was due already, which trio doesn't cancel any more.
                self._timetable.forget(self)
            elif self._woken:
                self._timetable.line_up(self, 0.0)
            elif delay < inf:
                self._timetable.line_up(self, delay * self._timetable.rng.uniform(0.9, 1.1))

    async def _go_round(self) -> tuple[float, str | None]:
        """Look, and take note of how it went.

        Return the seconds until the next round, and what went wrong, if anything.
        """
        try:
            delay = await self.look()
        except BudgetSpent as error:
            self._timetable.lacking_budget.add(self)
            self.lack_budget(error)
            return self.refresh, str(error)
        except SeederError as error:
            if isinstance(error, OriginUnreachable) and error.away:
                self._timetable.cut_off(self)
            if isinstance(error, SignerRefused):
                self._timetable.refuse(self)
            delay = min(self.fail(error, self._retry), self.refresh)
            self._retry = min(self._retry * 2, LONGEST_RETRY)
            return delay, str(error)
        self._retry = FIRST_RETRY
        self._note_success()
        return delay, None
