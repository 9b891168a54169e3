"""The short way of a request that is there at accept, from a client that wants one reply.

Most announces are such. No `Connection` is made for them; what isn't as simple becomes one, which
goes on from where the short way ends.
"""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from seeder.http.connection import LARGE_BODY, Connection, Want, failed
from seeder.http.messages import (
    FEW_HEADERS,
    Request,
    Response,
    encode_last,
    plain_head,
)
from seeder.http.service import Service
from seeder.net.addresses import SocketAddress

Beginning: TypeAlias = Callable[[Connection], Want]
"""The first step of a connection; returns what it waits for then, as `Connection.step` does."""

_HELD_BACK = socket.MSG_MORE | socket.MSG_DONTWAIT
_MEMORY = 55
"""SO_MEMINFO, which socket(7) and Python lack; its first word is what was received and isn't read,
SK_MEMINFO_RMEM_ALLOC (linux/sock_diag.h). Of UNIX sockets it is 0: there nothing resets a reply."""


class Shortcut:
    """Answers where that takes no waiting."""

    def __init__(self, service: Service) -> None:
        self._handler = service.handler
        self._head = service.limits.head
        self._date = service.date
        self._meter = service.meter

    def take(
        self, sock: socket.socket, peer: SocketAddress, local: SocketAddress | None
    ) -> Beginning | None:
        """Answer a new client and close its socket, None; else return how its connection begins.

        `local` is our end, if that is known already. The socket may block; to make it non-blocking
        is work that most announces can do without.
        """
        try:
            data = sock.recv(self._head, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return Connection.expect_head
        except OSError:
            data = b""
        if not data:
            sock.close()
            return None
        head = plain_head(data)
        if head is None or head.keep_alive or not head.target.startswith(b"/"):
            return partial(Connection.begin, data=data)
        path, _, query = head.target.partition(b"?")
        local = local or sock.getsockname()[:2]
        try:
            answer = self._handler(Request(b"GET", path, query, head.headers, peer, local))
            reply = self._whole(answer)
        except Exception:
            answer, reply = failed(head.target), None
        if reply is None:
            return partial(Connection.begin_answered, head=head, answer=answer)
        try:
            # Held back until the end of what we send is told, the reply goes out in one packet with
            # that: a tenth less work for an announce.
            sent = sock.send(reply, _HELD_BACK)
        except BlockingIOError:
            sent = 0
        except OSError:
            sock.close()
            return None
        if self._meter is not None:
            self._meter.protocol(sent)
        if sent < len(reply) or _may_have_unread(sock):
            return partial(Connection.begin_unsent, rest=reply[sent:])
        sock.close()
        return None

    def _whole(self, answer: Response | Awaitable[Response]) -> bytes | None:
        """Return head and body of a plain reply, None of any other; ValueError as `encode_head`."""
        if not isinstance(answer, Response) or answer.status != 200:
            return None
        _, body, headers, length, meter, close = answer
        if not isinstance(body, bytes) or len(body) > LARGE_BODY:
            return None
        if length is not None or meter is not None or close or len(headers) > FEW_HEADERS:
            return None
        return encode_last(headers, body, self._date())


def _may_have_unread(sock: socket.socket) -> bool:
    """End what we send, and tell whether the client may have sent more than was read.

    If so, the end of a `Connection` is the right one. To ask how much memory holds what isn't read
    takes half as long as to read nothing, which is an exception.
    """
    try:
        sock.shutdown(socket.SHUT_WR)
        return sock.getsockopt(socket.SOL_SOCKET, _MEMORY) != 0
    except OSError:
        return True
