"""The report for finance as text, as CSV, and as a page with its plots."""

import csv
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.commands.bill_page import bill_page
from seeder.commands.bill_text import bill_csv, bill_lines
from seeder.ledger.bill import Bill, Line, Plot, Statement
from seeder.ledger.counters import Counters
from seeder.ledger.savings import BYTES_PER_GB, Prices
from seeder.units import DAY

GB = BYTES_PER_GB
TB = 1024 * GB
AWS = Prices(0.09, 0.0004, "USD", ((0, 0.09), (10 * TB, 0.085), (50 * TB, 0.07), (150 * TB, 0.05)))
MARCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
APRIL = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp())
NONE = Counters()


def march(**counts: int) -> Bill:
    return Bill(MARCH, APRIL, Counters(**counts), NONE, AWS)


def statement(*months: Bill, by: str = "torrent", lines: tuple[Line, ...] = ()) -> Statement:
    return Statement(by, None, float(APRIL), lines, months, months[0].prices if months else AWS)


def test_a_loss_is_told_as_one() -> None:
    bill = march(origin_bytes_hashing=3 * GB, origin_requests_hashing=1000)
    assert any("-0.2704" in line for line in bill_lines(statement(bill)))


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


@pytest.mark.parametrize("unit", [1, 1024, 1024**2, 1024**3, 1024**4])
@pytest.mark.parametrize(
    "count", [3, 4 * 999, 4 * 1000, 4 * 1001, 4 * 1023, 4 * 1024, 4 * 1024 + 4]
)
def test_an_axis_is_found_for_every_amount(unit: int, count: int) -> None:
    bill = march(uploaded_bytes=unit * count)
    assert "<svg" in bill_page(statement(bill), plot_of(0, unit * count))


@pytest.mark.parametrize("steps", range(1, 6))
def test_no_step_is_named_twice_on_an_axis(steps: int) -> None:
    page = bill_page(statement(march(uploaded_bytes=1)), plot_of(*range(steps)))
    figure = page.partition("<figure>")[2].partition("</figure>")[0]
    named = re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="(?:start|middle|end)">\d{4}-', figure)
    assert len(named) == len(set(named)) == min(3, steps)


def test_csv_shows_no_more_decimals_than_mean_something() -> None:
    bill = march(delivered_verified_bytes=3 * GB // 10, origin_requests_pieces=7)
    rows = list(csv.reader(io.StringIO(bill_csv(statement(bill)))))
    for cell in rows[-1][6:-1]:
        assert re.fullmatch(r"-?\d+(\.\d{1,10})?", cell)


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


def test_what_is_added_up_over_many_days_ends_at_the_sum() -> None:
    days = 1000
    bill = Bill(MARCH, MARCH + days * DAY, Counters(delivered_verified_bytes=days * GB), NONE, AWS)
    plot = Plot(MARCH, DAY, [Counters(delivered_verified_bytes=GB)] * days)
    titles = re.findall("<title>(.*?)</title>", bill_page(statement(bill), plot))
    assert titles[-1].endswith(": saved 90.00")


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
