"""Bodies of requests: read where the handler wants them, within bounds."""

from dataclasses import replace

import pytest

from seeder.http.messages import Request, Response
from seeder.http.service import ServerLimits
from tests.http.serving import ask, asked_already, connected, exchange, get, serving

LIMIT = 1000


def give_back(request: Request) -> Response:
    return Response(200, b"%d %b" % (request.has_body, request.body))


def wanted(request: Request) -> int:
    return LIMIT if request.method == b"POST" else 0


def post(body: bytes, *headers: str) -> bytes:
    return get("/", f"Content-Length: {len(body)}", *headers, method="POST") + body


async def test_a_body_is_read_where_it_is_wanted() -> None:
    async with serving(give_back, bodies=wanted) as port:
        reply = await ask(port, post(b"what came"))
    assert (reply.status, reply.body) == (200, b"1 what came")
    assert reply.headers[b"connection"] == b"close"


async def test_a_body_stays_unread_where_it_is_not() -> None:
    async with serving(give_back, bodies=wanted) as port:
        reply = await ask(port, get("/", "Content-Length: 4", method="PUT") + b"what")
    assert reply.body == b"1 "


async def test_a_body_may_come_in_parts() -> None:
    raw = post(b"what came")
    async with serving(give_back, bodies=wanted) as port, asked_already(port, raw[:-5]) as client:
        for byte in raw[-5:]:
            await client.send(bytes([byte]))
        assert (await client.reply()).body == b"1 what came"


async def test_a_body_may_come_in_chunks() -> None:
    head = get("/", "Transfer-Encoding: chunked", method="POST")
    async with serving(give_back, bodies=wanted) as port:
        reply = await ask(port, head + b"5\r\nwhat \r\n4\r\ncame\r\n0\r\n\r\n")
    assert reply.body == b"1 what came"


@pytest.mark.parametrize("framing", ["length", "chunks", "crumbs", "no chunks"])
async def test_a_body_that_is_too_long_or_none_is_refused(framing: str) -> None:
    head = get("/", "Transfer-Encoding: chunked", method="POST")
    raw = {
        "length": post(b"x" * (LIMIT + 1)),
        "chunks": head + b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        "crumbs": head + b"1\r\nx\r\n" * (LIMIT - 1),
        "no chunks": head + b"what came\r\n",
    }[framing]
    async with serving(give_back, bodies=wanted) as port:
        reply = await ask(port, raw)
    assert reply.status == (400 if framing == "no chunks" else 413)


async def test_a_client_that_waits_to_be_told_is_told_to_send_its_body() -> None:
    raw = post(b"what came", "Expect: 100-continue")
    async with serving(give_back, bodies=wanted) as port, connected(port) as client:
        await client.send(raw.removesuffix(b"what came"))
        assert (await client.reply()).status == 100
        await client.send(b"what came")
        assert (await client.reply()).body == b"1 what came"


async def test_half_a_body_is_waited_for_as_long_as_a_head() -> None:
    limits = replace(ServerLimits(), head_timeout=0.05)
    async with serving(give_back, limits, bodies=wanted) as port:
        assert await exchange(port, post(b"what came")[:-1]) == b""
