"""Slots, connections, cancels and TLS, through the whole client."""

import contextlib
import gzip
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from seeder.errors import (
    ObjectMissing,
    OriginUnreachable,
)
from seeder.s3 import http1
from seeder.s3.client import S3Origin
from seeder.s3.network import Stream
from seeder.s3.retry import RetryPolicy
from seeder.s3.signing import WireRequest
from seeder.s3.transport import Broken, Exchanges, Transport
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, error, raw, reset
from tests.s3.samples import BODY, GOOD, PIECE, RANGE_HEAD, RANGE_HEADERS, REF, WANTED, read
from tests.s3.support import CountingMeter, MakeOrigin


def slots_in_use(origin: S3Origin) -> int:
    """Return the exchanges that are under way."""
    return origin._caller._exchanges._slots.borrowed_tokens


async def all_at_once(
    count: int, ask: Callable[[], Awaitable[object]], faults: FaultServer
) -> None:
    """Pass only if `count` requests are under way at the same moment."""
    arrived = 0
    everybody = trio.Event()

    async def gather(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == count:
            everybody.set()
        await everybody.wait()
        await GOOD(seen, stream)

    faults.script(*[gather] * count)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(ask)


async def test_connections_are_kept_and_bounded(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(connections=4)
    faults.default = GOOD
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(read, origin, meter)
    assert meter.received["pieces"] == 40 * 50_000
    assert faults.connections <= 4
    await all_at_once(4, partial(read, origin, meter), faults)
    assert faults.connections == 4


async def test_one_connection_serves_whatever_follows(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(GOOD, GOOD, answer(404), error(404, "NoSuchKey"), answer(503), GOOD)
    pinned = await origin.head(REF, meter)
    await origin.read_range(pinned, WANTED, meter, "pieces")
    with pytest.raises(ObjectMissing):
        await origin.head(REF, meter)
    await origin.read_small(REF, len(BODY), meter)
    assert [seen.connection for seen in faults.seen] == [1] * 6


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used_again(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    closed = trio.Event()

    async def answer_and_close(seen: Seen, stream: trio.abc.Stream) -> None:
        await GOOD(seen, stream)
        await trio.aclose_forcefully(stream)
        closed.set()

    faults.script(answer_and_close, GOOD)
    await read(origin, meter)
    await closed.wait()
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen] == [1, 2]
    assert origin.statistics().retries == 0


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.default = GOOD
    await read(origin, meter)
    monkeypatch.setattr(http1, "KEEPALIVE", 0.0)
    await read(origin, meter)
    assert [seen.connection for seen in faults.seen] == [1, 2]


async def test_the_connection_that_is_idle_for_longest_makes_room_for_another_server(
    faults: FaultServer, nursery: trio.Nursery
) -> None:
    other = FaultServer(default=GOOD)
    await nursery.start(other.run)
    faults.default = GOOD
    transport = Transport(2, ssl.create_default_context())

    async def get(*urls: str) -> None:
        answers = [await transport.handle_async_request(httpx.Request("GET", url)) for url in urls]
        for answered in answers:
            assert await answered.aread() == BODY
            await answered.aclose()

    await get(faults.url, faults.url)
    await get(other.url)
    await get(faults.url)
    assert [seen.connection for seen in faults.seen] == [1, 2, 2]
    await get(other.url, faults.url)
    assert (faults.connections, other.connections) == (2, 1)
    await transport.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(raw(b"HTTP/1.1 100 Continue\r\n\r\n", RANGE_HEAD + PIECE), id="100 Continue"),
        pytest.param(
            raw(RANGE_HEAD.replace(b"content-length: 50000\r\n", b""), PIECE, close=True),
            id="until the end",
        ),
        pytest.param(
            raw(
                RANGE_HEAD.replace(b"content-length: 50000", b"transfer-encoding: chunked"),
                b"7\r\n" + PIECE[:7] + b"\r\n",
                b"%x\r\n%s\r\n0\r\n\r\n" % (len(PIECE) - 7, PIECE[7:]),
            ),
            id="chunked",
        ),
        pytest.param(raw(*(RANGE_HEAD[i : i + 1] for i in range(99)), RANGE_HEAD[99:] + PIECE)),
    ],
)
async def test_a_body_is_found_however_it_is_framed(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, reply: Reply
) -> None:
    faults.script(reply, GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert meter.received == {"pieces": 100_000}
    assert origin.statistics().retries == 0


async def test_what_follows_a_body_is_no_answer_to_the_next_request(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(raw(RANGE_HEAD + PIECE + RANGE_HEAD + b"x" * 50_000), GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen] == [1, 2]


async def test_no_slot_is_lost_to_cancelled_requests(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    """Cancels come after so many turns of the loop, in whatever a request is doing then."""
    origin = await make_origin(connections=4)
    rng = random.Random(5)
    replies = [GOOD, GOOD, answer(503), reset(RANGE_HEAD)]
    done = cancelled = 0

    async def turns(most: int) -> None:
        for _ in range(rng.randrange(most)):
            await trio.lowlevel.checkpoint()

    async def moody(seen: Seen, stream: trio.abc.Stream) -> None:
        await turns(20)
        await rng.choice(replies)(seen, stream)

    async def impatient() -> None:
        nonlocal cancelled
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await turns(400)
                scope.cancel()
        cancelled += scope.cancelled_caught

    async def ask() -> None:
        nonlocal done
        with contextlib.suppress(OriginUnreachable):
            assert await read(origin, meter) == PIECE
            done += 1

    faults.default = moody
    for _ in range(40):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(impatient)
    assert done > 0
    assert cancelled > 0
    assert slots_in_use(origin) == 0
    assert not origin.is_busy
    faults.default = GOOD
    for _ in range(4):  # after failures S3 gets few requests at a time, until it has answered some
        assert await read(origin, meter) == PIECE
    await all_at_once(4, partial(read, origin, meter), faults)


async def test_a_cancel_in_the_moment_of_connecting_costs_no_slot(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    origin = await make_origin(connections=1)
    connect = trio.open_tcp_stream

    async def connect_and_cancel(host: str, port: int) -> trio.SocketStream:
        stream = await connect(host, port)
        scope.cancel()
        return stream

    with monkeypatch.context() as patch, trio.CancelScope() as scope:
        patch.setattr(trio, "open_tcp_stream", connect_and_cancel)
        await read(origin, meter)
    assert scope.cancelled_caught
    await all_at_once(1, partial(read, origin, meter), faults)


async def test_a_cancel_in_the_moment_that_a_slot_comes_free_costs_none(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The slot goes to a waiter that was cancelled a moment before."""
    origin = await make_origin(connections=1, anonymous=True)
    close = Stream.close
    waiter = trio.CancelScope()
    somebody_waits = trio.Event()

    def close_and_cancel(stream: Stream) -> None:
        close(stream)
        waiter.cancel()

    async def wait_for_the_slot() -> None:
        with waiter:
            await read(origin, meter)

    async def last(seen: Seen, stream: trio.abc.Stream) -> None:
        await somebody_waits.wait()
        reply = answer(206, PIECE, **{**RANGE_HEADERS, "connection": "close"})
        await reply(seen, stream)

    faults.script(last)
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "close", close_and_cancel)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, origin, meter)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(wait_for_the_slot)
            await trio.testing.wait_all_tasks_blocked()
            somebody_waits.set()
    assert waiter.cancelled_caught
    await all_at_once(1, partial(read, origin, meter), faults)


async def test_stopping_the_origin_closes_its_connections(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    closed = trio.Event()

    async def watch(seen: Seen, stream: trio.abc.Stream) -> None:
        await GOOD(seen, stream)
        assert await stream.receive_some(1) == b""
        closed.set()

    faults.script(watch)
    async with trio.open_nursery() as nursery:
        origin = await make_origin(nursery=nursery)
        await read(origin, meter)
        nursery.cancel_scope.cancel()
    await closed.wait()


# -- httpx


@pytest.fixture
async def exchanges() -> AsyncIterator[Exchanges]:
    exchanges = Exchanges(2, connect=5, read=5, ca_file=None)
    yield exchanges
    await exchanges.aclose()


def wire_request_to(faults: FaultServer, target: str = "/quotes/a/../Nelson") -> WireRequest:
    return WireRequest("GET", faults.url, target, (("Host", "s3.example.org"), ("X-Mixed", "1")))


async def test_event_hooks_see_the_request_as_it_goes_out_and_its_answer(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter
) -> None:
    told: list[str] = []

    async def before(request: httpx.Request) -> None:
        told.append(f"{request.method} {request.url}")
        request.headers["traceparent"] = "00-1-2-01"

    async def after(response: httpx.Response) -> None:
        told.append(f"{response.status_code} {response.request.url.host}")
        assert response.request.extensions["timeout"]["read"] == 5

    exchanges.client.event_hooks = {"request": [before], "response": [after]}
    faults.script(GOOD)
    async with exchanges.exchange(
        wire_request_to(faults), meter, "metainfo", seconds=10
    ) as exchange:
        assert await exchange.read(len(BODY)) == BODY
    assert told == [f"GET {faults.url}/quotes/Nelson", "200 127.0.0.1"]
    (seen,) = faults.seen
    assert seen.target == "/quotes/a/../Nelson"
    assert seen.headers == {"host": "s3.example.org", "x-mixed": "1", "traceparent": "00-1-2-01"}
    assert meter.received == {"metainfo": len(BODY)}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_event_hook_may_read_the_body_before_us(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter, encoding: str
) -> None:
    body = gzip.compress(BODY) if encoding == "gzip" else BODY
    contents: list[bytes] = []

    async def look(response: httpx.Response) -> None:
        contents.append(await response.aread())

    exchanges.client.event_hooks = {"response": [look]}
    faults.script(answer(200, body, content_encoding=encoding), GOOD)
    for expected in (body, BODY):
        async with exchanges.exchange(
            wire_request_to(faults), meter, "metainfo", seconds=10
        ) as exchange:
            assert await exchange.read(len(expected)) == expected
            assert not await exchange.has_more()
    assert contents == [BODY, BODY]
    assert meter.received == {"metainfo": len(body) + len(BODY)}
    assert [seen.connection for seen in faults.seen] == [1, 1]


async def test_a_request_goes_out_as_it_was_signed(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter
) -> None:
    sent = b""

    async def listen(stream: trio.SocketStream) -> None:
        nonlocal sent
        sent = await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        request = WireRequest("HEAD", url, "//a/./b?x=%2F", (("Host", "s3"), ("x-B", "2")))
        async with exchanges.exchange(request, meter, "metainfo", seconds=10):
            pass
        nursery.cancel_scope.cancel()
    assert sent == b"HEAD //a/./b?x=%2F HTTP/1.1\r\nHost: s3\r\nx-B: 2\r\n\r\n"


@pytest.mark.parametrize(
    "location", ["http://[", "http://h:port/", "https://x.example.org/\x7f", "//[::1", "http:///x"]
)
async def test_a_redirect_that_is_no_address_is_an_answer_like_any(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter, location: str
) -> None:
    faults.script(error(301, "PermanentRedirect", location=location))
    async with exchanges.exchange(
        wire_request_to(faults), meter, "metainfo", seconds=10
    ) as exchange:
        assert exchange.status == 301
        assert b"PermanentRedirect" in await exchange.read_error(1000)
    assert len(faults.seen) == 1


async def test_cookies_are_neither_kept_nor_sent(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, BODY, set_cookie="a=b; Path=/"), GOOD)
    for _ in range(2):
        async with exchanges.exchange(wire_request_to(faults), meter, "metainfo", seconds=10):
            pass
    assert not exchanges.client.cookies
    assert "cookie" not in faults.seen[1].headers


async def test_nothing_is_sent_once_the_connections_are_closed(
    exchanges: Exchanges, faults: FaultServer, meter: CountingMeter
) -> None:
    await exchanges.aclose()
    with pytest.raises(Broken, match="closed"):
        async with exchanges.exchange(wire_request_to(faults), meter, "metainfo", seconds=10):
            pass
    assert (meter.requests, exchanges._slots.borrowed_tokens) == ({}, 0)


# -- TLS


async def test_ranges_come_over_tls_by_a_private_ca(
    make_origin: MakeOrigin, secure: FaultServer, meter: CountingMeter, certificate: Path
) -> None:
    origin = await make_origin(endpoint=secure.url, ca_file=certificate)
    secure.script(GOOD, raw(RANGE_HEAD, PIECE[:9], close=True), GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in secure.seen] == [1, 1, 2]


async def test_an_untrusted_certificate_is_not_tried_again(
    make_origin: MakeOrigin, secure: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(endpoint=secure.url)
    with pytest.raises(OriginUnreachable, match=r"not trusted.*attempt 1.*ca_file"):
        await read(origin, meter)
    assert meter.requests == {}


async def test_what_is_wrong_with_a_certificate_is_told_with_what_to_do(
    make_origin: MakeOrigin,
    unfit: FaultServer,
    unfit_certificate: tuple[str, Path],
    meter: CountingMeter,
) -> None:
    wrong, path = unfit_certificate
    origin = await make_origin(endpoint=unfit.url, ca_file=path)
    advice = (
        "a host in endpoint" if wrong == "mismatch" else "have it renewed; if it is in date, set"
    )
    with pytest.raises(OriginUnreachable, match=f"not trusted.*{wrong}.*{advice}"):
        await read(origin, meter)


async def test_a_cancelled_handshake_costs_no_slot(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    """The server speaks no TLS and waits for a request: the handshake hangs."""
    policy = RetryPolicy(patience=0, hopeless_wait=0, attempts=1, connect_timeout=0.05)
    origin = await make_origin(
        endpoint=faults.url.replace("http:", "https:"), connections=1, policy=policy
    )
    for _ in range(3):
        with pytest.raises(OriginUnreachable):
            await read(origin, meter)
    assert slots_in_use(origin) == 0
