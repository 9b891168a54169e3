"""A wire between a seeder and its peers that keeps what was said, message by message, in order."""

import socket
import threading
from contextlib import suppress
from typing import Literal, TypeAlias

from tests.support.closing import Closing

Side: TypeAlias = Literal["seeder", "peer"]
_HANDSHAKE = 68


class Conversation:
    """What was said on one connection in plain text, without keep-alives.

    A message of the seeder is noted before the peer gets it, and one of the peer before the seeder
    does. Of a payload 64 bytes are kept.
    """

    def __init__(self) -> None:
        self.said: list[tuple[Side, int, bytes]] = []
        """Who said it, the message's number, and the payload."""
        self._lock = threading.Lock()
        self._held: dict[Side, bytes] = {"seeder": b"", "peer": b""}
        self._shaken: set[Side] = set()

    def take(self, side: Side, data: bytes) -> None:
        """Note what a side sends."""
        held = self._held[side] + data
        if side not in self._shaken and len(held) >= _HANDSHAKE:
            self._shaken.add(side)
            held = held[_HANDSHAKE:]
        while side in self._shaken and len(held) >= 4:
            length = int.from_bytes(held[:4], "big")
            if len(held) < 4 + length:
                break
            if length:
                with self._lock:
                    self.said.append((side, held[4], held[5 : min(69, 4 + length)]))
            held = held[4 + length :]
        self._held[side] = held


class PeerWire(Closing):
    """Passes connections of `address` on to `target`."""

    def __init__(self, address: str, target: tuple[str, int]) -> None:
        self.conversations: list[Conversation] = []
        self._target = target
        self._listener = socket.create_server((address, 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                seeder = socket.create_connection(self._target)
                self._sockets += [peer, seeder]
                conversation = Conversation()
                self.conversations.append(conversation)
                ends: tuple[tuple[Side, socket.socket, socket.socket], ...] = (
                    ("peer", peer, seeder),
                    ("seeder", seeder, peer),
                )
                for side, source, sink in ends:
                    thread = threading.Thread(
                        target=self._pass, args=(conversation, side, source, sink)
                    )
                    self._threads.append(thread)
                    thread.start()

    def _pass(
        self, conversation: Conversation, side: Side, source: socket.socket, sink: socket.socket
    ) -> None:
        with suppress(OSError):
            while data := source.recv(256 * 1024):
                conversation.take(side, data)
                sink.sendall(data)
        _shut(sink)

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
