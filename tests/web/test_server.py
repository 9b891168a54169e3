"""The HTTP server: what it does with requests, good ones and bad ones, and with their handlers."""

import errno
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import pytest
import trio

from seeder.web.connection import LARGE_BODY, MOST_IN_A_ROW, Connection, Want
from seeder.web.limits import ServerLimits
from seeder.web.messages import Request, Response
from seeder.web.server import DateHeader, serve
from tests.web.serving import PATIENCE, ask, asked_already, connected, exchange, get, serving

TEXT = ((b"Content-Type", b"text/plain"),)


def echo(request: Request) -> Response:
    return Response(200, b"%b %b" % (request.method, request.target), TEXT)


async def test_a_reply_has_date_length_and_the_handlers_headers() -> None:
    async with serving(echo) as port:
        reply = await ask(port, get("/a?b"))
    assert reply.status == 200
    assert reply.body == b"GET /a?b"
    assert reply.headers[b"content-type"] == b"text/plain"
    assert parsedate_to_datetime(reply.headers[b"date"].decode()).tzinfo is not None
    assert b"connection" not in reply.headers


async def test_a_handler_sees_the_request_as_it_was_sent() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    async with serving(handler) as port, connected(port) as client:
        await client.send(get("/%41//b?x=%00&y", "X-Twice: 1", "x-twice: 2"))
        await client.reply()
    (request,) = seen
    assert (request.method, request.path, request.query) == (b"GET", b"/%41//b", b"x=%00&y")
    assert request.target == b"/%41//b?x=%00&y"
    assert request.header(b"host") == b"tracker.test"
    assert request.header(b"absent") is None
    assert request.all_headers(b"x-twice") == [b"1", b"2"]
    assert request.peer[0] == "127.0.0.1"
    assert request.local == ("127.0.0.1", port)
    assert not request.has_body


async def test_a_connection_is_kept_alive_by_default() -> None:
    async with serving(echo) as port, connected(port) as client:
        for target in ("/1", "/2", "/3"):
            await client.send(get(target))
            assert (await client.reply()).body == b"GET " + target.encode()


@pytest.mark.parametrize(
    "request_bytes",
    [get("/", "Connection: close"), get("/", version="1.0"), b"GET / HTTP/1.0\r\n\r\n"],
)
async def test_a_connection_is_closed_when_the_client_does_not_keep_it(
    request_bytes: bytes,
) -> None:
    async with serving(echo) as port:
        raw = await exchange(port, request_bytes)
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in raw
    assert raw.endswith(b"\r\n\r\nGET /")


async def test_pipelined_requests_are_answered_in_order() -> None:
    count = 3 * MOST_IN_A_ROW + 1
    async with serving(echo) as port, connected(port) as client:
        await client.send(b"".join(get(f"/{number}") for number in range(count)))
        for number in range(count):
            assert (await client.reply()).body == b"GET /%d" % number


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving(echo) as port, connected(port) as client:
        for byte in get("/slow") + get("/again"):
            await client.send(bytes([byte]))
        assert (await client.reply()).body == b"GET /slow"
        assert (await client.reply()).body == b"GET /again"


async def test_a_client_may_finish_sending_before_it_reads() -> None:
    async with serving(echo) as port, connected(port) as client:
        await client.send(get("/half"))
        await client.finish_sending()
        assert (await client.reply()).body == b"GET /half"
        assert await client.rest() == b""


async def test_head_gets_the_headers_of_get_and_no_body() -> None:
    async with serving(echo) as port, connected(port) as client:
        await client.send(get("/x", method="HEAD"))
        reply = await client.reply(to_head=True)
        assert reply.headers[b"content-length"] == b"7"
        await client.send(get("/next"))
        assert (await client.reply()).body == b"GET /next"


async def test_not_modified_has_neither_body_nor_length() -> None:
    async with serving(lambda _: Response(304, b"", ((b"ETag", b'"1"'),))) as port:
        raw = await exchange(port, get("/", "Connection: close"))
    assert raw.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Content-Length" not in raw
    assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://tracker.test/announce?x=1", b"/announce", b"x=1"),
        ("http://tracker.test:6969/a/b", b"/a/b", b""),
        ("http://tracker.test", b"/", b""),
        ("http://tracker.test?x=/y", b"/", b"x=/y"),
        ("/a?b=http://c/d", b"/a", b"b=http://c/d"),
    ],
)
async def test_a_target_may_be_an_absolute_uri(target: str, path: bytes, query: bytes) -> None:
    async with serving(lambda request: Response(200, request.path + b"|" + request.query)) as port:
        reply = await ask(port, get(target))
    assert reply.body == path + b"|" + query


async def test_a_request_line_that_is_too_long_gets_414() -> None:
    async with serving(echo) as port:
        assert (await ask(port, get("/" + "a" * 20_000))).status == 414


async def test_headers_that_are_too_long_get_431() -> None:
    async with serving(echo) as port:
        assert (await ask(port, get("/", "X: " + "a" * 20_000))).status == 431
        assert (await ask(port, get("/", *["a:b"] * 5_000))).status == 431


async def test_a_head_may_be_as_long_as_the_limit_and_no_longer() -> None:
    request = get("/", "X: y")
    async with serving(echo, ServerLimits(head=len(request))) as port, connected(port) as client:
        await client.send(request * 2)
        assert (await client.reply()).status == 200
        assert (await client.reply()).status == 200
        await client.send(get("/", "X: yy"))
        assert (await client.reply()).status == 431


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the start of TLS
        b"\x13BitTorrent protocol" + bytes(48),
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_400_and_a_close(garbage: bytes) -> None:
    async with serving(echo) as port:
        raw = await exchange(port, garbage)
    assert raw.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in raw


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 30\r\n\r\n" + b"GET /smuggled HTTP/1.1\r\nHost: ",
        b"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nG\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + get("/smuggled"),
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("/smuggled"),
        b"Content-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("/smuggled"),
        b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
        b"Content-Length: 1000000\r\n\r\n" + bytes(100_000),
    ],
)
async def test_a_request_with_a_body_is_answered_and_the_connection_closed(framing: bytes) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(405, b"no", ((b"Allow", b"GET"),))

    async with serving(handler, ServerLimits(linger_timeout=0.1)) as port:
        raw = await exchange(port, b"POST /x HTTP/1.1\r\nHost: a\r\n" + framing)
    assert [request.target for request in seen] == [b"/x"]
    assert seen[0].has_body
    assert raw.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert raw.endswith(b"Connection: close\r\n\r\nno")
    assert raw.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 150_000, b"414"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n" + bytes(150_000), b"200"),
    ],
)
async def test_a_reply_reaches_a_client_that_goes_on_sending(raw: bytes, status: bytes) -> None:
    async with serving(echo) as port, connected(port) as client:
        await client.send(raw)
        await client.finish_sending()
        assert (await client.rest()).startswith(b"HTTP/1.1 " + status)
        assert not client.was_reset


async def test_a_client_that_never_stops_sending_after_a_refusal_is_cut_off() -> None:
    async with (
        serving(echo, ServerLimits(linger_timeout=0.05)) as port,
        connected(port) as client,
    ):
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.reply()).status == 400
        assert await client.rest() == b""


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
    closed = trio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1_000_000)
        finally:
            closed.set()

    async with (
        serving(lambda _: Response(200, body()), ServerLimits(send_timeout=0.05)) as port,
        connected(port) as client,
    ):
        await client.send(get("/"))
        with trio.fail_after(PATIENCE):
            await closed.wait()


async def test_a_large_reply_arrives_whole() -> None:
    body = os.urandom(64 * LARGE_BODY)
    async with serving(lambda _: Response(200, body)) as port, connected(port) as client:
        for _ in range(2):
            await client.send(get("/"))
            assert (await client.reply()).body == body


async def test_a_handler_may_take_its_time() -> None:
    asked: list[bytes] = []
    go = trio.Event()

    async def later(request: Request) -> Response:
        asked.append(request.path)
        if len(asked) == 2:
            go.set()
        await go.wait()
        return Response(200, request.path)

    async with serving(later) as port, connected(port) as client, connected(port) as other:
        await client.send(get("/1") + get("/2"))
        await other.send(get("/3"))
        assert (await other.reply()).body == b"/3"
        assert (await client.reply()).body == b"/1"
        assert (await client.reply()).body == b"/2"
    assert sorted(asked[:2]) == [b"/1", b"/3"]


async def test_a_handler_that_raises_costs_one_500(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Request) -> Response:
        if request.path == b"/broken":
            raise KeyError("nothing here")
        if request.path == b"/split":
            return Response(200, b"", ((b"X", b"a\r\nSet-Cookie: b"),))
        return Response(200)

    async with serving(handler) as port, connected(port) as client:
        for target in ("/broken", "/split"):
            await client.send(get(target))
            assert (await client.reply()).status == 500
        await client.send(get("/whole"))
        assert (await client.reply()).status == 200
    failed = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert failed == ["the handler of b'/broken' failed", "the handler of b'/split' failed"]


async def test_an_async_handler_that_raises_or_hangs_costs_one_500() -> None:
    async def handler(request: Request) -> Response:
        if request.path == b"/hangs":
            await trio.sleep_forever()
        raise OSError(errno.EIO, "disk")

    async with (
        serving(handler, ServerLimits(handler_timeout=0.05)) as port,
        connected(port) as client,
    ):
        for target in ("/raises", "/hangs"):
            await client.send(get(target))
            assert (await client.reply()).status == 500


async def numbers() -> AsyncIterator[bytes]:
    for number in (b"one", b"", b"two"):
        yield number
        await trio.lowlevel.checkpoint()


async def test_a_body_of_unknown_length_is_sent_in_chunks() -> None:
    async with serving(lambda _: Response(200, numbers())) as port, connected(port) as client:
        await client.send(get("/") + get("/", "Connection: close"))
        raw = await client.rest()
    first, second = raw.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert b"Transfer-Encoding: chunked\r\n" in first
    assert b"Content-Length" not in first
    assert first.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert second.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_body_may_take_longer_than_a_head() -> None:
    async def slow() -> AsyncIterator[bytes]:
        await trio.sleep(0.1)
        yield b"slow"

    limits = ServerLimits(head_timeout=0.05, idle_timeout=0.05)
    async with (
        serving(lambda _: Response(200, slow(), content_length=4), limits) as port,
        connected(port) as client,
    ):
        await client.send(get("/"))
        assert (await client.reply()).body == b"slow"


async def test_an_old_client_gets_a_body_of_unknown_length_until_the_close() -> None:
    async with serving(lambda _: Response(200, numbers())) as port:
        raw = await exchange(port, get("/", version="1.0"))
    assert b"chunked" not in raw
    assert raw.endswith(b"\r\n\r\nonetwo")


async def test_a_body_of_known_length_is_sent_as_it_is_made() -> None:
    handler = partial(_sized, 6)
    async with serving(handler) as port, connected(port) as client:
        for _ in range(2):
            await client.send(get("/"))
            assert (await client.reply()).body == b"onetwo"
        await client.send(get("/", method="HEAD"))
        assert (await client.reply(to_head=True)).headers[b"content-length"] == b"6"


@pytest.mark.parametrize(("promised", "received"), [(7, b"onetwo"), (5, b"one")])
async def test_a_body_that_breaks_its_promise_is_cut_off(promised: int, received: bytes) -> None:
    async with serving(partial(_sized, promised)) as port, connected(port) as client:
        await client.send(get("/"))
        raw = await client.rest()
        assert raw.partition(b"\r\n\r\n")[2] == received


def _sized(length: int, _: Request) -> Response:
    return Response(200, numbers(), content_length=length)


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
    monkeypatch.setattr("seeder.web.server.STARVED_PAUSE", 0)
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
    monkeypatch.setattr("seeder.web.server.STARVED_PAUSE", 0.01)
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

    async def handler(_: Request) -> Response:
        entered.set()
        await release.wait()
        return Response(200, b"done")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with connected(port) as idle, connected(port) as busy, trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], handler)
            await busy.send(get("/"))
            await entered.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await idle.rest() == b""
                release.set()
                raw = await busy.rest()
    assert raw.endswith(b"Connection: close\r\n\r\ndone")


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


async def test_stopping_does_not_wait_for_a_body_without_end() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"hello"
        await trio.sleep_forever()

    started = trio.current_time()
    async with (
        serving(lambda _: Response(200, endless()), ServerLimits(grace=PATIENCE)) as port,
        connected(port) as client,
    ):
        await client.send(get("/"))
        await client.reply()
    assert trio.current_time() - started < PATIENCE


async def test_one_client_does_not_get_all_the_turns() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(get("/") * (MOST_IN_A_ROW + 1))
        asked: list[Request] = []

        def handler(request: Request) -> Response:
            asked.append(request)
            return Response(200)

        limits = ServerLimits()
        connection = Connection(ours, ("192.0.2.1", 1), handler, limits, DateHeader().value)
        assert connection.step() is Want.TURN
        assert len(asked) == MOST_IN_A_ROW
        assert connection.step() is Want.READABLE
        assert len(asked) == MOST_IN_A_ROW + 1


class FlakyListener(socket.socket):
    """A listener whose first connection was reset before it could be accepted."""

    failures = 1

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        return super().accept()


async def test_a_connection_that_is_gone_before_its_accept_does_not_stop_the_server() -> None:
    with FlakyListener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], echo)
            assert (await ask(listener.getsockname()[1], get("/"))).status == 200
            nursery.cancel_scope.cancel()
    assert listener.failures == 0


async def test_several_listeners_share_one_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [one, other], echo)
            for listener in (one, other):
                reply = await ask(listener.getsockname()[1], get("/"))
                assert reply.status == 200
            nursery.cancel_scope.cancel()


async def test_a_client_by_ipv6_is_named_by_its_address() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], handler)
            async with await trio.open_tcp_stream("::1", listener.getsockname()[1]) as stream:
                await stream.send_all(get("/"))
                await stream.receive_some()
            nursery.cancel_scope.cancel()
        address = ("::1", listener.getsockname()[1])
    assert seen[0].peer[0] == "::1"
    assert seen[0].local == address
