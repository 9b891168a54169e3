"""A client's socket with TLS in between, and an HTTP connection over it.

OpenSSL works on buffers in memory: what it makes of 64 KiB goes out in one system call, and nothing
that a reply offers has to be offered again because a record didn't fit into the socket. That costs
about as much as OpenSSL's own writes of one record each.
"""

import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import trio

from seeder.http.connection import Connection, Want
from seeder.http.messages import Hostless, Request, Response
from seeder.http.service import Service
from seeder.net.addresses import Networks
from seeder.net.turns import Turns

_HANDSHAKE = b"\x16"
"""The first byte of a client that speaks TLS (RFC 8446, 5.1)."""
_READ = 17 * 1024
"""Bytes read at a time: one record of the longest kind."""
_WRITE = 64 * 1024
"""Bytes of a reply that become records before they are sent."""
_FRUITLESS = 64 * 1024
"""Bytes from a client without a byte for us in them; then it is let go. A handshake takes less,
and what else there is (new keys, empty records) only keeps us busy."""
_DISTRUST = re.compile("ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED))")
"""Alerts of clients that don't like our certificate, as OpenSSL names them (RFC 8446, 6.2)."""
_HOST = re.compile(rb"[A-Za-z0-9.\[\]:_-]+")
_PLAIN = "this port takes https:// only"
_TEXT = (b"Content-Type", b"text/plain")


class HandshakeResult(StrEnum):
    """How a connection to a TLS port began."""

    DONE = "done"
    FAILED = "failed"
    DISTRUSTED = "distrusted"
    """By the client, which doesn't accept our certificate."""
    PLAIN = "plain"
    """It was HTTP without TLS."""
    REFUSED = "refused"
    """Too many came from its network."""


@dataclass(slots=True, eq=False)
class Security:
    """What a server needs to speak TLS on some of its listeners."""

    listeners: Sequence[socket.socket]
    context: Callable[[], ssl.SSLContext]
    """The one for new connections."""
    admit: Callable[[str], bool] = lambda _: True
    """Whether a client (its address in text) may begin one more connection."""
    handshakes: Counter[HandshakeResult] = field(default_factory=Counter)


class Queue:
    """Lets one handshake begin at each turn of the event loop; networks take turns.

    Its signature may take a millisecond and more, for which all others wait.
    """

    def __init__(self) -> None:
        self._turns: Turns[trio.Event] = Turns()
        self._filled = trio.Event()

    async def wait(self, networks: Networks) -> None:
        """Wait for the turn of a client."""
        turn = trio.Event()
        self._turns.add(turn, networks)
        self._filled.set()
        try:
            await turn.wait()
        finally:
            self._turns.discard(turn, networks)

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._filled.wait()
            while self._turns:
                self._turns.next().set()
                await trio.lowlevel.checkpoint()
            self._filled = trio.Event()


class TLSSocket:
    """A socket whose bytes are encrypted on the way; see `seeder.http.wire`."""

    __slots__ = (
        "_behind",
        "_dropping",
        "_fruitless",
        "_incoming",
        "_outgoing",
        "_raw",
        "_tls",
        "_unsent",
        "extra",
        "open",
    )

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.open = False
        """Whether the handshake is done, and the end not yet told."""
        self.extra = 0
        """Bytes that TLS added so far."""
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent: bytes | memoryview = b""
        """Of what OpenSSL made."""
        self._fruitless = 0
        self._dropping = False
        self._behind = b""
        """What was read from the socket before `shutdown`, and not decrypted."""

    @property
    def has_data(self) -> bool:
        """Whether there may be something to `recv` that no poll of the socket shows."""
        return bool(self._incoming.pending or self._tls.pending())

    def shake_hands(self) -> None:
        """Go on with the handshake until it is done; BlockingIOError, OSError."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._push()
                    self._take_in()
                else:
                    break
        except ssl.SSLError:
            with suppress(OSError):  # who has gone is told nothing
                self._push()  # the alert that says why
            raise
        self._push()
        self._fruitless = 0
        self.open = True

    def recv(self, size: int) -> bytes:
        """Return what a client sent, decrypted; nothing at its end, told or not.

        A request says where it ends, so an end that isn't told is none that anybody could forge.
        After `shutdown` it is returned as it came.
        """
        if self._dropping:
            behind, self._behind = self._behind, b""
            return behind or self._raw.recv(size)
        while True:
            if self.has_data:
                try:
                    data = self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
                        return b""
                    self._push()
                    raise
                else:
                    self._fruitless = 0
                    return data
                finally:
                    if self._outgoing.pending:
                        self._push()
            if not self._take_in():
                return b""

    def _take_in(self) -> int:
        """Read once from the socket; return the count of bytes. OSError, BlockingIOError."""
        data = self._raw.recv(_READ)
        self._fruitless += len(data)
        if self._fruitless > _FRUITLESS or len(self._unsent) > 2 * _WRITE:
            raise ConnectionAbortedError("only TLS's own messages come")
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return len(data)

    def send(self, data: bytes | memoryview) -> int:
        return self.sendmsg((memoryview(data),))

    def sendmsg(self, buffers: Sequence[memoryview]) -> int:
        """Encrypt and send until the socket is full; BlockingIOError if it is full already.

        What is counted as sent and isn't gone yet is less than _WRITE; `flush` sends it.
        """
        if not self.flush():
            raise BlockingIOError
        taken, room = 0, _WRITE
        for view in buffers:
            at = 0
            while at < len(view):
                count = self._tls.write(view[at : at + room])
                at += count
                room -= count
                if not room:
                    self.extra -= _WRITE
                    if not self._push():
                        return taken + at
                    room = _WRITE
            taken += at
        self.extra -= _WRITE - room
        self._push()
        return taken

    def flush(self) -> bool:
        """Send what is left; tell whether nothing is. OSError."""
        if self._unsent:
            try:
                sent = self._raw.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = memoryview(self._unsent)[sent:]
        return not self._unsent

    def _push(self) -> bool:
        """Send what OpenSSL made, as `flush` does."""
        made = self._outgoing.read()
        self.extra += len(made)
        self._unsent = b"".join((self._unsent, made)) if self._unsent else made
        return self.flush()

    def shutdown(self, how: int) -> None:
        """Tell the end of what we send."""
        self._behind = self._incoming.read()  # before OpenSSL looks for the client's end in it
        self._tell_end()
        self._dropping = True
        self._raw.shutdown(how)

    def _tell_end(self) -> None:
        if not self.open or self._unsent:
            # A reply that is cut off must not look as if it were whole.
            return
        self.open = False
        with suppress(ssl.SSLError):  # it would wait for the client's answer
            self._tls.unwrap()
        self._push()

    def close(self) -> None:
        with suppress(OSError):
            self._tell_end()
        self._raw.close()

    def fileno(self) -> int:
        return self._raw.fileno()

    def getsockname(self) -> Any:
        return self._raw.getsockname()

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self._raw.setsockopt(level, name, value)


class SecureConnection(Connection):
    """An HTTP connection over TLS; who speaks without TLS is told where to go."""

    __slots__ = ("_counts", "_noted", "_queue", "_raw", "_tls")
    is_watched = False

    def __init__(
        self,
        raw: socket.socket,
        peer: tuple[str, int],
        service: Service,
        *,
        security: Security,
        queue: Queue,
    ) -> None:
        self._raw = raw
        self._tls: TLSSocket | None = TLSSocket(raw, security.context())
        super().__init__(self._tls, peer, service)
        self.expect_head()
        self._counts = security.handshakes
        self._noted = False
        self._queue: Queue | None = queue
        """Where the handshake waits for its turn; None once it has begun."""

    def step(self) -> Want:
        tls = self._tls
        if tls is not None and not tls.open and not self._last:
            want = self._shake_hands(tls)
            if want is not None:
                return want
        want = super().step()
        self._count_extra()
        return want

    def _shake_hands(self, tls: TLSSocket) -> Want | None:
        """Go on with the handshake; return what it waits for, None when it is over."""
        try:
            if self._queue is not None:
                first = self._raw.recv(1, socket.MSG_PEEK)
                if first and first != _HANDSHAKE:
                    self._speak_plainly()
                    return None
                self._queue = None
            return self._go_on(tls)
        except OSError as error:
            reason = getattr(error, "reason", None) or ""
            self._note(
                HandshakeResult.DISTRUSTED if _DISTRUST.search(reason) else HandshakeResult.FAILED
            )
            # The alert that says why is as good as a reply.
            self._last = True
            return None if isinstance(error, ssl.SSLError) else Want.NOTHING

    def _go_on(self, tls: TLSSocket) -> Want | None:
        """Do what can be done of the handshake, as `_shake_hands`; OSError."""
        try:
            tls.shake_hands()
        except BlockingIOError:
            return Want.READABLE if tls.flush() else Want.WRITABLE
        self._note(HandshakeResult.DONE)
        self.expect_head()
        return None

    def _note(self, how: HandshakeResult) -> None:
        self._counts[how] += 1
        self._noted = True

    def _speak_plainly(self) -> None:
        self._note(HandshakeResult.PLAIN)
        self._sock, self._tls, self._queue = self._raw, None, None
        self._handler = _Elsewhere(self._service.hostless)

    def _count_extra(self) -> None:
        tls = self._tls
        if tls is not None and tls.extra > 0:
            if self._service.meter is not None:
                self._service.meter.protocol(tls.extra)
            tls.extra = 0

    def _send(self) -> bool:
        return super()._send() and (self._tls is None or self._tls.flush())

    async def wait(self, want: Want) -> None:
        if want is not Want.READABLE or self._tls is None:
            await super().wait(want)
        elif self._queue is not None:
            await super().wait(want)
            await self._queue.wait(self.networks)
        elif self._tls.has_data:
            await trio.lowlevel.checkpoint()
        else:
            await super().wait(want)

    def close(self) -> None:
        super().close()
        self._count_extra()
        if not self._noted:
            self._note(HandshakeResult.FAILED)


class _Elsewhere:
    """The handler of those who ask without TLS where there is TLS: most clients follow it."""

    def __init__(self, hostless: Hostless) -> None:
        self._hostless = hostless

    def __call__(self, request: Request) -> Response:
        host = request.header(b"host")
        if host is None or not _HOST.fullmatch(host) or request.method not in (b"GET", b"HEAD"):
            for page, refuse in self._hostless.items():
                if request.path == page:
                    return refuse(_PLAIN)
            return Response(400, f"{_PLAIN}\n".encode(), (_TEXT,), close=True)
        query = b"?" + request.query if request.query else b""
        place = (b"Location", b"https://" + host + request.path + query)
        return Response(301, f"{_PLAIN}\n".encode(), (_TEXT, place), close=True)
