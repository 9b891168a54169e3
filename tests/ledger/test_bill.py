"""Prices by volume, bills by month, and their arithmetic."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger.bill import Bill, months_between
from seeder.ledger.counters import Counters
from seeder.ledger.savings import BYTES_PER_GB, Prices
from seeder.units import DAY, HOUR

GB = BYTES_PER_GB
TB = 1024 * GB
AWS = Prices(0.09, 0.0004, "USD", ((0, 0.09), (10 * TB, 0.085), (50 * TB, 0.07), (150 * TB, 0.05)))
FREE_FIRST = Prices(0.09, 0.0, "", ((0, 0.0), (100 * GB, 0.09)))
FLAT = Prices(0.09, 0.0004)
MARCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
APRIL = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp())


# -- prices


@pytest.mark.parametrize(
    ("gigabytes", "money"),
    [
        # As AWS's price list for data transfer out of us-east-1 has it.
        (1, 0.09),
        (10_240, 921.6),
        (10_241, 921.685),
        (51_200, 921.6 + 40_960 * 0.085),
        (153_600, 921.6 + 40_960 * 0.085 + 102_400 * 0.07),
        (200_000, 921.6 + 40_960 * 0.085 + 102_400 * 0.07 + 46_400 * 0.05),
    ],
)
def test_a_month_is_billed_by_tiers(gigabytes: int, money: float) -> None:
    assert AWS.money(gigabytes * GB) == pytest.approx(money)
    assert AWS.money(gigabytes * GB, 2000) == pytest.approx(money + 0.0008)
    assert AWS.money(-gigabytes * GB) == pytest.approx(-money)
    assert AWS.buys(money) == pytest.approx(gigabytes * GB, abs=10)


def test_a_free_first_tier_costs_nothing_and_the_rest_does() -> None:
    assert FREE_FIRST.money(100 * GB) == 0
    assert FREE_FIRST.money(101 * GB) == pytest.approx(0.09)
    assert FREE_FIRST.buys(0.0) == 100 * GB
    assert Prices(0.0, 0.0).buys(5.0) is None


sizes = st.integers(0, 300 * TB)
prices = st.sampled_from([AWS, FREE_FIRST, FLAT])


@given(prices=prices, before=sizes, first=sizes, second=sizes)
def test_what_comes_in_parts_costs_what_it_costs_at_once(
    prices: Prices, before: int, first: int, second: int
) -> None:
    whole = prices.money(first + second, before=before)
    parts = prices.money(first, before=before) + prices.money(second, before=before + first)
    assert parts == pytest.approx(whole, abs=1e-6)
    assert sum(part for part, _ in prices.parts(first, before)) == first


@given(prices=prices, amount=st.floats(0, 1e6))
def test_what_money_buys_costs_that_money(prices: Prices, amount: float) -> None:
    count = prices.buys(amount)
    assert count is not None
    assert prices.money(count) == pytest.approx(amount, abs=1e-6)


# -- months


def test_months_are_those_of_the_calendar_in_utc() -> None:
    begin = MARCH + 5 * DAY
    november = int(datetime(2026, 11, 7, tzinfo=UTC).timestamp())
    months = list(months_between(begin, november))
    assert months[0] == (MARCH, begin, APRIL)
    assert [datetime.fromtimestamp(first, UTC).month for first, *_ in months] == [*range(3, 12)]
    assert months[-1][2] == november
    year_end = int(datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp())
    assert [part[1] for part in months_between(year_end, year_end + 2 * HOUR)] == [
        year_end,
        year_end + HOUR,
    ]


def march(**counts: int) -> Bill:
    return Bill(MARCH, APRIL, Counters(**counts), Counters(), AWS)


def test_a_loss_is_negative_and_stays_one() -> None:
    bill = march(origin_bytes_hashing=3 * GB, origin_requests_hashing=1000)
    assert bill.money.saved_verified == pytest.approx(-0.2704)


@given(
    months=st.lists(st.tuples(sizes, sizes, sizes, st.integers(0, 10**7)), min_size=1, max_size=3)
)
def test_shares_add_up_to_the_month(months: list[tuple[int, int, int, int]]) -> None:
    parts = [
        Counters(
            origin_bytes_pieces=read,
            delivered_verified_bytes=verified,
            delivered_claimed_bytes=claimed,
            origin_requests_pieces=requests,
        )
        for read, verified, claimed, requests in months
    ]
    whole = Counters()
    for part in parts:
        whole = whole.plus(part)
    bill = Bill(MARCH, APRIL, whole, Counters(origin_bytes_pieces=9 * TB), AWS)
    shares = [bill.share(part) for part in parts]
    for figure in ("without_verified", "without_claimed", "billed", "saved_verified"):
        assert sum(getattr(share, figure) for share in shares) == pytest.approx(
            getattr(bill.money, figure), abs=1e-5
        )


def reckon(line: str) -> tuple[float, float]:
    """Do a line of arithmetic by hand: what stands before its `=`, and what behind it."""
    told = re.sub(r"^\S+: (without us|billed|saved) ", "", line)
    told = re.sub(r" (GB|requests)", "", told).replace(",", "").replace("x", "*")
    left, _, right = told.partition(" = ")
    assert re.fullmatch(r"[-0-9.*/+ ]+", left)
    return eval(left), float(right)


@given(read=sizes, delivered=sizes, before=sizes, requests=st.integers(0, 10**9), prices=prices)
def test_the_arithmetic_can_be_done_again(
    read: int, delivered: int, before: int, requests: int, prices: Prices
) -> None:
    counted = Counters(
        origin_bytes_pieces=read,
        origin_requests_pieces=requests,
        delivered_verified_bytes=delivered,
    )
    earlier = Counters(origin_bytes_pieces=before, delivered_verified_bytes=before)
    lines = list(Bill(MARCH, APRIL, counted, earlier, prices).arithmetic())
    assert len(lines) == 3
    for line in lines:
        left, right = reckon(line)
        assert left == pytest.approx(right, abs=2e-6 * max(1, abs(right) / 1000))
