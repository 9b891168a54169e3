"""The last hour in steps of two seconds, kept in memory: what was counted between two looks.

The counters themselves know nothing of it: a look takes their differences. Of accounts only the
most recently busy ones have such steps; of the others the ledger's minutes tell. No I/O.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter, sub
from typing import TypeAlias

from seeder.ledger.counters import COUNTERS, NO_COUNTS, Account, AccountKey
from seeder.ledger.node import FIGURES, NodeFigures
from seeder.units import HOUR, MINUTE

RECENT_STEP = 2
"""Seconds of a step."""
STEPS = HOUR // RECENT_STEP
TRACKS = 128
"""Accounts that have steps of their own: with 80 bytes for each of an hour's, 18 MiB at most."""
_IDLE_FOR = MINUTE // RECENT_STEP
"""Steps without anything after which an account makes room for another one."""
SLICE = 100
"""Accounts looked at between two chances for other tasks to run."""
SHOWN_COUNTERS = (
    "origin_bytes_metainfo",
    "origin_bytes_hashing",
    "origin_bytes_pieces",
    "origin_requests_metainfo",
    "origin_requests_hashing",
    "origin_requests_pieces",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
)
"""The counters that there is a history of to be seen."""
NODE_SHOWN = FIGURES[1:]
"""The figures of the node that there is a history of to be seen."""
_shown = itemgetter(*map(COUNTERS.index, SHOWN_COUNTERS))
_WIDTH = 2 + len(SHOWN_COUNTERS)
_NOTHING = (0,) * len(SHOWN_COUNTERS)


def shown(counts: Sequence[int]) -> tuple[int, ...]:
    """Return those of SHOWN_COUNTERS among counts in the order of COUNTERS."""
    found: tuple[int, ...] = _shown(counts)
    return found


_NodeStep: TypeAlias = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""Its number, the steps that it stands for, the node's figures, the sums of all accounts."""


class _Track:
    """The steps of one account: number, steps that it stands for, and the sums, one behind the
    other."""

    __slots__ = ("last", "since", "values")

    def __init__(self, since: int) -> None:
        self.since = since
        """The step from which on it has everything."""
        self.last = since
        self.values = array("q")

    def add(self, step: int, span: int, counts: Sequence[int]) -> None:
        self.last = step
        self.values.extend((step, span, *counts))
        if len(self.values) > 2 * STEPS * _WIDTH or self.values[0] < step - 2 * STEPS:
            self.forget_before(step - STEPS)

    def forget_before(self, step: int) -> None:
        keep = next(
            (at for at in range(0, len(self.values), _WIDTH) if self.values[at] >= step),
            len(self.values),
        )
        del self.values[:keep]


class Recent:
    """The node's last hour, and the busy accounts'."""

    def __init__(self) -> None:
        self.since: int | None = None
        """The step (Unix s / RECENT_STEP) from which on there is anything; None before the first
        look."""
        self.has_all = False
        """Whether nothing had been counted before the first look."""
        self._before: dict[Account, tuple[int, ...]] = {}
        """By the account itself, which is found sooner than its key: it is looked for each time."""
        self._node = NodeFigures()
        self._steps: deque[_NodeStep] = deque(maxlen=STEPS)
        self._tracks: dict[AccountKey, _Track] = {}

    def begin(self, accounts: Iterable[Account], now: float) -> None:
        """Take the counts as they are as what was there before; `now` is the wall clock (s)."""
        self._before = {account: account.counters.values() for account in accounts}
        if self.since is None:
            self.since = int(now) // RECENT_STEP
            self.has_all = not any(map(any, self._before.values()))

    def look(self, accounts: Sequence[Account], figures: NodeFigures, now: float) -> Iterator[None]:
        """Note what was counted since the last look; other tasks may run at each yield.

        `figures` are the node's since its start, with the milliseconds that have passed.
        """
        step = int(now) // RECENT_STEP
        delta = figures.since(self._node)
        self._node = figures
        span = self._span(step, delta.milliseconds)
        sums = _NOTHING
        for number, account in enumerate(accounts, 1):
            counts, before = account.counters.values(), self._before.get(account, NO_COUNTS)
            if counts != before:
                self._before[account] = counts
                news = shown(tuple(map(sub, counts, before)))
                if any(news):
                    sums = tuple(map(sum, zip(sums, news, strict=True)))
                    self._note(account.key, step, span, news)
            if number % SLICE == 0:
                yield
        self._steps.append((step, span, delta.values(), sums))

    def _span(self, step: int, milliseconds: int) -> int:
        """Return how many steps, this one included, what is new was counted in.

        What a clock that was set back has seen ahead of its time is forgotten.
        """
        if not self._steps:
            return 1
        last = self._steps[-1][0]
        if step < last - MINUTE // RECENT_STEP:
            self._forget_from(step)
            return 1
        passed = -(-milliseconds // (1000 * RECENT_STEP))
        return max(1, min(step - last, passed))

    def _forget_from(self, step: int) -> None:
        self._steps = deque((each for each in self._steps if each[0] < step), maxlen=STEPS)
        self._tracks.clear()
        self.since = min(step, step if self.since is None else self.since)

    def _note(self, key: AccountKey, step: int, span: int, news: Sequence[int]) -> None:
        track = self._tracks.pop(key, None)
        if track is None:
            if len(self._tracks) >= TRACKS:
                idle = next(iter(self._tracks))
                if self._tracks[idle].last > step - _IDLE_FOR:
                    return
                del self._tracks[idle]
            track = _Track(step)
        track.add(step, span, news)
        # The one that was busy last stands last.
        self._tracks[key] = track

    def snapshot(self, wanted: Callable[[AccountKey], bool] | None) -> "RecentSteps":
        """Return the steps as they are now: the node's, and those of the accounts wanted."""
        tracks = {
            key: (track.since, track.values[:])
            for key, track in self._tracks.items()
            if wanted is not None and wanted(key)
        }
        return RecentSteps(self.since, tuple(self._steps), tracks, self.has_all)


@dataclass(frozen=True, slots=True)
class RecentSteps:
    """What a `Recent` had at one moment, to be read in another thread."""

    since: int | None
    _steps: Sequence[_NodeStep]
    _tracks: Mapping[AccountKey, tuple[int, "array[int]"]]
    has_all: bool = False
    """Whether nothing had been counted before `since`."""

    def node(self, first: int) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
        """Yield the steps from `first` on: number, figures of NODE_SHOWN, sums of all accounts."""
        for step, span, figures, sums in self._steps:
            parts = zip(spread(figures[:-1], span), spread(sums, span), strict=True)
            for number, (some, counts) in enumerate(parts, step - span + 1):
                if number >= first:
                    yield number, (*some[1:], figures[-1]), counts

    @property
    def tracked(self) -> Iterable[AccountKey]:
        """The accounts that have steps of their own."""
        return self._tracks.keys()

    def tracked_since(self, key: AccountKey) -> int:
        """Return the step from which on an account has all of its steps."""
        return self._tracks[key][0]

    def track(self, key: AccountKey, first: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the steps of an account from `first` on in which it counted something."""
        values = self._tracks[key][1]
        for at in range(0, len(values), _WIDTH):
            step, span, *news = values[at : at + _WIDTH]
            for number, counts in enumerate(spread(news, span), step - span + 1):
                if number >= first:
                    yield number, counts


def spread(values: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    """Yield `count` parts of each value, as equal as whole numbers can be, of the same sum."""
    if count == 1:
        yield tuple(values)
        return
    for number in range(count):
        yield tuple(value * (number + 1) // count - value * number // count for value in values)
