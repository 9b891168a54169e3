"""Prices by volume, bills by month, their arithmetic, and how it is shown."""

import csv
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.ledger.bill import Bill, Line, Plot, Statement, months_between
from seeder.ledger.bill_page import bill_page
from seeder.ledger.bill_text import bill_csv, bill_lines
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


def statement(*months: Bill, by: str = "torrent", lines: tuple[Line, ...] = ()) -> Statement:
    return Statement(by, None, float(APRIL), lines, months, months[0].prices if months else AWS)


def test_a_loss_is_negative_and_stays_one() -> None:
    bill = march(origin_bytes_hashing=3 * GB, origin_requests_hashing=1000)
    assert bill.money.saved_verified == pytest.approx(-0.2704)
    assert any("-0.2704" in line for line in bill_lines(statement(bill)))


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


# -- how it is shown


def test_csv_has_a_line_each_and_the_sum_and_no_formulas() -> None:
    bill = march(uploaded_bytes=GB, delivered_verified_bytes=2 * GB, origin_bytes_pieces=GB)
    names = ('=HYPERLINK("x")', "b/a, b\nc", "@SUM(A1)", "b/plain")
    lines = tuple(Line(name, bill.counted, bill.money) for name in names)
    rows = list(csv.reader(io.StringIO(bill_csv(statement(bill, lines=lines)))))
    assert rows[0][:2] == ["torrent", "origin_bytes"]
    assert [row[0] for row in rows[1:]] == [
        '\'=HYPERLINK("x")',
        "b/a, b\nc",
        "'@SUM(A1)",
        "b/plain",
        "all",
    ]
    assert dict(zip(rows[0], rows[-1], strict=True))["saved_verified_money"] == "0.09"
    assert len({len(row) for row in rows}) == 1


class Page(HTMLParser):
    """Its tags and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def plot_of(*uploaded: int | None) -> Plot:
    steps = [None if count is None else Counters(uploaded_bytes=count) for count in uploaded]
    return Plot(MARCH, DAY, steps)


def test_the_page_needs_nothing_else_and_obeys_no_name() -> None:
    bill = march(delivered_verified_bytes=20 * TB, origin_bytes_pieces=TB)
    evil = '<script>alert(1)</script><img src=x onerror="y">'
    found = bill_page(
        statement(bill, lines=(Line(evil, bill.counted, bill.money),)), plot_of(5, 7, None, 9)
    )
    page = Page(found)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "link", "iframe", "a"})
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.keys().isdisjoint({"src", "href", "xlink:href"})
    assert evil in page.text
    assert "url(" not in found
    assert "@import" not in found
    assert "1,699.84 USD" in page.text
    for svg in re.findall(r"<svg.*?</svg>", found, re.DOTALL):
        ElementTree.fromstring(svg)


def test_a_gap_is_no_line_in_the_plot() -> None:
    bill = march(delivered_verified_bytes=GB)
    page = Page(bill_page(statement(bill), plot_of(5, 7, None, 9, 3, None, 4)))
    lines = [attributes for tag, attributes in page.tags if tag == "polyline"]
    uploaded = [each["points"] for each in lines if each["class"] == "c2"]
    assert [len((points or "").split()) for points in uploaded] == [2, 2]
    assert ("circle", "c2") in [(tag, attributes.get("class")) for tag, attributes in page.tags]


def test_many_steps_are_added_up() -> None:
    bill = march(delivered_verified_bytes=GB)
    page = bill_page(statement(bill), plot_of(*[1] * 3000))
    points = re.findall(r'<polyline class="c2" points="([^"]*)"', page)
    assert len(points[0].split()) <= 370
    assert len(page) < 200_000


@given(
    counts=st.lists(st.none() | st.integers(0, 2**62), max_size=40),
    delivered=st.integers(0, 2**62),
    read=st.integers(0, 2**62),
)
def test_any_figures_can_be_drawn(counts: list[int | None], delivered: int, read: int) -> None:
    bill = march(delivered_verified_bytes=delivered, origin_bytes_pieces=read)
    page = bill_page(statement(bill), plot_of(*counts))
    assert "nan" not in page.replace("finance", "")
    for points in re.findall(r'points="([^"]*)"', page):
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 760
            assert 0 <= y <= 220


def test_nothing_at_all_is_a_report_too() -> None:
    empty = statement()
    assert any("0.00" in line for line in bill_lines(empty))
    assert "0.00" in Page(bill_page(empty, Plot(MARCH, DAY, ()))).text
    assert bill_csv(empty).splitlines()[-1].startswith("all,0,0")
