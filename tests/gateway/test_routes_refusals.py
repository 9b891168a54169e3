"""Whatever the public listener refuses, 200,000 times over, leaves nothing in memory.

Each kind goes from a socket through the HTTP connection to the routes and back. Most come many to
a connection, as a client with keep-alive and pipelining sends them.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from urllib.parse import quote_from_bytes

import pytest
import trio

from seeder.http.connection import Connection, Want
from seeder.http.service import Service
from seeder.net.buckets import AddressLimiter
from seeder.tracker.announce import AnnounceRequest
from tests.gateway.support import Public
from tests.support.memory import ROUNDS, blocks, usual
from tests.tracker.announcing import HASH, LOCAL, packed

WARM_UP, TIMES = 2000, 6500
"""Requests before the memory is looked at, and between the two looks: 200,000 of all kinds.

What is looked at is the number of objects (blocks of Python's allocator), which costs nothing; of
`TIMES` refusals a tenth as many may be left, since caches fill up.
"""
PIPELINED = 20


def announce(info_hash: bytes = HASH, more: str = "") -> bytes:
    name = quote_from_bytes(info_hash, safe="")
    return f"/announce?info_hash={name}&peer_id={'p' * 20}&port=1&left=1{more}".encode()


def unknown(number: int) -> bytes:
    return announce(number.to_bytes(20, "big"))


@dataclass
class Kind:
    """What is asked, and what answers it."""

    target: Callable[[int], bytes]
    says: bytes
    """What each answer has in it."""
    public: Callable[[], Public] = Public
    headers: bytes = b""
    method: bytes = b"GET"
    pipelined: int = PIPELINED
    """Requests of a connection; 1 where the connection ends with the answer."""
    peer: str = "192.0.2.1"
    prepare: Callable[[Public], None] = field(default=lambda _: None)


def exhausted() -> Public:
    return Public(limiter=AddressLimiter(rate=1e-9, burst=1e-9))


def close(public: Public) -> None:
    public.swarms.close(HASH, "torrent not registered: the object was deleted")


def load(public: Public) -> None:
    public.swarms.loading = True


def fill(public: Public) -> None:
    for port in range(1, 33):
        request = AnnounceRequest(HASH, b"%020d" % port, 1000 + port, left=1)
        public.swarms.announce(request, packed("192.0.2.1"), LOCAL, 0.0)


def numbered(form: str) -> Callable[[int], bytes]:
    return lambda number: (form % number).encode()


SIGNED = (
    b"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20240101/us-east-1/s3/aws4_request,"
    b" SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64 + b"\r\n"
    b"x-amz-date: 20240101T000000Z\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"
)
KINDS = {
    "announces too often": Kind(lambda _: announce(), b"too many requests", exhausted),
    "scrapes too often": Kind(
        lambda _: b"/scrape?info_hash=" + b"x" * 20, b"too many requests", exhausted
    ),
    "pages too often": Kind(numbered("/b/k%d?torrent"), b"SlowDown", exhausted),
    "other addresses of one /48 too often": Kind(
        lambda _: announce(), b"too many requests", exhausted, peer="2001:db8:0:{:x}::1"
    ),
    "unknown torrents": Kind(unknown, b"torrent not registered"),
    "unknown torrents while loading": Kind(unknown, b"still loading", prepare=load),
    "a closed torrent": Kind(lambda _: announce(), b"was deleted", prepare=close),
    "ports beyond an address's": Kind(
        lambda number: announce(more=f"&x={number}").replace(b"port=1&", b"port=7&"),
        b"interval",
        prepare=fill,
    ),
    "no info hash": Kind(numbered("/announce?peer_id=%d"), b"info_hash is missing"),
    "a short peer id": Kind(
        lambda n: announce(more=f"&n={n}").replace(b"p" * 20, b"p%d" % n), b"peer_id must be"
    ),
    "broken escapes": Kind(lambda n: announce(b"%" * 20)[:-9] + b"%%zz%d" % n, b"failure reason"),
    "no port": Kind(lambda n: announce().replace(b"port=1", b"port=%d" % (n + 10**6)), b"port"),
    "too many parameters": Kind(lambda n: announce(more=f"&a{n}=" * 70), b"parameters"),
    "a full scrape": Kind(numbered("/scrape?x=%d"), b"scrape needs"),
    "scrapes of what isn't there": Kind(
        lambda n: b"/scrape?info_hash=" + b"%020d" % n, b"d5:files"
    ),
    "a proxy without X-Forwarded-For": Kind(
        lambda _: announce(), b"interval", partial(Public, proxies=["192.0.2.0/24"])
    ),
    "unknown paths": Kind(numbered("/%d"), b"404"),
    "unknown objects": Kind(numbered("/missing/%d?torrent"), b"HTTP/1.1 4"),
    "wrong signatures": Kind(numbered("/b/private%d?torrent"), b"HTTP/1.1 403", headers=SIGNED),
    "broken signatures": Kind(
        numbered("/b/private%d?torrent&X-Amz-Signature=00&X-Amz-Algorithm=x"), b"HTTP/1.1 4"
    ),
    "other methods": Kind(numbered("/announce?%d"), b"405", method=b"DELETE"),
    "requests that are no HTTP": Kind(
        numbered("no such thing %d"), b"HTTP/1.1 400", pipelined=1, method=b"\x01"
    ),
    "heads that are too long": Kind(
        lambda n: b"/" + b"x" * 20_000 + b"%d" % n, b"HTTP/1.1 4", pipelined=1
    ),
    "bodies": Kind(
        numbered("/announce?%d"), b"HTTP/1.1 ", headers=b"Content-Length: 9\r\n", pipelined=1
    ),
}


class Listener:
    """Answers bytes as the server does, without its tasks."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.public = kind.public()
        kind.prepare(self.public)
        self.service = Service(self.public.routes)
        self._number = count()

    async def ask(self, times: int) -> None:
        kind = self.kind
        for _ in range(0, times, kind.pipelined):
            number = next(self._number)
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            peer = (kind.peer.format(number % 65_536), 4711)
            connection = Connection(_Named(ours), peer, self.service)
            lines = [
                kind.method
                + b" "
                + kind.target(number * kind.pipelined + each)
                + b" HTTP/1.1\r\nHost: x\r\n"
                + kind.headers
                + b"\r\n"
                for each in range(kind.pipelined)
            ]
            theirs.send(b"".join(lines))
            while (want := connection.step()) in (Want.TURN, Want.ANSWER):
                if want is Want.ANSWER:
                    await connection.wait(want)
            answer = theirs.recv(1 << 20)
            assert answer.count(kind.says) >= kind.pipelined, answer
            connection.close()
            theirs.close()
            # trio forgets deadlines that are over between two turns of its tasks.
            await trio.lowlevel.checkpoint()


class _Named(socket.socket):
    """A socket of a pair, with an address of ours."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)

    def getsockname(self) -> tuple[str, int]:
        return "203.0.113.7", 6969


@pytest.mark.parametrize("name", KINDS)
async def test_a_refusal_leaves_nothing(name: str) -> None:
    listener = Listener(KINDS[name])
    await listener.ask(WARM_UP)
    grown = []
    for _ in range(ROUNDS):
        before = blocks()
        await listener.ask(TIMES // ROUNDS)
        grown.append(blocks() - before)
    assert usual(grown) < TIMES / ROUNDS / 10, f"{grown} blocks"


def test_the_kinds_come_to_two_hundred_thousand() -> None:
    assert len(KINDS) * (WARM_UP + TIMES) >= 200_000
