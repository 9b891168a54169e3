"""Requests out of bytes however they are cut, and what is refused."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.http.messages import RequestReader, RequestRefused, Response, encode_head

LIMIT = 1024
REQUESTS = [
    b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /two?x=%00 HTTP/1.1\r\nhost:a\r\nX-Y:  z \r\n\r\n",
    b"GET /three HTTP/1.1\nHost: a\n\n",
    b"GET /four?x=\x7f\x80\xff HTTP/1.1\r\nHost: a\r\n\r\n",
]


@given(
    st.lists(st.sampled_from(REQUESTS), max_size=6).map(b"".join),
    st.lists(st.integers(0, 200), max_size=10),
)
def test_requests_are_the_same_however_their_bytes_are_cut(raw: bytes, cuts: list[int]) -> None:
    reader = RequestReader(LIMIT)
    heads = []
    edges = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    for start, stop in pairwise(edges):
        reader.feed(raw[start:stop])
        while (head := reader.next_head()) is not None:
            heads.append(head.request.target)
    lines = [line.split(b" ")[1] for line in raw.split(b"\n") if b" HTTP/" in line]
    assert heads == [line.replace(b"\x7f\x80\xff", b"%7F%80%FF") for line in lines]
    assert not reader.started


@given(st.one_of(st.binary(max_size=LIMIT), st.text(max_size=200).map(str.encode)))
def test_garbage_is_refused_or_waited_for_and_nothing_else(raw: bytes) -> None:
    reader = RequestReader(LIMIT)
    reader.feed(b"GET " + raw[: LIMIT - 4])
    with suppress(RequestRefused):
        while (head := reader.next_head()) is not None and head.keep_alive:
            pass


def test_a_head_that_fills_the_reader_is_refused() -> None:
    reader = RequestReader(8)
    reader.feed(b"GET /aaa")
    with pytest.raises(RequestRefused) as caught:
        reader.next_head()
    assert caught.value.status == 414


@pytest.mark.parametrize("value", [b"a\r\nX: b", b"a\nb", b"a\rb"])
def test_a_header_cannot_break_out_of_its_line(value: bytes) -> None:
    response = Response(200, b"", ((b"X", value),))
    with pytest.raises(ValueError, match="line break"):
        encode_head(response, date=b"now", close=False, length=0)
