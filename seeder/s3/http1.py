"""HTTP/1.1 to S3: connections that are kept, and bodies that land in the reader's own buffer.

h11 parses every head, and every body whose end it has to find. A body of a known length, which is
what S3 sends for an object, doesn't go through h11: that would copy each byte three more times and
cost more than TLS. httpcore's pool isn't used: it loses slots to cancelled requests, and takes
longer the more connections it has.

Whatever waits here may raise OSError, h11.RemoteProtocolError and trio.TooSlowError.
"""

import ssl
from collections import deque
from typing import NamedTuple

import h11
import trio

from seeder.s3.network import Stream

KEEPALIVE = 15.0
"""Seconds; S3 closes idle connections somewhat later."""
_HEAD_READ = 8 * 1024
"""Bytes read at a time while the head isn't complete; what follows it is copied."""
_LONGEST_HEAD = 64 * 1024
_CHUNK = 64 * 1024


class Server(NamedTuple):
    """Where a connection leads."""

    scheme: str
    """"http" or "https"."""
    host: str
    port: int


class BodyReader:
    """Reads the body of one answer, once, and must be closed."""

    def __init__(
        self, pool: "Pool", link: "Link", parser: h11.Connection, *, length: int | None
    ) -> None:
        self._pool = pool
        self._link = link
        self._parser = parser
        self._length = length
        """Bytes still to come; None if only h11 can tell where the body ends."""
        self._extra: bytes = b""
        self._ended = length == 0
        if length is not None:
            self._extra = parser.trailing_data[0]
        self._closed = False

    async def receive_into(self, view: memoryview) -> int:
        """Fill the view, or a part of it; return the bytes that came, 0 at the end of the body.

        h11.RemoteProtocolError when the connection ends before the body does.
        """
        if self._ended:
            return 0
        if self._extra or self._length is None:
            return await self._take(view)
        count = await self._link.stream.read_into(view[: self._length], self._link.read_timeout)
        if not count:
            raise h11.RemoteProtocolError(f"the body ended {self._length} bytes too early")
        self._length -= count
        self._ended = not self._length
        return count

    async def _take(self, view: memoryview) -> int:
        """Fill the view with what came along with the head, or with what h11 finds."""
        if not self._extra:
            self._extra = await self._next_chunk()
        count = min(len(view), len(self._extra))
        if self._length is not None:
            count = min(count, self._length)
            self._length -= count
            self._ended = not self._length
        view[:count] = self._extra[:count]
        self._extra = self._extra[count:]
        return count

    async def _next_chunk(self) -> bytes:
        event = await self._link.next_event(self._parser, _CHUNK)
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._ended = True
        return b""

    def close(self) -> None:
        """Give the connection back to the pool, or close it if a part of the answer is left."""
        if self._closed:
            return
        self._closed = True
        framed = self._length is not None
        lives = self._parser.our_state is h11.DONE if framed else self._is_done()
        if self._ended and not self._extra and lives:
            self._pool.give_back(self._link)
        else:
            self._pool.drop(self._link)

    def _is_done(self) -> bool:
        done = self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE
        return done and not self._parser.trailing_data[0]


class Link:
    """A connection to one server, used for one exchange at a time."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.idle_since = 0.0
        self.read_timeout: float | None = None

    async def send(self, request: h11.Request, seconds: float | None) -> h11.Connection:
        """Send a request without a body within `seconds`; return the parser for its answer."""
        parser = h11.Connection(h11.CLIENT, _LONGEST_HEAD)
        data = (parser.send(request) or b"") + (parser.send(h11.EndOfMessage()) or b"")
        await self.stream.write(data, seconds)
        return parser

    async def receive_head(self, parser: h11.Connection, seconds: float | None) -> h11.Response:
        """Return the head of the answer; `seconds` bounds each read of it and of the body."""
        self.read_timeout = seconds
        while True:
            event = await self.next_event(parser, _HEAD_READ)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the server closed without an answer")

    async def next_event(self, parser: h11.Connection, most: int) -> h11.Event:
        """Return the next event other than NEED_DATA, reading `most` bytes at a time."""
        while (event := parser.next_event()) is h11.NEED_DATA:
            data = bytearray(most)
            count = await self.stream.read_into(memoryview(data), self.read_timeout)
            parser.receive_data(bytes(data[:count]))
        assert isinstance(event, h11.Event)
        return event


class Pool:
    """Connections that are kept for further exchanges: at most `connections`, over all servers.

    The caller begins no more exchanges than that at a time. The connection that has been idle for
    longest makes room for one to another server.
    """

    def __init__(self, connections: int, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._most = connections
        self._open = 0
        self._idle: deque[Link] = deque()

    def take(self, server: Server) -> Link | None:
        """Return the idle connection to `server` that was used last and still works, if any."""
        now = trio.current_time()
        for link in reversed(tuple(self._idle)):
            if now - link.idle_since > KEEPALIVE or not link.stream.quiet:
                self._idle.remove(link)
                self.drop(link)
            elif link.server == server:
                self._idle.remove(link)
                return link
        return None

    async def connect(self, server: Server, seconds: float | None) -> Link:
        """Open a connection to `server` within `seconds`."""
        while self._idle and self._open >= self._most:
            self.drop(self._idle.popleft())
        context = self._context if server.scheme == "https" else None
        self._open += 1
        try:
            stream = await Stream.connect(server.host, server.port, context, seconds)
        except BaseException:
            self._open -= 1
            raise
        return Link(server, stream)

    def body_of(
        self, link: Link, parser: h11.Connection, request: h11.Request, answer: h11.Response
    ) -> BodyReader:
        """Return the body that follows the head of an answer; closing it frees the connection."""
        return BodyReader(self, link, parser, length=_length(request, answer))

    def give_back(self, link: Link) -> None:
        """Keep a connection whose exchange has ended as it should."""
        link.idle_since = trio.current_time()
        self._idle.append(link)

    def drop(self, link: Link) -> None:
        """Close a connection."""
        self._open -= 1
        link.stream.close()

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self.drop(self._idle.pop())


def _length(request: h11.Request, answer: h11.Response) -> int | None:
    """Return the length of the body by RFC 9112, 6.3; None where only its framing tells."""
    if request.method == b"HEAD" or answer.status_code in (204, 304):
        return 0
    fields = dict(answer.headers)
    if b"transfer-encoding" in fields or b"content-length" not in fields:
        return None
    return int(fields[b"content-length"])
