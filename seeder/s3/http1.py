"""HTTP/1.1 to S3: connections that are kept, and bodies that land in the reader's own buffer.

h11 parses every head, and every body whose end it has to find. A body of a known length, which is
what S3 sends for an object, doesn't go through h11: that would copy each byte three more times and
cost more than TLS. httpcore's pool isn't used: it loses slots to cancelled requests, and takes
longer the more connections it has.

Whatever waits here may raise OSError, h11.RemoteProtocolError and trio.TooSlowError.
"""

import re
import ssl
from collections import deque
from typing import NamedTuple

import h11
import trio

from seeder.s3.network import Stream, within

KEEPALIVE = 15.0
"""Seconds; S3 closes idle connections somewhat later."""
_HEAD_READ = 8 * 1024
"""Bytes read at a time while the head isn't complete; what follows it is copied."""
_CHUNK = 16 * 1024
"""Bytes read at a time of a body whose end h11 has to find."""
_LONGEST_HEAD = 32 * 1024
"""Bytes of a head, of the trailers, or of the line before a chunk. S3's metadata has 2 KiB."""
_FRAMING_FIELDS = re.compile(rb"^(?:content-length|transfer-encoding)[ \t]*:[^\n]*\n", re.I | re.M)
_MOST_INTERIM = 4
"""Answers 1xx before the real one (RFC 9110, 15.2): S3 sends none to a request without a body."""
_MOST_FRAMING = 48 * 1024
_FRAMING_SHARE = 1 / 8
"""Bytes of chunked framing (RFC 9112, 7.1) that a body may have, and the share of its data that
comes on top: whoever sends chunks of a few bytes makes us work for each of them. What h11 has not
looked at yet counts as framing, too."""


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
        came = parser.trailing_data[0]
        if length is not None:
            self._extra = came
        self._head = link.parsed - len(came)
        """Bytes of the head, of all that h11 was given."""
        self._taken = 0
        """Bytes of the body that h11 returned."""
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
        # Chunks that are there already come without a wait: other tasks have their turn here.
        await trio.lowlevel.checkpoint()
        event = await self._link.next_event(self._parser, _CHUNK)
        if isinstance(event, h11.Data):
            self._taken += len(event.data)
            framing = self._link.parsed - self._head - self._taken
            if framing > _MOST_FRAMING + self._taken * _FRAMING_SHARE:
                raise h11.RemoteProtocolError("the body comes in chunks of a few bytes")
            return bytes(event.data)
        self._ended = True
        return b""

    def close(self) -> int:
        """Give the connection back to the pool, or close it at once if a part is left.

        Returns the bytes that came for the answer and weren't taken, as far as they can be seen.
        """
        if self._closed:
            return 0
        self._closed = True
        framed = self._length is not None
        lives = self._parser.our_state is h11.DONE if framed else self._is_done()
        lives = lives and self._parser.their_state is not h11.ERROR
        if self._ended and not self._extra and lives:
            self._pool.give_back(self._link)
            return 0
        left = len(self._extra) + self._link.stream.unread
        if not framed:
            left += len(self._parser.trailing_data[0])
        self._pool.drop(self._link)
        return left

    def _is_done(self) -> bool:
        done = self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE
        return done and not self._parser.trailing_data[0]


class Link:
    """A connection to one server, used for one exchange at a time."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.idle_since = 0.0
        self.was_used = False
        """Whether it has had an exchange before this one."""
        self.read_timeout: float | None = None
        self.parsed = 0
        """Bytes that h11 was given in this exchange."""
        self._asked: h11.Request | None = None
        self._came = bytearray()
        """What came in answer to a HEAD."""

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing of an answer was read in this exchange."""
        return not self.parsed

    async def send(
        self, request: h11.Request, seconds: float | None, body: bytes = b""
    ) -> h11.Connection:
        """Send a request within `seconds`; return the parser for its answer."""
        parser = h11.Connection(h11.CLIENT, _LONGEST_HEAD)
        self.parsed = 0
        self._asked = request if request.method == b"HEAD" else None
        self._came.clear()
        data = parser.send(request) or b""
        if body:
            data += parser.send(h11.Data(body)) or b""
        data += parser.send(h11.EndOfMessage()) or b""
        await self.stream.write(data, seconds)
        return parser

    async def receive_head(self, parser: h11.Connection, seconds: float | None) -> h11.Response:
        """Return the head of the answer; `seconds` bounds all of it, and each read of the body."""
        self.read_timeout = None
        with within(seconds):
            for _ in range(_MOST_INTERIM + 1):
                try:
                    event = await self.next_event(parser, _HEAD_READ)
                except h11.RemoteProtocolError:
                    if (found := self._without_framing()) is None:
                        raise
                    event = found
                if isinstance(event, h11.Response):
                    self.read_timeout = seconds
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    raise h11.RemoteProtocolError("the server closed without an answer")
        raise h11.RemoteProtocolError(f"more than {_MOST_INTERIM} answers 1xx before the real one")

    async def next_event(self, parser: h11.Connection, most: int) -> h11.Event:
        """Return the next event other than NEED_DATA, reading `most` bytes at a time."""
        while (event := parser.next_event()) is h11.NEED_DATA:
            data = bytearray(most)
            count = await self.stream.read_into(memoryview(data), self.read_timeout)
            self.parsed += count
            if self._asked is not None:
                self._came += data[:count]
            parser.receive_data(bytes(data[:count]))
        assert isinstance(event, h11.Event)
        return event

    def _without_framing(self) -> h11.Response | None:
        """Return the answer to a HEAD without what it says of the length of its body; None if that
        isn't what h11 refused.

        No body follows (RFC 9112, 6.3), so the rest can be believed: "-1" or two lengths only mean
        that the length isn't known.
        """
        if self._asked is None:
            return None
        parser = h11.Connection(h11.CLIENT, _LONGEST_HEAD)
        parser.send(self._asked)
        parser.send(h11.EndOfMessage())
        parser.receive_data(_FRAMING_FIELDS.sub(b"", bytes(self._came)))
        try:
            while isinstance(event := parser.next_event(), h11.InformationalResponse):
                pass
        except h11.RemoteProtocolError:
            return None
        return event if isinstance(event, h11.Response) else None


class Pool:
    """Connections that are kept for further exchanges: at most `connections`, over all servers.

    The caller begins no more exchanges than that at a time, but for a few while S3 is silent. The
    connection that has been idle for longest makes room for one to another server.
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
        link.was_used = True
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
