from collections.abc import Callable
from datetime import UTC, date, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.config.money import BudgetSettings
from seeder.errors import BudgetSpent
from seeder.ledger.budget import Budget, Reading, Spent, period_starts
from seeder.ledger.counters import COUNTERS, AccountKey, Counters, Ledger, Tally
from seeder.ledger.file import LedgerFile
from seeder.ledger.limits import Level, Limit, Period, Resource, limits_of
from seeder.ledger.reading import read_ledger
from seeder.ledger.records import Entry
from seeder.ledger.retention import KEPT_FOR
from seeder.ledger.savings import BYTES_PER_GB, Prices
from seeder.units import DAY, HOUR

PRICES = Prices(price_per_gb=0.5, price_per_1000_requests=2.0)
NOON = datetime(2026, 7, 20, 12, tzinfo=UTC).timestamp()
MIDNIGHT = NOON + DAY / 2
AUGUST = datetime(2026, 8, 1, tzinfo=UTC).timestamp()
ORIGIN_A_DAY = Limit(Resource.ORIGIN_BYTES, Period.DAY, 1000)
REQUESTS_A_DAY = Limit(Resource.ORIGIN_REQUESTS, Period.DAY, 10)
UPLOADED_A_MONTH = Limit(Resource.UPLOADED_BYTES, Period.MONTH, 1000)

every_count = st.builds(Counters, *[st.integers(0, 2**60)] * len(COUNTERS))


def read(size: int) -> Counters:
    return Counters(origin_bytes_pieces=size)


def sent(size: int) -> Counters:
    return Counters(uploaded_bytes=size)


def budget_of(
    *limits: Limit,
    totals: Counters | None = None,
    spent: Spent | None = None,
    now: float = NOON,
) -> Budget:
    return Budget(limits, PRICES, totals=totals or Counters(), spent=spent or Spent(), now=now)


# -- levels


def test_without_limits_nothing_is_ever_short() -> None:
    budget = budget_of()
    assert budget.update(read(2**60), NOON) is Level.NORMAL
    assert budget.left() == ()
    budget.check(2**60)


@pytest.mark.parametrize(
    ("limit", "counters", "last"),
    [(ORIGIN_A_DAY, read, Level.CACHE_ONLY), (UPLOADED_A_MONTH, sent, Level.TRACKER_ONLY)],
)
def test_a_budget_degrades_in_order(
    limit: Limit, counters: Callable[[int], Counters], last: Level
) -> None:
    budget = budget_of(limit)
    levels = [budget.update(counters(spent), NOON) for spent in (799, 800, 899, 900, 999, 1000)]
    assert levels == [0, 1, 1, 2, 2, last]
    assert budget.update(counters(10**9), NOON) is budget.level is last


def test_the_worst_limit_decides() -> None:
    budget = budget_of(ORIGIN_A_DAY, UPLOADED_A_MONTH)
    both = read(950).plus(sent(850))
    assert budget.update(both, NOON) is Level.LAST_IN_HANDOUT
    assert [limit.level for limit in budget.left()] == [2, 1]


@pytest.mark.parametrize("amount", [-1, nan])
def test_an_amount_is_not_negative(amount: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        Limit(Resource.ORIGIN_BYTES, Period.DAY, amount)


def test_a_budget_of_nothing_is_spent_from_the_start() -> None:
    nothing = budget_of(Limit(Resource.ORIGIN_BYTES, Period.DAY, 0))
    assert nothing.level is Level.CACHE_ONLY
    with pytest.raises(BudgetSpent):
        nothing.check(1)
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
        protocol_bytes=2 * BYTES_PER_GB,
    )
    assert {resource: resource.of(counters, PRICES) for resource in Resource} == {
        Resource.ORIGIN_BYTES: 4 * BYTES_PER_GB,
        Resource.ORIGIN_REQUESTS: 1500,
        Resource.ORIGIN_MONEY: 4 * 0.5 + 1.5 * 2,
        Resource.UPLOADED_BYTES: 12 * BYTES_PER_GB,
        Resource.UPLOADED_MONEY: 6,
    }


def test_every_key_of_the_configuration_is_a_limit() -> None:
    amounts = BudgetSettings().amounts()
    assert limits_of(amounts) == ()
    numbered = dict(zip(amounts, map(float, range(len(amounts))), strict=True))
    limits = limits_of(numbered)
    assert {limit.name: limit.amount for limit in limits} == numbered
    assert len(limits) == len(Resource) * len(Period)


# -- periods


def test_a_day_begins_at_midnight_utc_and_a_month_on_the_first() -> None:
    month = Limit(Resource.ORIGIN_BYTES, Period.MONTH, 1500)
    budget = budget_of(ORIGIN_A_DAY, month)
    budget.update(read(1000), MIDNIGHT - 1)
    assert [limit.level for limit in budget.left()] == [3, 0]
    assert [limit.resets_at for limit in budget.left()] == [MIDNIGHT, AUGUST]
    budget.update(read(1000), MIDNIGHT)
    assert [limit.spent for limit in budget.left()] == [0, 1000]
    assert budget.update(read(1500), AUGUST - 1) is Level.CACHE_ONLY
    assert budget.update(read(1500), AUGUST) is Level.NORMAL
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


def test_percents_are_whole_ones_and_nothing_is_all_of_nothing() -> None:
    budget = budget_of(ORIGIN_A_DAY, UPLOADED_A_MONTH, Limit(Resource.ORIGIN_BYTES, Period.DAY, 0))
    assert budget.percents() == (0, 0, 100)
    budget.update(read(19).plus(sent(2500)), NOON)
    assert budget.percents() == (1, 250, 100)


def test_a_level_stays_until_its_period_is_over() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    budget.update(read(1000), NOON)
    assert budget.update(read(0), NOON) is Level.CACHE_ONLY
    with pytest.raises(BudgetSpent):
        budget.check(1)
    assert budget.update(read(0), MIDNIGHT) is Level.NORMAL


def test_other_limits_count_what_was_spent_already() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    spent = read(1000)
    budget.update(spent, NOON)
    more = Limit(Resource.ORIGIN_BYTES, Period.DAY, 1250)
    assert budget.change([more], PRICES, totals=spent, now=NOON) is Level.FEWER_SLOTS
    money = Limit(Resource.ORIGIN_MONEY, Period.MONTH, 1000 / BYTES_PER_GB * 0.5)
    assert budget.change([money], PRICES, totals=spent, now=NOON) is Level.CACHE_ONLY
    assert budget.change([], PRICES, totals=spent, now=NOON) is Level.NORMAL
    assert budget.left() == ()


def test_a_small_correction_of_the_clock_at_midnight_changes_nothing() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    budget.update(read(100), MIDNIGHT)
    budget.update(read(300), MIDNIGHT - 1)
    assert (budget.left()[0].spent, budget.left()[0].resets_at) == (200, MIDNIGHT + DAY)
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


@pytest.mark.parametrize(
    ("days", "counted"),
    [
        # What was spent in another month of the past isn't of this one.
        (-700, (101, 101)),
        (-2, (101, 111)),
        # A day back may be midnight: what is left of it counts for the next one.
        (1, (11, 111)),
        (2, (111, 111)),
        (700, (111, 111)),
    ],
)
def test_a_day_that_a_clock_comes_back_to_is_counted_on(
    tmp_path: Path, days: int, counted: tuple[float, float]
) -> None:
    file, ledger = LedgerFile(tmp_path / "ledger.sqlite"), Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    month = Limit(Resource.ORIGIN_BYTES, Period.MONTH, 1000)
    budget = budget_of(ORIGIN_A_DAY, month)

    def spend(size: int, now: float) -> tuple[float, float]:
        budget.update(ledger.totals(), now)
        if budget.has_moved:
            file.write([Entry.of(account)], now)
            budget.recount(file.spent(now), ledger.totals(), now)
            assert not budget.has_moved
        account.origin_received("pieces", size)
        file.write([Entry.of(account)], now)
        budget.update(ledger.totals(), now)
        day, of_month = budget.left()
        return day.spent, of_month.spent

    assert spend(100, NOON) == (100, 100)
    wrong = NOON + days * DAY
    # In the past some may count that was spent at dates to come, never less than was spent.
    assert min(spend(10, wrong)) >= 10
    assert spend(1, NOON) == counted
    file.close()


def test_what_is_spent_while_the_ledger_is_asked_counts_once(tmp_path: Path) -> None:
    file, ledger = LedgerFile(tmp_path / "ledger.sqlite"), Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    budget = budget_of(ORIGIN_A_DAY, Limit(Resource.ORIGIN_BYTES, Period.MONTH, 1000))
    account.origin_received("pieces", 100)
    file.write([Entry.of(account)], NOON)
    budget.update(ledger.totals(), NOON)
    later = NOON + 40 * DAY
    budget.update(ledger.totals(), later)
    assert budget.has_moved
    account.origin_received("pieces", 50)
    file.write([Entry.of(account)], later)
    totals, spent = ledger.totals(), file.spent(later)
    account.origin_received("pieces", 7)
    budget.recount(spent, totals, later)
    budget.update(ledger.totals(), later)
    assert [each.spent for each in budget.left()] == [57, 57]
    file.close()


@given(st.floats(0, 4e9))
def test_periods_start_where_the_calendar_says(now: float) -> None:
    day, month = period_starts(now)
    today = datetime.fromtimestamp(now, UTC)
    assert datetime.fromtimestamp(day, UTC) == datetime(
        today.year, today.month, today.day, tzinfo=UTC
    )
    assert datetime.fromtimestamp(month, UTC) == datetime(today.year, today.month, 1, tzinfo=UTC)


# -- restarts: what the ledger's file has is what was spent


def spent_by(file: LedgerFile, spendings: list[tuple[float, int]]) -> None:
    """Book so many bytes from S3 at those times, one flush each."""
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"etag-1"'))
    for now, size in spendings:
        account.origin_received("pieces", size)
        file.write([Entry.of(account)], now)


def test_a_restart_counts_what_fell_into_the_day_and_the_month(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    june = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    file = LedgerFile(path)
    times = (june, june + 1, MIDNIGHT - DAY - 1, MIDNIGHT - DAY, NOON - 5)
    spent_by(file, list(zip(times, (1, 10, 100, 1000, 10_000), strict=True)))
    spent = file.spent(NOON)
    assert spent == Spent(today=read(11_000), this_month=read(11_110))
    file.close()
    assert read_ledger(path, now=NOON).spent == spent
    assert read_ledger(path, now=NOON, since=NOON - 60).spent == spent
    month = Limit(Resource.ORIGIN_BYTES, Period.MONTH, 20_000)
    budget = budget_of(ORIGIN_A_DAY, month, totals=read(11_111), spent=spent)
    assert [limit.spent for limit in budget.left()] == [11_000, 11_110]
    budget.update(read(11_112), MIDNIGHT)
    assert [limit.spent for limit in budget.left()] == [0, 11_111]


def test_hours_that_were_folded_into_days_still_make_a_whole_month(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "ledger.sqlite")
    end = AUGUST - 1
    begin = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
    spent_by(file, [(begin - 1, 1), (begin + 1, 10), (begin + 5 * 3600, 100), (end, 1000)])
    assert file.spent(end) == Spent(today=read(1000), this_month=read(1110))
    # The flush that drops the hours comes later; a clock set back sees the days.
    spent_by(file, [(begin + KEPT_FOR[HOUR] + 2 * DAY, 0)])
    assert file.spent(end).this_month == read(1110)
    file.close()


def test_hours_to_come_do_not_count_today(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "ledger.sqlite")
    spent_by(file, [(NOON + 1500 * DAY, 5), (NOON, 7)])
    assert file.spent(NOON) == Spent(read(7), read(7))
    file.close()


def test_a_day_s_money_goes_by_what_the_month_had_before_it() -> None:
    gb = BYTES_PER_GB
    tiers = Prices(0.5, 0.0, "", ((0, 0.0), (10 * gb, 0.5), (20 * gb, 0.1)))
    a_day = Limit(Resource.ORIGIN_MONEY, Period.DAY, 3.0)
    a_month = Limit(Resource.ORIGIN_MONEY, Period.MONTH, 100.0)
    before = read(15 * gb)
    budget = Budget([a_day, a_month], tiers, totals=before, spent=Spent(read(0), before), now=NOON)
    day, month = budget.left()
    assert (day.spent, month.spent) == (0, 2.5)
    budget.update(read(25 * gb), NOON + 1)
    day, month = budget.left()
    assert (day.spent, month.spent) == (5 * 0.5 + 5 * 0.1, 10 * 0.5 + 5 * 0.1)
    assert day.level is Level.CACHE_ONLY


def test_a_read_is_admitted_at_the_price_of_its_tier() -> None:
    gb = BYTES_PER_GB
    tiers = Prices(0.5, 0.0, "", ((0, 0.0), (10 * gb, 0.5)))
    limit = Limit(Resource.ORIGIN_MONEY, Period.MONTH, 1.0)
    free = Budget([limit], tiers, totals=read(0), spent=Spent(), now=NOON)
    spent = read(11 * gb)
    dear = Budget([limit], tiers, totals=spent, spent=Spent(spent, spent), now=NOON)
    for budget, most in ((free, 11), (dear, 0)):
        for _ in range(most):
            budget.check(gb)
            budget.admit(Tally(), gb).__enter__()
        budget.check(gb)
        budget.admit(Tally(), gb).__enter__()
        with pytest.raises(BudgetSpent):
            budget.check(gb)


# -- reading from S3


def begin(budget: Budget, size: int) -> Reading:
    return budget.admit(Tally(), size).__enter__()


def end(reading: Reading, size: int, *, sent: bool = True) -> None:
    """Have a request answered with so many bytes."""
    if sent:
        reading.origin_request("pieces")
    reading.origin_received("pieces", size)
    reading.__exit__()


def test_what_is_read_is_counted_where_it_is_booked() -> None:
    tally = Tally()
    with budget_of(ORIGIN_A_DAY).admit(tally, 1000) as meter:
        meter.origin_request("hashing")
        meter.origin_received("hashing", 600)
        meter.requester_charged()
    expected = Counters(origin_bytes_hashing=600, origin_requests_hashing=1, requester_charged=1)
    assert tally.counters == expected


def test_reading_stops_between_two_updates_too() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    end(begin(budget, 999), 999)
    last = begin(budget, 500)
    with pytest.raises(BudgetSpent):
        begin(budget, 1)
    end(last, 500)
    with pytest.raises(BudgetSpent) as refused:
        budget.check(1)
    assert str(refused.value) == (
        'budget.origin_bytes_per_day = "1000 B" is spent: nothing is read from S3 until '
        "2026-07-21 00:00 UTC"
    )


def test_what_is_under_way_is_set_aside_until_it_came_or_failed() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    failing, coming = begin(budget, 600), begin(budget, 600)
    coming.origin_received("pieces", 300)
    with pytest.raises(BudgetSpent):
        budget.check(1)
    end(failing, 0)
    end(coming, 300)
    # Twice 300 came, and nothing is on its way any more.
    end(begin(budget, 300), 300)
    budget.check(1)
    end(begin(budget, 300), 300)
    with pytest.raises(BudgetSpent):
        budget.check(1)


def test_what_came_is_not_set_aside_any_more() -> None:
    budget = budget_of(ORIGIN_A_DAY, REQUESTS_A_DAY)
    reading = begin(budget, 600)
    reading.origin_request("pieces")
    reading.origin_received("pieces", 600)
    budget.check(1)
    for _ in range(8):
        begin(budget, 0)
    budget.check(0)
    reading.__exit__()
    budget.check(0)


def test_a_body_that_is_too_long_is_counted_whole() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    reading = begin(budget, 100)
    end(reading, 1000)
    with pytest.raises(BudgetSpent):
        budget.check(1)
    budget.change([ORIGIN_A_DAY], PRICES, totals=Counters(), now=NOON)
    budget.check(1)
    assert not budget._reserved


def test_an_update_counts_nothing_twice() -> None:
    budget = budget_of(ORIGIN_A_DAY)
    reading = begin(budget, 600)
    reading.origin_received("pieces", 500)
    budget.update(read(500), NOON)
    end(reading, 100)
    budget.check(1)
    end(begin(budget, 400), 400)
    with pytest.raises(BudgetSpent):
        budget.check(1)


def test_a_head_has_to_fit_the_limits_of_requests_only() -> None:
    budget = budget_of(ORIGIN_A_DAY, UPLOADED_A_MONTH, REQUESTS_A_DAY)
    budget.update(read(5000).plus(sent(5000)), NOON)
    for _ in range(10):
        end(begin(budget, 0), 0)
    with pytest.raises(BudgetSpent, match="origin_requests_per_day = 10 is spent"):
        budget.check(0)


def test_a_request_that_was_never_sent_costs_nothing() -> None:
    budget = budget_of(REQUESTS_A_DAY)
    for _ in range(11):
        end(begin(budget, 0), 0, sent=False)
    for _ in range(10):
        end(begin(budget, 0), 0)
    with pytest.raises(BudgetSpent):
        budget.check(0)


def test_money_is_held_to_as_well() -> None:
    budget = budget_of(Limit(Resource.ORIGIN_MONEY, Period.DAY, 0.5))
    end(begin(budget, BYTES_PER_GB // 2), BYTES_PER_GB // 2)
    budget.check(1)
    begin(budget, BYTES_PER_GB // 2)
    with pytest.raises(BudgetSpent, match=r"origin_money_per_day = 0\.5 is spent"):
        budget.check(1)


def test_nothing_is_read_when_nothing_may_be_sent() -> None:
    budget = budget_of(UPLOADED_A_MONTH)
    budget.update(sent(1000), NOON)
    with pytest.raises(BudgetSpent, match=r"uploaded_bytes_per_month.* 2026-08-01"):
        budget.check(1)


@given(
    limit=st.integers(1, 500),
    steps=st.lists(st.tuples(st.integers(1, 100), st.floats(0, 1), st.booleans()), max_size=80),
)
def test_reads_side_by_side_exceed_a_limit_by_less_than_the_last_of_them(
    limit: int, steps: list[tuple[int, float, bool]]
) -> None:
    budget = budget_of(Limit(Resource.ORIGIN_BYTES, Period.DAY, limit))
    under_way: list[tuple[Reading, int]] = []
    came, largest, refused = 0, 0, False
    for size, share, begins in steps:
        if begins:
            try:
                under_way.append((begin(budget, size), size))
                largest = max(largest, size)
            except BudgetSpent:
                refused = True
                # Nobody is refused for nothing.
                assert came + sum(wanted for _, wanted in under_way) >= limit
        elif under_way:
            reading, wanted = under_way.pop(0)
            end(reading, int(wanted * share))
            came += int(wanted * share)
            budget.update(read(came), NOON)
    for reading, wanted in under_way:
        end(reading, wanted)
        came += wanted
    assert came < limit + max(largest, 1)
    assert not budget._reserved
    if came >= limit or not refused:
        assert (budget.update(read(came), NOON) is Level.CACHE_ONLY) == (came >= limit)


# -- the report


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
    REQUESTS_A_DAY,
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
        self.tick()

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.now, UTC).date()

    def sum_of(self, spendings: list[Counters]) -> Counters:
        total = Counters()
        for counters in spendings:
            total = total.plus(counters)
        return total

    def totals(self) -> Counters:
        return self.history.plus(self.sum_of([counters for _, counters in self.spendings]))

    def tick(self) -> None:
        level = self.budget.update(self.totals(), self.now)
        assert level is self.budget.level
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
        """The ledger comes back as it was last flushed."""
        del self.spendings[self.flushed :]
        self.restart(seconds)

    def restart(self, seconds: int) -> None:
        self.now += seconds
        today = [counters for day, counters in self.spendings if day == self.today]
        month = (self.today.year, self.today.month)
        this_month = [
            counters for day, counters in self.spendings if (day.year, day.month) == month
        ]
        spent = Spent(self.sum_of(today), self.sum_of(this_month))
        self.budget = budget_of(*LIMITS, totals=self.totals(), spent=spent, now=self.now)
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

    @invariant()
    def a_read_is_admitted_below_every_last_level(self) -> None:
        if not hasattr(self, "budget"):
            return
        try:
            self.budget.check(1)
        except BudgetSpent:
            assert self.budget.level >= Level.CACHE_ONLY
        else:
            assert self.budget.level < Level.CACHE_ONLY


TestBudgetMachine: Any = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
