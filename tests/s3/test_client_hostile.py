"""Servers that answer without coming to an end, or more than was asked for."""

import gzip
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trio

from seeder.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
)
from seeder.s3.client import S3Origin
from seeder.s3.retry import RetryPolicy
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, endless, head, raw
from tests.s3.samples import BODY, GOOD, PIECE, RANGE_HEAD, RANGE_HEADERS, REF, read
from tests.s3.support import QUICK, CountingMeter, MakeOrigin

ONCE = RetryPolicy(patience=0, hopeless_wait=0, attempts=1, connect_timeout=1, read_timeout=1)


def flood(*parts: bytes) -> Reply:
    """Send the first parts, and the last one without end."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        *first, last = parts
        for part in first:
            await stream.send_all(part)
        while True:
            await stream.send_all(last)

    return reply


def drip(data: bytes, *, seconds: float) -> Reply:
    """Send a byte now and then."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        for at in range(len(data)):
            await stream.send_all(data[at : at + 1])
            await trio.sleep(seconds)

    return reply


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return an answer with the range that is asked for, in these chunks."""
    fields = [(name.replace("_", "-"), value) for name, value in RANGE_HEADERS.items()]
    start = head(206, [*fields, ("transfer-encoding", "chunked")])
    return start + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 50), "answers 1xx"),
        (flood(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 50), "answers 1xx"),
        (flood(b"HTTP/1.1 206 OK\r\n", b"x: " + b"y" * 1000 + b"\r\n"), "maximum|too long"),
        (flood(b"HTTP/1.1 206 " + b"x" * 1000), "Receive buffer too long"),
        (flood(b"\r\n" * 500), "no response line"),
        (drip(RANGE_HEAD, seconds=0.3), "no answer in time"),
        (drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 4, seconds=0.02), "no answer in time"),
    ],
    ids=["100", "103", "fields", "reason", "blank lines", "a byte at a time", "1xx at a time"],
)
async def test_a_head_without_an_end_is_left_and_the_reason_said(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, reply: Reply, problem: str
) -> None:
    origin = await make_origin(policy=ONCE)
    faults.script(reply)
    with trio.fail_after(20), pytest.raises(OriginUnreachable, match=problem):
        await read(origin, meter)


async def test_a_few_answers_1xx_do_no_harm(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + RANGE_HEAD + PIECE))
    assert await read(origin, meter) == PIECE


@pytest.mark.parametrize(
    "body",
    [
        flood(chunked(end=b""), b"1\r\nx\r\n" * 5000),
        flood(chunked(end=b"1;"), b"extension=1;" * 500),
        flood(chunked(end=b""), b"1;" + b"e" * 20_000 + b"\r\nx\r\n"),
        flood(chunked(PIECE[:9], end=b"0\r\n"), b"trailer: x\r\n" * 500),
    ],
    ids=["chunks of a byte", "extensions", "an extension each", "trailers"],
)
async def test_framing_without_an_end_is_left(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, body: Reply
) -> None:
    origin = await make_origin(policy=ONCE)
    faults.script(body)
    with trio.fail_after(20), pytest.raises(OriginUnreachable):
        await read(origin, meter)


async def test_a_body_in_usual_chunks_is_read(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    for size in (1000, 8192, 50_000):
        chunks = [PIECE[at : at + size] for at in range(0, len(PIECE), size)]
        faults.script(raw(chunked(*chunks)))
        assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen] == [1, 1, 1]


@pytest.mark.parametrize(
    "ask",
    [
        lambda origin, meter: origin.list_page(REF, None, meter),
        lambda origin, meter: origin.read_small(REF, 100_000, meter),
        lambda origin, meter: origin.head(REF, meter),
    ],
    ids=["listing", "sidecar", "HEAD"],
)
async def test_an_error_without_an_end_is_read_as_far_as_an_error_goes(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    ask: Callable[[S3Origin, CountingMeter], Awaitable[object]],
) -> None:
    origin = await make_origin(policy=ONCE)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    faults.default = flood(head(404, [("transfer-encoding", "chunked")]), chunk)
    with trio.fail_after(20), pytest.raises(OriginError):
        await ask(origin, meter)


@pytest.mark.parametrize("more", [b"x", RANGE_HEAD + PIECE], ids=["a byte", "another answer"])
async def test_a_connection_with_more_than_the_answer_is_not_used_again(
    make_origin: MakeOrigin,
    either: FaultServer,
    certificate: Path,
    meter: CountingMeter,
    more: bytes,
) -> None:
    origin = await make_origin(endpoint=either.url, ca_file=certificate)
    sent = trio.Event()

    async def too_much(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(RANGE_HEAD + PIECE + more)
        sent.set()

    either.script(too_much, GOOD)
    assert await read(origin, meter) == PIECE
    await sent.wait()
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in either.seen] == [1, 2]


async def test_a_server_that_closes_behind_each_answer_costs_no_waits(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """It may do so at the moment at which we ask again (RFC 9112, 9.3.1)."""
    asked = trio.Event()

    async def close_when_asked(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(RANGE_HEAD + PIECE)
        await stream.receive_some()  # the next request is there, and isn't answered
        asked.set()
        await stream.aclose()

    faults.script(close_when_asked, GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert asked.is_set()
    assert [seen.connection for seen in faults.seen] == [1, 2]
    statistics = origin.statistics()
    assert (statistics.retries, statistics.requests, meter.requests["pieces"]) == (0, 3, 3)


async def test_a_server_that_closes_without_an_answer_is_asked_once_more_only(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=ONCE)

    async def close(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    faults.script(GOOD, close)
    faults.default = close
    assert await read(origin, meter) == PIECE
    with trio.fail_after(20), pytest.raises(OriginUnreachable):
        await read(origin, meter)
    assert len(faults.seen) == 3


@pytest.mark.parametrize(
    "framing", [{}, {"transfer-encoding": "chunked"}], ids=["until it closes", "chunked"]
)
async def test_the_end_of_a_body_that_is_there_is_not_waited_for_for_long(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, framing: dict[str, str]
) -> None:
    origin = await make_origin(policy=RetryPolicy(patience=0, attempts=1, read_timeout=600))
    fields = {name.replace("_", "-"): value for name, value in RANGE_HEADERS.items()} | framing
    chunk = b"%x\r\n" % len(PIECE) if framing else b""

    async def never_end(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(head(206, fields.items()) + chunk + PIECE)
        await trio.sleep_forever()

    faults.script(never_end, GOOD)
    with trio.fail_after(60):
        assert await read(origin, meter) == PIECE
    # That connection can't be used again.
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen] == [1, 2]


@pytest.mark.parametrize(
    "rubbish",
    [
        bytes(range(128, 256)) * 100 + b"\r\n\r\n",
        b"HTTP/1.1 206 OK\r\n" + b"x" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 206 OK\r\na: 'b\0\"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n" * 1000,
    ],
    ids=["bytes", "a field", "a value", "101", "ssh"],
)
async def test_an_answer_that_is_no_http_is_told_in_a_short_line_of_text(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, rubbish: bytes
) -> None:
    origin = await make_origin(policy=ONCE)
    faults.script(raw(rubbish))
    with pytest.raises(OriginUnreachable) as caught:
        await read(origin, meter)
    text = str(caught.value)
    assert len(text) < 300
    assert text.isprintable()
    assert "bytearray" not in text
    assert "_SWITCH" not in text


@pytest.mark.parametrize("size", [2**63, 10**19 - 1], ids=["2^63", "19 digits"])
async def test_a_size_that_no_object_has_is_refused(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, size: int
) -> None:
    faults.script(answer(200, b"", etag='"tag"', content_length=str(size)))
    with pytest.raises(OriginFault, match=f"HEAD says {size} bytes, which no object has"):
        await origin.head(REF, meter)


@pytest.mark.parametrize("size", ["-1", "9" * 20, "9" * 5000, "1e18"])
async def test_a_size_that_is_no_number_is_refused(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, size: str
) -> None:
    origin = await make_origin(policy=ONCE)
    faults.script(answer(200, b"", etag='"tag"', content_length=size))
    with pytest.raises(OriginError):
        await origin.head(REF, meter)


async def test_no_answer_is_decompressed(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    bomb = gzip.compress(bytes(10 << 20))
    packed = {"content_encoding": "gzip"}
    faults.script(answer(200, bomb, **packed), answer(404, bomb, **packed))
    with pytest.raises(OriginFault, match="listing can't be read"):
        await origin.list_page(REF, None, meter)
    with pytest.raises(ObjectMissing):
        await origin.read_small(REF, 100, meter)
    assert meter.received["metainfo"] == 2 * len(bomb)


@pytest.mark.parametrize("status", [503, 429, 302])
async def test_no_server_says_how_long_we_wait(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, status: int
) -> None:
    later = {"retry_after": "1000000000", "location": "/quotes/Nelson"}
    faults.default = answer(status, b"", **later)
    with trio.fail_after(20), pytest.raises(OriginError):
        await read(await make_origin(), meter)
    assert len(faults.seen) <= QUICK.attempts


async def test_names_that_are_never_found_take_no_thread_from_others(
    make_origin: MakeOrigin, monkeypatch: pytest.MonkeyPatch, meter: CountingMeter
) -> None:
    """A DNS server that is away: trio has 40 threads, and hashing and the disk need them."""
    answered = threading.Event()
    find = socket.getaddrinfo

    def hang(host: object, port: object, *how: int) -> object:
        if host in ("s3.example.org", b"s3.example.org") and not how[-1] & socket.AI_NUMERICHOST:
            answered.wait(60)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(host, port, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    policy = RetryPolicy(
        patience=0, hopeless_wait=0, attempts=4, first_wait=0.001, connect_timeout=0.05
    )
    origin = await make_origin(
        endpoint="http://s3.example.org", path_style=True, connections=16, policy=policy
    )
    threads = trio.to_thread.current_default_thread_limiter()
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(16):
                    nursery.start_soon(assert_unreachable, origin, meter)
        assert threads.borrowed_tokens == 0
    finally:
        answered.set()


async def assert_unreachable(origin: S3Origin, meter: CountingMeter) -> None:
    with pytest.raises(OriginUnreachable, match="no connection in time"):
        await read(origin, meter)


@pytest.mark.parametrize("over", ["http", "https"])
async def test_a_server_that_accepts_and_never_answers_is_left(
    make_origin: MakeOrigin, meter: CountingMeter, over: str
) -> None:
    """With TLS not even the handshake is answered."""
    policy = RetryPolicy(
        patience=0,
        hopeless_wait=0,
        attempts=2,
        first_wait=0.001,
        connect_timeout=0.1,
        read_timeout=0.1,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"{over}://127.0.0.1:{listener.getsockname()[1]}"
        origin = await make_origin(endpoint=endpoint, policy=policy)
        with trio.fail_after(20), pytest.raises(OriginUnreachable, match="in time"):
            await read(origin, meter)
    assert not origin.statistics().reachable


# -- what refused answers cost


class Refused(NamedTuple):
    """An answer that is refused; `sent` bytes of its body have come."""

    reply: Reply
    sent: int
    kind: type[OriginError]


def refused(status: int, body: bytes, kind: type[OriginError], **headers: str) -> Refused:
    """Return an answer with this body, which stays within what a connection takes at once."""
    return Refused(answer(status, body, **headers), len(body), kind)


SOME = BODY[:30_000]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(refused(200, SOME, OriginFault, etag='"tag"'), id="200"),
        pytest.param(
            refused(206, SOME, OriginFault, content_range="bytes 0-29999/300000"), id="other range"
        ),
        pytest.param(refused(206, SOME, OriginFault), id="no range"),
        pytest.param(
            refused(206, SOME, ObjectChanged, **{**RANGE_HEADERS, "etag": '"x"'}), id="other ETag"
        ),
        pytest.param(refused(304, b"", OriginFault), id="304"),
        pytest.param(refused(403, SOME, AccessDenied), id="a long error"),
        pytest.param(
            Refused(raw(chunked(SOME).replace(b"206", b"200", 1)), len(SOME), OriginFault),
            id="chunked",
        ),
    ],
)
async def test_the_body_of_a_refused_answer_is_counted(
    make_origin: MakeOrigin,
    either: FaultServer,
    certificate: Path,
    meter: CountingMeter,
    wrong: Refused,
) -> None:
    """All of it is here when the answer is refused: what is still on its way nobody can count."""
    origin = await make_origin(endpoint=either.url, ca_file=certificate)
    arrived = trio.Event()

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        await wrong.reply(seen, stream)
        arrived.set()

    either.script(reply)

    async def wait_for_the_body(response: httpx.Response) -> None:
        await arrived.wait()

    origin._caller._exchanges.client.event_hooks["response"] = [wait_for_the_body]
    with pytest.raises(wrong.kind):
        await read(origin, meter)
    assert wrong.sent <= meter.received["pieces"] <= wrong.sent * 1.02 + 100
    # Where the ETag is another one, it is asked how the object is now, too.
    assert meter.requests["pieces"] == 1


async def test_what_had_come_of_a_cancelled_read_is_counted(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """The peer has left, or the daemon stops."""
    sent = trio.Event()

    async def half(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(RANGE_HEAD + PIECE[:25_000])
        sent.set()
        await trio.sleep_forever()

    faults.script(half)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, origin, meter)
        await sent.wait()
        nursery.cancel_scope.cancel()
    assert 25_000 <= meter.received["pieces"] + len(RANGE_HEAD) <= 25_000 + 2 * len(RANGE_HEAD)


async def test_a_refused_connection_is_closed_at_once(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """A server that would send for ever can't."""
    ended = trio.Event()

    async def for_ever(seen: Seen, stream: trio.abc.Stream) -> None:
        try:
            await endless(b"x", bytes(65536), etag='"tag"')(seen, stream)
        finally:
            ended.set()

    faults.script(for_ever)
    with trio.fail_after(20):
        with pytest.raises(OriginFault, match="does not serve ranges"):
            await read(origin, meter)
        await ended.wait()
