"""Ranges and preconditions, against slices of a body and the words of RFC 9110."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.http.headers import accepted, bearer_token, evaluate, parse_range
from seeder.http.messages import Request
from seeder.units import ByteRange

ETAG = b'"one"'
IGNORED, OUTSIDE = HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


def asking(*headers: tuple[bytes, bytes], method: bytes = b"GET") -> Request:
    nobody = ("192.0.2.1", 1)
    return Request(method, b"/b/k", b"", list(headers), nobody, nobody)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"bytes=0-0", ByteRange(0, 1)),
        (b"bytes=0-", ByteRange(0, 10)),
        (b"bytes=3-5", ByteRange(3, 3)),
        (b"bytes=9-", ByteRange(9, 1)),
        (b"bytes=9-9", ByteRange(9, 1)),
        (b"bytes=5-99", ByteRange(5, 5)),
        (b"bytes=5-" + b"9" * 5000, ByteRange(5, 5)),
        (b"bytes=" + b"0" * 5000 + b"5-", ByteRange(5, 5)),
        (b"bytes=-1", ByteRange(9, 1)),
        (b"bytes=-10", ByteRange(0, 10)),
        (b"bytes=-" + b"9" * 5000, ByteRange(0, 10)),
        (b"Bytes=1-2", ByteRange(1, 2)),
        (b" bytes= 1-2 , ", ByteRange(1, 2)),
        (b"bytes=10-", OUTSIDE),
        (b"bytes=10-10", OUTSIDE),
        (b"bytes=" + b"9" * 5000 + b"-", OUTSIDE),
        (b"bytes=-0", OUTSIDE),
        (b"bytes=0-1,3-4", IGNORED),
        (b"bytes=" + b"9" * 22 + b"-" + b"9" * 23, OUTSIDE),
        (b"bytes=0" + b"9" * 22 + b"-" + b"9" * 22, OUTSIDE),
        (b"bytes=" + b"9" * 22 + b"-" + b"8" * 22, IGNORED),
        (b"bytes=" + b"9" * 23 + b"-0" + b"9" * 22, IGNORED),
        (b"bytes=5-4", IGNORED),
        (b"bytes=-", IGNORED),
        (b"bytes=", IGNORED),
        (b"bytes", IGNORED),
        (b"bytes=a-b", IGNORED),
        (b"bytes=1", IGNORED),
        (b"bytes=1-2-3", IGNORED),
        (b"bytes=+1-2", IGNORED),
        (b"bytes=1 - 2", IGNORED),
        (b"bytes=\xb2-", IGNORED),
        (b"pieces=1-2", IGNORED),
        (b"", IGNORED),
    ],
)
def test_a_range_is_taken_clipped_or_ignored(header: bytes, found: ByteRange | HTTPStatus) -> None:
    assert parse_range(header, 10) == found


@pytest.mark.parametrize("header", [b"bytes=0-", b"bytes=0-0", b"bytes=-1"])
def test_of_nothing_there_is_no_range(header: bytes) -> None:
    assert parse_range(header, 0) == OUTSIDE


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_the_slice_that_it_names(body: bytes, first: int, last: int) -> None:
    for header, expected in (
        (b"bytes=%d-%d" % (first, last), body[first : last + 1]),
        (b"bytes=%d-" % first, body[first:]),
        (b"bytes=-%d" % last, body[-last:] if last else b""),
    ):
        found = parse_range(header, len(body))
        if isinstance(found, ByteRange):
            assert body[found.start : found.stop] == expected
        elif found == OUTSIDE:
            assert expected == b""
        else:
            assert last < first


@given(st.binary(max_size=40), st.integers(0, 100))
def test_any_header_is_answered_within_the_object(header: bytes, size: int) -> None:
    for value in (header, b"bytes=" + header):
        found = parse_range(value, size)
        if isinstance(found, ByteRange):
            assert found.stop <= size
        else:
            assert found in (IGNORED, OUTSIDE)


RANGE = (b"range", b"bytes=1-2")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([RANGE], 206),
        ([RANGE, RANGE], 200),
        ([(b"range", b"bytes=99-")], 416),
        # If-Match
        ([(b"if-match", b'"one"')], 200),
        ([(b"if-match", b"*")], 200),
        ([(b"if-match", b'"other", "one"')], 200),
        ([(b"if-match", b'"other"'), (b"if-match", b'"one"')], 200),
        ([(b"if-match", b'"other"')], 412),
        ([(b"if-match", b'W/"one"')], 412),
        ([(b"if-match", b"one")], 412),
        ([(b"if-match", b'"a,"one')], 412),
        # If-None-Match
        ([(b"if-none-match", b'"one"')], 304),
        ([(b"if-none-match", b'W/"one"')], 304),
        ([(b"if-none-match", b'"a,b", "one"')], 304),
        ([(b"if-none-match", b"*")], 304),
        ([(b"if-none-match", b'"other"')], 200),
        ([(b"if-none-match", b'"other"'), RANGE], 206),
        ([(b"if-none-match", b'"one"'), RANGE], 304),
        ([(b"if-match", b'"other"'), (b"if-none-match", b'"one"')], 412),
        # If-Range
        ([RANGE, (b"if-range", b'"one"')], 206),
        ([RANGE, (b"if-range", b'"other"')], 200),
        ([RANGE, (b"if-range", b'W/"one"')], 200),
        ([RANGE, (b"if-range", b"Wed, 21 Oct 2015 07:28:00 GMT")], 200),
        ([(b"range", b"bytes=99-"), (b"if-range", b'"other"')], 200),
        ([(b"if-range", b'"other"')], 200),
        # We know no date, so conditions on one don't count.
        ([RANGE, (b"if-modified-since", b"Wed, 21 Oct 2115 07:28:00 GMT")], 206),
        ([RANGE, (b"if-unmodified-since", b"Wed, 21 Oct 1995 07:28:00 GMT")], 206),
    ],
)
def test_conditions_are_met_in_their_order(headers: list[tuple[bytes, bytes]], status: int) -> None:
    found, part = evaluate(asking(*headers), ETAG, 10)
    assert found == status
    assert part == (ByteRange(1, 2) if status == 206 else None)


def test_a_range_is_for_get_alone() -> None:
    assert evaluate(asking(RANGE, method=b"HEAD"), ETAG, 10) == (200, None)
    assert evaluate(asking((b"if-match", b"x"), method=b"HEAD"), ETAG, 10) == (412, None)


@pytest.mark.parametrize(
    ("said", "quality"),
    [
        (b"a/b", 1),
        (b"a/b;q=0.25", 0.25),
        (b"a/b;q=1.000", 1),
        (b"a/b;q=0.", 0),
        (b"a/b;q=5", 0),
        (b"a/b;q=-1", 0),
        (b"a/b;q=nan", 0),
        (b"a/b;q=inf", 0),
        (b"a/b;q=1_0", 0),
        (b"a/b;q=" + b"9" * 400, 0),
    ],
)
def test_a_quality_is_a_share_and_anything_else_is_none(said: bytes, quality: float) -> None:
    assert accepted([said]) == {b"a/b": quality}


THEN, DATE = 784111777, b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE, AFTER = b"Sun, 06 Nov 1994 08:49:36 GMT", b"Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({b"if-modified-since": BEFORE}, 200),
        ({b"if-modified-since": DATE}, 304),
        ({b"if-modified-since": AFTER}, 304),
        ({b"if-modified-since": b"yesterday"}, 200),
        ({b"if-modified-since": AFTER, b"if-none-match": b'"other"'}, 200),
        ({b"if-unmodified-since": BEFORE}, 412),
        ({b"if-unmodified-since": DATE}, 200),
        ({b"if-unmodified-since": b"never"}, 200),
        ({b"if-unmodified-since": BEFORE, b"if-match": ETAG}, 200),
        ({b"if-range": DATE, b"range": b"bytes=0-1"}, 206),
        ({b"if-range": AFTER, b"range": b"bytes=0-1"}, 200),
        ({b"if-range": BEFORE, b"range": b"bytes=0-1"}, 200),
        ({b"if-range": DATE, b"range": b"bytes=10-"}, 416),
    ],
)
def test_dates_are_compared_with_when_it_changed(headers: dict[bytes, bytes], status: int) -> None:
    assert evaluate(asking(*headers.items()), ETAG, 10, THEN)[0] == status


@pytest.mark.parametrize("name", [b"if-modified-since", b"if-unmodified-since"])
def test_dates_are_ignored_where_it_is_not_known_when_it_changed(name: bytes) -> None:
    assert evaluate(asking((name, DATE)), ETAG, 10)[0] == 200


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bEARER  abc ", b"abc"),
        (b"Bearer", b""),
        (b"Basic YTpi", b""),
        (b"abc", b""),
        (b"", b""),
    ],
)
def test_a_token_is_that_of_a_bearer_whatever_the_case_of_the_word(
    value: bytes, token: bytes
) -> None:
    assert bearer_token(value) == token
