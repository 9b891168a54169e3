"""An S3 that goes away for a while, in the middle of what it is sending."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal, TypeAlias

import trio

from tests.e2e.network import Namespace, Network
from tests.s3.fault_server import FaultServer, Seen, answer, error, head, in_thread
from tests.support.closing import Closing
from tests.support.objects import KIB, MIB
from tests.support.processes import poll_until

Outage: TypeAlias = Literal["refused", "silent", "slow-down", "mute", "dropped", "unreachable"]
"""Its port is closed; it falls silent, in bodies too; it answers 503 SlowDown to each request.

What it was asked until it is back it answers later if it was silent, never if it is mute: it takes
connections and says nothing. What is sent to it gets lost if it is dropped; there is no way to it
if it is unreachable, and what was under way goes on when TCP finds that out.
"""

RATE = 8 * MIB
"""Bytes a second that it sends until it goes away, on each connection."""
_CHUNK = 64 * KIB
_TOLD = {"etag": '"tag"', "last-modified": "Sun, 29 Nov 2026 10:00:00 GMT"}
"""The AWS CLI copies nothing without a date."""


class Failing(Closing):
    """An S3 that serves `body` as every object, and is away for `seconds` once it is armed.

    It runs on loopback inside the network.
    """

    def __init__(self, body: bytes, network: Network, kind: Outage, seconds: float) -> None:
        self._body = body
        self._network = network
        self._inside = network.entered
        self._kind = kind
        self._seconds = seconds
        self._server = FaultServer(default=self._serve)
        self._running = contextlib.ExitStack()
        self._closed = contextlib.ExitStack()
        """The server that has gone, with what hangs on it."""
        self._thread: threading.Thread | None = None
        self._away = False
        self._left: int | None = None
        """Bytes to send until it goes away; None unless it is armed."""
        self.requests = 0
        """Those that reached it while it was away."""
        self.ended_at: float | None = None
        """When it came back."""
        self.asked_at: float | None = None
        """When it was asked then, for the first time."""
        self._running.enter_context(in_thread(self._server, inside=self._inside))

    @property
    def endpoint(self) -> str:
        return self._server.url

    @property
    def is_away(self) -> bool:
        return self._away

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()
        self._running.close()
        self._closed.close()

    def arm(self, count: int) -> None:
        """Go away for a while as soon as so many bytes of bodies have been sent from now on."""
        self._left = count

    def _leave(self) -> None:
        self._left, self._away = None, True
        if self._kind == "dropped":
            self._server.close_port()
        self._thread = threading.Thread(target=self._sit_out)
        self._thread.start()

    def _sit_out(self) -> None:
        until = time.monotonic() + self._seconds
        with self._gone():
            time.sleep(max(0.0, until - time.monotonic()))
        self._away = False
        self.ended_at = time.monotonic()

    @contextlib.contextmanager
    def _gone(self) -> Iterator[None]:
        """Be out of reach for the length of the block, if that is its kind of outage."""
        port = self._server.port
        if self._kind == "unreachable":
            assert isinstance(self._network, Namespace)
            with self._network.without(f"ipproto tcp dport {port}", f"ipproto tcp sport {port}"):
                yield
        elif self._kind in ("refused", "dropped"):
            if self._kind == "refused":
                self._running.close()
            else:
                self._closed = self._running.pop_all()
            with self._full(port) if self._kind == "dropped" else contextlib.nullcontext():
                yield
            self._server = FaultServer(default=self._serve)
            self._running.enter_context(in_thread(self._server, port=port, inside=self._inside))
        else:
            yield

    @contextlib.contextmanager
    def _full(self, port: int) -> Iterator[None]:
        """Have the system drop what comes to the port: nobody takes the connections there."""
        with contextlib.ExitStack() as stack, self._inside():
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            poll_until(lambda: _bind(listener, port), timeout=10, what="a port that is closed")
            listener.listen(0)
            with contextlib.suppress(TimeoutError):
                while True:
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 0.1))
            yield

    async def _serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        size = len(self._body)
        if self.ended_at is not None and self.asked_at is None:
            self.asked_at = time.monotonic()
        if self._away:
            self.requests += 1
            if self._kind == "slow-down":
                await error(503, "SlowDown")(seen, stream)
                return
        await self._wait()
        if "range" not in seen.headers:
            await answer(200, self._body, **_TOLD)(seen, stream)
            return
        first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
        fields = {**_TOLD, "content-range": f"bytes {first}-{last}/{size}"}
        fields["content-length"] = str(last + 1 - first)
        await stream.send_all(head(206, fields.items()))
        for start in range(first, last + 1, _CHUNK):
            if self._kind != "slow-down":
                await self._wait()
            part = self._body[start : min(start + _CHUNK, last + 1)]
            await stream.send_all(part)
            if self._left is not None:
                self._left -= len(part)
                if self._left <= 0:
                    self._leave()
                else:
                    # So that it is still sending then.
                    await trio.sleep(len(part) / RATE)

    async def _wait(self) -> None:
        while self._away and self._kind == "silent":  # noqa: ASYNC110  (another thread ends it)
            await trio.sleep(0.05)
        if self._away and self._kind in ("mute", "dropped"):
            await trio.sleep_forever()


def _bind(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
