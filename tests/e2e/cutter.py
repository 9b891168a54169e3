"""A wire that breaks once: what a download meets when a connection is lost half-way."""

import socket
import threading
from contextlib import suppress

from tests.support.closing import Closing

BUFFER = 256 * 1024
"""Bytes that the system may hold on either side of the wire."""


class Cutter(Closing):
    """Passes connections of `address` on to `target`, and cuts one off after `count` bytes.

    The first one that gets so far is it; all others are left alone.
    """

    def __init__(self, address: str, target: tuple[str, int], *, count: int) -> None:
        self._target = target
        self._left: int | None = count
        self._lock = threading.Lock()
        self._listener = socket.create_server((address, 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def has_cut(self) -> bool:
        return self._left is None

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(client.family)
                # So that little is on its way at the cut: by itself the system grows its buffers
                # until a whole reply fits in, where whoever reads it is slow.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
                server.connect(self._target)
                self._sockets += [client, server]
                for pump, ends in ((self._ask, (client, server)), (self._answer, (server, client))):
                    thread = threading.Thread(target=pump, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        _shut(server)

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
        _shut(client)
        _shut(server)

    def close(self) -> None:
        _shut(self._listener)
        self._threads[0].join()
        for each in self._sockets:
            _shut(each)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
