"""One HTTP connection: a state machine that never waits, and the waits that it asks for.

`step` receives, answers and sends as far as that goes at once, and returns a `Want`; `wait` waits
for it. The handler is called in whichever task runs `step`: the acceptor's for the first requests
of a connection, afterwards the connection's own.
"""

import logging
import socket
from collections.abc import Awaitable
from contextlib import suppress
from enum import Enum, auto
from inspect import iscoroutine
from math import inf

import trio

from seeder.errors import SeederError
from seeder.http.bodies import CONTINUE, RequestBody, waits_for_word
from seeder.http.messages import (
    Head,
    Request,
    RequestReader,
    RequestRefused,
    Response,
    carries_body,
    effective_headers,
    encode_head,
    shown_target,
    split_target,
)
from seeder.http.service import Service
from seeder.http.sourced import SourcedBody
from seeder.http.wire import Wire
from seeder.net.addresses import Networks
from seeder.net.guards import sparing_others

_LOG = logging.getLogger(__name__)

MOST_IN_A_ROW = 16
"""Requests of one connection that are answered before other connections get their turn."""
LINGER_BYTES = 16 * 1024 * 1024
"""Bytes that a client may go on sending behind its last request, before we close on it: most send
all of a body before they read why it isn't taken."""
READ_AT_ONCE = 64 * 1024
"""Bytes of a request's body that are read at a time."""
LARGE_BODY = 64 * 1024
"""Bytes above which a body isn't appended to its head, which copies it, but sent after it."""


class Want(Enum):
    """What a connection needs before its next step."""

    READABLE = auto()
    WRITABLE = auto()
    TURN = auto()
    """Nothing, but other connections go first now."""
    ANSWER = auto()
    """The handler's response, which is not there yet."""
    SOURCE = auto()
    """The next bytes of a body, from its source."""
    LINGER = auto()
    """The client to stop sending; closing before that would destroy our reply on its way."""
    NOTHING = auto()
    """It is over."""


class Connection:
    """A client's socket: call `step` until it wants NOTHING, `wait` in between, then `close`."""

    __slots__ = (
        "_arriving",
        "_deadline",
        "_handler",
        "_head",
        "_large_body",
        "_last",
        "_limits",
        "_lingers",
        "_local",
        "_meter",
        "_over",
        "_peer",
        "_pending",
        "_reader",
        "_service",
        "_sock",
        "_source",
        "_stops_at",
        "_unsent",
        "networks",
        "scope",
    )
    is_watched = True
    """Whether all that there is to read comes by the socket, which may be watched for it."""

    def __init__(
        self,
        sock: Wire,
        peer: tuple[str, int],
        service: Service,
        *,
        local: tuple[str, int] | None = None,
    ) -> None:
        """`local` is our end, if that is known already."""
        self.scope: trio.CancelScope | None = None
        """Around the task that waits for this connection; None while there is no such task."""
        self.networks: Networks = ()
        """The client's; set when there is such a task."""
        self._sock = sock
        self._peer = peer
        self._local = local
        self._service = service
        self._handler = service.handler
        self._arriving: RequestBody | None = None
        """The body that is being read."""
        self._limits = service.limits
        self._meter = service.meter
        self._reader = RequestReader(service.limits.head, service.hostless)
        self._deadline: float | None = inf
        """When the next head must be there; None until we wait for it."""
        self._stops_at = inf
        self._head: Head | None = None
        self._pending: Awaitable[Response] | None = None
        self._unsent: bytes | memoryview = b""
        self._large_body = b""
        """What is to be sent after `_unsent`."""
        self._source: SourcedBody | None = None
        self._last = False
        self._lingers = False
        self._over = False
        """Whether nothing is left to be sent, nor to be dropped."""

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def due(self) -> float:
        """Until when the client is waited for, after a `step` that wanted READABLE, or LINGER if
        somebody waits for its place."""
        return inf if self._deadline is None else self._deadline

    @property
    def between_requests(self) -> bool:
        """Whether nothing of another request has come yet."""
        return not self._reader.started and self._arriving is None

    @property
    def is_new(self) -> bool:
        """Whether its client was answered nothing yet, and so counts on an answer."""
        return self._head is None and not self._last

    def stop(self, deadline: float) -> None:
        """Answer no further request, and end by `deadline` at the latest; now, if it has no end.

        A first request is waited for, `limits.arrival` seconds.
        """
        if self.is_new:
            arrival = trio.current_time() + self._limits.arrival
            self._deadline = arrival if self._deadline is None else min(self._deadline, arrival)
            if self.scope is not None:
                self.scope.deadline = min(self.scope.deadline, arrival)
        if self._source is not None and self._source.length is None:
            deadline = trio.current_time()
        self._stops_at = deadline
        if self.scope is not None:
            self.scope.deadline = min(self.scope.deadline, deadline)

    def end(self) -> None:
        """Cancel the task that waits for this connection."""
        if self.scope is not None:
            self.scope.cancel()

    def close(self) -> None:
        """Let go of the socket."""
        if self._pending is not None and iscoroutine(self._pending):
            self._pending.close()
        self._drop_source()
        self._sock.close()

    def expect_head(self) -> Want:
        """Give the client the time that it has for the head of its first request."""
        self._deadline = trio.current_time() + self._limits.head_timeout
        return Want.READABLE

    def begin(self, data: bytes) -> Want:
        """Take the first step, with what has come already."""
        self.expect_head()
        self._reader.feed(data)
        return self.step()

    def begin_answered(self, head: Head, answer: Response | Awaitable[Response]) -> Want:
        """Take the first step, with an answer to the first request."""
        self._head = head
        self._respond(head, answer)
        return Want.ANSWER if self._pending is not None else self.step()

    def begin_unsent(self, rest: bytes) -> Want:
        """Take the first step, with what is left of the only reply, if anything is."""
        self._last = True
        self._unsent = rest
        return self.step()

    def step(self) -> Want:
        """Receive, answer and send until there is something to wait for; return what that is."""
        try:
            for _ in range(MOST_IN_A_ROW):
                if not self._send():
                    return Want.WRITABLE
                if self._source is not None:
                    return Want.SOURCE
                if self._last:
                    return self._part()
                found = self._receive() if self._arriving is None else self._receive_body()
                if isinstance(found, Want):
                    return found
                if isinstance(found, Head):
                    self._take(found)
                elif found is not None:
                    self._answer(found)
                if self._pending is not None:
                    return Want.ANSWER
        except OSError:
            # Reset, timed out, unreachable: the client is gone.
            return Want.NOTHING
        return Want.TURN

    def _send(self) -> bool:
        """Send as much as the socket takes; True when nothing is left."""
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return False
            if self._meter is not None:
                self._meter.protocol(sent)
            if sent < len(self._unsent):
                self._unsent = memoryview(self._unsent)[sent:]
                return False
            self._unsent, self._large_body = self._large_body, b""
        return True

    def _part(self) -> Want:
        """End what we send; return LINGER if the client sends more than we read, else NOTHING.

        Only then is there a look at what has come, so that what comes behind it finds the client
        with our reply and its end.
        """
        if self._over:
            return Want.NOTHING
        self._sock.shutdown(socket.SHUT_WR)
        if not self._lingers:
            with suppress(BlockingIOError):
                self._lingers = bool(self._sock.recv(READ_AT_ONCE))
        if not self._lingers:
            return Want.NOTHING
        # For those who wait for its place: it has its answer, and is as one that has yet to ask.
        self._deadline = trio.current_time() + self._limits.head_timeout
        return Want.LINGER

    def _receive(self) -> Head | Want | None:
        """Return the next request, or what we have to wait for; None if it was refused."""
        reader = self._reader
        while True:
            if reader.started:
                try:
                    head = reader.next_head()
                except RequestRefused as refusal:
                    self._refuse(refusal)
                    return None
                if head is not None:
                    return head
            elif self._deadline is None:
                # Just answered: the next request comes after a round trip, if it comes at all.
                self._deadline = trio.current_time() + self._limits.idle_timeout
                return Want.READABLE
            try:
                data = self._sock.recv(reader.room)
            except BlockingIOError:
                if self._deadline is None:
                    # A part of the next head came along with the last one.
                    self._deadline = trio.current_time() + self._limits.head_timeout
                return Want.READABLE
            if not data:
                return Want.NOTHING
            if not reader.started:
                self._deadline = trio.current_time() + self._limits.head_timeout
            reader.feed(data)

    def _receive_body(self) -> Request | Want | None:
        """Return the request whose body is there, or what we have to wait for; None if refused."""
        arriving = self._arriving
        assert arriving is not None
        try:
            while (body := arriving.read()) is None:
                data = self._sock.recv(READ_AT_ONCE)
                if not data:
                    return Want.NOTHING
                arriving.feed(data)
        except BlockingIOError:
            return Want.READABLE
        except RequestRefused as refusal:
            self._arriving = None
            self._refuse(refusal, arriving.request)
            return None
        self._arriving = None
        return arriving.request._replace(body=body)

    def _refuse(self, refusal: RequestRefused, request: Request | None = None) -> None:
        self._last = self._lingers = True
        worded = None
        words = self._service.worded
        if request is not None and words is not None:
            worded = words(request, refusal)
        if worded is not None:
            response = worded
        elif refusal.page is None:
            body = f"{refusal}\n".encode()
            response = Response(refusal.status, body, ((b"Content-Type", b"text/plain"),))
        else:
            response = self._service.hostless[refusal.page](str(refusal))
        self._reply(response, b"GET")

    def _take(self, head: Head) -> None:
        """Have a request answered, once its body has come if that is wanted."""
        request, begun = self._request(head), self._reader.begun
        bodies = self._service.bodies
        limit = bodies(request) if head.has_body and bodies is not None else 0
        self._head = head
        if limit and begun is not None:
            self._arriving = RequestBody(request, begun, limit)
            self._deadline = trio.current_time() + self._limits.head_timeout
            self._unsent = CONTINUE if waits_for_word(request) else b""
            return
        self._answer(request)

    def _answer(self, request: Request) -> None:
        """Let the handler answer a request, at once or later."""
        head = self._head
        assert head is not None
        try:
            answer = self._handler(request)
        except Exception:
            answer = failed(head.target)
        self._respond(head, answer)

    def _respond(self, head: Head, answer: Response | Awaitable[Response]) -> None:
        """Make the answer to a request the next thing to be sent, or to be waited for."""
        if not head.keep_alive or self._limits.in_turn:
            self._last = True
            self._lingers = head.has_body or self._reader.started
        self._deadline = None
        if not isinstance(answer, Response):
            self._pending = answer
            return
        try:
            self._reply(answer, head.method)
        except Exception:
            self._reply(failed(head.target), head.method)

    def _request(self, head: Head) -> Request:
        if self._local is None:
            self._local = self._sock.getsockname()[:2]
        target, headers = head.target, head.headers
        if target.startswith(b"/"):
            path, _, query = target.partition(b"?")
        else:
            path, query = split_target(target)
            headers = effective_headers(target, headers)
        return Request(
            head.method,
            path,
            query,
            headers,
            self._peer,
            self._local,
            head.has_body,
        )

    def _reply(self, response: Response, method: bytes) -> None:
        """Make a response the next thing to be sent."""
        self._drop_source()
        self._meter = response.meter or self._service.meter
        body, length = response.body, response.content_length
        if isinstance(body, bytes):
            if length is None:
                length = len(body)
        else:
            if length is None:
                self._last = True
            # Set before the head is made: if that fails, the reply that says so lets go of the
            # source.
            self._source = SourcedBody(body, length)
        if self._stops_at != inf:
            self._last = True
        if response.close:
            self._last = self._lingers = True
        self._unsent = head = encode_head(
            response, date=self._service.date(), close=self._last, length=length
        )
        if not carries_body(method, response.status):
            self._drop_source()
        elif isinstance(body, bytes):
            if len(body) > LARGE_BODY:
                self._large_body = body
            else:
                self._unsent = head + body

    async def wait(self, want: Want) -> None:
        """Wait for what `step` wanted, in the task inside `scope`."""
        if want is Want.READABLE:
            self._allow(self._deadline)
            await trio.lowlevel.wait_readable(self._sock)
        elif want is Want.WRITABLE:
            self._allow_for(self._limits.send_timeout)
            await trio.lowlevel.wait_writable(self._sock)
        elif want is Want.ANSWER:
            await self._wait_for_answer()
        elif want is Want.SOURCE:
            await self._send_source()
        elif want is Want.LINGER:
            await self._linger()
        else:
            self._allow(None)
            await trio.lowlevel.checkpoint()

    def _allow(self, deadline: float | None) -> None:
        if self.scope is not None:
            self.scope.deadline = min(inf if deadline is None else deadline, self._stops_at)

    def _allow_for(self, seconds: float) -> None:
        self._allow(trio.current_time() + seconds)

    async def _wait_for_answer(self) -> None:
        pending, head = self._pending, self._head
        assert pending is not None
        assert head is not None
        self._allow(None)
        try:
            with trio.fail_after(self._limits.handler_timeout):
                response = await pending
            self._reply(response, head.method)
        except Exception:
            self._reply(failed(head.target), head.method)
        finally:
            self._pending = None

    async def _send_source(self) -> None:
        source = self._source
        assert source is not None
        try:
            await source.send(self._sock, self._allow, self._limits.send_timeout)
        except OSError:
            self._end()
        except SeederError as error:
            # The client knows the Content-Length, and sees that this was not all.
            _LOG.debug("the reply to %s:%d is cut off: %s", *self._peer, error)
            self._end()
        finally:
            self._drop_source()

    def _drop_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            # It is closed in whichever task ends the connection, also that of all others.
            with sparing_others(_LOG, "the end of a body"):
                source.close()

    async def _linger(self) -> None:
        """Drop what still comes: closing before would destroy our reply (RFC 9112, 9.6)."""
        latest = trio.current_time() + self._limits.linger
        dropped = 0
        try:
            while dropped < LINGER_BYTES:
                self._allow(min(latest, trio.current_time() + self._limits.linger_timeout))
                await trio.lowlevel.wait_readable(self._sock)
                data = self._sock.recv(READ_AT_ONCE)
                if not data:
                    break
                dropped += len(data)
        except OSError:
            pass
        self._end()

    def _end(self) -> None:
        self._last = self._over = True
        self._unsent = b""
        self._drop_source()


def failed(target: bytes) -> Response:
    """Return the reply for a handler that raised; to be called while its exception is handled."""
    _LOG.exception("the handler of %r failed", shown_target(target))
    return Response(500, b"internal error\n", ((b"Content-Type", b"text/plain"),))
