"""What HTTP clients send to the public listener: heads, ranges, and requests for its pages."""

import random
import re
import socket
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import cast
from xml.etree import ElementTree

import h11
import trio

from seeder.admin.history import parse_query
from seeder.errors import StorageError
from seeder.gateway.access import Keyring, ReadKey
from seeder.http.connection import Connection, Want
from seeder.http.headers import accepted, content_disposition, evaluate, parse_range
from seeder.http.messages import (
    Head,
    Request,
    RequestReader,
    RequestRefused,
    Response,
    carries_body,
    decoded_query,
    encode_head,
    split_target,
)
from seeder.http.service import ServerLimits, Service
from seeder.ledger.counters import AccountKey
from seeder.ledger.spans import Span
from seeder.units import ByteRange
from tests.fuzz.inputs import Choices, chunks, target
from tests.gateway.signing import KEY_ID, NOW, SECRET
from tests.gateway.support import ENTRY, OnePage, Public, page_of

_LIMIT = 16 * 1024
_GET = b"GET /quotes/Nelson?torrent HTTP/1.1\r\nHost: t.example.org\r\n\r\n"
_HEADS = (
    _GET,
    _GET * 3,
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://t.example.org/a%20b?x=1 HTTP/1.1\r\nHost: t\r\nRange: bytes=0-5\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc" + _GET,
    b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _GET,
    b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
    b"GET /" + b"a" * 300,
)
_SLOW = (
    b"GET /long/stream HTTP/1.1\r\nHost: t\r\n\r\n" + _GET,
    b"HEAD /stream/later HTTP/1.1\r\nHost: t\r\n\r\n" + _GET,
    b"GET /stream/cut/%b HTTP/1.1\r\nHost: t\r\n\r\n" % (b"a" * 60) + _GET,
    b"GET /later/fail HTTP/1.1\r\nHost: t\r\n\r\nGET /raise HTTP/1.1\r\nHost: t\r\n\r\n" + _GET,
)


@target(*(b"\0" + head for head in _HEADS), *(b"\3" + head for head in _HEADS[:3]))
def http_heads(data: bytes) -> None:
    """The heads of requests are the same however they arrive, and as h11 reads them."""
    stream = data[1:]
    whole = _heads([stream])
    parts = _heads(chunks(stream, random.Random(data[:1])))
    assert whole == parts
    theirs = _heads_of_h11(stream)
    ours = [head for head in whole if isinstance(head, tuple)]
    # Those with bare bytes in the target are read by us alone.
    assert ours[: len(theirs)] == theirs[: len(ours)]
    assert all(b"%" in cast("bytes", head[1]) for head in ours[len(theirs) : len(theirs) + 1])


def _heads(parts: list[bytes]) -> list[object]:
    """Return each request as a tuple, and at last the status of a refusal, if any."""
    reader = RequestReader(_LIMIT)
    found: list[object] = []
    for part in parts:
        rest = part
        while rest:
            assert reader.room > 0
            rest, fed = rest[reader.room :], rest[: reader.room]
            reader.feed(fed)
            if _take_heads(reader, found):
                return found
    return found


def _take_heads(reader: RequestReader, found: list[object]) -> bool:
    """Add the whole heads to what was found; True if no other may follow."""
    while reader.started:
        try:
            head = reader.next_head()
        except RequestRefused as error:
            assert 400 <= error.status <= 505
            assert str(error)
            found.append(error.status)
            return True
        if head is None:
            return False
        found.append((head.method, head.target, list(head.headers)))
        if not head.keep_alive:
            return True
    return False


def _heads_of_h11(stream: bytes) -> list[object]:
    """Return the requests that h11 finds by itself, up to the first that has a body or is wrong."""
    found: list[object] = []
    with suppress(h11.RemoteProtocolError):
        # Empty lines before a request are passed over (RFC 9112, 2.2); h11 takes but some of them.
        while stream := stream.lstrip(b"\r\n"):
            parser = h11.Connection(h11.SERVER, len(stream) + 1)
            parser.receive_data(stream)
            event = parser.next_event()
            if type(event) is not h11.Request:
                break
            found.append((event.method, event.target, list(event.headers)))
            if type(parser.next_event()) is not h11.EndOfMessage:
                break
            if parser.their_state is not h11.DONE:
                break
            stream, _ = parser.trailing_data
    return found


class _Socket:
    """A client's socket: what it sends comes in parts, what it is sent is kept.

    `ready` is a real one, which can always be written, and always be read.
    """

    def __init__(self, parts: Sequence[bytes], rng: random.Random, ready: socket.socket) -> None:
        self.sent = b""
        self.closed = False
        self._ready = ready
        self._parts = [part for part in parts if part]
        self._rng = rng

    def recv(self, count: int) -> bytes:
        if not self._parts:
            return b""
        if not self._rng.randrange(4):
            raise BlockingIOError
        part = self._parts.pop(0)
        if part[count:]:
            self._parts.insert(0, part[count:])
        return part[:count]

    def send(self, data: bytes | memoryview) -> int:
        if not self._rng.randrange(4):
            raise BlockingIOError
        size = len(data) if self._rng.randrange(2) else 1 + self._rng.randrange(len(data))
        self.sent += bytes(data[:size])
        return size

    def sendmsg(self, buffers: Sequence[memoryview]) -> int:
        return self.send(b"".join(buffers))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    def fileno(self) -> int:
        return self._ready.fileno()

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR

    def getsockname(self) -> tuple[str, int]:
        return "203.0.113.7", 6969

    def close(self) -> None:
        self.closed = True


@target(*(b"\0" + head for head in (*_HEADS, *_SLOW)), b"\1" + _GET * 40, blown_up=64 * 1024)
def http_connection(data: bytes) -> None:
    """A client's connection: one well-formed reply to each request, however they arrive."""
    whole = trio.run(_replies, [data[1:]], random.Random(1))
    parts = trio.run(_replies, chunks(data[1:], random.Random(data[:1])), random.Random(2))
    assert whole == parts


class _Body:
    """A body that is offered in parts, and fails 40 bytes before its end if it has to."""

    def __init__(self, data: bytes, rng: random.Random, *, fails: bool) -> None:
        self.closed = self.cut = False
        self._left = memoryview(data)
        self._rng = rng
        self._fails = fails

    async def offer(self) -> Sequence[memoryview]:
        await trio.lowlevel.checkpoint()
        left = self._left[: len(self._left) - 40] if self._fails else self._left
        if not left:
            self.cut = True
            raise StorageError("fuzz")
        half = len(left) // 2
        return [left[:half], left[half : half + 1 + self._rng.randrange(90)]]

    def took(self, count: int) -> None:
        assert not self.closed
        self._left = self._left[count:]

    def close(self) -> None:
        self.closed = True


async def _replies(parts: list[bytes], rng: random.Random) -> list[tuple[int, bytes]]:
    asked: list[bytes] = []
    bodies: list[_Body] = []

    def answer(request: Request) -> Response | Awaitable[Response]:
        asked.append(request.method)
        if b"raise" in request.path:
            raise ValueError
        return later(request) if b"later" in request.path else respond(request)

    async def later(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if b"fail" in request.path:
            raise ValueError
        return respond(request)

    def respond(request: Request) -> Response:
        path = request.path
        shown = b"%b %b?%b" % (request.method, path, request.query)
        shown += b"." * (100_000 if b"long" in path else 0)
        if b"stream" not in path:
            return Response(200, shown)
        bodies.append(_Body(shown, rng, fails=b"cut" in path))
        return Response(200, bodies[-1], content_length=len(shown))

    left, right = socket.socketpair()
    with left, right:
        right.send(b".")
        sock = _Socket(parts, rng, left)
        made = Connection(
            cast("socket.socket", sock),
            ("192.0.2.1", 4711),
            Service(
                answer,
                ServerLimits(head=_LIMIT),
                date=lambda: b"Thu, 01 Jan 1970 00:00:00 GMT",
            ),
        )
        steps = 0
        while (want := made.step()) is not Want.NOTHING:
            steps += 1
            assert steps < 1000 + 20 * len(sock.sent) + sum(map(len, parts))
            if want not in (Want.READABLE, Want.WRITABLE, Want.TURN):
                await made.wait(want)
        made.close()
    assert sock.closed
    assert all(body.closed for body in bodies)
    return _read_replies(sock.sent, asked, cut=any(body.cut for body in bodies))


def _read_replies(sent: bytes, methods: Sequence[bytes], *, cut: bool) -> list[tuple[int, bytes]]:
    """Read replies as a client does: one to each request, and at most one refusal.

    Only the last one may be cut off.
    """
    found: list[tuple[int, bytes]] = []
    for method in (*methods, b"GET"):
        if not sent:
            break
        status, size, rest = _read_head(sent, method)
        if cut and len(found) == len(methods) - 1:
            assert len(rest) < size
            found.append((status, b""))
            return found
        body, sent = rest[:size], rest[size:]
        assert len(body) == size
        # How h11 words a refusal depends on how much it has seen.
        found.append((status, body if status == 200 else b""))
    assert not sent
    assert len(found) >= len(methods)
    return found


def _read_head(sent: bytes, method: bytes) -> tuple[int, int, bytes]:
    """Return a reply's status, how long its body should be, and what follows its head."""
    head, end, rest = sent.partition(b"\r\n\r\n")
    assert end
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    assert found
    assert length
    return int(found[1]), int(length[1]) if method != b"HEAD" else 0, rest


_PAGES = (
    "/announce?info_hash=x",
    "/scrape?info_hash=" + "h" * 20,
    "/quotes/Nelson?torrent",
    "/quotes/Nelson?magnet",
    "/quotes/Nelson",
    "/paid/a?torrent&x-amz-request-payer=requester",
    "/?prefix=quotes&after=a",
    "/feed.xml?bucket=quotes",
    "/index.json",
    "/healthz",
    "/%ff/%00?torrent",
    "/private/a?torrent&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=READER/20260921/us-east-1"
    "/s3/aws4_request&X-Amz-Date=20260921T141320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=" + "0" * 64,
)
_DOMAINS = ("t.example.org",)


@target(
    *(b"GET %b HTTP/1.1\r\nHost: t.example.org\r\n\r\n" % page.encode() for page in _PAGES),
    b"GET /Nelson?torrent HTTP/1.1\r\nHost: quotes.t.example.org:80\r\n"
    b"Accept: text/html;q=0.5\r\n\r\n",
    b"GET /a/b?torrent HTTP/1.1\r\nHost: t\r\nAuthorization: AWS4-HMAC-SHA256 Credential=READER/"
    b"20260921/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-amz-content-sha256,"
    b" Signature=" + b"0" * 64 + b"\r\nx-amz-date: 20260921T141320Z\r\n"
    b"x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\r\n",
    b"PUT /a/b HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 10.0.0.1, [fd00::1]:4\r\n\r\n",
)
def pages(data: bytes) -> None:
    """A request for any page gets a reply that a client can read; XML is well-formed."""
    reader = RequestReader(_LIMIT)
    reader.feed(data[:_LIMIT])
    try:
        head = reader.next_head()
    except RequestRefused:
        return
    if head is not None:
        _ask(head)


def _ask(head: Head) -> None:
    public = Public(
        proxies=["192.0.2.0/24"],
        domains=_DOMAINS,
        keyring=Keyring([ReadKey(KEY_ID, SECRET, ("*",))]),
        index=OnePage(page_of(ENTRY, previous="a", after="b")),
        now=NOW,
    )
    path, query = split_target(head.target)
    for peer in ("192.0.2.1", "198.51.100.1"):
        response = public.ask(
            Request(
                head.method,
                path,
                query,
                head.headers,
                (peer, 4711),
                ("203.0.113.7", 6969),
                head.has_body,
            )
        )
        assert isinstance(response.body, bytes)
        length = response.content_length
        length = len(response.body) if length is None else length
        sent = encode_head(response, date=b"now", close=False, length=length)
        parser = h11.Connection(h11.CLIENT)
        method = "HEAD" if head.method == b"HEAD" else "GET"
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "t")]))
        parser.send(h11.EndOfMessage())
        body = response.body if carries_body(head.method, response.status) else b""
        parser.receive_data(sent + body)
        told = parser.next_event()
        assert isinstance(told, h11.Response)
        assert response.status < 500 or response.status in (503,)
        if dict(response.headers).get(b"Content-Type") == b"application/xml" and body:
            ElementTree.fromstring(body)


_RANGES = (
    b"bytes=0-0",
    b"bytes=-5",
    b"bytes=5-",
    b"bytes=0-0, 5-6",
    b"items=0-1",
    b"bytes=" + b"9" * 25 + b"-",
    b"bytes= 1-2 ,",
)


@target(*(size.to_bytes(2, "big") + text for size in (0, 1, 10, 1000) for text in _RANGES))
def ranges(data: bytes) -> None:
    """A Range selects what an independent reading of RFC 9110, 14.1.2 selects."""
    choices = Choices(data)
    size, header = choices.number(2), choices.rest()
    found = parse_range(header, size)
    if isinstance(found, ByteRange):
        assert 0 <= found.start < found.stop <= size
    else:
        assert found in (200, 416)
    plain = re.fullmatch(rb"bytes=(\d{0,30})-(\d{0,30})", header)
    if plain is None or plain.groups() == (b"", b""):
        return
    first, last = plain.groups()
    if not first:
        wanted = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        assert found == 200
        return
    else:
        wanted = range(int(first), min(size, int(last) + 1) if last else size)
    if wanted:
        assert isinstance(found, ByteRange)
        assert range(found.start, found.stop) == wanted
    else:
        assert found == 416


_HEADERS = (b"range", b"if-range", b"if-match", b"if-none-match", b"accept")


@target(
    b'\x02\0\x09bytes=1-2\1\3"e"',
    b'\2\2\x0b"a", W/"e",\3\1*\0\7bytes=-',
    b"\1\4\x14text/html;q=0.5, */*",
    b"\3Nelson \xe2\x9c\x93.txt",
)
def preconditions(data: bytes) -> None:
    """Preconditions, ranges, Accept and names for files: a status, or bytes of the object."""
    choices = Choices(data)
    size = choices.number()
    headers = []
    while choices:
        name = _HEADERS[choices.number() % len(_HEADERS)]
        headers.append((name, choices.text()))
    for method in (b"GET", b"HEAD"):
        request = Request(method, b"/", b"", headers, ("192.0.2.1", 1), ("192.0.2.2", 2))
        status, found = evaluate(request, b'"e"', size)
        assert status in (200, 206, 304, 412, 416)
        assert (found is not None) == (status == 206)
        assert found is None or found.stop <= size
        assert method == b"GET" or status in (200, 304, 412)
    for quality in accepted([value for _, value in headers]).values():
        assert 0 <= quality <= 1
    shown = content_disposition(data.decode(errors="replace"))
    assert not set(b"\r\n") & set(shown)
    assert all(32 <= byte < 127 for byte in shown)
    decoded_query(data)
    split_target(data)


@target(
    b"span=day",
    b"span=month&torrent=bucket/a+key%20of/it",
    b"prefix=bucket/&origin=default&span=all",
    b"torrent=%ff/%00&span=",
)
def history_query(data: bytes) -> None:
    """A query of /history.json is a span and accounts, or a line that says what is wanted."""
    with suppress(ValueError):
        span, scope = parse_query(data)
        assert span in Span
        if scope is not None:
            assert scope.bucket
            scope.has(AccountKey("default", scope.bucket, scope.key, "v"))
