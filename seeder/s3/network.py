"""TCP and TLS streams that read into the reader's own buffer, and leak nothing when cancelled.

As long as something is there, a read costs a system call (with TLS a call of OpenSSL for each
record of 16 KiB) and no task switch. Nothing is copied between the kernel, or OpenSSL, and the
buffer.
"""

import array
import contextlib
import fcntl
import select
import socket
import ssl
import termios
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

_T = TypeVar("_T")

_LONGEST_READ = 256 * 1024
"""Bytes after which a read lets the other tasks run."""
_LONGEST_HEAD = 64 * 1024
"""Bytes in which the end of a head is looked for."""
_LOOKUPS = 4
"""Names that are looked up at a time."""


class Resolver(trio.abc.HostnameResolver):
    """Looks names up in a few threads of its own.

    A look-up that hangs can't be ended. In trio's common threads, of which there are 40, those of a
    DNS server that is away would take the place of the threads that read the disk and hash.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_LOOKUPS)

    @classmethod
    def install(cls) -> None:
        """Have trio look names up by one, in this run."""
        before = trio.socket.set_custom_hostname_resolver(cls())
        if before is not None:
            trio.socket.set_custom_hostname_resolver(before)

    async def getaddrinfo(  # noqa: PLR0917  (trio's signature)
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return what socket.getaddrinfo() does; cancelled, leave the thread behind."""
        find = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(find, limiter=self._limiter, abandon_on_cancel=True)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Return what socket.getnameinfo() does."""
        return await trio.to_thread.run_sync(
            socket.getnameinfo, sockaddr, flags, limiter=self._limiter, abandon_on_cancel=True
        )


class Stream:
    """A connected, non-blocking TCP or TLS socket.

    Whatever waits may raise OSError, and raises trio.TooSlowError after `seconds`, unless None.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float | None
    ) -> "Stream":
        """Connect, with TLS if there is a `context`."""
        with within(seconds):
            stream = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        made = cls(sock)
        if context is not None:
            await made._start_tls(context, host, seconds)
        return made

    async def _start_tls(self, context: ssl.SSLContext, host: str, seconds: float | None) -> None:
        try:
            self._sock = sock = context.wrap_socket(
                self._sock, server_hostname=host, do_handshake_on_connect=False
            )
            with within(seconds):
                await self._until_done(sock.do_handshake)
        except BaseException:
            self.close()
            raise

    async def read_into(self, view: memoryview, seconds: float | None) -> int:
        """Read at least a byte and at most _LONGEST_READ; return the count, 0 at the end."""
        await trio.lowlevel.checkpoint()
        view = view[:_LONGEST_READ]
        receive, size = self._sock.recv_into, len(view)
        filled = self._receive(view)
        if filled < 0:
            with within(seconds):
                filled = await self._until_done(receive, view, size)
        with contextlib.suppress(OSError):  # the next read sees the end or the error
            while 0 < filled < size and (count := receive(view[filled:], size - filled)):
                filled += count
        return filled

    def _receive(self, view: memoryview) -> int:
        """Return the count of bytes received without waiting, -1 if nothing is there. OSError."""
        try:
            return self._sock.recv_into(view, len(view))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return -1

    async def write(self, data: bytes, seconds: float | None) -> None:
        """Write all of it."""
        # Other tasks run while the answer is waited for.
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            rest = rest[self._sock.send(rest) :]
        if rest:
            with within(seconds):
                while rest:
                    rest = rest[await self._until_done(self._sock.send, rest) :]

    def close(self) -> None:
        """Close it, without TLS's close_notify: sending that could block, and S3 needs none."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    @property
    def quiet(self) -> bool:
        """Whether nothing can be read; between two answers, only the end of the connection can."""
        if self._sock.fileno() < 0 or self._decrypted:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    @property
    def unread(self) -> int:
        """Bytes that have come to this machine and weren't read; with TLS most of them are still
        encrypted, and some 0.2 % more for that."""
        if self._sock.fileno() < 0:
            return 0
        count = array.array("i", [0])
        fcntl.ioctl(self._sock, termios.FIONREAD, count)
        return count[0] + self._decrypted

    @property
    def unread_body(self) -> int:
        """As `unread`, of an answer of which nothing was read: without its head.

        With TLS the head is counted, too: it can't be told from the rest.
        """
        unread = self.unread
        if not unread or isinstance(self._sock, ssl.SSLSocket):
            return unread
        with contextlib.suppress(OSError):  # it is closed next
            beginning = self._sock.recv(_LONGEST_HEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if beginning.startswith(b"HTTP/"):
                _, end, body = beginning.partition(b"\r\n\r\n")
                unread -= len(beginning) - len(body) if end else len(beginning)
        return unread

    @property
    def _decrypted(self) -> int:
        """Bytes that OpenSSL holds: no poll of the socket shows them."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

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


def within(seconds: float | None) -> contextlib.AbstractContextManager[object]:
    """Raise trio.TooSlowError if the block takes longer; None sets no limit."""
    return contextlib.nullcontext() if seconds is None else trio.fail_after(seconds)


def reason_of(error: OSError) -> str:
    """Return the system's words; of several addresses that failed, those about the first one."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    # trio puts "Error connecting to ('192.0.2.1', 443): " before the system's words.
    return (error.strerror or str(error)).rpartition("): ")[2]
