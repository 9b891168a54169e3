"""The HTTP server at its limits: slow clients, many clients, no files left, being stopped."""

import errno
import os
import resource
import socket
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from seeder.http.connection import MOST_IN_A_ROW, Connection, Want
from seeder.http.messages import Request, Response
from seeder.http.server import serve
from seeder.http.service import ServerLimits, Service
from seeder.units import MIB
from tests.http.serving import (
    PATIENCE,
    Shelf,
    ask,
    asked_already,
    connected,
    get,
    serving,
    target_of,
)


def echo(request: Request) -> Response:
    return Response(200, b"%b %b" % (request.method, target_of(request)))


async def test_an_idle_connection_is_closed_in_time() -> None:
    limits = ServerLimits(head_timeout=PATIENCE * 2, idle_timeout=0.05)
    async with serving(echo, limits) as port, connected(port) as client:
        await client.send(get("/"))
        await client.reply()
        assert await client.rest() == b""


@pytest.mark.parametrize("beginning", [b"", b"GET / HT", get("/") + b"GET / HT"])
async def test_a_slow_head_is_given_up_in_time(beginning: bytes) -> None:
    limits = ServerLimits(head_timeout=0.05, idle_timeout=PATIENCE * 2)
    async with serving(echo, limits) as port, connected(port) as client:
        await client.send(beginning)
        if beginning.startswith(get("/")):
            await client.reply()
        assert await client.rest() == b""


async def test_a_later_head_has_as_little_time() -> None:
    limits = ServerLimits(head_timeout=0.05, idle_timeout=PATIENCE * 2)
    async with serving(echo, limits) as port, connected(port) as client:
        await client.send(get("/"))
        await client.reply()
        await client.send(b"GET / HT")
        assert await client.rest() == b""


async def test_trickling_a_head_does_not_prolong_its_time() -> None:
    limits = ServerLimits(head=2**24, head_timeout=0.1, idle_timeout=PATIENCE * 2)

    async with serving(echo, limits) as port, connected(port) as client:

        async def trickle() -> None:
            while True:
                await client.send(b"G")

        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await trickle()
        assert await client.rest() == b""


async def test_a_reply_that_nobody_takes_is_given_up_in_time() -> None:
    shelf = Shelf(bytes(50_000_000))
    async with (
        serving(shelf, ServerLimits(send_timeout=0.05)) as port,
        connected(port) as client,
    ):
        await client.send(get("/"))
        with trio.fail_after(PATIENCE):
            await shelf.gone.wait()


async def test_a_body_may_take_longer_than_a_head() -> None:
    class Slow(Shelf):
        async def offer(self) -> list[memoryview]:
            await trio.sleep(0.1)
            return await super().offer()

    limits = ServerLimits(head_timeout=0.05, idle_timeout=0.05)
    async with serving(Slow(b"slow"), limits) as port, connected(port) as client:
        await client.send(get("/"))
        assert (await client.reply()).body == b"slow"


async def test_beyond_its_limit_the_server_closes_the_longest_idle_connection() -> None:
    async with (
        serving(echo, ServerLimits(connections=2)) as port,
        connected(port) as first,
        connected(port) as second,
    ):
        for client in (first, second, first):
            await client.send(get("/"))
            await client.reply()
        assert (await ask(port, get("/"))).status == 200
        assert await second.rest() == b""
        await first.send(get("/still"))
        assert (await first.reply()).body == b"GET /still"


async def test_where_all_come_in_turn_newcomers_wait_and_nobody_goes_who_has_asked() -> None:
    gate, begun = trio.Event(), []

    async def slow(request: Request) -> Response:
        begun.append(request)
        await gate.wait()
        return echo(request)

    replies = []
    async with serving(slow, ServerLimits(connections=2, in_turn=True)) as port:

        async def come() -> None:
            reply = await ask(port, get("/"))
            replies.append((reply.status, reply.headers[b"connection"]))

        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(come)
            with trio.fail_after(PATIENCE):
                while len(begun) < 2:  # noqa: ASYNC110  (the server has no event for tests)
                    await trio.sleep(0.001)
            await wait_all_tasks_blocked(0.01)
            assert len(begun) == 2
            gate.set()
    assert replies == [(200, b"close")] * 9


async def test_where_all_come_in_turn_who_says_nothing_goes_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seeder.http.server.DAWDLING", 0.05)
    limits = ServerLimits(connections=2, in_turn=True, head_timeout=10 * PATIENCE)
    async with (
        serving(echo, limits) as port,
        connected(port) as silent,
        connected(port) as unfinished,
    ):
        await unfinished.send(b"GET /x HTTP/1.1\r\n")
        assert (await ask(port, get("/"))).status == 200
        assert (await ask(port, get("/"))).status == 200
        assert await silent.rest() == b""


async def test_where_all_come_in_turn_who_has_an_answer_and_stays_goes_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seeder.http.server.DAWDLING", 0.05)
    long = 10 * PATIENCE
    limits = ServerLimits(
        connections=2, in_turn=True, head_timeout=long, linger_timeout=long, linger=long
    )
    async with (
        serving(echo, limits) as port,
        connected(port) as first,
        connected(port) as second,
    ):
        for client in (first, second):
            await client.send(get("/", "Content-Length: 9", method="POST"))
            assert (await client.rest()).endswith(b"POST /")
        assert (await ask(port, get("/"))).status == 200
        assert (await ask(port, get("/"))).status == 200


async def test_an_idle_connection_goes_before_an_unfinished_request() -> None:
    async with (
        serving(echo, ServerLimits(connections=2)) as port,
        connected(port) as unfinished,
        connected(port) as idle,
    ):
        await unfinished.send(b"GET /x HTTP/1.1\r\n")
        await idle.send(get("/"))
        await idle.reply()
        assert (await ask(port, get("/"))).status == 200
        assert await idle.rest() == b""
        await unfinished.send(b"Host: a\r\n\r\n")
        assert (await unfinished.reply()).body == b"GET /x"


@pytest.mark.parametrize("state", ["idle", "unfinished", "unread", "answering"])
async def test_a_newcomer_takes_the_place_of_one_of_the_largest_network(state: str) -> None:
    """Whatever state its connections are in, while those of others keep us waiting, too."""
    release = trio.Event()

    async def handle(request: Request) -> Response:
        if request.path == b"/slow":
            await release.wait()
        return Response(200, bytes(16 * MIB) if request.path == b"/large" else b"done")

    async def occupy(host: str) -> None:
        client = await stack.enter_async_context(connected(port, host=host))
        if state == "unfinished":
            await client.send(b"GET /x HTTP/1.1\r\n")
        elif state == "unread":
            await client.send(get("/large"))
        elif state == "answering":
            await client.send(get("/slow"))

    limits = ServerLimits(connections=6)
    async with serving(handle, limits) as port, AsyncExitStack() as stack:
        # The others are idle, and have been for longer: in no order but ours would they stay.
        others = [
            await stack.enter_async_context(connected(port, host=f"127.0.{number}.1"))
            for number in (1, 2)
        ]
        for other in others:
            await other.send(get("/"))
            await other.reply()
        for number in (1, 2, 3, 4):
            await occupy(f"127.0.3.{number}")
        await wait_all_tasks_blocked(0.01)
        newcomers = [
            await stack.enter_async_context(connected(port, host=f"127.0.{number}.1"))
            for number in (4, 5)
        ]
        await wait_all_tasks_blocked(0.01)
        # None of the largest network gets in as long as it has most.
        again = await stack.enter_async_context(connected(port, host="127.0.3.9"))
        assert await again.rest() == b""
        for client in (*others, *newcomers):
            await client.send(get("/"))
            assert (await client.reply()).body == b"done"
        release.set()


async def test_a_network_with_few_connections_may_take_an_idle_one_s_place() -> None:
    async with serving(echo, ServerLimits(connections=3)) as port, AsyncExitStack() as stack:
        idle = [
            await stack.enter_async_context(connected(port, host=f"127.0.{number}.1"))
            for number in (1, 2, 3)
        ]
        await wait_all_tasks_blocked(0.01)
        async with connected(port, host="127.0.4.1") as newcomer:
            assert await idle[0].rest() == b""
            await newcomer.send(get("/"))
            assert (await newcomer.reply()).status == 200


async def test_a_server_full_of_busy_connections_still_answers_who_does_not_wait() -> None:
    entered, release = trio.Event(), trio.Event()

    async def slow() -> Response:
        entered.set()
        await release.wait()
        return Response(200, b"slow")

    def handler(request: Request) -> Response | Awaitable[Response]:
        return slow() if request.path == b"/slow" else Response(200, b"fast")

    async with (
        serving(handler, ServerLimits(connections=1)) as port,
        connected(port) as busy,
    ):
        await busy.send(get("/slow"))
        await entered.wait()
        async with asked_already(port, get("/", "Connection: close")) as client:
            assert (await client.rest()).endswith(b"fast")
        async with asked_already(port, get("/slow")) as client:
            assert await client.rest() == b""
        release.set()
        assert (await busy.reply()).body == b"slow"


@contextmanager
def out_of_files() -> Iterator[None]:
    """Let the process have no file descriptor to spare."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_files_is_survived_and_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seeder.net.sockets.STARVED_PAUSE", 0)
    async with serving(echo) as port:
        with socket.socket() as client:
            client.setblocking(False)
            waiting = trio.socket.from_stdlib_socket(client)
            with out_of_files():
                await waiting.connect(("127.0.0.1", port))
                await waiting.send(get("/", "Connection: close"))
                with trio.fail_after(PATIENCE):
                    while not caplog.records:
                        await trio.lowlevel.checkpoint()
                for _ in range(50):
                    await trio.lowlevel.checkpoint()
            with trio.fail_after(PATIENCE):
                assert (await waiting.recv(1000)).startswith(b"HTTP/1.1 200 OK\r\n")
    starved = [record for record in caplog.records if "limit of open files" in record.getMessage()]
    assert len(starved) == 1


async def test_running_out_of_files_closes_an_idle_connection_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seeder.net.sockets.STARVED_PAUSE", 0.01)
    async with serving(echo) as port, connected(port) as idle:
        await idle.send(get("/"))
        await idle.reply()
        with socket.socket() as client:
            client.setblocking(False)
            waiting = trio.socket.from_stdlib_socket(client)
            with out_of_files():
                await waiting.connect(("127.0.0.1", port))
                await waiting.send(get("/", "Connection: close"))
                with trio.fail_after(PATIENCE):
                    assert (await waiting.recv(1000)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await idle.rest() == b""


async def test_stopping_finishes_what_is_in_flight_and_closes_the_rest() -> None:
    entered, release = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        if request.path == b"/idle":
            return Response(200)
        entered.set()
        await release.wait()
        return Response(200, b"done")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with connected(port) as idle, connected(port) as busy, trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], Service(handler))
            await idle.send(get("/idle"))
            await idle.reply()
            await busy.send(get("/"))
            await entered.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await idle.rest() == b""
                release.set()
                raw = await busy.rest()
    assert raw.endswith(b"Connection: close\r\n\r\ndone")


@pytest.mark.parametrize("asks", ["before", "after"])
@pytest.mark.parametrize("has_asked", [False, True])
async def test_stopping_answers_who_asked_and_whoever_was_accepted_for_it(
    asks: str, has_asked: bool
) -> None:
    limits = ServerLimits(arrival=PATIENCE, grace=PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], Service(echo, limits))
            client = socket.create_connection(listener.getsockname())
            with trio.CancelScope(shield=True), trio.socket.from_stdlib_socket(client) as waiting:
                if has_asked:
                    client.sendall(get("/first"))
                    assert (await waiting.recv(1000)).endswith(b"GET /first")
                # Who came later is answered, so this one is accepted.
                await ask(listener.getsockname()[1], get("/"))
                await wait_all_tasks_blocked()
                # Nobody else has a turn between these.
                if asks == "before":
                    client.send(get("/"))
                nursery.cancel_scope.cancel()
                if asks == "after":
                    await wait_all_tasks_blocked()
                    client.send(get("/"))
                raw = b""
                with trio.fail_after(PATIENCE), suppress(ConnectionError):
                    while data := await waiting.recv(1000):
                        raw += data
    if has_asked and asks == "after":
        # It may be closed at any time, and asks again.
        assert raw == b""
    else:
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert raw.endswith(b"Connection: close\r\n\r\nGET /")


async def test_stopping_does_not_wait_for_a_body_without_end() -> None:
    class Endless(Shelf):
        async def offer(self) -> list[memoryview]:
            if self.at:
                await trio.sleep_forever()
            return await super().offer()

    endless = Endless(b"so far")
    limits = ServerLimits(grace=PATIENCE * 2)
    with trio.fail_after(PATIENCE):
        async with (
            serving(lambda _: Response(200, endless), limits) as port,
            connected(port) as client,
        ):
            await client.send(get("/"))
            await client.reply()
    assert endless.closed == 1


async def test_stopping_waits_no_longer_than_the_grace() -> None:
    entered, cancelled = trio.Event(), trio.Event()

    async def handler(_: Request) -> Response:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(handler, ServerLimits(grace=0.05)) as port, connected(port) as client:
        await client.send(get("/"))
        await entered.wait()
    assert cancelled.is_set()


async def test_one_client_does_not_get_all_the_turns() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(get("/") * (MOST_IN_A_ROW + 1))
        asked: list[Request] = []

        def handler(request: Request) -> Response:
            asked.append(request)
            return Response(200)

        connection = Connection(ours, ("192.0.2.1", 1), Service(handler))
        assert connection.step() is Want.TURN
        assert len(asked) == MOST_IN_A_ROW
        assert connection.step() is Want.READABLE
        assert len(asked) == MOST_IN_A_ROW + 1


class FlakyListener(socket.socket):
    """A listener whose first connection was reset before it could be accepted."""

    failures = 1

    def _accept(self) -> tuple[int, Any]:
        if self.failures:
            self.failures -= 1
            raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        return super()._accept()  # type: ignore[misc,no-any-return]


async def test_a_connection_that_is_gone_before_its_accept_does_not_stop_the_server() -> None:
    with FlakyListener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], Service(echo))
            assert (await ask(listener.getsockname()[1], get("/"))).status == 200
            nursery.cancel_scope.cancel()
    assert listener.failures == 0
