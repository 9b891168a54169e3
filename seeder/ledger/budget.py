"""What may be spent a day and a month (UTC), and what to go without when it runs out.

What a period has cost is the difference between the ledger's totals and what they were when it
began; only these baselines have to be remembered. A level that was reached stays until the period
is over or the budget is changed, so nothing flaps. No I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum

from seeder.ledger.counters import COUNTERS, Counters
from seeder.ledger.savings import Prices

DAY = 86400
_NOTHING = Counters()


class Level(IntEnum):
    """How the node holds back, in the order of decision 12; each includes those before it."""

    NORMAL = 0
    FEWER_SLOTS = 1
    LAST_IN_HANDOUT = 2
    CACHE_ONLY = 3
    """Nothing is read from S3."""
    TRACKER_ONLY = 4
    """Nothing is sent to peers either."""


class Resource(Enum):
    """What a limit is about; money is in the currency of the prices."""

    ORIGIN_BYTES = "origin_bytes"
    ORIGIN_REQUESTS = "origin_requests"
    ORIGIN_MONEY = "origin_money"
    """The price of the origin bytes and requests together."""
    UPLOADED_BYTES = "uploaded_bytes"
    UPLOADED_MONEY = "uploaded_money"
    """The uploaded bytes at the origin's price a GB: what they'd cost out of the same cloud."""

    @property
    def last_level(self) -> Level:
        """Where it ends when all is spent."""
        uploaded = self in (Resource.UPLOADED_BYTES, Resource.UPLOADED_MONEY)
        return Level.TRACKER_ONLY if uploaded else Level.CACHE_ONLY

    def of(self, counters: Counters, prices: Prices) -> float:
        """Return how much of it `counters` say was used."""
        match self:
            case Resource.ORIGIN_BYTES:
                return counters.origin_bytes
            case Resource.ORIGIN_REQUESTS:
                return counters.origin_requests
            case Resource.ORIGIN_MONEY:
                return prices.money(counters.origin_bytes, counters.origin_requests)
            case Resource.UPLOADED_BYTES:
                return counters.uploaded_bytes
            case Resource.UPLOADED_MONEY:
                return prices.money(counters.uploaded_bytes)


class Period(Enum):
    """A day or a month of the UTC calendar."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Limit:
    """So much of a resource a period: bytes, requests or money. Zero allows nothing."""

    resource: Resource
    period: Period
    amount: float

    def __post_init__(self) -> None:
        if not self.amount >= 0:
            raise ValueError(f"not a budget: {self.amount}")


@dataclass(frozen=True, slots=True)
class Shares:
    """The spent share of a limit at which each level begins."""

    fewer_slots: float = 0.8
    last_in_handout: float = 0.9
    last_level: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.fewer_slots <= self.last_in_handout <= self.last_level <= 1:
            raise ValueError(f"shares of a budget must rise from above 0 to at most 1: {self}")

    def level(self, limit: Limit, spent: float) -> Level:
        """Return the level that `spent` of a limit leads to."""
        if spent >= limit.amount * self.last_level:
            return limit.resource.last_level
        if spent >= limit.amount * self.last_in_handout:
            return Level.LAST_IN_HANDOUT
        return Level.FEWER_SLOTS if spent >= limit.amount * self.fewer_slots else Level.NORMAL


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Which day and month it is, and the ledger's totals when they began."""

    day: int
    """Days since 1970-01-01."""
    month: int
    """Months since the year 0."""
    day_start: Counters
    month_start: Counters

    @classmethod
    def at(
        cls,
        now: float,
        totals: Counters,
        *,
        today: Counters = _NOTHING,
        this_month: Counters = _NOTHING,
    ) -> "BudgetState":
        """Return the state at `now` (Unix s), when so much of `totals` was counted in the periods.

        The ledger's file knows that: `read_ledger(path, now=now, since=period_starts(now)[0])`.
        """
        day_start, month_start = totals.minus(today), totals.minus(this_month)
        return cls(_day(now), _month(now), day_start, month_start)

    def document(self) -> dict[str, object]:
        """Return the state as JSON has it; `read` is the way back."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, object]) -> "BudgetState":
        """Return the state that a document holds; ValueError if it holds none.

        A counter that it lacks is one that didn't exist yet, hence zero.
        """
        day, month = document.get("day"), document.get("month")
        if not isinstance(day, int) or not isinstance(month, int):
            raise ValueError("a budget's state needs day and month")
        starts = (_counters(document.get("day_start")), _counters(document.get("month_start")))
        return cls(day, month, *starts)

    def resumed(self, totals: Counters) -> "BudgetState":
        """Return the state for a ledger that stands at `totals` after a restart.

        A crash may have cost the ledger its last seconds; what it lost can't be counted again.
        """
        day_start, month_start = _least(self.day_start, totals), _least(self.month_start, totals)
        return BudgetState(self.day, self.month, day_start, month_start)

    def moved_to(self, now: float, totals: Counters) -> "BudgetState":
        """Return the state at `now`, with new baselines where a period has begun.

        A clock that goes back forgets nothing: it changes the dates only, and those not for a
        small correction around midnight, lest the same midnight come twice.
        """
        day, month = _day(now), _month(now)
        if day == self.day or day == self.day - 1:
            return self
        return BudgetState(
            day,
            month,
            totals.copy() if day > self.day else self.day_start,
            totals.copy() if month > self.month else self.month_start,
        )


def period_starts(now: float) -> tuple[float, float]:
    """Return when the day and the month of `now` began (Unix s)."""
    date = datetime.fromtimestamp(now, UTC)
    return float(_day(now) * DAY), datetime(date.year, date.month, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Remaining:
    """One limit as it stands."""

    limit: Limit
    spent: float
    level: Level
    resets_at: float
    """When its period is over (Unix s)."""

    @property
    def left(self) -> float:
        return max(0, self.limit.amount - self.spent)

    def document(self) -> dict[str, object]:
        """Return it in the form of /status.json."""
        return {
            "resource": self.limit.resource.value,
            "period": self.limit.period.value,
            "limit": self.limit.amount,
            "spent": self.spent,
            "left": self.left,
            "level": self.level.name.lower().replace("_", " "),
            "resets_at": self.resets_at,
        }


@dataclass(slots=True)
class _Kept:
    """The highest level of a limit in its period, and which period that was."""

    period: int
    level: Level = field(default=Level.NORMAL)


class Budget:
    """Every limit of the node; `update` says what they allow."""

    def __init__(
        self,
        limits: Sequence[Limit],
        prices: Prices,
        *,
        totals: Counters,
        now: float,
        shares: Shares | None = None,
        state: BudgetState | None = None,
    ) -> None:
        """Go on from `state`; without one nothing counts that was spent before `now` (Unix s).

        `totals` are the ledger's, after it has been loaded.
        """
        self.state = state.resumed(totals) if state else BudgetState.at(now, totals.copy())
        self.level = Level.NORMAL
        self._totals = totals
        self.change(limits, prices, now=now, shares=shares)

    def change(
        self,
        limits: Sequence[Limit],
        prices: Prices,
        *,
        now: float,
        shares: Shares | None = None,
    ) -> None:
        """Set other limits; what was spent still counts, the levels begin anew."""
        self._limits = tuple(limits)
        self._prices = prices
        self._shares = shares or Shares()
        self._kept = [_Kept(-1) for _ in self._limits]
        self.update(self._totals, now)

    def update(self, totals: Counters, now: float) -> Level:
        """Take in the ledger's totals and return the level; `state` is to be kept when it changes.

        Call it about once a second: what is spent between midnight and the first call after it
        counts for the day before.
        """
        self.state = self.state.moved_to(now, totals)
        self._totals = totals.copy()
        for limit, kept in zip(self._limits, self._kept, strict=True):
            period = self._period(limit)
            if kept.period != period:
                kept.period, kept.level = period, Level.NORMAL
            kept.level = max(kept.level, self._shares.level(limit, self._spent(limit)))
        self.level = max((kept.level for kept in self._kept), default=Level.NORMAL)
        return self.level

    def left(self) -> tuple[Remaining, ...]:
        """Return how each limit stood at the last update."""
        day_end = float((self.state.day + 1) * DAY)
        year, month = divmod(self.state.month + 1, 12)
        month_end = datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
        return tuple(
            Remaining(
                limit,
                self._spent(limit),
                kept.level,
                day_end if limit.period is Period.DAY else month_end,
            )
            for limit, kept in zip(self._limits, self._kept, strict=True)
        )

    def _period(self, limit: Limit) -> int:
        return self.state.day if limit.period is Period.DAY else self.state.month

    def _spent(self, limit: Limit) -> float:
        daily = limit.period is Period.DAY
        start = self.state.day_start if daily else self.state.month_start
        return max(0, limit.resource.of(self._totals.minus(start), self._prices))


def _day(now: float) -> int:
    return int(now // DAY)


def _month(now: float) -> int:
    date = datetime.fromtimestamp(now, UTC)
    return date.year * 12 + date.month - 1


def _least(one: Counters, other: Counters) -> Counters:
    return Counters(*map(min, one.values(), other.values()))


def _counters(document: object) -> Counters:
    if not isinstance(document, dict):
        raise ValueError("a budget's state needs day_start and month_start")
    values = [document.get(name, 0) for name in COUNTERS]
    if not all(isinstance(value, int) for value in values):
        raise ValueError("a budget's baselines are whole numbers")
    return Counters(*values)
