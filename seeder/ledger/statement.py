"""The report for finance, put together from the ledger's file. Blocks; no trio."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

from seeder.ledger.bill import (
    UNKNOWN_WHEN,
    Bill,
    Line,
    Plot,
    Statement,
    line_of,
    months_between,
)
from seeder.ledger.counters import PURPOSES, UNATTRIBUTED, AccountKey, Counters
from seeder.ledger.intervals import NEVER, start_of
from seeder.ledger.records import Records
from seeder.ledger.savings import Prices
from seeder.units import DAY, HOUR

By: TypeAlias = Literal["torrent", "prefix", "day", "purpose"]
WAYS: tuple[By, ...] = get_args(By)

_OF_NONE = "(no object)"
"""What no object can be charged with."""
_FINE_UP_TO = 4 * DAY
"""Seconds up to which a plot has hours."""


@dataclass(frozen=True, slots=True)
class PrefixNames:
    """Which prefix an object is reported under: the longest configured one, else its folder."""

    configured: Sequence[tuple[str, str, str]]
    """Origin, bucket and what the keys begin with."""

    def name(self, key: AccountKey) -> str:
        fitting = [
            prefix
            for origin, bucket, prefix in self.configured
            if (origin, bucket) == (key.origin, key.bucket) and key.key.startswith(prefix)
        ]
        folder = key.key[: key.key.rfind("/") + 1]
        return f"{key.bucket}/{max(fitting, key=len) if fitting else folder}"


def read_statement(
    records: Records,
    prices: Prices,
    by: By,
    *,
    begin: float | None,
    end: float | None,
    now: float,
    prefixes: PrefixNames,
) -> Statement:
    """Return the report from `begin` to `end` (Unix s), each as exact as the history allows."""
    first, last = records.interval(begin, end)
    until = min(last, _after(now))
    bills = {bill.begin: bill for bill in _bills(records, prices, first, until)}
    lines: Sequence[Line]
    match by:
        case "torrent":
            lines = _lines(records, bills, _torrent)
        case "prefix":
            lines = _lines(records, bills, prefixes.name)
        case "day":
            lines = list(_days(records, bills))
        case "purpose":
            lines = list(_purposes(bills))
    return Statement(
        by=by,
        begin=None if begin is None else float(first),
        end=now if end is None else min(now, float(last)),
        lines=tuple(lines),
        months=tuple(bills.values()),
        prices=prices,
    )


def _after(now: float) -> int:
    """Return the moment up to which counts of the present reach: what a wrong clock has counted
    later belongs to no day yet."""
    return start_of(now, DAY) + DAY


def _bills(records: Records, prices: Prices, first: int, until: int) -> Iterator[Bill]:
    """Yield the months in which something was counted, before them what nobody knows when."""
    start = records.first_day()
    known = max(first, until if start is None else min(start, until))
    earlier = records.total(first, known)
    if earlier:
        yield Bill(UNKNOWN_WHEN, known, earlier, Counters(), prices)
    for month, begin, end in months_between(known, until):
        counted = records.total(begin, end)
        if counted:
            yield Bill(begin, end, counted, records.total(month, begin), prices)


def _lines(
    records: Records, bills: Mapping[int, Bill], name: Callable[[AccountKey], str]
) -> list[Line]:
    """Return a line for each name that has counted something, those that saved most first."""
    names = _told_apart(
        {
            number: ("", _OF_NONE) if key == UNATTRIBUTED else (key.origin, name(key))
            for number, key, _ in records.accounts()
        }
    )
    parts: dict[str, dict[int, Counters]] = defaultdict(dict)
    for stretch in _stretches(bills):
        begin = stretch[0].begin
        for number, counts in records.sums(begin, stretch[-1].end).items():
            if not any(counts):
                continue
            of_name, counted = parts[names[number]], Counters(*counts)
            before = of_name.get(begin)
            of_name[begin] = counted if before is None else before.plus(counted)
    whole = {stretch[0].begin: _joined(stretch) for stretch in _stretches(bills)}
    lines = [line_of(each, by_month, whole) for each, by_month in parts.items()]
    return sorted(lines, key=lambda line: (-line.money.saved_verified, line.name))


def _told_apart(names: Mapping[int, tuple[str, str]]) -> dict[int, str]:
    """Return names without the origin that each has in front, but where two origins have it."""
    origins: dict[str, set[str]] = defaultdict(set)
    for origin, name in names.values():
        origins[name].add(origin)
    return {
        number: name if len(origins[name]) == 1 else f"{name} ({origin})"
        for number, (origin, name) in names.items()
    }


def _stretches(bills: Mapping[int, Bill]) -> list[list[Bill]]:
    """Return the bills that can be read at once: all of them where one price holds for all."""
    every = list(bills.values())
    if every and not every[0].prices.tiers:
        return [every]
    return [[bill] for bill in every]


def _joined(stretch: Sequence[Bill]) -> Bill:
    first, counted = stretch[0], Counters()
    for bill in stretch:
        counted = counted.plus(bill.counted)
    return Bill(first.begin, stretch[-1].end, counted, first.before, first.prices)


def _torrent(key: AccountKey) -> str:
    return str(key)


def _days(records: Records, bills: Mapping[int, Bill]) -> Iterator[Line]:
    for bill in bills.values():
        if bill.begin == UNKNOWN_WHEN:
            yield Line(bill.name, bill.counted, bill.money)
            continue
        for begin, counted in _counted_by_day(records, bill.begin, bill.end):
            name = datetime.fromtimestamp(begin, UTC).strftime("%Y-%m-%d")
            yield Line(name, counted, bill.share(counted))


def _counted_by_day(records: Records, begin: int, end: int) -> Iterator[tuple[int, Counters]]:
    """Yield the days of an interval on which something was counted; the ends may be parts."""
    first, last = -(-begin // DAY) * DAY, end // DAY * DAY
    if first > last:
        first = last = end
    parts = [(begin, records.total(begin, first))]
    parts += [(each.at, Counters(*each.counts)) for each in records.node_steps(DAY, first, last)]
    parts.append((last, records.total(last, end)))
    yield from ((at, counted) for at, counted in parts if counted)


def _purposes(bills: Mapping[int, Bill]) -> Iterator[Line]:
    for purpose in PURPOSES:
        parts = {}
        for begin, bill in bills.items():
            names = (f"origin_bytes_{purpose}", f"origin_requests_{purpose}")
            parts[begin] = Counters(**{name: getattr(bill.counted, name) for name in names})
        line = line_of(purpose, parts, bills)
        yield Line(line.name, line.counted, line.money, delivers=False)


def read_plot(records: Records, statement: Statement) -> Plot:
    """Return the hours or days of a statement for its plots."""
    known = [bill for bill in statement.months if bill.begin != UNKNOWN_WHEN]
    if not known:
        return Plot(int(statement.end), DAY, ())
    begin, end = known[0].begin, min(known[-1].end, int(statement.end))
    fine = end - begin <= _FINE_UP_TO and begin >= records.kept().get(HOUR, NEVER)
    step = HOUR if fine else DAY
    first = start_of(begin, step)
    found: list[Counters | None] = [None] * max(1, -(-(end - first) // step))
    for each in records.node_steps(step, first, end):
        if each.at < begin or each.at + step > known[-1].end:
            # The interval may begin and end within a step.
            counted = records.total(max(begin, each.at), min(known[-1].end, each.at + step))
        else:
            counted = Counters(*each.counts)
        found[(each.at - first) // step] = counted
    return Plot(first, step, found)
