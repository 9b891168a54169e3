"""A request that is there when its client is accepted is answered as one that comes later."""

import logging
import re
import socket
from collections.abc import Awaitable

import pytest
import trio
import trio.testing

from seeder.http.connection import LARGE_BODY
from seeder.http.messages import Request, Response
from tests.http.serving import Shelf, asked_already, connected, serving

CLOSE = b"Host: x\r\nConnection: close\r\n"
CLOSING = b"GET /small HTTP/1.1\r\n" + CLOSE + b"\r\n"


def answer(request: Request) -> Response | Awaitable[Response]:
    if request.path == b"/raises":
        raise KeyError
    if request.path == b"/breaks":
        return Response(200, b"", ((b"X", b"a\r\nb"),))
    if request.path == b"/later":
        return later()
    if request.path == b"/shelf":
        return Shelf(bytes(300_000))(request)
    if request.path == b"/close":
        return Response(200, b"over", close=True)
    if request.path == b"/none":
        return Response(304)
    if request.path == b"/large":
        return Response(200, bytes(LARGE_BODY + 1))
    if request.path == b"/huge":
        return Response(200, bytes(20_000_000))
    return Response(200, b"%b|%b|%r" % (request.path, request.query, list(request.headers)))


async def later() -> Response:
    await trio.lowlevel.checkpoint()
    return Response(200, b"later")


def without_date(reply: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", reply)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"GET /%b HTTP/1.1\r\n%b\r\n" % (path, CLOSE)
            for path in (
                *(b"", b"announce?a=%41&b=+", b"a//b??c", b"raises", b"breaks", b"later"),
                *(b"shelf", b"close", b"none", b"large", b"huge"),
            )
        ),
        b"GET /a?b#c HTTP/1.1\r\nhost:  x\r\nCONNECTION:close, x\r\n\r\n",
        b"GET http://y/a?b HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"GET * HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"HEAD / HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\nGET /second HTTP/1.1\r\n\r\n",
        b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\nConnection: close\n\n",
        b"not a request\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:40]),
)
async def test_the_reply_is_the_same_and_is_counted_the_same(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    replies: list[bytes] = []
    logged: list[list[str]] = []
    counted: list[int] = []

    class Meter:
        def protocol(self, count: int) -> None:
            counted[-1] += count

    async with serving(answer, meter=Meter()) as port:
        for begins in (True, False):
            caplog.clear()
            counted.append(0)
            if begins:
                async with asked_already(port, raw) as client:
                    replies.append(without_date(await client.rest()))
            else:
                async with connected(port) as client:
                    await client.send(raw[:7])
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    await client.send(raw[7:])
                    replies.append(without_date(await client.rest()))
            logged.append([each.getMessage() for each in caplog.records])
    assert replies[0] == replies[1]
    assert replies[0].startswith(b"HTTP/1.1 ")
    assert counted[0] == counted[1]
    assert logged[0] == logged[1]


async def test_a_reply_comes_with_the_end_of_its_connection() -> None:
    async with serving(answer) as port, asked_already(port, CLOSING) as client:
        assert b"/small|" in await client.rest()
        # The answer to the connect, the receipt of the request, and then all else in one.
        assert client.packets == 3


async def test_a_reply_that_the_system_doesnt_take_at_once_goes_on() -> None:
    body = bytes(LARGE_BODY - 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # accepted ones have it too
        async with (
            serving(lambda _: Response(200, body), listener=listener) as port,
            asked_already(port, CLOSING) as client,
        ):
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (await client.rest()).partition(b"\r\n\r\n")[2] == body


async def test_a_client_that_says_nothing_or_leaves_costs_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(answer) as port, connected(port) as silent:
        async with asked_already(port, b"") as gone:
            await gone.finish_sending()
            assert await gone.rest() == b""
        await silent.send(b"GET /late HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert b"/late|" in await silent.rest()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
