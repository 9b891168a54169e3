"""What may be spent a day and a month (UTC), and what to go without when it runs out.

What a period has cost is the difference between the ledger's totals and what they were when it
began. Between two updates the budget itself counts what is read from S3, and sets aside what the
reads under way will bring: a read begins only if what is left allows it. A level that was reached
stays until the period is over or the budget is changed, so that nothing flaps.

The nodes of a cluster spend a budget together (`share`): the levels go by what all have spent, and
a read by what this node was granted of the rest, which it knows before it reads.

No I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf

from seeder.errors import BudgetSpent
from seeder.ledger.counters import Counters, Tally
from seeder.ledger.limits import Level, Limit, Period, Resource
from seeder.ledger.savings import Prices
from seeder.torrent.objects import Meter, Purpose
from seeder.units import DAY, show_moment


@dataclass(frozen=True, slots=True)
class Spent:
    """What was counted since the day began, and since the month did (UTC)."""

    today: Counters = field(default_factory=Counters)
    this_month: Counters = field(default_factory=Counters)


def period_starts(now: float) -> tuple[int, int]:
    """Return when the day and the month of `now` began (Unix s)."""
    date = datetime.fromtimestamp(now, UTC)
    month = datetime(date.year, date.month, 1, tzinfo=UTC)
    return _day(now) * DAY, int(month.timestamp())


@dataclass(frozen=True, slots=True)
class _Periods:
    """Which day and month it is, and the ledger's totals when they began."""

    day: int
    """Days since 1970-01-01."""
    month: int
    """Months since the year 0."""
    day_start: Counters
    month_start: Counters

    def moved_to(self, now: float, totals: Counters) -> "_Periods":
        """Return the periods of `now`, with new baselines where one has begun.

        A clock that goes back moves no baseline, so nothing is forgotten. Set back to the day
        before, it changes nothing: otherwise a small correction at midnight would begin the same
        day twice. Set back further, it changes the dates only.
        """
        day, month = _day(now), _month(now)
        if day == self.day or day == self.day - 1:
            return self
        return _Periods(
            day,
            month,
            totals.copy() if day > self.day else self.day_start,
            totals.copy() if month > self.month else self.month_start,
        )

    def number(self, period: Period) -> int:
        return self.day if period is Period.DAY else self.month

    def start(self, period: Period) -> Counters:
        return self.day_start if period is Period.DAY else self.month_start

    def end(self, period: Period) -> float:
        """Return when a period is over (Unix s)."""
        if period is Period.DAY:
            return float((self.day + 1) * DAY)
        year, month = divmod(self.month + 1, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()


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
            "level": str(self.level),
            "resets_at": self.resets_at,
        }


@dataclass(frozen=True, slots=True)
class Stake:
    """What a node has spent of a limit, for the others of its cluster."""

    limit: Limit
    period: int
    """Days since 1970-01-01, or months since the year 0."""
    ends: float
    """When that is over (Unix s)."""
    spent: float


@dataclass(frozen=True, slots=True)
class Grant:
    """What a node may spend of a limit; of the same resource and period as its stake."""

    stake: Stake
    others: float
    """What the other nodes have spent."""
    upto: float
    """What this node may have spent in the end."""


@dataclass(slots=True)
class _LimitState:
    """A limit, what was spent of it at the last update, and its highest level in its period."""

    limit: Limit
    nodes: int = 1
    """Nodes that spend it together, as far as is known."""
    period: int = -1
    own: float = 0.0
    others: float = 0.0
    """What the cluster's other nodes have spent."""
    upto: float = inf
    """What this node may have spent in the end, whatever is left of the limit."""
    level: Level = Level.NORMAL

    @property
    def spent(self) -> float:
        """What all nodes have spent."""
        return self.own + self.others

    @property
    def room(self) -> float:
        """What this node may still spend."""
        return min(self.limit.amount - self.others, self.upto) - self.own

    def update(self, periods: _Periods, totals: Counters, prices: Prices) -> None:
        limit = self.limit
        start = periods.start(limit.period)
        used, before = totals.minus(start), start.minus(periods.month_start)
        self.own = max(0, limit.resource.of(used, prices, before))
        if self.period != periods.number(limit.period):
            self.period, self.level = periods.number(limit.period), Level.NORMAL
            self.others, self.upto = 0.0, self._fair
        self.level = max(self.level, limit.level(self.spent))

    @property
    def _fair(self) -> float:
        """The part of this node while nobody knows what the others spend."""
        return inf if self.nodes == 1 else self.limit.amount / self.nodes


class Budget:
    """Every limit of the node: `update` says what they allow, `admit` holds reads to them."""

    def __init__(
        self,
        limits: Sequence[Limit],
        prices: Prices,
        *,
        totals: Counters,
        spent: Spent,
        now: float,
    ) -> None:
        """`totals` are the ledger's; `spent` is their part in the periods of `now` (Unix s)."""
        self.level = Level.NORMAL
        self._nodes = 1
        self._periods = _Periods(
            _day(now), _month(now), totals.minus(spent.today), totals.minus(spent.this_month)
        )
        self._read = Tally()
        """What was read since the last update, whose totals don't have it yet."""
        self._reserved = Counters()
        """What the requests under way may still bring."""
        self._known = self._periods
        """The periods when it was last known what the ledger has for them."""
        self.change(limits, prices, totals=totals, now=now)

    def change(
        self, limits: Sequence[Limit], prices: Prices, *, totals: Counters, now: float
    ) -> Level:
        """Set other limits; what was spent still counts, the levels begin anew."""
        self._prices = prices
        self._states = [_LimitState(limit, self._nodes) for limit in limits]
        return self.update(totals, now)

    def update(self, totals: Counters, now: float) -> Level:
        """Take in the ledger's totals and return the level.

        Call it about once a second: what is spent between midnight and the first call after it
        counts for the day before.
        """
        self._periods = self._periods.moved_to(now, totals)
        self._this_month = totals.minus(self._periods.month_start)
        self._read.counters = Counters()
        for state in self._states:
            state.update(self._periods, totals, self._prices)
        self.level = max((each.level for each in self._states), default=Level.NORMAL)
        return self.level

    @property
    def has_moved(self) -> bool:
        """Whether the date has changed, so that the ledger may know more: see `recount`."""
        return self._periods.day != self._known.day

    def recount(self, spent: Spent, totals: Counters, now: float) -> Level:
        """Take in what the ledger has for the day and the month that have begun; return the level.

        A clock that was wrong before may have been in them already. `totals` are those of a moment
        ago, all of which the ledger has.
        """
        known, periods = self._known, self._periods
        day_start, month_start = periods.day_start, periods.month_start
        # What was counted since it went back is at dates to come; it counts for today as well.
        if periods.day != known.day:
            day_start = (totals if periods.day > known.day else day_start).minus(spent.today)
        if periods.month != known.month:
            later = periods.month > known.month
            month_start = (totals if later else month_start).minus(spent.this_month)
        self._periods = self._known = replace(periods, day_start=day_start, month_start=month_start)
        return self.update(totals, now)

    def join(self, counted: Counters, spent: Spent, totals: Counters, now: float) -> Level:
        """Take in what the ledger has found of former runs only now; return the level.

        `counted` was added to the `totals` for it, and `spent` is its part in the periods.
        """
        periods = self._periods
        self._periods = replace(
            periods,
            day_start=periods.day_start.plus(counted).minus(spent.today),
            month_start=periods.month_start.plus(counted).minus(spent.this_month),
        )
        return self.update(totals, now)

    def left(self) -> tuple[Remaining, ...]:
        """Return how each limit stood at the last update."""
        return tuple(self._remaining(state) for state in self._states)

    def percents(self) -> tuple[int, ...]:
        """Return how much of each limit was spent, in whole percents."""
        return tuple(
            int(100 * each.spent / each.limit.amount) if each.limit.amount else 100
            for each in self._states
        )

    def _remaining(self, state: _LimitState) -> Remaining:
        limit = state.limit
        resets_at = self._periods.end(limit.period)
        return Remaining(limit, state.spent, state.level, resets_at)

    # -- the nodes of a cluster

    def begin_sharing(self, nodes: int) -> None:
        """Spend no more than a fair part until it is known what the others spend."""
        self._nodes = nodes
        for state in self._states:
            state.nodes = nodes
            state.upto = state.own + max(0.0, state.limit.amount - state.own) / nodes

    def stakes(self) -> tuple[Stake, ...]:
        """Return what this node has spent of each limit, all that was read included."""
        read, periods = self._read.counters, self._periods
        return tuple(
            Stake(
                state.limit,
                state.period,
                periods.end(state.limit.period),
                state.own + state.limit.resource.of(read, self._prices, self._this_month),
            )
            for state in self._states
        )

    def share(self, grants: Sequence[Grant], nodes: int) -> None:
        """Take in what was granted for these stakes; so many `nodes` spend together."""
        self._nodes = nodes
        for state in self._states:
            for grant in grants:
                if (grant.stake.limit, grant.stake.period) == (state.limit, state.period):
                    state.others, state.upto = grant.others, grant.upto
            state.nodes = nodes
            state.level = max(state.level, state.limit.level(state.spent))
        self.level = max((each.level for each in self._states), default=Level.NORMAL)

    # -- reading from S3

    def check(self, size: int) -> None:
        """Raise BudgetSpent unless a request that brings up to `size` bytes may be sent now.

        One that brings none, such as a HEAD, only has to fit the limits of requests.
        """
        pending = self._read.counters.plus(self._reserved)
        this_month = self._this_month
        for state in self._states:
            limit = state.limit
            if not size and limit.resource is not Resource.ORIGIN_REQUESTS:
                continue
            more = limit.resource.of(pending, self._prices, this_month)
            if state.level >= Level.CACHE_ONLY or state.spent + more >= limit.amount:
                until = show_moment(self._periods.end(limit.period))
                raise BudgetSpent(f"{limit} is spent: nothing is read from S3 until {until}")
            if more >= state.room:
                raise BudgetSpent(f"{limit}: this node's part is spent until it gets another one")

    def admit(self, meter: Meter, size: int) -> "Reading":
        """Let a request begin that brings up to `size` bytes; BudgetSpent.

        The request is sent within the returned block, and counted on what that yields. The last
        request that is admitted may exceed the limit, by less than `size`.
        """
        self.check(size)
        return Reading(meter, self._read, self._reserved, size)


class Reading:
    """A request to S3: what it may still bring is set aside while the block lasts."""

    __slots__ = ("_meter", "_read", "_requests", "_reserved", "_size")

    def __init__(self, meter: Meter, read: Tally, reserved: Counters, size: int) -> None:
        self._meter = meter
        self._read = read
        self._reserved = reserved
        self._size = size
        self._requests = 1

    def __enter__(self) -> "Reading":
        self._reserved.origin_bytes_pieces += self._size
        self._reserved.origin_requests_pieces += self._requests
        return self

    def __exit__(self, *_: object) -> None:
        self._release(self._requests, self._size)

    def _release(self, requests: int, size: int) -> None:
        requests, size = min(requests, self._requests), min(size, self._size)
        self._requests -= requests
        self._size -= size
        self._reserved.origin_requests_pieces -= requests
        self._reserved.origin_bytes_pieces -= size

    def origin_request(self, purpose: Purpose) -> None:
        """Count the request, once it is sent."""
        self._meter.origin_request(purpose)
        self._read.origin_request(purpose)
        self._release(1, 0)

    def origin_received(self, purpose: Purpose, count: int) -> None:
        """Count `count` body bytes that came."""
        self._meter.origin_received(purpose, count)
        self._read.origin_received(purpose, count)
        self._release(0, count)

    def requester_charged(self) -> None:
        """Count an answer that we were charged for as the requester."""
        self._meter.requester_charged()


def _day(now: float) -> int:
    return int(now // DAY)


def _month(now: float) -> int:
    date = datetime.fromtimestamp(now, UTC)
    return date.year * 12 + date.month - 1
