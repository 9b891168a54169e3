"""Many connections from many addresses that take places and give nothing: what attackers do."""

import itertools
import select
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.closing import Closing

PAUSE = 0.1
"""Seconds between two rounds, in each of which every connection takes a little."""
_RECEIVE_BUFFER = 4096


@dataclass
class _Member:
    """One connection, which came as the `number`th."""

    socket: socket.socket
    number: int
    answered: bool = False


class Crowd(Closing):
    """Keeps `count` connections open to `target`, from `sources` in turn, until it is closed.

    Each says what `opening` returns for its number, then, once it is answered, what `further`
    returns, and takes `rate` bytes a second. One that is closed is opened again, `a_round` of
    them at most in each tenth of a second. With `stays=False` a connection is given up as soon as
    it has said its opening.
    """

    def __init__(
        self,
        target: tuple[str, int],
        sources: Sequence[str],
        count: int,
        *,
        opening: Callable[[int], bytes],
        further: Callable[[int], bytes] = lambda _: b"",
        rate: int = 0,
        a_round: int = 20,
        stays: bool = True,
    ) -> None:
        self.opened = 0
        """Connections so far."""
        self._target = target
        self._sources = itertools.cycle(sources)
        self._count = count
        self._opening = opening
        self._further = further
        self._take = int(rate * PAUSE)
        self._a_round = a_round
        self._stays = stays
        self._open: dict[int, _Member] = {}
        self._hung_up = select.poll()
        self._ended = threading.Event()
        # A thread is in the network of the thread that starts it.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.wait(PAUSE):
                for descriptor, _ in self._hung_up.poll(0):
                    self._leave(descriptor)
                for descriptor in tuple(self._open):
                    self._go_on(descriptor)
                for _ in range(min(self._a_round, self._count - len(self._open))):
                    self._connect()
        finally:
            for member in self._open.values():
                member.socket.close()

    def _connect(self) -> None:
        source = next(self._sources)
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            connection.bind((source, 0))
            connection.settimeout(1)
            connection.connect(self._target)
            connection.sendall(self._opening(self.opened))
            connection.setblocking(False)
        except OSError:
            connection.close()
            return
        if self._stays:
            self._open[connection.fileno()] = _Member(connection, self.opened)
            # Told of even where something is unread.
            self._hung_up.register(connection, select.POLLRDHUP)
        else:
            connection.close()
        self.opened += 1

    def _go_on(self, descriptor: int) -> None:
        member = self._open[descriptor]
        if member.answered and not self._take:
            return
        try:
            member.socket.recv(self._take or 1)
            if not member.answered:
                member.answered = True
                member.socket.send(self._further(member.number))
        except BlockingIOError:
            pass
        except OSError:
            self._leave(descriptor)

    def _leave(self, descriptor: int) -> None:
        self._hung_up.unregister(descriptor)
        self._open.pop(descriptor).socket.close()
