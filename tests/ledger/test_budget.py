import json
from datetime import UTC, date, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.ledger.budget import (
    DAY,
    Budget,
    BudgetState,
    Level,
    Limit,
    Period,
    Resource,
    Shares,
    period_starts,
)
from seeder.ledger.counters import COUNTERS, AccountKey, Counters, Ledger
from seeder.ledger.file import Entry, LedgerFile, read_ledger
from seeder.ledger.savings import BYTES_PER_GB, Prices

PRICES = Prices(price_per_gb=0.5, price_per_1000_requests=2.0)
NOON = datetime(2026, 7, 20, 12, tzinfo=UTC).timestamp()
MIDNIGHT = NOON + DAY / 2
ORIGIN_A_DAY = Limit(Resource.ORIGIN_BYTES, Period.DAY, 1000)
UPLOADED_A_MONTH = Limit(Resource.UPLOADED_BYTES, Period.MONTH, 1000)

every_count = st.builds(Counters, *[st.integers(0, 2**60)] * len(COUNTERS))


def read(size: int) -> Counters:
    return Counters(origin_bytes_pieces=size)


def sent(size: int) -> Counters:
    return Counters(uploaded_bytes=size)


def budget_of(
    *limits: Limit, totals: Counters | None = None, now: float = NOON, **more: Any
) -> Budget:
    return Budget(limits, PRICES, totals=totals or Counters(), now=now, **more)


# -- levels


def test_without_limits_nothing_is_ever_short() -> None:
    budget = budget_of()
    assert budget.update(read(2**60), NOON) is Level.NORMAL
    assert budget.left() == ()


@pytest.mark.parametrize(
    ("limit", "counters", "last"),
    [(ORIGIN_A_DAY, read, Level.CACHE_ONLY), (UPLOADED_A_MONTH, sent, Level.TRACKER_ONLY)],
)
def test_a_budget_degrades_in_order(limit: Limit, counters: Any, last: Level) -> None:
    budget = budget_of(limit)
    levels = [budget.update(counters(spent), NOON) for spent in (799, 800, 899, 900, 999, 1000)]
    assert levels == [0, 1, 1, 2, 2, last]
    assert budget.update(counters(10**9), NOON) is budget.level is last


def test_the_worst_limit_decides() -> None:
    budget = budget_of(ORIGIN_A_DAY, UPLOADED_A_MONTH)
    both = read(950).plus(sent(850))
    assert budget.update(both, NOON) is Level.LAST_IN_HANDOUT
    assert [limit.level for limit in budget.left()] == [2, 1]


def test_shares_can_be_chosen() -> None:
    budget = budget_of(ORIGIN_A_DAY, shares=Shares(0.25, 0.5, 0.75))
    assert [budget.update(read(spent), NOON) for spent in (249, 250, 500, 750)] == [0, 1, 2, 3]


@pytest.mark.parametrize("shares", [(0, 0.5, 1), (0.9, 0.8, 1), (0.8, 0.9, 1.1), (0.8, 1, 0.9)])
def test_shares_must_rise(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="rise"):
        Shares(*shares)


@pytest.mark.parametrize("amount", [-1, nan])
def test_an_amount_is_not_negative(amount: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        Limit(Resource.ORIGIN_BYTES, Period.DAY, amount)


def test_a_budget_of_nothing_is_spent_from_the_start() -> None:
    assert budget_of(Limit(Resource.ORIGIN_BYTES, Period.DAY, 0)).level is Level.CACHE_ONLY
    assert budget_of(Limit(Resource.UPLOADED_MONEY, Period.DAY, 0)).level is Level.TRACKER_ONLY
    assert budget_of(Limit(Resource.ORIGIN_BYTES, Period.DAY, inf)).level is Level.NORMAL


def test_every_resource_counts_its_own() -> None:
    counters = Counters(
        origin_bytes_metainfo=BYTES_PER_GB,
        origin_bytes_hashing=BYTES_PER_GB,
        origin_bytes_pieces=2 * BYTES_PER_GB,
        origin_requests_metainfo=1000,
        origin_requests_pieces=500,
        uploaded_bytes=10 * BYTES_PER_GB,
    )
    assert {resource: resource.of(counters, PRICES) for resource in Resource} == {
        Resource.ORIGIN_BYTES: 4 * BYTES_PER_GB,
        Resource.ORIGIN_REQUESTS: 1500,
        Resource.ORIGIN_MONEY: 4 * 0.5 + 1.5 * 2,
        Resource.UPLOADED_BYTES: 10 * BYTES_PER_GB,
        Resource.UPLOADED_MONEY: 5,
    }


# -- periods


def test_what_was_spent_before_the_first_start_does_not_count() -> None:
    budget = budget_of(ORIGIN_A_DAY, totals=read(10**6))
    assert budget.level is Level.NORMAL
    assert budget.update(read(10**6 + 900), NOON) is Level.LAST_IN_HANDOUT


def test_a_day_begins_at_midnight_utc_and_a_month_on_the_first() -> None:
    month = Limit(Resource.ORIGIN_BYTES, Period.MONTH, 1500)
    budget = budget_of(ORIGIN_A_DAY, month)
    budget.update(read(1000), MIDNIGHT - 1)
    assert [limit.level for limit in budget.left()] == [3, 0]
    assert [limit.resets_at for limit in budget.left()] == [
        MIDNIGHT,
        datetime(2026, 8, 1, tzinfo=UTC).timestamp(),
    ]
    budget.update(read(1000), MIDNIGHT)
    assert [limit.spent for limit in budget.left()] == [0, 1000]
    august = datetime(2026, 8, 1, tzinfo=UTC).timestamp()
    assert budget.update(read(1500), august - 1) is Level.CACHE_ONLY
    assert budget.update(read(1500), august) is Level.NORMAL
    december = datetime(2026, 12, 31, tzinfo=UTC).timestamp()
    budget.update(read(1500), december)
    assert {limit.resets_at for limit in budget.left()} == {december + DAY}


def test_a_baseline_does_not_follow_the_totals_it_was_taken_from() -> None:
    totals = read(500)
    budget = budget_of(ORIGIN_A_DAY, totals=totals)
    budget.update(totals, MIDNIGHT)
    totals.origin_bytes_pieces += 100
    budget.update(totals, MIDNIGHT)
    assert budget.left()[0].spent == 100


def test_totals_that_shrink_leave_no_more_than_the_limit() -> None:
    budget = budget_of(ORIGIN_A_DAY, totals=read(500))
    budget.update(read(400), NOON)
    assert (budget.left()[0].spent, budget.left()[0].left) == (0, 1000)


def test_a_level_stays_until_its_period_is_over() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    budget.update(read(1000), NOON)
    assert budget.update(read(0), NOON) is Level.CACHE_ONLY
    assert budget.update(read(0), MIDNIGHT) is Level.NORMAL


def test_other_limits_count_what_was_spent_already() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    budget.update(read(1000), NOON)
    budget.change([Limit(Resource.ORIGIN_BYTES, Period.DAY, 1250)], PRICES, now=NOON)
    assert budget.level is Level.FEWER_SLOTS
    money = Limit(Resource.ORIGIN_MONEY, Period.MONTH, 1000 / BYTES_PER_GB * 0.5)
    budget.change([money], PRICES, now=NOON)
    assert budget.left()[0].level is Level.CACHE_ONLY
    budget.change([], PRICES, now=NOON)
    assert budget.left() == ()
    assert budget.update(read(1000), NOON) is Level.NORMAL


def test_a_small_correction_of_the_clock_at_midnight_changes_nothing() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    budget.update(read(100), MIDNIGHT)
    state = budget.state
    budget.update(read(300), MIDNIGHT - 1)
    assert budget.state is state
    budget.update(read(300), MIDNIGHT + 1)
    assert budget.left()[0].spent == 200


def test_a_clock_that_was_years_ahead_forgets_nothing_and_days_go_on() -> None:
    budget = budget_of(ORIGIN_A_DAY, UPLOADED_A_MONTH, now=NOON + 1500 * DAY)
    spent = read(900).plus(sent(1000))
    budget.update(spent, NOON + 1500 * DAY)
    assert budget.update(spent, NOON) is Level.TRACKER_ONLY
    assert [limit.spent for limit in budget.left()] == [900, 1000]
    budget.update(spent, NOON + DAY)
    assert [limit.spent for limit in budget.left()] == [0, 1000]


@given(st.floats(0, 4e9))
def test_periods_start_where_the_calendar_says(now: float) -> None:
    day, month = period_starts(now)
    today = datetime.fromtimestamp(now, UTC)
    assert datetime.fromtimestamp(day, UTC) == datetime(
        today.year, today.month, today.day, tzinfo=UTC
    )
    assert datetime.fromtimestamp(month, UTC) == datetime(today.year, today.month, 1, tzinfo=UTC)


# -- restarts


@given(every_count, every_count, st.floats(0, 4e9))
def test_a_state_survives_json(day: Counters, month: Counters, now: float) -> None:
    state = BudgetState.at(now, day, this_month=month)
    assert BudgetState.read(json.loads(json.dumps(state.document()))) == state


def test_a_counter_that_a_state_lacks_was_zero() -> None:
    document: dict[str, Any] = BudgetState.at(NOON, sent(5)).document()
    for start in ("day_start", "month_start"):
        del document[start]["peers_seen"]
        document[start]["gone"] = 7
    assert BudgetState.read(document) == BudgetState.at(NOON, sent(5))


@pytest.mark.parametrize(
    "change",
    [{"day": "1"}, {"month": None}, {"day_start": 5}, {"month_start": {"uploaded_bytes": "5"}}],
)
def test_anything_else_is_no_state(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="budget"):
        BudgetState.read(BudgetState.at(NOON, sent(5)).document() | change)


def test_a_restart_on_the_next_day_begins_with_an_empty_day() -> None:
    before = budget_of(ORIGIN_A_DAY, totals=read(5000))
    before.update(read(6000), NOON)
    after = budget_of(ORIGIN_A_DAY, totals=read(6000), now=MIDNIGHT + 1, state=before.state)
    assert after.level is Level.NORMAL
    assert after.left()[0].spent == 0


def test_the_ledgers_file_is_state_enough(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    file = LedgerFile(path)
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    start = datetime(2026, 6, 30, 23, tzinfo=UTC).timestamp()
    for now in (start, start + 2 * 3600, NOON - DAY, NOON - 100, NOON - 5):
        account.origin_received("pieces", 100)
        file.write([Entry.of(account)], now)
    file.close()
    day, month = (
        read_ledger(path, now=NOON, since=since).ledger.totals() for since in period_starts(NOON)
    )
    totals = read_ledger(path, now=NOON).ledger.totals()
    assert totals == read(500)
    budget = budget_of(
        ORIGIN_A_DAY,
        Limit(Resource.ORIGIN_BYTES, Period.MONTH, 1000),
        totals=totals,
        state=BudgetState.at(NOON, totals, today=day, this_month=month),
    )
    assert [limit.spent for limit in budget.left()] == [200, 400]


def test_the_report_says_what_is_left() -> None:
    budget = budget_of(ORIGIN_A_DAY, Limit(Resource.UPLOADED_MONEY, Period.MONTH, 2.5))
    budget.update(read(900).plus(sent(6 * BYTES_PER_GB)), NOON)
    bytes_, money = (limit.document() for limit in budget.left())
    assert bytes_ == {
        "resource": "origin_bytes",
        "period": "day",
        "limit": 1000,
        "spent": 900,
        "left": 100,
        "level": "last in handout",
        "resets_at": MIDNIGHT,
    }
    assert (money["spent"], money["left"], money["level"]) == (3, 0, "tracker only")


# -- the state machine

LIMITS = (
    ORIGIN_A_DAY,
    Limit(Resource.ORIGIN_BYTES, Period.MONTH, 3000),
    Limit(Resource.ORIGIN_REQUESTS, Period.DAY, 10),
    UPLOADED_A_MONTH,
)
SPENDINGS = st.builds(
    Counters,
    origin_bytes_hashing=st.integers(0, 300),
    origin_bytes_pieces=st.integers(0, 300),
    origin_requests_pieces=st.integers(0, 3),
    uploaded_bytes=st.integers(0, 200),
)


class BudgetMachine(RuleBasedStateMachine):
    """Spending, days, stops and crashes in any order, beside a list of what was spent when."""

    @initialize(history=every_count)
    def start(self, history: Counters) -> None:
        self.now = NOON
        self.history = history
        self.spendings: list[tuple[date, Counters]] = []
        self.flushed = 0
        self.budget = budget_of(*LIMITS, totals=history.copy())
        self.reached: dict[Limit, tuple[object, Level]] = {}
        self.saved = json.dumps(self.budget.state.document())
        self.tick()

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.now, UTC).date()

    def totals(self) -> Counters:
        totals = self.history
        for _, counters in self.spendings:
            totals = totals.plus(counters)
        return totals

    def tick(self) -> None:
        before, day = self.budget.level, self.budget.state.day
        level = self.budget.update(self.totals(), self.now)
        assert level is self.budget.level
        if self.budget.state.day == day:
            assert level >= before
        # As a caller would: whenever it has changed.
        self.saved = json.dumps(self.budget.state.document())
        for limit in LIMITS:
            period = self.period_of(limit, self.today)
            kept, level = self.reached.get(limit, (None, Level.NORMAL))
            level = level if kept == period else Level.NORMAL
            self.reached[limit] = (period, max(level, self.level_of(limit)))

    def period_of(self, limit: Limit, day: date) -> object:
        return day if limit.period is Period.DAY else (day.year, day.month)

    def spent(self, limit: Limit) -> float:
        period = self.period_of(limit, self.today)
        return sum(
            limit.resource.of(counters, PRICES)
            for day, counters in self.spendings
            if self.period_of(limit, day) == period
        )

    def level_of(self, limit: Limit) -> Level:
        share = self.spent(limit) / limit.amount
        last = Level.TRACKER_ONLY if "upload" in limit.resource.value else Level.CACHE_ONLY
        return last if share >= 1 else Level(0 + (share >= 0.8) + (share >= 0.9))

    @rule(counters=SPENDINGS)
    def spend(self, counters: Counters) -> None:
        self.spendings.append((self.today, counters))
        self.tick()

    @rule(seconds=st.sampled_from([1, 3600, DAY // 2, DAY, 9 * DAY, 40 * DAY]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.tick()

    @rule()
    def flush(self) -> None:
        self.flushed = len(self.spendings)

    @rule(seconds=st.sampled_from([1, DAY // 2, DAY, 40 * DAY]))
    def stop_and_start(self, seconds: int) -> None:
        self.flush()
        self.restart(seconds)

    @rule(seconds=st.sampled_from([1, DAY // 2, DAY]))
    def crash_and_start(self, seconds: int) -> None:
        """The ledger comes back as it was last flushed, the state as it was last saved."""
        del self.spendings[self.flushed :]
        self.restart(seconds)

    def restart(self, seconds: int) -> None:
        self.now += seconds
        state = BudgetState.read(json.loads(self.saved))
        self.budget = budget_of(*LIMITS, totals=self.totals(), now=self.now, state=state)
        self.reached = {}
        self.tick()

    @invariant()
    def spent_is_what_was_spent_in_the_period(self) -> None:
        if not hasattr(self, "budget"):
            return
        for remaining in self.budget.left():
            limit = remaining.limit
            assert remaining.spent == self.spent(limit)
            assert remaining.left == max(0, limit.amount - self.spent(limit))
            assert remaining.level == self.reached[limit][1]
            assert remaining.resets_at > self.now
        assert self.budget.level == max(level for _, level in self.reached.values())


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
