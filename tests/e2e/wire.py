"""A wire of threads: connections of one address are passed on to another."""

import abc
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.support.closing import Closing


class Wire(Closing):
    """Passes connections of `address` on to `target`, each of their ways in a thread."""

    def __init__(self, address: str, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((address, 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _dial(self, client: socket.socket) -> socket.socket:
        """Return the connection to the target for a client."""
        return socket.create_connection(self._target)

    @abc.abstractmethod
    def _ways(self, client: socket.socket, server: socket.socket) -> Sequence[Callable[[], None]]:
        """Return what passes on all that one end sends, for each end."""

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._dial(client)
                self._sockets += [client, server]
                for way in self._ways(client, server):
                    thread = threading.Thread(target=way)
                    self._threads.append(thread)
                    thread.start()

    def close(self) -> None:
        shut(self._listener)
        self._threads[0].join()
        for each in self._sockets:
            shut(each)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()


def shut(sock: socket.socket) -> None:
    """Hang up, both ways."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
