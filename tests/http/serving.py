"""A server on loopback for tests, a client that speaks in raw bytes, and a body in one place."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from seeder.errors import SeederError
from seeder.http.bodies import Bodies
from seeder.http.messages import NOWHERE, Handler, Hostless, Request, Response, SentMeter
from seeder.http.server import serve
from seeder.http.service import ServerLimits, Service
from seeder.http.tls import Security

PATIENCE = 60.0
"""Seconds after which a test gives up; none comes near it."""


@asynccontextmanager
async def serving(
    handler: Handler,
    limits: ServerLimits = ServerLimits(),  # noqa: B008  (frozen)
    *,
    meter: SentMeter | None = None,
    hostless: Hostless = NOWHERE,
    security: Security | None = None,
    bodies: Bodies | None = None,
    listener: socket.socket | None = None,
) -> AsyncIterator[int]:
    """Serve on a free port of loopback, which is yielded; the server is cancelled at the end.

    With `security` that port speaks TLS. A `listener` is on loopback, too.
    """
    with listener or socket.create_server(("127.0.0.1", 0)) as bound:
        async with trio.open_nursery() as nursery:
            plain = [bound]
            if security is not None:
                plain, security.listeners = [], [bound]
            server = partial(
                serve,
                plain,
                Service(handler, limits, meter, hostless, bodies),
                security=security,
            )
            await nursery.start(server)
            yield bound.getsockname()[1]
            nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Reply:
    """A reply taken apart."""

    status: int
    headers: dict[bytes, bytes]
    """Names in lower case."""
    body: bytes


class Client:
    """One connection to a server."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._buffer = b""
        self._failed = False

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self._stream.send_all(data)

    async def close(self) -> None:
        await self._stream.aclose()

    async def finish_sending(self) -> None:
        assert isinstance(self._stream, trio.SocketStream)
        await self._stream.send_eof()

    async def rest(self) -> bytes:
        """Return everything until the server closes, cleanly or not."""
        parts, self._buffer = [self._buffer], b""
        with trio.fail_after(PATIENCE):
            while data := await self._some():
                parts.append(data)
        return b"".join(parts)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """Return the next reply; its body is as long as Content-Length says."""
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self._buffer:
                data = await self._some()
                assert data, f"closed after {self._buffer!r}"
                self._buffer += data
            raw_head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            status_line, *lines = raw_head.split(b"\r\n")
            headers = {
                name.lower(): value for name, _, value in (x.partition(b": ") for x in lines)
            }
            length = 0 if to_head else int(headers.get(b"content-length", b"0"))
            while len(self._buffer) < length:
                data = await self._some()
                assert data, "closed in the midst of a body"
                self._buffer += data
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(status_line.split(b" ")[1]), headers, body)

    @property
    def was_reset(self) -> bool:
        """Whether the server reset the connection, be it behind the end of what it sent."""
        stream = self._stream
        raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        error: int = raw.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._failed = self._failed or bool(error)
        return self._failed

    @property
    def packets(self) -> int:
        """How many TCP packets came (tcpi_segs_in in linux/tcp.h)."""
        assert isinstance(self._stream, trio.SocketStream)
        told = self._stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
        return int.from_bytes(told[140:144], sys.byteorder)

    async def _some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(65536))
        except trio.BrokenResourceError:
            self._failed = True
            return b""


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1") -> AsyncIterator[Client]:
    """Connect to a port of loopback, from an address of it."""
    opened = await trio.open_tcp_stream("127.0.0.1", port, local_address=host)
    async with opened as stream:
        yield Client(stream)


@asynccontextmanager
async def asked_already(port: int, raw: bytes) -> AsyncIterator[Client]:
    """Connect and send `raw` before the server gets a turn: it accepts what it can answer."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(raw)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
        yield Client(stream)


async def exchange(port: int, raw: bytes) -> bytes:
    """Send `raw` on a new connection and return all that comes back until it is closed."""
    async with connected(port) as client:
        await client.send(raw)
        return await client.rest()


async def ask(port: int, raw: bytes) -> Reply:
    """Send `raw` on a new connection and return the first reply."""
    async with connected(port) as client:
        await client.send(raw)
        return await client.reply(to_head=raw.startswith(b"HEAD"))


def get(target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: tracker.test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def target_of(request: Request) -> bytes:
    """Return a request's target in origin form."""
    return request.path + (b"?" + request.query if request.query else b"")


class Shelf:
    """A body that lies in one place; a few views of it are offered at a time."""

    def __init__(self, data: bytes, *, lie: int = 0, fail_at: int | None = None) -> None:
        self.data, self.at, self.fail_at = memoryview(data), 0, fail_at
        self.length = len(data) + lie
        self.closed = 0
        self.gone = trio.Event()

    async def offer(self) -> list[memoryview]:
        await trio.lowlevel.checkpoint()
        if self.fail_at is not None and self.at >= self.fail_at:
            raise SeederError("no more of this")
        stop = min(self.at + 100_000, len(self.data))
        return [self.data[cut : min(cut + 10_000, stop)] for cut in range(self.at, stop, 10_000)]

    def took(self, count: int) -> None:
        self.at += count

    def close(self) -> None:
        self.closed += 1
        self.gone.set()

    def __call__(self, _: Request) -> Response:
        self.at = 0
        return Response(200, self, content_length=self.length)
