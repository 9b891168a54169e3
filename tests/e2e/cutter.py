"""A wire that breaks once: what a download meets when a connection is lost half-way."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tests.e2e.wire import Wire, shut

BUFFER = 256 * 1024
"""Bytes that the system may hold on either side of the wire."""


class Cutter(Wire):
    """Cuts one connection off after `count` bytes of its answer.

    The first one that gets so far is it; all others are left alone.
    """

    def __init__(self, address: str, target: tuple[str, int], *, count: int) -> None:
        self._left: int | None = count
        self._lock = threading.Lock()
        super().__init__(address, target)

    @property
    def has_cut(self) -> bool:
        return self._left is None

    def _dial(self, client: socket.socket) -> socket.socket:
        server = socket.socket(client.family)
        # So that little is on its way at the cut: by itself the system grows its buffers until a
        # whole reply fits in, where whoever reads it is slow.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        server.connect(self._target)
        return server

    def _ways(self, client: socket.socket, server: socket.socket) -> Sequence[Callable[[], None]]:
        return partial(self._ask, client, server), partial(self._answer, server, client)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        shut(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
                passed += len(data)
                with self._lock:
                    if self._left is not None and passed >= self._left:
                        self._left = None
                        break
        shut(client)
        shut(server)
