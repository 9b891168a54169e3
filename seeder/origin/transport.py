"""One HTTP exchange with S3: httpx over our own sockets, counted, bounded, safe to cancel.

Nobody waits for a slot of httpcore's pool, which loses slots to requests that are cancelled while
they do: a limiter of our own, of the same size, lets requests through to it.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import httpcore
import httpx
import trio

from seeder.origin.network import Backend, Broken
from seeder.origin.signing import WireRequest

Purpose: TypeAlias = Literal["metainfo", "hashing", "pieces"]

_KEEPALIVE = 15.0  # seconds; S3 closes idle connections somewhat later


class Meter(Protocol):
    """Counts what an origin costs, for one object or for all."""

    def origin_request(self, purpose: Purpose) -> None: ...

    def origin_received(self, purpose: Purpose, count: int) -> None: ...

    def requester_charged(self) -> None: ...


class Exchange:
    """An answer whose head has come, and whose body is read by one of the methods below."""

    def __init__(self, response: httpx.Response, meter: Meter, purpose: Purpose) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._chunks = response.aiter_raw()
        self._meter = meter
        self._purpose: Purpose = purpose

    async def read_into(self, buffer: bytearray) -> int:
        """Fill `buffer` from the body; return the bytes that came, stopping once it overflows.

        A number above len(buffer) tells of a body that is too long; the excess is not kept.
        """
        filled = 0
        async for chunk in self._chunks:
            self._meter.origin_received(self._purpose, len(chunk))
            end = filled + len(chunk)
            if end > len(buffer):
                return end
            buffer[filled:end] = chunk
            filled = end
        return filled

    async def read(self, limit: int, *, first: bytes = b"") -> bytes:
        """Return the body, or what came of it until it exceeded `limit` or did not begin so."""
        body = bytearray()
        async for chunk in self._chunks:
            self._meter.origin_received(self._purpose, len(chunk))
            body += chunk
            if len(body) > limit or not body.startswith(first[: len(body)]):
                break
        return bytes(body)

    async def read_error(self, limit: int) -> bytes:
        """Return what can be had of an error's body, however it ends."""
        body = bytearray()
        with contextlib.suppress(httpx.HTTPError):
            async for chunk in self._chunks:
                self._meter.origin_received(self._purpose, len(chunk))
                body += chunk
                if len(body) > limit:
                    break
        return bytes(body)

    async def finish(self) -> None:
        """Run the body's iterators to their end; the connection is closed or done by now.

        An iterator that is left halfway would be closed by the garbage collector, with a warning.
        """
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError):
            async for _ in self._chunks:
                pass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for connecting, and for each read or write."""

    connect: float
    read: float


class Transport:
    """At most `connections` exchanges at a time, over connections that are kept."""

    def __init__(self, connections: int, timeouts: Timeouts, ca_file: Path | None) -> None:
        # Not from the environment: SSL_CERT_FILE and the proxies are not S3's business here.
        context = (
            httpx.create_ssl_context(trust_env=False)
            if ca_file is None
            else ssl.create_default_context(cafile=ca_file)
        )
        self._pool = _PoolTransport(connections, context)
        self._timeouts = timeouts
        self._slots = trio.CapacityLimiter(connections)
        self.requests = 0
        """Requests sent so far."""

    @property
    def in_use(self) -> int:
        """The exchanges that are under way."""
        return self._slots.borrowed_tokens

    @property
    def waiting(self) -> int:
        """The exchanges that wait for a slot."""
        return self._slots.statistics().tasks_waiting

    @contextlib.asynccontextmanager
    async def exchange(
        self, wanted: WireRequest, meter: Meter, purpose: Purpose, *, seconds: float
    ) -> AsyncIterator[Exchange]:
        """Send a request and hand out its answer; Broken if that, or reading it, fails.

        `seconds` bound the whole exchange, from the moment that it has a slot. A body that wasn't
        read to its end costs the connection.
        """
        async with self._slots:
            with _as_broken(wanted.url), trio.fail_after(seconds):
                response = await self._send(wanted, meter, purpose)
                exchange = Exchange(response, meter, purpose)
                try:
                    yield exchange
                finally:
                    await response.aclose()
                    await exchange.finish()

    async def _send(self, wanted: WireRequest, meter: Meter, purpose: Purpose) -> httpx.Response:
        limits = {
            "connect": self._timeouts.connect,
            "read": self._timeouts.read,
            "write": self._timeouts.read,
        }
        request = httpx.Request(
            wanted.method,
            wanted.url,
            headers=wanted.headers,
            extensions={"target": wanted.target.encode("ascii"), "timeout": limits},
        )
        sent = True
        try:
            response = await self._pool.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, Broken):
            sent = False
            raise
        finally:
            if sent:
                self.requests += 1
                meter.origin_request(purpose)
        if "x-amz-request-charged" in response.headers:
            meter.requester_charged()
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


@contextlib.contextmanager
def _as_broken(url: str) -> Iterator[None]:
    """Map what the library raises to Broken."""
    try:
        yield
    except trio.TooSlowError as error:
        raise Broken(f"{url} is too slow") from error
    except httpx.ConnectError as error:
        raise Broken(f"can't connect to {url}: {error}") from error
    except httpx.TimeoutException as error:
        what = "connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
        raise Broken(f"{url}: no {what} in time") from error
    except httpx.HTTPError as error:
        raise Broken(f"{url}: {error or type(error).__name__}") from error


class _PoolTransport(httpx.AsyncBaseTransport):
    """httpx's default transport, less proxies and HTTP/2, with our network backend."""

    def __init__(self, connections: int, context: ssl.SSLContext) -> None:
        # One number for both: the pool's cost grows steeply with connections that come and go.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEPALIVE,
            network_backend=Backend(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _as_httpx():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Map httpcore's errors to those of the same name in httpx."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
