"""History as arrays over a span of time, in which a gap is told from zero. Blocks; no trio.

The last hour comes from memory as far as that goes, and before it from the minutes in the ledger's
file; the longer spans come from the file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seeder.ledger.counters import AccountKey
from seeder.ledger.intervals import start_of
from seeder.ledger.recent import (
    NODE_SHOWN,
    RECENT_STEP,
    SHOWN_COUNTERS,
    STEPS,
    RecentSteps,
    shown,
    spread,
)
from seeder.ledger.records import NodeStep, Records
from seeder.ledger.spans import Span
from seeder.units import MINUTE

Column: TypeAlias = list[int | None]


@dataclass(frozen=True, slots=True)
class Selection:
    """Accounts by the names of their objects: of one object in all its states, or of a prefix."""

    bucket: str
    key: str
    """Or what the keys begin with, if it is a prefix."""
    is_prefix: bool = False
    origin: str | None = None
    """None: of any origin."""

    def has(self, account: AccountKey) -> bool:
        """Tell whether an account is one of them."""
        if account.bucket != self.bucket or self.origin not in (None, account.origin):
            return False
        return account.key.startswith(self.key) if self.is_prefix else account.key == self.key


@dataclass(frozen=True, slots=True)
class Series:
    """Sums by step; None in every column of a step in which the node didn't run."""

    begin: int
    """Unix seconds of the first step."""
    step: int
    """Seconds of a step."""
    columns: Mapping[str, Column]
    """By counter; for the whole node also its own figures, of which `peers` is the most at a time.
    The last step isn't over yet, but for steps of two seconds."""
    since: int | None = None
    """When the node ran first (Unix s), as far as known: what is missing before it is no gap."""


class _Columns:
    """Columns being filled; steps are counted from the first one."""

    def __init__(self, names: Sequence[str], length: int) -> None:
        self.names = names
        self.length = length
        self.columns: list[Column] = [[None] * length for _ in names]

    def add(self, index: int, values: Sequence[int]) -> None:
        """Add to a step; of the peers the most count."""
        if not 0 <= index < self.length:
            return
        for name, column, value in zip(self.names, self.columns, values, strict=True):
            before = column[index]
            if before is None:
                column[index] = value
            else:
                column[index] = max(before, value) if name == "peers" else before + value

    def add_minute(self, indices: Sequence[int], values: Sequence[int]) -> None:
        """Spread what was counted in a minute over some of its steps."""
        if not indices:
            return
        for index, part in zip(indices, spread(values, len(indices)), strict=True):
            at_once = (*part[:-1], values[-1]) if "peers" in self.names else part
            self.add(index, at_once)

    def blank_like(self, running: Sequence[bool]) -> None:
        """Make nothing a zero where the node has run, and a gap where it hasn't."""
        for column in self.columns:
            for index, ran in enumerate(running):
                if column[index] is None and ran:
                    column[index] = 0

    def series(self, begin: int, step: int, since: int | None) -> Series:
        return Series(begin, step, dict(zip(self.names, self.columns, strict=True)), since)


_NODE = (*SHOWN_COUNTERS, *NODE_SHOWN)


def _node_values(step: NodeStep) -> tuple[int, ...]:
    return (*shown(step.counts), *step.figures[1:])


def read_series(records: Records, span: Span, now: float, scope: Selection | None) -> Series:
    """Return the steps of a span that the ledger's file has, of all accounts or of some."""
    step = span.step
    end = start_of(now, step) + step
    first, since = end - (span.seconds or 0), records.first_step()
    if span.seconds is None:
        first = start_of(min(records.first_day() or end - step, end - step), step)
    length = (end - first) // step
    node = _Columns(_NODE, length)
    for each in records.node_steps(step, first, end):
        node.add((each.at - first) // step, _node_values(each))
    if scope is None:
        return node.series(first, step, since)
    some = _Columns(SHOWN_COUNTERS, length)
    for at, counts in records.steps(step, first, end, _numbers(records, scope.has).values()):
        some.add((at - first) // step, shown(counts))
    some.blank_like([value is not None for value in node.columns[0]])
    return some.series(first, step, since)


def recent_series(
    records: Records | None, recent: RecentSteps, now: float, scope: Selection | None
) -> Series:
    """Return the last hour in steps of two seconds; without the file, what memory has of it."""
    end = int(now) // RECENT_STEP
    first = end - STEPS
    node = _Columns(_NODE, STEPS)
    for number, figures, counts in recent.node(first):
        node.add(number - first, (*counts, *figures))
    since = end if recent.since is None else recent.since
    if records is not None:
        # A minute in the file may have what memory notes only with the next step.
        known = since * RECENT_STEP // MINUTE * MINUTE if recent.has_all else None
        for each in records.node_steps(MINUTE, first * RECENT_STEP, end * RECENT_STEP):
            if each.at == known:
                continue
            _fill_minute(node, each.at, _node_values(each), first, min(since, end))
    began = None if records is None else records.first_step()
    if began is None and recent.since is not None:
        began = recent.since * RECENT_STEP
    if scope is None:
        return node.series(first * RECENT_STEP, RECENT_STEP, began)
    some = _Columns(SHOWN_COUNTERS, STEPS)
    numbers = {} if records is None else _numbers(records, scope.has)
    for key in recent.tracked:
        for number, counts in recent.track(key, first):
            some.add(number - first, counts)
    if records is not None:
        for key in recent.tracked:
            own = _Columns(SHOWN_COUNTERS, STEPS)
            for number, counts in recent.track(key, first):
                own.add(number - first, counts)
            before = min(recent.tracked_since(key), end)
            if (account := numbers.pop(key, None)) is not None:
                for at, sums in records.steps(
                    MINUTE, first * RECENT_STEP, end * RECENT_STEP, [account]
                ):
                    _fill_minute(some, at, shown(sums), first, before, known=own)
        for at, sums in records.steps(
            MINUTE, first * RECENT_STEP, end * RECENT_STEP, numbers.values()
        ):
            _fill_minute(some, at, shown(sums), first, end)
    some.blank_like([value is not None for value in node.columns[0]])
    return some.series(first * RECENT_STEP, RECENT_STEP, began)


def _fill_minute(
    columns: _Columns,
    minute: int,
    sums: Sequence[int],
    first: int,
    before: int,
    *,
    known: _Columns | None = None,
) -> None:
    """Spread a minute of the file over its steps that end before memory begins.

    What memory `known`s of the minute is in its sums as well.
    """
    begin = minute // RECENT_STEP
    steps = [
        number - first for number in range(begin, begin + MINUTE // RECENT_STEP) if number < before
    ]
    if not steps:
        return
    later = range(before - first, begin + MINUTE // RECENT_STEP - first)
    left = list(sums)
    for place, column in enumerate((known or columns).columns):
        if columns.names[place] != "peers":
            in_memory = sum(column[index] or 0 for index in later if 0 <= index < columns.length)
            left[place] = max(0, left[place] - in_memory)
    columns.add_minute(steps, left)


def _numbers(records: Records, wanted: Callable[[AccountKey], bool]) -> dict[AccountKey, int]:
    return {key: number for number, key, _ in records.accounts() if wanted(key)}
