"""What a status page asks for may be anything: it comes to a view all the same."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.admin.view import LONGEST_FILTER, MOST_ROWS, ORDERS, View, name_of
from seeder.ledger.spans import Span
from seeder.torrent.objects import ObjectRef

REF = ObjectRef("default", "büro", 'a/"b" &c=1.iso', "v+1")


def test_a_view_is_what_the_query_says() -> None:
    query = {
        "search": "GiB+ é",
        "state": "failed",
        "order": "size",
        "reverse": "1",
        "first": "100",
        "rows": "20",
        "opened": '["default", "büro", "a/\\"b\\" &c=1.iso", "v+1"]',
        "span": "month",
    }
    view = View.of(urlencode(query, quote_via=quote).encode())
    assert view == View.of(urlencode(query).encode())
    assert view == View("gib+ é", "failed", "size", True, 100, 20, REF, Span.MONTH)
    assert name_of(REF) == ["default", "büro", 'a/"b" &c=1.iso', "v+1"]


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"order=password&reverse=yes&first=-1&rows=x",
        b"opened=",
        b"opened=%5B1,2,3,4%5D",
        b'opened=["a","b"]',
        b'opened={"a":1}',
        b"opened=" + b"%5B" * 5000,
        b"opened=null",
        b"first=" + b"9" * 5000,
        b"state=&search=",
        b"span=week",
        b"%ff=%ff&&=",
    ],
)
def test_what_makes_no_sense_is_as_if_it_were_not_said(query: bytes) -> None:
    assert View.of(query) == View()


def test_nothing_is_asked_for_without_bound() -> None:
    view = View.of(b"rows=99999&first=99999999999&search=" + b"a" * 1000)
    assert view.rows == MOST_ROWS
    assert view.first == 10**9
    assert view.search == "a" * LONGEST_FILTER
    assert View.of(b"rows=0").rows == 1


@given(st.binary(max_size=60))
def test_any_query_comes_to_a_view(query: bytes) -> None:
    view = View.of(b"opened=" + query)
    assert view.order in ORDERS
