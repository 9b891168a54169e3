"""An S3 server that misbehaves on demand: h11 parses, the test writes the answers' bytes."""

import hashlib
import hmac
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias
from urllib.parse import quote, unquote_to_bytes

import h11
import trio

Reply: TypeAlias = Callable[["Seen", trio.abc.Stream], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def region(self) -> str | None:
        """The region of its signature's scope."""
        _, found, credential = self.headers.get("authorization", "").partition("Credential=")
        return credential.split("/")[2] if found else None

    @property
    def access_key(self) -> str | None:
        _, found, credential = self.headers.get("authorization", "").partition("Credential=")
        return credential.split("/")[0] if found else None


@dataclass
class FaultServer:
    """Answers each request with the next reply of its script, and keeps what it saw."""

    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    scheme: str = "http"
    default: Reply | None = None
    """Answers once the script has ended."""
    _script: deque[Reply] = field(default_factory=deque)
    _listening: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def script(self, *replies: Reply) -> None:
        """Answer the next requests so, in this order."""
        self._script.extend(replies)

    def close_port(self) -> None:
        """Take no further connections; those that are there go on. In the server's own task."""
        self._listening.cancel()

    @property
    def finished(self) -> bool:
        """Whether the script was used up."""
        return not self._script

    async def run(
        self,
        context: ssl.SSLContext | None = None,
        *,
        port: int = 0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        if context is not None:
            self.scheme = "https"

        async def serve(stream: trio.SocketStream) -> None:
            if context is None:
                await self._serve(stream)
            else:
                await self._serve(
                    trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                )

        async with trio.open_nursery() as nursery:

            async def listen(*, task_status: trio.TaskStatus[object]) -> None:
                with self._listening:
                    await trio.serve_listeners(
                        serve, listeners, handler_nursery=nursery, task_status=task_status
                    )

            await nursery.start(listen)
            task_status.started()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        number = self.connections
        rest = b""
        try:
            while True:
                request, rest = await _next_request(stream, rest)
                if request is None:
                    return
                seen = Seen(
                    request.method.decode(),
                    request.target.decode(),
                    {name.decode(): value.decode() for name, value in request.headers},
                    number,
                )
                self.seen.append(seen)
                reply = self._script.popleft() if self._script else self.default
                await (reply or answer(418, b"the script has ended"))(seen, stream)
                if seen.headers.get("connection") == "close":
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return
        finally:
            await trio.aclose_forcefully(stream)


@contextmanager
def in_thread(
    server: FaultServer,
    *,
    port: int = 0,
    inside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[FaultServer]:
    """Run a fault server in a thread of its own, within the block that `inside` returns."""
    started = threading.Event()
    handles: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(server.run, port=port))
            handles.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            started.set()

    def run() -> None:
        with inside():
            trio.run(serve)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield server
    finally:
        for token, scope in handles:
            token.run_sync_soon(scope.cancel)
        thread.join()


async def _next_request(stream: trio.abc.Stream, rest: bytes) -> tuple[h11.Request | None, bytes]:
    """Return a request, its body dropped, and what came behind it; None at the end."""
    parser = h11.Connection(h11.SERVER)
    if rest:
        parser.receive_data(rest)
    request: h11.Request | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(65536))
            if not data:
                return None, b""
            parser.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(parser.trailing_data[0])


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of an answer's head."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Reason\r\n{lines}\r\n".encode()


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer so; `content_range` means Content-Range, and Content-Length is the body's by default.

    A HEAD gets the same head without the body.
    """
    fields = {"content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(
            head(status, fields.items()) + (b"" if seen.method == "HEAD" else body)
        )

    return reply


def error_body(code: str, message: str = "", extra: str = "") -> bytes:
    """Return an error's XML as S3 writes it."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{message}</Message>{extra}<RequestId>1</RequestId></Error>"
    ).encode()


def error(status: int, code: str, message: str = "", extra: str = "", **headers: str) -> Reply:
    """Answer with an error as S3 does."""
    return answer(status, error_body(code, message, extra), **headers)


def raw(*parts: bytes, close: bool = False) -> Reply:
    """Send these bytes, and end the connection if told to."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        for part in parts:
            await stream.send_all(part)
        if close:
            await trio.aclose_forcefully(stream)

    return reply


def reset(*parts: bytes) -> Reply:
    """Send these bytes, then reset the connection."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        for part in parts:
            await stream.send_all(part)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    return reply


def silent() -> Reply:
    """Never answer."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.receive_some(1)

    return reply


def endless(first: bytes, chunk: bytes, **headers: str) -> Reply:
    """Answer 200 with a body that doesn't end."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await stream.send_all(head(200, [*fields, ("transfer-encoding", "chunked")]))
        await stream.send_all(b"%x\r\n%s\r\n" % (len(first), first))
        while True:
            await stream.send_all(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    return reply


def stored(body: bytes, etag: str = '"tag"') -> Reply:
    """Answer as S3 does for an object: HEAD, GET, and GET of a range."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        fields = {"etag": etag}
        if "range" not in seen.headers:
            await answer(200, body, **fields)(seen, stream)
            return
        first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
        fields["content_range"] = f"bytes {first}-{last}/{len(body)}"
        await answer(206, body[first : last + 1], **fields)(seen, stream)

    return reply


def signature_is_valid(seen: Seen, secret: str) -> bool:
    """Check an incoming request's Signature Version 4 the way the S3 documentation has it.

    As a server does: from the decoded path and query, by code that shares nothing with the client.
    """
    fields = dict(
        part.split("=", 1)
        for part in seen.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    )
    scope = fields["Credential"].split("/", 1)[1]
    date, region, service, _ = scope.split("/")
    names = fields["SignedHeaders"].split(";")
    pairs = sorted(
        tuple(_encode(unquote_to_bytes(part), "-_.~") for part in pair.partition("=")[::2])
        for pair in seen.query.split("&")
        if pair
    )
    canonical = "\n".join(
        (
            seen.method,
            _encode(unquote_to_bytes(seen.path), "/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(seen.headers[name].split())}" for name in names),
            "",
            ";".join(names),
            seen.headers["x-amz-content-sha256"],
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{seen.headers['x-amz-date']}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request", to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    must = {"host", *(name for name in seen.headers if name.startswith("x-amz-"))}
    return must <= set(names) and key.hex() == fields["Signature"]


def _encode(value: bytes, safe: str) -> str:
    return quote(value, safe=safe)
