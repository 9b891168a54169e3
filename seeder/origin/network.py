"""TCP and TLS sockets for httpcore, with big reads and without leaks when cancelled.

httpcore's own streams read 64 KiB at a time through trio's TLS: 3.8 CPU-s/GB measured. Here a read
fills 256 KiB from a bare non-blocking socket: 2.4. A connection that was made in the very moment of
a cancel is closed, and not left in the pool.
"""

# ruff: noqa: ASYNC109 (the parameters are httpcore's)

import contextlib
import math
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import httpcore
import trio

_T = TypeVar("_T")

READ_SIZE = 256 * 1024


class Broken(Exception):
    """An exchange that brought no answer, or not all of it; `hopeless` if it never will."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


class Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _within(timeout, httpcore.ConnectTimeout):
                stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise httpcore.ConnectError(_reason(error)) from error
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return await _unless_cancelled(SocketStream(sock))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class SocketStream(httpcore.AsyncNetworkStream):
    """A non-blocking TCP or TLS socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            self._sock = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            with _within(timeout, httpcore.ConnectTimeout):
                await self._until_done(self._sock.do_handshake)
        except BaseException as error:
            await self.aclose()
            if isinstance(error, ssl.SSLCertVerificationError):
                why = f"the certificate of {server_hostname} is not trusted"
                raise Broken(f"{why}: {error.verify_message}", hopeless=True) from error
            if isinstance(error, OSError):
                raise httpcore.ConnectError(_reason(error)) from error
            raise
        return await _unless_cancelled(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what is there, up to READ_SIZE whatever `max_bytes` says; b"" at the end."""
        if not self._buffer:
            self._buffer = bytearray(READ_SIZE)
        try:
            with _within(timeout, httpcore.ReadTimeout):
                await trio.lowlevel.checkpoint()
                filled = await self._until_done(self._sock.recv_into, self._buffer)
        except OSError as error:
            raise httpcore.ReadError(_reason(error)) from error
        view = memoryview(self._buffer)
        while 0 < filled < READ_SIZE and (count := self._receive_more(view[filled:])):
            filled += count
        return bytes(view[:filled])

    def _receive_more(self, buffer: memoryview) -> int:
        """Return the bytes received without waiting; the next read sees the end or the error."""
        try:
            return self._sock.recv_into(buffer)
        except OSError:
            return 0

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return  # the body of a GET; httpcore leaves a generator behind when cancelled in it
        rest = memoryview(buffer)
        try:
            with _within(timeout, httpcore.WriteTimeout):
                await trio.lowlevel.checkpoint()
                while rest:
                    rest = rest[await self._until_done(self._sock.send, rest) :]
        except OSError as error:
            raise httpcore.WriteError(_reason(error)) from error

    async def aclose(self) -> None:
        # No close_notify: S3 does without, and a farewell could block.
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            return self._sock.fileno() < 0 or _is_readable(self._sock)
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return None

    async def _until_done(self, operation: Callable[..., _T], *arguments: object) -> _T:
        """Return operation(*arguments), repeated whenever the socket is ready for it again."""
        while True:
            try:
                return operation(*arguments)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
            except BlockingIOError:
                if operation == self._sock.send:
                    await trio.lowlevel.wait_writable(self._sock)
                else:
                    await trio.lowlevel.wait_readable(self._sock)


async def _unless_cancelled(stream: SocketStream) -> SocketStream:
    """Return a stream that was just made; when a cancel is pending, close it and let that through.

    Later than this the pool would take the connection in before it sees the cancel, and keep it as
    one that is in use for ever.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        await stream.aclose()
        raise
    return stream


@contextlib.contextmanager
def _within(timeout: float | None, late: type[httpcore.TimeoutException]) -> Iterator[None]:
    try:
        with trio.fail_after(math.inf if timeout is None else timeout):
            yield
    except trio.TooSlowError as error:
        raise late from error


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _reason(error: OSError) -> str:
    """Return what the system said; of several addresses that failed, what the first one did."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    # trio puts "Error connecting to ('192.0.2.1', 443): " before it.
    return (error.strerror or str(error)).rpartition("): ")[2]
