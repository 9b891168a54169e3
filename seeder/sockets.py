"""Listening sockets: opening them, and taking connections from them in batches."""

import errno
import logging
import socket
from collections.abc import Callable, Sequence

import trio

from seeder.errors import ConfigError

_LOG = logging.getLogger(__name__)

BACKLOG = 1024
# One wake-up takes several connections: a flash crowd costs fewer trips through the loop, and
# other tasks still get their turn.
BATCH = 64
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PAUSE_WHEN_EXHAUSTED = 0.1

Address = tuple[str, int]


def listen(host: str, port: int, purpose: str) -> socket.socket:
    """Return a non-blocking listening TCP socket; port 0 lets the system choose.

    ConfigError names the address, the purpose (for the operator) and the system's reason.
    """
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sock = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # 0.0.0.0 and [::] are separate entries of `listen`, and both may be there.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        why = f"{error.strerror}"
        if error.errno == errno.EADDRINUSE:
            why += "; another program (or another seeder) uses it"
        raise ConfigError([f"{purpose}.listen: can't listen on {shown}: {why}"]) from error
    return sock


async def accept(listener: socket.socket, take: Callable[[socket.socket, Address], object]) -> None:
    """Hand every connection of `listener` to `take`, non-blocking, until cancelled.

    Running out of file descriptors is waited out: those that are connected go on.
    """
    exhausted = False
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            for _ in range(BATCH):
                sock, address = listener.accept()
                sock.setblocking(False)
                take(sock, (str(address[0]), int(address[1])))
            exhausted = False
        except BlockingIOError:
            exhausted = False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                continue  # the connection was gone before it was taken
            if not exhausted:
                _LOG.warning("connections wait: %s; raise LimitNOFILE", error.strerror)
            exhausted = True
            await trio.sleep(PAUSE_WHEN_EXHAUSTED)


def close_all(listeners: Sequence[socket.socket]) -> None:
    """Close listening sockets; tasks that wait on them are told."""
    for listener in listeners:
        trio.lowlevel.notify_closing(listener)
        listener.close()
