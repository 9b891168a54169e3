"""What a client sends behind its last request destroys no reply (RFC 9112, 9.6)."""

import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from seeder.http.messages import Request, Response
from seeder.http.service import ServerLimits
from tests.http.serving import Client, asked_already, connected, get, serving

CLOSING = get("/last", "Connection: close")
MORE = get("/more")


class Chatty:
    """A client, and the handler that answers it once it has sent more: so that is there in time."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.seen: list[bytes] = []

    @asynccontextmanager
    async def asking(self, port: int, raw: bytes) -> AsyncIterator[Client]:
        """Connect and send `raw` before the server gets a turn."""
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(raw)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(self.sock)) as stream:
            yield Client(stream)

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        self.seen.append(request.path)
        if request.path == b"/later":
            return self._later()
        if request.path != b"/first":
            self._send_more()
        return Response(200, b"answered", close=request.path == b"/closed")

    async def _later(self) -> Response:
        await trio.lowlevel.checkpoint()
        self._send_more()
        return Response(200, b"answered")

    def _send_more(self) -> None:
        assert self.sock is not None
        assert self.sock.send(MORE) == len(MORE)


@pytest.mark.parametrize(
    "raw",
    [
        CLOSING,
        get("/later", "Connection: close"),
        get("/last", version="1.0"),
        get("/last", "Connection: close", method="HEAD"),
        get("/first") + CLOSING,
        get("/closed"),
        get("/last", "Connection: close", "Content-Length: 0"),
    ],
    ids=["plain", "later", "1.0", "HEAD", "kept", "closed by us", "h11"],
)
async def test_what_comes_while_the_last_request_is_answered_destroys_no_reply(raw: bytes) -> None:
    chatty = Chatty()
    async with serving(chatty) as port, chatty.asking(port, raw) as client:
        replies = await client.rest()
        assert not client.was_reset
    assert replies.endswith(b"\r\n\r\n" if raw.startswith(b"HEAD") else b"answered")
    assert replies.count(b"HTTP/1.1 200 OK\r\n") == len(chatty.seen) == raw.count(b"\r\n\r\n")


@pytest.mark.parametrize("behind", [MORE, b"POST", bytes(40_000)], ids=["request", "part", "rest"])
async def test_a_client_may_go_on_sending_behind_what_came_with_its_last_request(
    behind: bytes,
) -> None:
    seen: list[bytes] = []

    def answer(request: Request) -> Response:
        seen.append(request.path)
        return Response(200, b"answered")

    async with serving(answer) as port, asked_already(port, CLOSING + behind) as client:
        assert (await client.rest()).endswith(b"answered")
        # A connection that is closed would answer the first with a reset, so that the second fails.
        await client.send(MORE)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(MORE)
    assert seen == [b"/last"]


async def test_who_goes_on_sending_takes_nobody_s_place() -> None:
    chatty = Chatty()
    async with (
        serving(chatty, ServerLimits(connections=1)) as port,
        chatty.asking(port, CLOSING) as first,
    ):
        assert (await first.rest()).endswith(b"answered")
        async with connected(port) as second:
            await second.send(get("/first"))
            assert (await second.reply()).body == b"answered"
