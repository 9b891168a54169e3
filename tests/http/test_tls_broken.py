"""Clients that leave in the midst of a handshake: no traceback, nothing left, and counted."""

import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.http.certificates import PemFile, read_certificate
from seeder.http.connection import Connection, Want
from seeder.http.messages import Request, Response
from seeder.http.service import ServerLimits, Service
from seeder.http.tls import HandshakeResult, Queue, SecureConnection, Security
from tests.http.serving import PATIENCE, get, serving
from tests.support.certificates import Authority

HOST = "127.0.0.1"
GOODBYE: dict[str, Callable[[socket.socket], None]] = {
    "reset": lambda sock: sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    ),
    "half-close": lambda sock: sock.shutdown(socket.SHUT_WR),
    "close": lambda _: None,
}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does in a handshake is worth a line."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and a client's."""
    authority = Authority()
    directory: Path = tmp_path_factory.mktemp("pair")
    certificate, key = authority.write_pair(directory, [HOST])
    server = read_certificate(
        PemFile("c", certificate), PemFile("k", key), certificate.stat().st_mtime
    )
    return server.context, ssl.create_default_context(cadata=authority.pem.decode())


def echo(request: Request) -> Response:
    return Response(200, request.path)


class Talker:
    """A client's end of TLS in memory, whose flights are sent as far as a test likes."""

    def __init__(self, context: ssl.SSLContext, sock: socket.socket) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)
        self._sock = sock

    def flight(self) -> bytes:
        """Return what is to be sent next; once the handshake is done, a request is in it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            self._tls.write(get("/whole"))
        return self._outgoing.read()

    def hear(self) -> None:
        """Take in what the server says next."""
        self._incoming.write(self._sock.recv(65536))


@pytest.mark.parametrize("goodbye", sorted(GOODBYE))
@pytest.mark.parametrize("flight", [0, 1])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
async def test_who_leaves_in_a_handshake_leaves_nothing(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], goodbye: str, flight: int, share: float
) -> None:
    server, client = contexts
    security = Security((), lambda: server)
    limits = ServerLimits(head_timeout=PATIENCE, linger_timeout=0.1)
    async with serving(echo, limits, security=security) as port:
        before = len(os.listdir("/proc/self/fd"))

        def leave() -> None:
            with socket.create_connection((HOST, port), timeout=PATIENCE) as sock:
                talker = Talker(client, sock)
                for _ in range(flight):
                    sock.sendall(talker.flight())
                    talker.hear()
                data = talker.flight()
                sock.sendall(data[: int(share * len(data))])
                GOODBYE[goodbye](sock)
                if goodbye == "half-close":
                    while sock.recv(65536):
                        pass

        with trio.fail_after(PATIENCE):
            for _ in range(5):
                await trio.to_thread.run_sync(leave)
            while (  # noqa: ASYNC110
                sum(security.handshakes.values()) < 5 or len(os.listdir("/proc/self/fd")) > before
            ):
                await trio.sleep(0.005)
    if (flight, share) != (1, 0.99):  # which may have been enough: a request stands at the end
        assert security.handshakes == {HandshakeResult.FAILED: 5}


class Faulty:
    """A socket whose calls fail from some number on, as those of a connection that is reset do.

    Before that it takes no more than `most` bytes at a time, and every other call would wait.
    """

    def __init__(self, sock: socket.socket, good: int, error: int, most: int) -> None:
        self._sock, self._good, self._error, self._most = sock, good, error, most
        self.calls = 0

    def _call(self) -> None:
        self.calls += 1
        if self.calls > self._good:
            raise OSError(self._error, os.strerror(self._error))
        if self.calls % 2:
            raise BlockingIOError

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._call()
        return self._sock.recv(min(size, self._most), flags)

    def send(self, data: bytes | memoryview) -> int:
        self._call()
        return self._sock.send(data[: self._most])

    def sendmsg(self, buffers: Sequence[memoryview]) -> int:
        return self.send(b"".join(buffers))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize("error", [errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT])
@pytest.mark.parametrize("most", [100, 65536])
async def test_whichever_call_finds_the_client_gone_the_connection_just_ends(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], error: int, most: int
) -> None:
    calls = 1
    for good in range(10_000):
        counts = talk(contexts, good, error, most)
        assert sum(counts.values()) == 1
        calls = good
        if counts[HandshakeResult.DONE]:
            break
    assert calls > 10


def talk(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], good: int, error: int, most: int
) -> dict[HandshakeResult, int]:
    """Step through a connection whose socket fails after `good` calls; return how it was noted."""
    server, client = contexts
    security = Security((), lambda: server)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for sock in (ours, theirs):
            sock.setblocking(False)
        faulty: Any = Faulty(ours, good, error, most)
        connection: Connection = SecureConnection(
            faulty, (HOST, 1), Service(echo), security=security, queue=Queue()
        )
        talker = Talker(client, theirs)
        theirs.send(talker.flight())
        while connection.step() is not Want.NOTHING and not security.handshakes:
            try:
                talker.hear()
            except BlockingIOError:
                continue
            data = talker.flight()
            if data:
                theirs.send(data)
        connection.close()
    counts = {result: security.handshakes[result] for result in HandshakeResult}
    assert all(count <= 1 for count in counts.values())
    return counts
