"""One HTTP exchange with S3: httpx over our own sockets, counted, bounded, safe to cancel."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from seeder.s3.http1 import Body, Pool
from seeder.s3.network import Broken
from seeder.s3.signing import WireRequest
from seeder.torrent.objects import Meter, Purpose

_CHUNK = 64 * 1024


class Exchange:
    """An answer whose head has come, and whose body is read by one of the methods below."""

    def __init__(self, response: httpx.Response, meter: Meter, purpose: Purpose) -> None:
        assert isinstance(response.stream, Body)
        self.status = response.status_code
        self.headers = response.headers
        self._body = response.stream
        self._meter = meter
        self._purpose: Purpose = purpose

    async def receive_into(self, view: memoryview) -> int:
        """Fill the view, or a part of it; return the bytes that came, 0 at the end of the body."""
        count = await self._body.receive_into(view)
        if count:
            self._meter.origin_received(self._purpose, count)
        return count

    async def has_more(self) -> bool:
        """Tell whether the body goes on; False too if it breaks off here."""
        with contextlib.suppress(httpx.HTTPError):
            return await self.receive_into(memoryview(bytearray(1))) > 0
        return False

    async def read(self, limit: int, *, first: bytes = b"") -> bytes:
        """Return the body, or what came of it until it exceeded `limit` or did not begin so."""
        body, buffer = bytearray(), memoryview(bytearray(_CHUNK))
        while count := await self.receive_into(buffer):
            body += buffer[:count]
            if len(body) > limit or not body.startswith(first[: len(body)]):
                break
        return bytes(body)

    async def read_error(self, limit: int) -> bytes:
        """Return what can be had of an error's body, however it ends."""
        body, buffer = bytearray(), memoryview(bytearray(_CHUNK))
        with contextlib.suppress(httpx.HTTPError):
            while len(body) <= limit and (count := await self.receive_into(buffer)):
                body += buffer[:count]
        return bytes(body)


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
        self._pool = Pool(connections, context)
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
