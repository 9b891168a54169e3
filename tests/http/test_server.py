"""The HTTP server: what it does with requests, good ones and bad ones, and with their handlers."""

import errno
import logging
import os
import socket
from email.utils import parsedate_to_datetime

import pytest
import trio

from seeder.http.connection import LARGE_BODY, MOST_IN_A_ROW
from seeder.http.messages import Request, Response
from seeder.http.server import serve
from seeder.http.service import ServerLimits, Service
from tests.http.serving import PATIENCE, Shelf, ask, connected, exchange, get, serving, target_of

TEXT = ((b"Content-Type", b"text/plain"),)


def echo(request: Request) -> Response:
    return Response(200, b"%b %b" % (request.method, target_of(request)), TEXT)


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


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/a", b"there"),
        ("/http://other/", b"there"),
        ("http://other/a?b=http://c/d", b"other"),
        ("http://other:80", b"other:80"),
        ("http://other?a/b", b"other"),
        ("HTTP://there@other/", b"there@other"),
        ("http:///a", b""),
        ("*", b"there"),
    ],
)
async def test_the_host_of_an_absolute_uri_counts_and_not_the_header(
    target: str, host: bytes
) -> None:
    def hosts(request: Request) -> Response:
        return Response(200, b"|".join(request.all_headers(b"host")))

    async with serving(hosts) as port:
        reply = await ask(port, f"GET {target} HTTP/1.1\r\nHost: there\r\n\r\n".encode())
    assert reply.body == host


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
        b"GET /\xff HTTP/1.1\r\n\r\n",  # no Host
        b"G\xff / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x1f HTTP/1.1\r\nHost: a\r\n\r\n",
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
    # In our words, without anything of the program in it.
    assert raw.partition(b"\r\n\r\n")[2] in (
        b"not a request of HTTP/1.1\n",
        b"the Host header is missing\n",
    )


async def test_the_reasons_of_refusals_are_ours() -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\n"
    async with serving(echo) as port:
        chunked = await exchange(port, start + b"Transfer-Encoding: gzip\r\n\r\n")
        two = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert chunked.startswith(b"HTTP/1.1 501 ")
    assert chunked.endswith(b"\r\n\r\nno such transfer coding here\n")
    assert two.endswith(b"\r\n\r\nnot a request of HTTP/1.1\n")


def _refusal(reason: str) -> Response:
    return Response(200, f"no: {reason}".encode())


@pytest.mark.parametrize("page", [b"/announce?a=b", b"/announce/key?a=\xff"])
@pytest.mark.parametrize(
    "request_of_page",
    [
        b"GET %b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET %b HTTP/1.1\r\nUser Agent: x\r\nHost: a\r\n\r\n",
        b"GET %b HTTP/1.1\r\nno header\r\nHost: a\r\n\r\n",
        b"GET %b&c=d e HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  %b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET %b http/1.1\r\nHost: a\r\n\r\n",
        b"GET %b&\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET %b\r\n\r\n",
        b"GET http://a%b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET %b HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"GET %b&" + b"a" * 20_000,
    ],
)
async def test_a_page_words_its_own_refusals(page: bytes, request_of_page: bytes) -> None:
    async with serving(echo, hostless={b"/announce": _refusal}) as port:
        raw = await exchange(port, request_of_page % page)
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert b"\r\n\r\nno: " in raw
        other = await exchange(port, request_of_page % b"/announcement?")
        assert not other.startswith(b"HTTP/1.1 200 ")
        assert b"no: " not in other


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\n"])
async def test_empty_lines_before_a_request_are_passed_over(empty: bytes) -> None:
    """Some clients end a body with one more than they count (RFC 9112, 2.2)."""
    async with serving(echo) as port, connected(port) as client:
        await client.send(empty + get("/a") + empty + get("/b") + empty)
        assert [(await client.reply()).body for _ in range(2)] == [b"GET /a", b"GET /b"]
        for byte in empty + get("/c"):
            await client.send(bytes([byte]))
        assert (await client.reply()).body == b"GET /c"


async def test_a_page_without_host_is_answered_where_the_server_is_told_so() -> None:
    bare = b"GET /announce%s HTTP/1.1\r\nX: y\r\n\r\n"
    async with serving(echo, hostless={b"/announce": _refusal}) as port:
        for more in (b"", b"?a=\xff", b"/passkey"):
            raw = await exchange(port, bare % more + get("/next"))
            assert raw.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in raw
            assert raw.count(b"HTTP/1.1 ") == 1
        refused = await exchange(port, bare % b"r")
        assert refused.endswith(b"the Host header is missing\n")


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
    assert [request.path for request in seen] == [b"/x"]
    assert seen[0].has_body
    assert raw.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert raw.endswith(b"Connection: close\r\n\r\nno")
    assert raw.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 150_000, b"414"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n" + bytes(150_000), b"200"),
        # More than the buffers of the kernel hold.
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000000\r\n\r\n" + bytes(12_000_000),
            b"200",
        ),
    ],
    ids=["head", "body", "large body"],
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


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/announce/KEY?info_hash=KEY", "/announce/..."),
        ("http://t.test/announce/KEY", "/announce/..."),
        ("http://KEY@t.test/scrape/KEY", "/scrape/..."),
        ("http://t.test//-/KEY/quotes/KEY", "//-/..."),
        ("//announce//KEY", "//announce//..."),
        ("/announce/more/KEY", "/announce/..."),
        ("/announce%2FKEY", "/announce%2F..."),
        ("/Announce/KEY#KEY", "/Announce/..."),
        ("/-/KEY", "/-/..."),
        ("/events/minio/KEY?token=KEY", "/events/minio/..."),
        ("//events%2Fminio%2fKEY", "//events%2Fminio%2f..."),
        ("/quotes/Nelson?X-Amz-Signature=KEY", "/quotes/Nelson"),
        ("/quotes/Nelson#KEY", "/quotes/Nelson"),
        ("/quotes/-/Nelson", "/quotes/-/Nelson"),
    ],
)
async def test_what_may_open_something_is_not_logged(
    target: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Request) -> Response:
        raise KeyError

    caplog.set_level(logging.DEBUG)
    async with serving(handler) as port:
        assert (await ask(port, get(target, "Authorization: KEY"))).status == 500
    assert f"the handler of {shown.encode()!r} failed" in caplog.text
    assert "KEY" not in caplog.text


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


async def test_a_body_is_sent_from_where_it_lies() -> None:
    shelf = Shelf(os.urandom(5_000_001))
    async with serving(shelf) as port, connected(port) as client:
        for count in (1, 2):
            await client.send(get("/"))
            assert (await client.reply()).body == shelf.data
            await client.send(get("/", method="HEAD"))
            head = await client.reply(to_head=True)
            assert head.headers[b"content-length"] == b"5000001"
            assert shelf.closed == 2 * count


async def test_a_source_that_has_no_more_cuts_its_reply_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf(bytes(3_000_000), fail_at=1_000_000)
    async with serving(shelf) as port, connected(port) as client:
        await client.send(get("/"))
        raw = await client.rest()
    assert len(raw.partition(b"\r\n\r\n")[2]) == shelf.at < 3_000_000
    assert shelf.closed == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("lie", [-1, 1])
async def test_a_source_that_breaks_its_promise_is_cut_off(
    lie: int, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(bytes(300_000), lie=lie)
    async with serving(shelf) as port, connected(port) as client:
        await client.send(get("/"))
        await client.rest()
    assert shelf.closed == 1
    assert "a connection failed" in caplog.text


async def test_a_source_is_closed_when_its_client_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf(bytes(50_000_000))
    async with serving(shelf) as port:
        async with connected(port) as client:
            await client.send(get("/"))
            assert (await client.reply(to_head=True)).status == 200
        with trio.fail_after(PATIENCE):
            await shelf.gone.wait()
    assert shelf.at < 50_000_000
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_of_unknown_length_ends_with_its_connection() -> None:
    shelf = Shelf(os.urandom(1_000_001))
    async with (
        serving(lambda _: Response(200, shelf)) as port,
        connected(port) as client,
    ):
        await client.send(get("/") + get("/"))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"content-length" not in head.lower()
        assert b"Connection: close" in head
        assert body == shelf.data
        assert shelf.closed == 1


async def test_a_source_is_closed_when_its_head_cannot_be_sent() -> None:
    shelf = Shelf(b"x")

    def handler(_: Request) -> Response:
        return Response(200, shelf, ((b"X", b"a\r\nb"),), content_length=1)

    async with serving(handler) as port:
        assert (await ask(port, get("/"))).status == 500
    assert shelf.closed == 1


async def test_several_listeners_share_one_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [one, other], Service(echo))
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
            await nursery.start(serve, [listener], Service(handler))
            async with await trio.open_tcp_stream("::1", listener.getsockname()[1]) as stream:
                await stream.send_all(get("/"))
                await stream.receive_some()
            nursery.cancel_scope.cancel()
        address = ("::1", listener.getsockname()[1])
    assert seen[0].peer[0] == "::1"
    assert seen[0].local == address
