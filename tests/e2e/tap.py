"""A wire that counts: what HTTP clients ask and are answered, through one address.

All clients behind it come from the tap's address, as behind a NAT. As a reverse proxy it also says
for whom it asks.
"""

import threading
import time
from collections import Counter
from contextlib import suppress

import trio

from tests.e2e.network import Network
from tests.support.closing import Closing

_CHUNK = 64 * 1024
_LONGEST_HEAD = 64 * 1024


class Tap(Closing):
    """Passes HTTP/1.1 requests without bodies from `address` on to `target`, inside a network."""

    def __init__(
        self, network: Network, address: str, target: tuple[str, int], *, forwards: bool = False
    ) -> None:
        self.port = 0
        self.statuses: Counter[int] = Counter()
        """Answers by status."""
        self.asked_at: list[float] = []
        """When each request came (s, monotonic)."""
        self.most_open = 0
        """The most requests that were being answered at a time."""
        self._open = 0
        self._network = network
        self._address = address
        self._target = target
        self._forwards = forwards
        self._ready = threading.Event()
        self._scope: trio.CancelScope | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def busiest_second(self) -> int:
        """The most requests that came within a second."""
        most, first = 0, 0
        for number, at in enumerate(self.asked_at):
            while at - self.asked_at[first] >= 1:
                first += 1
            most = max(most, number - first + 1)
        return most

    def close(self) -> None:
        assert self._token is not None
        assert self._scope is not None
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    def _run(self) -> None:
        with self._network.entered():
            trio.run(self._serve)

    async def _serve(self) -> None:
        listeners = await trio.open_tcp_listeners(0, host=self._address)
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            self._token, self._scope = trio.lowlevel.current_trio_token(), nursery.cancel_scope
            nursery.start_soon(trio.serve_listeners, self._pass, listeners)
            self._ready.set()

    async def _pass(self, client: trio.SocketStream) -> None:
        host, port = self._target
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            server = await trio.open_tcp_stream(host, port, local_address=self._address)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._ask, client, server)
                await self._answer(server, client)
                nursery.cancel_scope.cancel()

    async def _ask(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        source = client.socket.getpeername()[0]
        field = b"\r\nX-Forwarded-For: %s\r\n\r\n" % source.encode()
        held = b""
        with suppress(trio.BrokenResourceError):
            while data := await client.receive_some(_CHUNK):
                *heads, held = (held + data).split(b"\r\n\r\n")
                for request in heads:
                    self.asked_at.append(time.monotonic())
                    self._open += 1
                    self.most_open = max(self.most_open, self._open)
                    await server.send_all(request + (field if self._forwards else b"\r\n\r\n"))
            await server.send_eof()

    async def _answer(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        held, body = b"", 0
        while data := await server.receive_some(_CHUNK):
            await client.send_all(data)
            held += data
            while held:
                passed = min(body, len(held))
                held, body = held[passed:], body - passed
                self._open -= bool(passed and not body)
                head, found, rest = held.partition(b"\r\n\r\n")
                if body or not found:
                    break
                held, body = rest, self._note(head)
                self._open -= not body
            assert body or len(held) <= _LONGEST_HEAD

    def _note(self, head: bytes) -> int:
        """Count an answer; return the bytes of its body."""
        first, *fields = head.split(b"\r\n")
        self.statuses[int(first.split()[1])] += 1
        lengths = [line for line in fields if line.lower().startswith(b"content-length:")]
        return int(lengths[0].partition(b":")[2]) if lengths else 0
