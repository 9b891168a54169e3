"""One exchange with S3: an httpx.AsyncClient over our own sockets, counted, bounded, cancel-safe.

Below httpx, `Transport` is what httpx calls a transport: it raises httpx's exceptions, and its
bodies also fill the reader's own buffer, which no method of httpx.Response does. Above httpx,
`Exchanges` is what the rest of the seeder sees: whatever fails there is Broken. Nothing else in the
seeder imports httpx.
"""

import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from functools import lru_cache, partial
from pathlib import Path

import h11
import httpx
import trio

from seeder.s3.answers import printable
from seeder.s3.http1 import BodyReader, Link, Pool, Server
from seeder.s3.network import reason_of
from seeder.s3.pace import Pace, Progress
from seeder.s3.signing import WireRequest
from seeder.torrent.objects import Meter, Purpose

_CHUNK = 64 * 1024
_URLS_KEPT = 128
_LAST_WAIT = 1.0
"""Seconds for the end of a body of which all that is wanted has come."""
_NO_BODY = httpx.ByteStream(b"")
_FAILURES = (OSError, trio.TooSlowError, h11.RemoteProtocolError)
"""What http1 raises."""
_ENDED = (httpx.NetworkError, httpx.RemoteProtocolError)
"""What a connection that the server has closed raises."""
_LONGEST_REASON = 120
"""Characters of what h11 says of an answer that is no HTTP: it quotes the line."""
_QUOTED = re.compile(r"bytearray\(b(['\"])(.*)\1\)", re.DOTALL)


class Broken(Exception):
    """An exchange that brought no answer, or not all of it; `hopeless` if it never will."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


class Transport(httpx.AsyncBaseTransport):
    """What httpx.AsyncClient sends requests by: our pool of connections.

    At most `connections` are kept. A body is an extension, since httpx would frame it anew.
    """

    def __init__(self, connections: int, context: ssl.SSLContext) -> None:
        self._pool = Pool(connections, context)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer as soon as the head has come."""
        timeouts = request.extensions.get("timeout", {})
        # "target" was signed; the path of an httpx.URL has lost its `/../`.
        target = request.extensions.get("target", request.url.raw_path)
        sent = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        repeated = False
        while True:
            link = await self._link(request.url, timeouts.get("connect"))
            try:
                try:
                    body = request.extensions.get("content", b"")
                    parser = await link.send(sent, timeouts.get("write"), body)
                except _FAILURES as error:
                    raise _as_httpx(error, httpx.WriteTimeout, httpx.WriteError) from error
                try:
                    head = await link.receive_head(parser, timeouts.get("read"))
                except _FAILURES as error:
                    raise _as_httpx(error, httpx.ReadTimeout, httpx.ReadError) from error
                break
            except BaseException as error:
                request.extensions.get("unread", _ignore)(link.stream.unread_body)
                self._pool.drop(link)
                stale = link.was_used and link.is_unanswered and isinstance(error, _ENDED)
                if repeated or not stale:
                    raise
                repeated = True
                # The server closed it while we were asking (RFC 9112, 9.3.1): that says nothing
                # of the request, and the other idle ones may be as dead.
                self.drop_idle()
                request.extensions.get("repeated", _ignore)()
        answer = _AnswerBody(self._pool.body_of(link, parser, sent, head))
        return httpx.Response(
            head.status_code,
            headers=_readable(request.url, head),
            stream=answer,
            extensions={
                "body": answer,
                "http_version": b"HTTP/" + head.http_version,
                "reason_phrase": head.reason,
            },
        )

    async def _link(self, url: httpx.URL, seconds: float | None) -> Link:
        port = url.port or (443 if url.scheme == "https" else 80)
        server = Server(url.scheme, url.host, port)
        link = self._pool.take(server)
        if link is not None:
            return link
        try:
            return await self._pool.connect(server, seconds)
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate of {url.host} is not trusted: {error.verify_message}"
            raise httpx.ConnectError(why) from error
        except _FAILURES as error:
            raise _as_httpx(error, httpx.ConnectTimeout, httpx.ConnectError) from error

    def drop_idle(self) -> None:
        """Close the connections that are idle."""
        self._pool.close()

    async def aclose(self) -> None:
        """Close the connections that are idle."""
        self.drop_idle()


class _AnswerBody(httpx.AsyncByteStream):
    """The body of one answer: `Exchange` reads it by `receive_into`, httpx by iteration.

    httpx iterates over it when an event hook calls `Response.aread()`; what it took is kept, so
    that the exchange can read it afterwards.
    """

    def __init__(self, body: BodyReader) -> None:
        self._body = body
        self.unread = 0
        """Bytes that came and that nobody took, once it is closed."""
        self._kept = bytearray()
        """What httpx has taken and the exchange hasn't."""

    async def receive_into(self, view: memoryview) -> int:
        """Fill the view, or a part of it; return the bytes that came, 0 at the end of the body."""
        if self._kept:
            count = min(len(view), len(self._kept))
            view[:count] = self._kept[:count]
            del self._kept[:count]
            return count
        try:
            return await self._body.receive_into(view)
        except _FAILURES as error:
            raise _as_httpx(error, httpx.ReadTimeout, httpx.ReadError) from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        buffer, kept = memoryview(bytearray(_CHUNK)), bytearray()
        try:
            while count := await self.receive_into(buffer):
                kept += buffer[:count]
                yield bytes(buffer[:count])
        finally:
            self._kept = kept

    async def aclose(self) -> None:
        self.unread += self._body.close()


def _ignore(*_: int) -> None:
    """Count nothing: the request is no exchange's."""


def _as_httpx(
    error: Exception, late: type[httpx.TimeoutException], failed: type[httpx.NetworkError]
) -> httpx.TransportError:
    """Return httpx's exception for one of _FAILURES."""
    if isinstance(error, trio.TooSlowError):
        return late("")
    if isinstance(error, OSError):
        return failed(reason_of(error))
    text = _QUOTED.sub(r"\2", str(error))
    if "_SWITCH" in text:
        text = "it answers 101, though no other protocol was asked for"
    return httpx.RemoteProtocolError(printable(text, _LONGEST_REASON))


def _readable(url: httpx.URL, head: h11.Response) -> list[tuple[bytes, bytes]]:
    """Return the header fields of an answer, without a Location that httpx can't read.

    AsyncClient.send() builds the request that a redirect asks for, even if it isn't to follow it,
    and would raise instead of returning the answer.
    """
    fields = head.headers.raw_items()
    if httpx.codes.is_redirect(head.status_code):
        try:
            url.join(httpx.Headers(fields).get("location", ""))
        except (httpx.InvalidURL, ValueError):
            return [field for field in fields if field[0].lower() != b"location"]
    return fields


class Exchange:
    """An answer whose head has come, and whose body is read by one of the methods below."""

    def __init__(
        self, response: httpx.Response, meter: Meter, purpose: Purpose, progress: Progress
    ) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._body: _AnswerBody = response.extensions["body"]
        self._meter = meter
        self._purpose: Purpose = purpose
        self._progress = progress

    async def receive_into(self, view: memoryview) -> int:
        """Fill the view, or a part of it; return the bytes that came, 0 at the end of the body."""
        count = await self._body.receive_into(view)
        if count:
            self._progress.received += count
            self._meter.origin_received(self._purpose, count)
        return count

    async def has_more(self) -> bool:
        """Tell whether the body goes on; also False if the connection breaks here.

        Where only the server can tell where it ends, that isn't waited for for long: the
        connection is given up then.
        """
        with contextlib.suppress(httpx.HTTPError), trio.move_on_after(_LAST_WAIT):
            return await self.receive_into(memoryview(bytearray(1))) > 0
        return False

    async def read(self, limit: int, *, first: bytes = b"") -> bytes:
        """Return the body, or its beginning if it exceeds `limit` or doesn't begin with `first`."""
        body, buffer = bytearray(), memoryview(bytearray(_CHUNK))
        while count := await self.receive_into(buffer):
            body += buffer[:count]
            if len(body) > limit or not body.startswith(first[: len(body)]):
                break
        return bytes(body)

    async def read_error(self, limit: int) -> bytes:
        """Return the body of an error, or as much as comes of it, up to about `limit` bytes."""
        body, buffer = bytearray(), memoryview(bytearray(_CHUNK))
        with contextlib.suppress(httpx.HTTPError):
            while len(body) <= limit and (count := await self.receive_into(buffer)):
                body += buffer[:count]
        return bytes(body)


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


_NO_COOKIES = _NoCookies()


class _Client(httpx.AsyncClient):
    """A client without cookies: S3 sets none, and looking for some costs as much as the rest."""

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError("no cookies are kept")


class Exchanges:
    """At most `connections` exchanges at a time, over connections that are kept.

    `connect` bounds connecting, `read` each read and each write, in seconds.
    """

    def __init__(
        self, connections: int, *, connect: float, read: float, ca_file: Path | None
    ) -> None:
        # SSL_CERT_FILE and the proxies of the environment are not meant for this program's S3.
        context = (
            httpx.create_ssl_context(trust_env=False)
            if ca_file is None
            else ssl.create_default_context(cafile=ca_file)
        )
        self._transport = Transport(connections, context)
        self.client = _Client(
            transport=self._transport,
            timeout=httpx.Timeout(read, connect=connect, pool=None),
            follow_redirects=False,  # a request to another place has to be signed again
            trust_env=False,
        )
        self._url = lru_cache(_URLS_KEPT)(httpx.URL)
        """Parses a URL once: all ranges of an object have the same, and parsing takes 25 us."""
        self._slots = trio.CapacityLimiter(connections)
        self.pace = Pace()
        self.started = trio.Event()
        """Set when an exchange begins."""
        self.requests = 0
        """Requests sent so far."""

    @property
    def waiting(self) -> int:
        """The exchanges that wait for a slot."""
        return self._slots.statistics().tasks_waiting

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        wanted: WireRequest,
        meter: Meter,
        purpose: Purpose,
        progress: Progress | None = None,
        *,
        seconds: float,
        beside: bool = False,
    ) -> AsyncIterator[Exchange]:
        """Send a request and hand out its answer; Broken if that, or reading it, fails.

        `seconds` bounds the whole exchange, from the moment that it has a slot; `pace` may end it
        earlier. One `beside` the others needs no slot, and `pace` doesn't look at it.

        Leaving a part of the body unread costs the connection, at once; what has come of it is
        counted.
        """
        progress = progress or Progress(0)
        async with contextlib.nullcontext() if beside else self._slots:
            try:
                with trio.fail_after(seconds) as scope:
                    if beside:
                        progress.began = trio.current_time()
                    else:
                        self.pace.begin(progress, trio.current_time(), scope.cancel)
                        self.started.set()
                    try:
                        response = await self._send(wanted, meter, purpose)
                        body: _AnswerBody = response.extensions["body"]
                        try:
                            if response.status_code < 400:
                                progress.answered_at = trio.current_time()
                            yield Exchange(response, meter, purpose, progress)
                        finally:
                            await response.aclose()
                            _count(meter, purpose, body.unread)
                    finally:
                        self.pace.end(progress, trio.current_time())
            except (trio.TooSlowError, httpx.HTTPError) as error:
                raise _broken(wanted.url, error, progress.fault) from error

    async def _send(self, wanted: WireRequest, meter: Meter, purpose: Purpose) -> httpx.Response:
        if self.client.is_closed:
            raise Broken(f"{wanted.url}: the connections are closed")
        # A request that isn't built by the client, and has its stream, gets no further headers.
        request = httpx.Request(
            wanted.method,
            self._url(wanted.url + wanted.target),
            headers=wanted.headers,
            stream=_NO_BODY,
            extensions={
                "target": wanted.target.encode("ascii"),
                "content": wanted.body,
                "unread": partial(_count, meter, purpose),
                "repeated": partial(self._count_request, meter, purpose),
            },
        )
        sent = True
        try:
            response = await self.client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            sent = False
            raise
        finally:
            if sent:
                self._count_request(meter, purpose)
        if "x-amz-request-charged" in response.headers:
            meter.requester_charged()
        return response

    def _count_request(self, meter: Meter, purpose: Purpose) -> None:
        self.requests += 1
        meter.origin_request(purpose)

    def drop_idle(self) -> None:
        """Keep none of the connections that are idle."""
        self._transport.drop_idle()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.client.aclose()


def _count(meter: Meter, purpose: Purpose, unread: int) -> None:
    if unread:
        meter.origin_received(purpose, unread)


def _broken(url: str, error: Exception, fault: str | None) -> Broken:
    """Return what the failure of an exchange is to the rest of the seeder.

    `fault` is why it was let go, if it was.
    """
    match error:
        case trio.TooSlowError() if fault is not None:
            return Broken(f"{url} {fault}")
        case trio.TooSlowError():
            return Broken(f"{url} is too slow")
        case httpx.ConnectError():
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                return Broken(str(error), hopeless=True)
            return Broken(f"can't connect to {url}: {error}")
        case httpx.ConnectTimeout():
            return Broken(f"{url}: no connection in time")
        case httpx.TimeoutException():
            return Broken(f"{url}: no answer in time")
    return Broken(f"{url}: {str(error) or type(error).__name__}")
