"""A wire between a seeder and its peers that keeps what was said, message by message, in order."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal, TypeAlias

from tests.e2e.wire import Wire, shut

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


class PeerWire(Wire):
    """Passes connections of peers on to the seeder."""

    def __init__(self, address: str, target: tuple[str, int]) -> None:
        self.conversations: list[Conversation] = []
        super().__init__(address, target)

    def _ways(self, client: socket.socket, server: socket.socket) -> Sequence[Callable[[], None]]:
        conversation = Conversation()
        self.conversations.append(conversation)
        return (
            partial(_pass, conversation, "peer", client, server),
            partial(_pass, conversation, "seeder", server, client),
        )


def _pass(
    conversation: Conversation, side: Side, source: socket.socket, sink: socket.socket
) -> None:
    with suppress(OSError):
        while data := source.recv(256 * 1024):
            conversation.take(side, data)
            sink.sendall(data)
    shut(sink)
