"""An HTTP/1.1 server on bare sockets, for many short requests.

Each connection is a state machine that does all that it can do without waiting (`step`) and then
says what it waits for. The acceptor takes that first step itself: a client whose request is there
already is accepted, answered and closed in one go, with no task of its own and no place among the
connections. Whoever lets us wait gets a task, and a deadline for each phase.

Bodies of requests are never read: a request that has one is answered and its connection closed.
"""

import logging
import socket
from collections import OrderedDict
from collections.abc import Sequence
from errno import EBADF, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK
from math import inf

import trio

from seeder.web.connection import Connection, DateHeader, ServerLimits, Want
from seeder.web.messages import Body, Handler, Header, Request, Response

__all__ = ["Body", "Handler", "Header", "Request", "Response", "ServerLimits", "serve"]

log = logging.getLogger(__name__)

STARVED_PAUSE = 0.1
"""Seconds before the next accept when the process has no file descriptor left."""
STARVED_QUIET = 60.0
"""Seconds between two log lines about that."""

_STARVED = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
_LISTENER_BROKEN = frozenset({EBADF, EINVAL, ENOTSOCK})


async def serve(
    listeners: Sequence[socket.socket],
    handler: Handler,
    *,
    limits: ServerLimits = ServerLimits(),  # noqa: B008  (frozen)
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests on listening sockets until cancelled; the sockets stay the caller's.

    A cancelled server accepts no more, closes who is idle, and gives requests that it has begun
    to answer `limits.grace` seconds.
    """
    server = _Server(handler, limits)
    for listener in listeners:
        listener.setblocking(False)
        # Accepted sockets inherit it; a pipelined reply must not wait for the last one's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with trio.open_nursery() as connections:
        try:
            async with trio.open_nursery() as acceptors:
                for listener in listeners:
                    acceptors.start_soon(server.accept, listener, connections)
                task_status.started()
        finally:
            # The tasks in the outer nursery are shielded and live up to their own deadlines.
            server.stop()


class _Server:
    """The connections that wait, and who of them goes first when there are too many."""

    def __init__(self, handler: Handler, limits: ServerLimits) -> None:
        self._handler = handler
        self._limits = limits
        self._date = DateHeader()
        self._waiting: set[Connection] = set()
        # Oldest first: between two requests, and in the midst of a head.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._arriving: OrderedDict[Connection, None] = OrderedDict()
        self._stopping = False
        self._starved_quiet_until = -inf

    async def accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        """Accept on one listener for ever, in batches."""
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(self._limits.accepts):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _LISTENER_BROKEN:
                        raise
                    if error.errno in _STARVED:
                        await self._starve(error)
                        break
                    # accept(2) reports what befell a connection in the queue; the next may be well.
                    continue
                self._welcome(sock, address, nursery)

    async def _starve(self, error: OSError) -> None:
        """Get over having no file descriptor for a client: free one, and wait a little."""
        now = trio.current_time()
        if now >= self._starved_quiet_until:
            self._starved_quiet_until = now + STARVED_QUIET
            log.error("can't accept connections, raise the limit of open files: %s", error)
        self._evict()
        await trio.sleep(STARVED_PAUSE)

    def _welcome(
        self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery
    ) -> None:
        sock.setblocking(False)
        connection = Connection(sock, address[:2], self._handler, self._limits, self._date)
        want = connection.step()
        if want is Want.NOTHING:
            connection.close()
        elif len(self._waiting) < self._limits.connections or self._evict():
            connection.scope = trio.CancelScope(shield=True)
            self._waiting.add(connection)
            nursery.start_soon(self._attend, connection, want)
        else:
            connection.close()

    async def _attend(self, connection: Connection, want: Want) -> None:
        """Keep a connection going until it is over; whatever goes wrong ends only this one."""
        assert connection.scope is not None
        try:
            with connection.scope:
                while want is not Want.NOTHING:
                    if want is Want.READABLE:
                        if self._stopping:
                            break
                        parked = self._idle if connection.between_requests else self._arriving
                        parked[connection] = None
                        try:
                            await connection.wait(want)
                        finally:
                            parked.pop(connection, None)
                    else:
                        await connection.wait(want)
                    want = connection.step()
        except Exception:
            log.exception("a connection failed")
        finally:
            self._waiting.discard(connection)
            connection.close()

    def _evict(self) -> bool:
        """Close the connection that has been idle for longest, else the oldest unfinished head."""
        for parked in (self._idle, self._arriving):
            if parked:
                connection, _ = parked.popitem(last=False)
                self._waiting.discard(connection)
                connection.end()
                return True
        return False

    def stop(self) -> None:
        """Close what is idle, and give the rest until the end of the grace."""
        self._stopping = True
        deadline = trio.current_time() + self._limits.grace
        for connection in self._waiting:
            connection.stop(deadline)
        while self._evict():
            pass
