"""A fault of ours with one connection ends that one: at its beginning, its end, or in between."""

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from seeder.http.messages import Request, Response
from seeder.http.service import ServerLimits
from seeder.http.watch import Watch
from tests.http.serving import PATIENCE, Shelf, ask, asked_already, connected, get, serving

CLOSE = "Connection: close"


class Splintered(Shelf):
    """A body that can't be let go of."""

    def close(self) -> None:
        super().close()
        raise KeyError("a splinter")


def answer(request: Request) -> Response:
    if request.path == b"/splinter":
        return Splintered(bytes(30_000_000))(request)
    return Response(200, b"whole")


async def is_there(port: int) -> None:
    assert (await ask(port, get("/"))).body == b"whole"
    assert (await ask(port, get("/", CLOSE))).body == b"whole"


@pytest.mark.parametrize("headers", [(), (CLOSE,)])
async def test_a_body_that_fails_at_its_end_ends_one_connection(
    headers: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(answer) as port, connected(port) as other:
        await other.send(get("/"))
        await other.reply()
        async with asked_already(port, get("/splinter", *headers)):
            await wait_all_tasks_blocked()
        await is_there(port)
        await other.send(get("/"))
        assert (await other.reply()).body == b"whole"
    assert "the end of a body: internal error" in caplog.text


async def test_a_body_that_fails_when_it_makes_room_costs_the_newcomer_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(answer, ServerLimits(connections=3)) as port, AsyncExitStack() as stack:
        for _ in range(3):
            client = await stack.enter_async_context(connected(port))
            await client.send(get("/splinter"))
        await wait_all_tasks_blocked()
        async with connected(port, "127.9.9.9") as newcomer:
            await newcomer.send(get("/"))
            assert (await newcomer.reply()).body == b"whole"
    assert "a splinter" in caplog.text


async def test_a_head_request_for_a_body_that_fails_is_answered() -> None:
    async with serving(answer) as port:
        reply = await ask(port, get("/splinter", method="HEAD"))
        assert reply.status == 200
        await is_there(port)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
async def test_a_client_that_the_system_does_not_watch_is_closed(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add = Watch.add
    failures = [number]

    def refuse_once(watch: Watch[Any], connection: Any) -> None:
        if failures:
            raise OSError(failures.pop(), "no more watches")
        add(watch, connection)

    monkeypatch.setattr(Watch, "add", refuse_once)
    async with serving(answer, ServerLimits(connections=1)) as port:
        async with connected(port) as client:
            assert await client.rest() == b""
        await is_there(port)
    assert "no more watches" in caplog.text


async def test_one_that_is_woken_when_it_makes_room_takes_nobody_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In one pass of the loop a client has taken more of its reply, and another one comes; which
    of their tasks runs first is up to chance."""
    caplog.set_level(logging.ERROR)
    large = Response(200, bytes(30_000_000))

    def handler(request: Request) -> Response:
        return large if request.path == b"/large" else answer(request)

    async with serving(handler, ServerLimits(connections=1)) as port:
        for _ in range(20):
            with raw(port, "/large") as slow:
                await wait_all_tasks_blocked()
                take_all(slow)
                with raw(port, "/") as newcomer:
                    await whole(newcomer)
        await wait_all_tasks_blocked()
        async with connected(port) as another:
            # The place is free again.
            for _ in range(2):
                await another.send(get("/"))
                await another.reply()
                await wait_all_tasks_blocked()
    assert not caplog.records


def raw(port: int, path: str) -> closing[socket.socket]:
    """Ask by a socket that gives the server no turn."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(get(path))
    sock.setblocking(False)
    return closing(sock)


async def whole(sock: socket.socket) -> None:
    """Give the server turns until its reply is there."""
    received, waiting = b"", trio.socket.from_stdlib_socket(sock)
    with trio.fail_after(PATIENCE):
        while not received.endswith(b"whole"):
            part = await waiting.recv(1000)
            assert part, received
            received += part


def take_all(sock: socket.socket) -> None:
    try:
        while sock.recv(2**20):
            pass
    except BlockingIOError:
        pass


@pytest.mark.parametrize("fault", [KeyError("x"), OSError(errno.EIO, "x"), MemoryError()])
async def test_what_fails_before_there_is_a_task_costs_that_connection(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [fault]

    def networks(_: bytes) -> tuple[bytes, ...]:
        if faults:
            raise faults.pop()
        return (b"a",)

    patched: Callable[[bytes], tuple[bytes, ...]] = networks
    monkeypatch.setattr("seeder.http.server.networks_of", patched)
    async with serving(answer) as port:
        async with connected(port) as client:
            assert await client.rest() == b""
        await is_there(port)
    assert "a connection of ('127.0.0.1'" in caplog.text
