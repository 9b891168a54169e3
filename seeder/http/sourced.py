"""A body on its way from its source to a client's socket, without a copy."""

import socket
from collections.abc import Callable, Sequence
from math import inf

import trio

from seeder.http.messages import BodySource
from seeder.http.wire import Wire

UNSENT = 256 * 1024
"""Bytes of a BodySource that the system holds before they go out (TCP_NOTSENT_LOWAT).

More would make us learn later how fast a slow client reads, and be wasted on a client that leaves.
"""


class SourcedBody:
    """The body of one reply; `length` is in bytes, None if it goes on until it offers nothing."""

    __slots__ = ("_source", "length")

    def __init__(self, source: BodySource, length: int | None) -> None:
        self._source = source
        self.length = length

    async def send(
        self, sock: Wire, allow: Callable[[float | None], None], patience: float
    ) -> None:
        """Send all of it; ValueError if it isn't as long as it said, OSError, SeederError.

        `allow` is told until when the next wait may last (trio's clock): for the source without
        end, for the client `patience` seconds.
        """
        source = self._source
        left = inf if self.length is None else self.length
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        while left:
            allow(None)
            buffers = await source.offer()
            size = sum(map(len, buffers))
            if size == 0 and left == inf:
                break
            if not 0 < size <= left:
                raise ValueError(f"a reply of {self.length} bytes had {size} for {left}")
            sent = _send_some(sock, buffers)
            source.took(sent)
            left -= sent
            if sent < size:
                # Let the views go: while we wait for the client we hold no pieces.
                del buffers
                allow(trio.current_time() + patience)
                await trio.lowlevel.wait_writable(sock)

    def close(self) -> None:
        """Have the source let go of everything."""
        self._source.close()


def _send_some(sock: Wire, buffers: Sequence[memoryview]) -> int:
    try:
        return sock.sendmsg(buffers)
    except BlockingIOError:
        return 0
