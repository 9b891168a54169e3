"""Where requests end, however their bodies are framed: as h11 has it, and nothing is smuggled."""

from contextlib import suppress
from itertools import pairwise

import h11
import pytest
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from seeder.http.messages import Request, RequestReader, RequestRefused, Response
from seeder.http.service import ServerLimits
from tests.http.serving import connected, serving, target_of

LIMIT = 4096
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
LINES = [
    b"GET /a HTTP/1.1",
    b"GET /b?x=%00 HTTP/1.1",
    b"POST /c HTTP/1.1",
    b"GET /d HTTP/1.0",
    b"HEAD http://a/e HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET /f\xff HTTP/1.1",
    b"GET  /g HTTP/1.1",
    b"GET /h\x00 HTTP/1.1",
    b"GET /i HTTP/2.0",
    b"GET /j",
]
FRAMING = [
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 005",
    b"Content-Length: 5, 5",
    b"Content-Length: 5, 6",
    b"Content-Length: +5",
    b"Content-Length: 5_0",
    b"Content-Length: -1",
    b"Content-Length:",
    b"Content-Length: " + b"9" * 5000,
    b"Content-Length : 5",
    b"Content-Length:\x0b5",
    b"Content-Length: \xd9\xa5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:chunked ",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding: \x00chunked",
    b"Transfer_Encoding: chunked",
    b"X: a\r\n Transfer-Encoding: chunked",
    b"X: a\nTransfer-Encoding: chunked",
    b"X: a\rTransfer-Encoding: chunked",
    b" Content-Length: 5",
    b"Expect: 100-continue",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: x",
    b"Host: a",
    b"X: \x00",
    b"X: \xff",
    b"X",
    b"",
]
BODIES = [
    b"",
    b"12345",
    b"0\r\n\r\n",
    b"5\r\n12345\r\n0\r\n\r\n",
    b"5\r\n12345\r\n0\r\nTrailer: x\r\n\r\n",
    b"5;x=y\r\n12345\r\n0\r\n\r\n",
    b"5\n12345\n0\n\n",
    b"2\r\n12345\r\n0\r\n\r\n",
    b"ffffffffffffffffffff\r\n",
    b"-1\r\n\r\n",
    b"+5\r\n12345\r\n0\r\n\r\n",
    b"0x5\r\n12345\r\n0\r\n\r\n",
    b" 5\r\n12345\r\n0\r\n\r\n",
    b"zz\r\n",
    b"0\r\n" + HIDDEN,
    b"0\n\n" + HIDDEN,
    HIDDEN,
    b"\r\n",
    b"\x00",
]
requests = st.builds(
    lambda line, headers, end, host, body: (
        end.join([line, *([b"Host: a"] if host else []), *headers, b"", b""]) + body
    ),
    st.sampled_from(LINES),
    st.lists(st.sampled_from(FRAMING), max_size=3),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from(BODIES),
)
streams = st.lists(requests, min_size=1, max_size=3).map(lambda some: b"".join(some) + NEXT)
Found = list[tuple[bytes, bytes, list[tuple[bytes, bytes]]] | str]


def ours(*parts: bytes) -> Found:
    """Return the requests that we take out of a stream, and how it ends."""
    reader, found = RequestReader(LIMIT), Found()
    for part in parts:
        rest = part
        while rest:
            fed = rest[: reader.room]
            reader.feed(fed)
            rest = rest[len(fed) :]
            while reader.started:
                try:
                    head = reader.next_head()
                except RequestRefused:
                    return [*found, "refused"]
                if head is None:
                    break
                found.append((head.method, head.target, list(head.headers)))
                if not head.keep_alive:
                    return [*found, "last"]
    return found


def of_h11(stream: bytes) -> Found:
    """Return the requests that h11 reads alone, whole with their bodies; it ends at the first one
    with a body."""
    found = Found()
    while stream := stream.lstrip(b"\r\n"):
        parser = h11.Connection(h11.SERVER, LIMIT)
        parser.receive_data(stream)
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            return [*found, "refused"]
        if not isinstance(event, h11.Request):
            return found
        found.append((event.method, event.target, list(event.headers)))
        framed = {name for name, value in event.headers if value.strip(b"0")}
        if framed & {b"content-length", b"transfer-encoding"}:
            return [*found, "last"]
        assert isinstance(parser.next_event(), h11.EndOfMessage)
        if parser.their_state is not h11.DONE:
            return [*found, "last"]
        stream, _ = parser.trailing_data
    return found


@given(streams, st.lists(st.integers(0, 400), max_size=6))
@example(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + NEXT, [60])
@example(b"GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, [])
def test_requests_end_where_h11_has_it_however_they_come(raw: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    found = ours(raw)
    assert found == ours(*(raw[start:stop] for start, stop in pairwise(edges)))
    if b"/f\xff" not in raw:  # which h11 refuses
        assert found == of_h11(raw)


@pytest.mark.parametrize("framing", [line for line in FRAMING if b":" in line])
async def test_the_server_answers_what_h11_reads_and_nothing_in_a_body(framing: bytes) -> None:
    asked: list[bytes] = []

    def handler(request: Request) -> Response:
        asked.append(target_of(request))
        return Response(200, b"here")

    async with serving(handler, ServerLimits(linger_timeout=0.2)) as port:
        for more in (b"Content-Length: 31", b"Transfer-Encoding: chunked", b"X: y"):
            head = b"POST /first HTTP/1.1\r\nHost: a\r\n%b\r\n%b\r\n\r\n" % (framing, more)
            for before in (b"", b"0\r\n\r\n", b"zz\r\n"):
                expected = of_h11(head + before + HIDDEN)
                # Whether what follows comes along or later.
                for parts in ([head + before + HIDDEN], [head, before + HIDDEN]):
                    asked.clear()
                    async with connected(port) as client:
                        with suppress(trio.BrokenResourceError):  # closed on already
                            for part in parts:
                                await client.send(part)
                                await trio.testing.wait_all_tasks_blocked(0.001)
                            await client.finish_sending()
                        await client.rest()
                    assert asked == [each[1] for each in expected if not isinstance(each, str)]
