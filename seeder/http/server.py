"""An HTTP/1.1 server on bare sockets, for many short requests.

Each connection is a state machine that does all that it can do without waiting (`step`) and then
says what it waits for. The acceptor takes the first step itself: a client whose request is there
already is accepted, answered and closed in one go, without a task, without a place among the
connections and mostly without being one (`seeder.http.shortcut`). Those that wait for a request are
watched together (`seeder.http.watch`); one that waits for anything else, or over TLS, gets a task,
and a deadline for each phase.

Bodies of requests are read where the service wants them (`Service.bodies`), and nowhere else: a
request that has one is answered, and its connection closed.
"""

import logging
import socket
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from math import inf
from typing import TypeAlias

import trio

from seeder.http.connection import Connection, Want
from seeder.http.service import Service
from seeder.http.shortcut import Shortcut
from seeder.http.tls import HandshakeResult, Queue, SecureConnection, Security
from seeder.http.watch import Watch
from seeder.net.addresses import Networks, SocketAddress, networks_of
from seeder.net.guards import sparing_others
from seeder.net.shares import Shares
from seeder.net.sockets import accept, only_address, packed_address

_LOG = logging.getLogger(__name__)

FEW = 0.02
"""Share of the connections up to which a network may have another network's closed for a new one,
though that has no more."""
DAWDLING = 1.0
"""Seconds that a client has for its request while others wait in turn for a place."""
_NOBODY: Networks = (b"",)


async def serve(
    listeners: Sequence[socket.socket],
    service: Service,
    *,
    security: Security | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests on listening sockets until cancelled; the sockets stay the caller's.

    A cancelled server accepts no more, closes idle connections, waits `limits.arrival` seconds for
    the first request of those that it has accepted, and gives requests that it has begun to answer
    `limits.grace` seconds. On the listeners of `security` clients speak TLS; both kinds share the
    limits.
    """
    secure = () if security is None else security.listeners
    for listener in (*listeners, *secure):
        listener.setblocking(False)
        # Accepted sockets inherit it; a pipelined reply must not wait for the ACK of the last.
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with trio.open_nursery() as connections:
        server = _Server(service, security, connections)
        try:
            async with trio.open_nursery() as acceptors:
                for listener in listeners:
                    take = partial(server.welcome, only_address(listener))
                    acceptors.start_soon(
                        partial(accept, listener, take, starved=server.evict, place=server.place)
                    )
                for listener in secure:
                    accept_secure = partial(accept, listener, server.welcome_secure)
                    acceptors.start_soon(partial(accept_secure, starved=server.evict))
                acceptors.start_soon(server.watch.run)
                if secure:
                    acceptors.start_soon(server.handshakes.run)
                task_status.started()
        finally:
            # The tasks in the outer nursery are shielded; their own deadlines end them.
            server.stop()


_Parked: TypeAlias = OrderedDict[Connection, None]


class _Server:
    """The connections that wait, and which of them is closed when there are too many.

    It is one of the network with most (`Shares`), or of the address that the new one comes from:
    behind a reverse proxy that is all of them. A client of a network that has few may take the
    place of anyone who keeps us waiting, too. The one that has waited for longest goes: idle ones
    first, then unfinished requests, then replies that are not taken.
    """

    def __init__(self, service: Service, security: Security | None, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._service = service
        self._security = security
        self.handshakes = Queue()
        self._limits = limits = service.limits
        self._few = max(1.0, FEW * limits.connections)
        self._shortcut = Shortcut(service)
        self._waiting: set[Connection] = set()
        self._shares: Shares[Connection] = Shares(lambda connection: connection.networks)
        # In each, the connection that has waited for longest comes first.
        self._idle = _Parked()
        self._arriving = _Parked()
        self._sending = _Parked()
        self._stopping = False
        self._left = trio.Event()
        """Set when a connection has ended."""
        self.place = self._wait_place if limits.in_turn else None
        """Returns when there is a place for one more; None where a newcomer takes another's."""
        self.watch: Watch[Connection] = Watch(self._resume, self._end)

    def welcome(
        self, local: SocketAddress | None, sock: socket.socket, address: SocketAddress
    ) -> None:
        """Answer a new connection, or keep it if that means waiting.

        `local` is the address that it came to, if the listener has no other.

        The acceptor calls this, in its own task.
        """
        begin = self._shortcut.take(sock, address, local)
        if begin is None:
            return
        sock.setblocking(False)
        connection = Connection(sock, address, self._service, local=local)
        want = _stepped(partial(begin, connection))
        if want is Want.NOTHING:
            connection.close()
        else:
            self._keep(connection, address, want)

    def welcome_secure(self, sock: socket.socket, address: SocketAddress) -> None:
        """Give a new connection a task, in which it begins with TLS; called as `welcome` is."""
        security = self._security
        assert security is not None
        if not security.admit(address[0]):
            security.handshakes[HandshakeResult.REFUSED] += 1
            sock.close()
            return
        sock.setblocking(False)
        connection = SecureConnection(
            sock, address, self._service, security=security, queue=self.handshakes
        )
        self._keep(connection, address, Want.READABLE)

    def _keep(self, connection: Connection, address: SocketAddress, want: Want) -> None:
        """Let a connection wait, or close it where there is no room."""
        connection.networks = networks_of(packed_address(address[0]))
        if len(self._waiting) < self._limits.connections or self._make_room(connection.networks):
            self._waiting.add(connection)
            self._shares.add(connection)
            self._go_on(connection, want)
        else:
            connection.close()

    def _go_on(self, connection: Connection, want: Want) -> None:
        """Have a connection without a task wait for what it wants; where it can't, it ends."""
        try:
            self._let_wait(connection, want)
        except Exception:
            # Also of the system, which watches so many descriptors of a user and no more: epoll(7).
            _LOG.exception("a connection failed")
            self._end(connection)

    def _let_wait(self, connection: Connection, want: Want) -> None:
        if self._may_watch(connection, want):
            parked = self._parked(connection, want)
            assert parked is not None
            parked[connection] = None
            self.watch.add(connection)
        elif want is Want.NOTHING:
            self._end(connection)
        else:
            self.watch.remove(connection)
            connection.scope = trio.CancelScope(shield=True)
            self._nursery.start_soon(self._attend, connection, want)

    def _may_watch(self, connection: Connection, want: Want) -> bool:
        return want is Want.READABLE and connection.is_watched and not self._stopping

    def _resume(self, connection: Connection) -> None:
        """Go on with a connection that is watched and has something to read, or has ended."""
        self._unpark(connection)
        self._go_on(connection, _stepped(connection.step))

    def _end(self, connection: Connection) -> None:
        """Close a connection that has no task, or whose task ends with this."""
        with sparing_others(_LOG, "a connection that ends"):
            self._unpark(connection)
            self._forget(connection)
            self.watch.remove(connection)
        connection.close()

    def _unpark(self, connection: Connection) -> None:
        for parked in (self._idle, self._arriving, self._sending):
            parked.pop(connection, None)

    async def _attend(self, connection: Connection, want: Want) -> None:
        """Keep a connection going until it is over, or may be watched."""
        assert connection.scope is not None
        watched = False
        try:
            with connection.scope:
                while want is not Want.NOTHING and not self._is_over(connection, want):
                    await self._wait(connection, want)
                    want = _stepped(connection.step)
                    if self._may_watch(connection, want):
                        watched = True
                        break
        except Exception:
            _LOG.exception("a connection failed")
        finally:
            connection.scope = None
            if watched and connection in self._waiting:
                self._go_on(connection, want)
            else:
                self._end(connection)

    def _forget(self, connection: Connection) -> None:
        """Count a connection no more; no error if it was closed to make room."""
        if connection in self._waiting:
            self._waiting.discard(connection)
            self._shares.remove(connection)
            self._left.set()

    async def _wait_place(self) -> None:
        while len(self._waiting) >= self._limits.connections:
            asking = [each for each in (*self._idle, *self._arriving) if each in self._waiting]
            slowest = min(asking, key=lambda each: each.due, default=None)
            late = inf if slowest is None else slowest.due - self._limits.head_timeout + DAWDLING
            if late <= trio.current_time():
                self._evict(slowest)
                continue
            self._left = trio.Event()
            with trio.move_on_at(late):
                await self._left.wait()

    async def _wait(self, connection: Connection, want: Want) -> None:
        """Wait for what a connection wants; while that is up to its client it may be evicted."""
        parked = self._parked(connection, want)
        if parked is None:
            await connection.wait(want)
            return
        parked[connection] = None
        try:
            await connection.wait(want)
        finally:
            parked.pop(connection, None)

    def _parked(self, connection: Connection, want: Want) -> _Parked | None:
        if want is Want.READABLE:
            return self._idle if connection.between_requests else self._arriving
        if want is Want.LINGER:
            return self._idle
        return self._sending if want is Want.WRITABLE else None

    def _make_room(self, newcomer: Networks) -> bool:
        """Close a connection for a new one, True; False when nobody has to go for it."""
        shares = self._shares
        rivals, has_few = shares.rivals(newcomer), shares.share(newcomer) < self._few
        chosen = self._longest(rivals)
        if chosen is None and has_few:
            # They keep nobody waiting but their clients are slow, or we are.
            chosen = next(iter(rivals), None)
        if chosen is None:
            chosen = self._longest(shares.at(newcomer))
        if chosen is None and has_few:
            chosen = self._longest(None)
        return self._evict(chosen)

    def evict(self) -> bool:
        """Close one connection whose client keeps us waiting; False when there is none."""
        chosen = self._longest(self._shares.rivals(_NOBODY)) or self._longest(None)
        return self._evict(chosen)

    def _longest(self, among: Collection[Connection] | None) -> Connection | None:
        """Return which of some connections (of all, if None) has kept us waiting for longest."""
        for parked in (self._idle, self._arriving, self._sending):
            for connection in parked:
                # One that was evicted in this pass of the loop is still parked, if its task had
                # been woken before.
                if connection in self._waiting and (among is None or connection in among):
                    return connection
        return None

    def _evict(self, connection: Connection | None) -> bool:
        if connection is None:
            return False
        if connection.scope is None:
            self._end(connection)
            return True
        self._unpark(connection)
        self._forget(connection)
        connection.end()
        return True

    def stop(self) -> None:
        """Answer what is there, close the idle connections, and give the others time to end.

        That is `limits.grace` seconds. A connection that was just accepted has `limits.arrival` for
        its request: the client took it for a promise, and may not ask again.
        """
        self._stopping = True
        deadline = trio.current_time() + self._limits.grace
        for connection in self._waiting:
            connection.stop(deadline)
        for connection in (*self._idle, *self._arriving):
            if connection.scope is None:
                self._unpark(connection)
                self.watch.remove(connection)
                want = _stepped(connection.step)
                self._go_on(connection, Want.NOTHING if self._is_over(connection, want) else want)
            elif not connection.is_new:
                connection.end()
        self.watch.close()

    def _is_over(self, connection: Connection, want: Want) -> bool:
        """Tell whether nothing more is waited for: we stop, and no answer is owed."""
        return self._stopping and want is Want.READABLE and not connection.is_new


def _stepped(step: Callable[[], Want]) -> Want:
    """Let a connection do what it can; whatever goes wrong ends only that connection."""
    try:
        return step()
    except Exception:
        _LOG.exception("a connection failed")
        return Want.NOTHING
