"""Listening sockets: opening them, and taking connections from them in batches."""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from math import inf
from socket import AF_INET, AF_INET6, inet_pton

import trio

from seeder.errors import ConfigError, Unavailable
from seeder.net.addresses import HostPort, SocketAddress
from seeder.net.guards import sparing_others

_LOG = logging.getLogger(__name__)

BACKLOG = 1024
BATCH = 128
"""Connections taken by one wake-up: a flash crowd costs fewer trips through the loop, and other
tasks still get their turn."""
STARVED_PAUSE = 0.1
"""Seconds before the next accept when the process has no file descriptor left."""
STARVED_QUIET = 60.0
"""Seconds between two log lines about it."""

_STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BROKEN = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
"""Errors of a socket itself; others are of what came over it."""
HERE: SocketAddress = ("127.0.0.1", 0)
"""The address of whoever comes by a UNIX socket, where it takes one."""
_PASSING = {
    errno.EADDRINUSE: "; another program (or another seeder) uses it",
    errno.EADDRNOTAVAIL: "; this machine doesn't have that address, or not yet",
    **dict.fromkeys(_STARVED, "; the system lacks what it takes for now"),
}
"""Why an address can't be had though the configuration may be right: what to add to the reason."""
V4_MAPPED = bytes(10) + b"\xff\xff"
"""What stands before the IPv4 address in an IPv4-mapped one of 16 bytes (RFC 4291, 2.5.5.2)."""


def listen(host: str, port: int, key: str, *, shared: bool = False) -> socket.socket:
    """Return a non-blocking listening TCP socket; port 0 lets the system choose.

    ConfigError names the address, the `key` that has it, and the system's reason; it is Unavailable
    where that may pass. Processes of one user that all open it `shared` take its connections in
    turns.
    """
    with _told_as_config(HostPort(host, port), key):
        sock = _bound(socket.SOCK_STREAM, host, port, shared)
        try:
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock


def bind_datagrams(host: str, port: int, key: str, *, shared: bool = False) -> socket.socket:
    """Return a non-blocking UDP socket, as `listen` does."""
    with _told_as_config(HostPort(host, port), key):
        return _bound(socket.SOCK_DGRAM, host, port, shared)


def _bound(kind: socket.SocketKind, host: str, port: int, shared: bool) -> socket.socket:
    """Return a non-blocking socket that is bound to an address; OSError."""
    found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    sock = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            # The system sends what comes from one address and port to the same process (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # 0.0.0.0 and [::] are separate entries of `listen`, and both may be there.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def _told_as_config(address: HostPort, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        line = f"{key}: can't listen on {address}: {error.strerror}"
        if isinstance(error, socket.gaierror):
            raise Unavailable([line]) from error  # a name, while nobody can be asked for it
        if error.errno in _PASSING:
            raise Unavailable([line + _PASSING[error.errno]]) from error
        raise ConfigError([line]) from error


async def accept(
    listener: socket.socket,
    take: Callable[[socket.socket, SocketAddress], object],
    *,
    starved: Callable[[], object] = lambda: None,
    place: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Pass each accepted connection, which blocks, to `take` until cancelled.

    If there is a `place`, it is awaited before each; who comes waits in the system's queue so long.
    When the process has no file descriptor left, it calls `starved`, which may free one, and waits
    a little before the next accept. Both functions run in the task of this call, and must not
    block; an exception of `take` ends that connection alone. OSError when the listener itself is
    broken.
    """
    quiet_until = -inf
    # socket.accept looks up the enums of these for each connection, which costs as much again.
    family, kind, protocol = int(listener.family), int(listener.type), listener.proto
    batch = BATCH if place is None else 1
    while True:
        if place is not None:
            await place()
        await trio.lowlevel.wait_readable(listener)
        for _ in range(batch):
            try:
                descriptor, address = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in BROKEN:
                    raise
                if error.errno not in _STARVED:
                    # accept(2) reports an error of one queued connection; the next may be fine.
                    continue
                if trio.current_time() >= quiet_until:
                    quiet_until = trio.current_time() + STARVED_QUIET
                    _LOG.error("can't accept connections, raise the limit of open files: %s", error)
                with sparing_others(_LOG, "room for a connection"):
                    starved()
                await trio.sleep(STARVED_PAUSE)
                break
            sock = socket.socket(family, kind, protocol, descriptor)
            try:
                take(sock, address[:2] if address else HERE)
            except Exception:
                # A guard (`seeder.net.guards`) written out: a context manager takes too long here.
                _LOG.exception("a connection of %s: internal error", address)
                sock.close()


def close_all(listeners: Sequence[socket.socket]) -> None:
    """Close listening sockets; tasks that wait on them get trio.ClosedResourceError."""
    for listener in listeners:
        trio.lowlevel.notify_closing(listener)
        listener.close()


def only_address(sock: socket.socket) -> SocketAddress | None:
    """Return the address of a bound socket; None if it takes what comes to several."""
    if sock.family == socket.AF_UNIX:
        return HERE
    host, port = sock.getsockname()[:2]
    ip = ip_address(host.partition("%")[0])
    return None if ip.is_unspecified or ip.is_multicast else (host, port)


def packed_address(host: str) -> bytes:
    """Return the packed form of a socket's numeric address, 4 or 16 bytes; IPv4-mapped as IPv4.

    It uses inet_pton since every announce needs it: `ipaddress` takes twenty times as long.
    """
    if ":" not in host:
        return inet_pton(AF_INET, host)
    return unmapped(inet_pton(AF_INET6, host.partition("%")[0]))


def unmapped(packed: bytes) -> bytes:
    """Return a packed address, IPv4-mapped as IPv4."""
    return packed[len(V4_MAPPED) :] if packed.startswith(V4_MAPPED) else packed
