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
            heads.append(head.target)
    lines = [line.split(b" ")[1] for line in raw.split(b"\n") if b" HTTP/" in line]
    assert heads == [line.replace(b"\x7f\x80\xff", b"%7F%80%FF") for line in lines]
    assert not reader.started


@pytest.mark.parametrize(
    "rest",
    [
        b"Host: a\r\n\r\n",
        b"hOsT:a\r\nX-Y:  z \t\r\nConnection: Close\r\n\r\n",
        b"Host: a\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n",
        b"Host: a\r\nX: a\r\n b\r\n\r\n",
        b"Host: a\nX: b\r\n\r\n",
        b"Host: a\r\nX: " + b"b" * 1100 + b"\r\n\r\n",
        b"Host: a\r\nContent-Length: 0\r\n\r\n",
        b"Host: a\r\nContent-Length: 9\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Host: a\n\nGET /other HTTP/1.1\r\nHost: b\r\n\r\n",
        b"Host: a\r\n\r\nGET /other HTTP/1.1\r\nHost: b\r\n\r\n",
        b"Host: a\r\nHost: b\r\n\r\n",
        b"Host: a\r\nX Y: b\r\n\r\n",
        b"Host: a\r\nX: \0\r\n\r\n",
        b"X: a\r\n\r\n",
        b"\r\n",
    ],
)
def test_a_get_that_comes_at_once_is_read_as_in_two_parts(rest: bytes) -> None:
    raw = b"GET /announce?info_hash=%00&x HTTP/1.1\r\n" + rest

    def read(*parts: bytes) -> list[object]:
        reader, found = RequestReader(2 * LIMIT), list[object]()
        try:
            for part in parts:
                reader.feed(part)
                while (head := reader.next_head()) is not None:
                    found.append((*head[:2], list(head.headers), *head[3:]))
                    if not head.keep_alive:
                        return found
        except RequestRefused as refusal:
            found.append((refusal.status, str(refusal)))
        return found

    parted = read(raw[:9], raw[9:])
    assert parted
    # The second time, what was made of the headers is known.
    assert read(raw) == read(raw) == parted


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
