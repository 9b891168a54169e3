"""The wire between the daemon and S3: a proxy that counts what it passes on, and breaks as told.

    python -m tests.soak.wire ADDRESS:PORT TARGET_ADDRESS:PORT MODE_FILE LOG

The mode file holds one of MODES; it is read anew for each exchange. A line of JSON goes to the log
at the end of each exchange that reached us, whatever became of it.
"""

import json
import random
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import trio

MODES = ("fine", "errors", "cuts", "stalls", "slow", "outage")
FAULTY_SHARE = 0.5
"""Of the exchanges, while the mode is one of single faults."""
STALL_SECONDS = 20.0
SEND_BUFFER = 128 * 1024
"""Bytes that the system may hold on the way to the daemon, so that little of what counts as passed
on is lost when a connection is cut."""
CHUNK = 64 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError)


@dataclass
class Passed:
    """One exchange: what was asked, what was answered, and what became of it."""

    method: str
    target: str
    status: int = 0
    length: int = 0
    """Bytes that the body has by its head."""
    sent: int = 0
    """Bytes of it that were passed on."""
    fault: str = ""
    whole: bool = False


class _Reader:
    """Reads heads and bodies off a stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""

    async def head(self) -> bytes:
        """Return a head with its empty line; EOFError at the end."""
        while b"\r\n\r\n" not in self._rest:
            await self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    async def some(self, most: int) -> bytes:
        if not self._rest:
            await self._more()
        data, self._rest = self._rest[:most], self._rest[most:]
        return data

    async def line(self) -> bytes:
        """Return a line without its end."""
        while b"\r\n" not in self._rest:
            await self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    async def exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            await self._more()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    async def chunks(self) -> bytes:
        """Return a body in chunks, whole."""
        body = b""
        while size := int(await self.line(), 16):
            body += await self.exactly(size)
            await self.line()
        while await self.line():
            pass
        return body

    def put_back(self, data: bytes) -> None:
        """Let the next bytes be these."""
        self._rest = data + self._rest

    async def _more(self) -> None:
        data = await self._stream.receive_some(CHUNK)
        if not data:
            raise EOFError
        self._rest += data


class Wire:
    """The proxy; `log` gets a line an exchange."""

    def __init__(self, target: tuple[str, int], mode: Path, log: TextIO) -> None:
        self._target = target
        self._mode = mode
        self._log = log
        self._rng = random.Random(1)

    async def serve(self, client: trio.SocketStream) -> None:
        """Pass on the exchanges of one connection."""
        client.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, SEND_BUFFER)
        async with client:
            if self._fault() == "outage":
                return
            with suppress(*_BROKEN):
                server = await trio.open_tcp_stream(*self._target)
                async with server:
                    asked, answered = _Reader(client), _Reader(server)
                    while await self._exchange(client, asked, server, answered):
                        pass

    def _fault(self) -> str:
        mode = self._mode.read_text(encoding="utf-8").strip()
        if mode == "fine" or (mode != "outage" and self._rng.random() > FAULTY_SHARE):
            return ""
        return mode

    async def _exchange(
        self,
        client: trio.SocketStream,
        asked: _Reader,
        server: trio.SocketStream,
        answered: _Reader,
    ) -> bool:
        """Pass one exchange on; False if the connection is over."""
        head = await asked.head()
        method, target = head.split(b" ", 2)[:2]
        passed = Passed(method.decode("latin-1"), target.decode("latin-1"), fault=self._fault())
        if passed.fault == "outage":
            return False
        try:
            if passed.fault == "errors":
                await self._refuse(client, passed)
                return True
            await server.send_all(head)
            await self._answer(client, answered, passed)
            return passed.whole
        finally:
            print(json.dumps(asdict(passed)), file=self._log, flush=True)

    async def _refuse(self, client: trio.SocketStream, passed: Passed) -> None:
        body = b"" if passed.method == "HEAD" else _BUSY
        passed.status, passed.length = 503, len(body)
        await client.send_all(
            b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n" % len(_BUSY) + body
        )
        passed.sent, passed.whole = len(body), True

    async def _answer(self, client: trio.SocketStream, answered: _Reader, passed: Passed) -> None:
        head = await answered.head()
        passed.status = int(head.split(b" ", 2)[1])
        has_body = passed.method != "HEAD" and passed.status not in (204, 304)
        if has_body and _CHUNKED.search(head):  # RGW's listings
            body = await answered.chunks()
            answered.put_back(body)
            head = _CHUNKED.sub(b"\r\nContent-Length: %d" % len(body), head)
        found = _LENGTH.search(head)
        assert found is not None or not has_body, head
        passed.length = int(found[1]) if found is not None and has_body else 0
        breaks_at = self._rng.randrange(passed.length + 1) if passed.fault else passed.length
        await client.send_all(head)
        while passed.sent < passed.length:
            data = await answered.some(min(CHUNK, passed.length - passed.sent))
            if passed.fault in ("cuts", "stalls") and passed.sent + len(data) > breaks_at:
                if passed.fault == "stalls":
                    await trio.sleep(STALL_SECONDS)
                return
            if passed.fault == "slow":
                await trio.sleep(0.02)
            await client.send_all(data)
            passed.sent += len(data)
        passed.whole = True


async def main(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    own, target, mode, log = arguments
    address, _, port = own.rpartition(":")
    target_address, _, target_port = target.rpartition(":")
    with Path(log).open("a", encoding="utf-8") as file:  # noqa: ASYNC230  (nothing else runs yet)
        made = Wire((target_address, int(target_port)), Path(mode), file)
        async with trio.open_nursery() as nursery:
            await nursery.start(
                trio.serve_listeners,
                made.serve,
                await trio.open_tcp_listeners(int(port), host=address),
            )
            print("listening", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
