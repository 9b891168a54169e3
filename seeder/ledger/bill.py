"""What S3 bills, what it would have billed without us, and what is saved, with the arithmetic.

S3 bills by calendar months of UTC, and with tiers a GB costs less the more of them a month has. So
an interval costs what its months cost with it, less what they had cost before it. Objects, prefixes
and days share what their months cost by their bytes; they add up to the whole. How many requests
direct downloads would have taken isn't known: without us none are counted.

No I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from seeder.ledger.counters import Counters
from seeder.ledger.intervals import EVER
from seeder.ledger.report import Document
from seeder.ledger.savings import BYTES_PER_GB, Prices

_ROUND = 6
"""Decimals of GB and of money in the arithmetic, so that it can be done again by hand."""


@dataclass(frozen=True, slots=True)
class Money:
    """What some bytes cost; negative savings are a loss and stay one."""

    without_verified: float
    """What S3 would have billed for what was delivered, as far as that is verified."""
    without_claimed: float
    """The same for what peers announced."""
    billed: float

    @property
    def saved_verified(self) -> float:
        return self.without_verified - self.billed

    @property
    def saved_claimed(self) -> float:
        return self.without_claimed - self.billed

    def plus(self, other: "Money") -> "Money":
        return Money(
            self.without_verified + other.without_verified,
            self.without_claimed + other.without_claimed,
            self.billed + other.billed,
        )

    def document(self) -> Document:
        return {
            "without_verified_money": self.without_verified,
            "without_claimed_money": self.without_claimed,
            "billed_money": self.billed,
            "saved_verified_money": self.saved_verified,
            "saved_claimed_money": self.saved_claimed,
        }


NOTHING = Money(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Bill:
    """What one month, or a part of it, came to."""

    begin: int
    """Unix seconds; EVER for what was counted when nobody knows."""
    end: int
    counted: Counters
    before: Counters
    """What the month had before `begin`."""
    prices: Prices

    @property
    def money(self) -> Money:
        return self.share(self.counted)

    def share(self, part: Counters) -> Money:
        """Return what a part of what was counted costs, by its share of the bytes."""
        whole, before, prices = self.counted, self.before, self.prices

        def cost(count: int, of: int, earlier: int) -> float:
            return prices.money(of, before=earlier) * (count / of) if of else 0.0

        return Money(
            cost(
                part.delivered_verified_bytes,
                whole.delivered_verified_bytes,
                before.delivered_verified_bytes,
            ),
            cost(
                part.delivered_claimed_bytes,
                whole.delivered_claimed_bytes,
                before.delivered_claimed_bytes,
            ),
            cost(part.origin_bytes, whole.origin_bytes, before.origin_bytes)
            + prices.money(0, part.origin_requests),
        )

    @property
    def name(self) -> str:
        """The month, such as "2026-03"."""
        if self.begin <= 0:
            return "earlier"
        return datetime.fromtimestamp(self.begin, UTC).strftime("%Y-%m")

    def arithmetic(self) -> Iterator[str]:
        """Yield the lines that show how its money was reckoned."""
        money, counted, prices = self.money, self.counted, self.prices
        verified = self._terms(
            counted.delivered_verified_bytes, self.before.delivered_verified_bytes
        )
        yield f"{self.name}: without us {verified} = {_money(money.without_verified)}"
        read = self._terms(counted.origin_bytes, self.before.origin_bytes)
        yield (
            f"{self.name}: billed {read} + {counted.origin_requests:,} requests x"
            f" {prices.price_per_1000_requests:g} / 1000 = {_money(money.billed)}"
        )
        yield (
            f"{self.name}: saved {_money(money.without_verified)} - {_money(money.billed)}"
            f" = {_money(money.saved_verified)}"
        )

    def _terms(self, count: int, before: int) -> str:
        parts = self.prices.parts(count, before)
        return " + ".join(
            f"{part / BYTES_PER_GB:,.{_ROUND}f} GB x {price:g}" for part, price in parts
        )


def _money(amount: float) -> str:
    return f"{round(amount, _ROUND) + 0.0:,.{_ROUND}f}"


@dataclass(frozen=True, slots=True)
class Line:
    """One object, prefix, day or purpose: what was counted and what it costs."""

    name: str
    counted: Counters
    money: Money
    delivers: bool = True
    """False of a purpose: S3 is read for it, but nothing is delivered for it."""

    def document(self) -> Document:
        counted = self.counted
        return {
            "name": self.name,
            "origin_bytes": counted.origin_bytes,
            "origin_requests": counted.origin_requests,
            "uploaded_bytes": counted.uploaded_bytes,
            "delivered_verified_bytes": counted.delivered_verified_bytes,
            "delivered_claimed_bytes": counted.delivered_claimed_bytes,
            **(
                self.money.document()
                if self.delivers
                else dict.fromkeys(self.money.document()) | {"billed_money": self.money.billed}
            ),
        }


@dataclass(frozen=True, slots=True)
class Statement:
    """The report for finance: its lines add up to its months, and these to the whole."""

    by: str
    """What a line is about: torrent, prefix, day or purpose."""
    begin: float | None
    """Unix seconds; None: ever."""
    end: float
    lines: tuple[Line, ...]
    months: tuple[Bill, ...]
    prices: Prices

    @property
    def total(self) -> Line:
        """All of it."""
        counted, money = Counters(), NOTHING
        for month in self.months:
            counted, money = counted.plus(month.counted), money.plus(month.money)
        return Line("all", counted, money)

    def arithmetic(self) -> Iterator[str]:
        """Yield how the money was reckoned, month by month."""
        for month in self.months:
            if month.counted:
                yield from month.arithmetic()
        if len(self.months) > 1:
            money = self.total.money
            yield (
                f"all: saved {_money(money.without_verified)} - {_money(money.billed)}"
                f" = {_money(money.saved_verified)}"
            )

    def document(self) -> Document:
        """Return it in the form of `seeder report --json`."""
        return {
            "by": self.by,
            "since": self.begin,
            "until": self.end,
            "lines": [line.document() for line in self.lines],
            "total": self.total.document(),
            "months": [{"month": month.name, **month.money.document()} for month in self.months],
            "arithmetic": list(self.arithmetic()),
        }


@dataclass(frozen=True, slots=True)
class Plot:
    """What was counted step by step; None where the daemon didn't run."""

    begin: int
    step: int
    counted: Sequence[Counters | None]


def months_between(begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the calendar months (UTC) of an interval: when each began, and its part of it."""
    at = begin
    while at < end:
        date = datetime.fromtimestamp(at, UTC)
        first = int(datetime(date.year, date.month, 1, tzinfo=UTC).timestamp())
        year, month = divmod(date.year * 12 + date.month, 12)
        following = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())
        yield first, at, min(following, end)
        at = following


def line_of(name: str, parts: Mapping[int, Counters], bills: Mapping[int, Bill]) -> Line:
    """Return the line of what was counted by month; both mappings are by `Bill.begin`."""
    counted, money = Counters(), NOTHING
    for begin, part in parts.items():
        counted, money = counted.plus(part), money.plus(bills[begin].share(part))
    return Line(name, counted, money)


UNKNOWN_WHEN = EVER
"""`begin` of the bill of what a damaged ledger had counted, when nobody knows."""
