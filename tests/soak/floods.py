"""Attackers: each function floods for some seconds with what no honest client would send."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

from tests.soak.clients import FAILS, Visit
from tests.soak.world import BUCKET
from tests.support.raw_peer import EXTENDED, HAVE, INTERESTED, PROTOCOL, RawPeer, handshake, message

SECONDS = 3.0
PAUSE = 0.003
"""Between two strokes: some 200 a second, so that the machine has time for the others."""


def _strokes() -> Iterator[int]:
    ends = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < ends:
        yield number
        number += 1
        time.sleep(PAUSE)


def _dial(visit: Visit, port: int) -> socket.socket:
    return socket.create_connection(
        (visit.daemon.address, port), timeout=2, source_address=(visit.address, 0)
    )


def announce_flood(visit: Visit) -> None:
    """Announce far over the limit, on one connection."""
    query = "info_hash=" + "%00" * 20 + "&peer_id=" + "x" * 20 + "&port=1&left=0&event=completed"
    line = f"GET /announce?{query} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    with contextlib.suppress(*FAILS), _dial(visit, visit.daemon.tracker_port) as sock:
        sock.settimeout(2)
        for _ in _strokes():
            sock.sendall(line * 20)
            sock.recv(1 << 16)
            visit.world.note("flood: announces")


def connection_churn(visit: Visit) -> None:
    """Connect, send a byte of encryption, and leave."""
    for _ in _strokes():
        with contextlib.suppress(OSError), _dial(visit, visit.daemon.peer_port) as sock:
            sock.sendall(visit.rng.randbytes(1))
            visit.world.note("flood: connections")


def bad_handshakes(visit: Visit) -> None:
    """Say something else than BitTorrent, or name a torrent that nobody has."""
    for number in _strokes():
        said = handshake(visit.rng.randbytes(20)) if number % 2 else visit.rng.randbytes(200)
        with contextlib.suppress(OSError), _dial(visit, visit.daemon.peer_port) as sock:
            sock.sendall(PROTOCOL + said if number % 3 == 0 else said)
            sock.settimeout(0.2)
            sock.recv(100)
            visit.world.note("flood: handshakes")


def garbage_http(visit: Visit) -> None:
    """Ask for nothing that HTTP has, for pages that aren't there, for bodies that don't come."""
    lines = (
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /" + b"a" * 20_000,
        b"GET /%00/%ff?torrent HTTP/1.1\r\nHost: t\r\n\r\n",
        b"POST /announce HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\n\r\nabc",
        f"GET /{BUCKET}/none?torrent&X-Amz-Signature=0 HTTP/1.1\r\nHost: t\r\n\r\n".encode(),
    )
    for number in _strokes():
        with contextlib.suppress(OSError), _dial(visit, visit.daemon.tracker_port) as sock:
            sock.sendall(lines[number % len(lines)])
            if number % 4 == 0:
                sock.settimeout(0.2)
                sock.recv(1000)
            visit.world.note("flood: HTTP")


def liars(visit: Visit) -> None:
    """Announce pieces that nobody sent, on connection after connection."""
    with contextlib.suppress(*FAILS, AssertionError):
        key = visit.rng.choice(visit.world.keys)
        _, torrent = visit.torrent(key)
        count = -(-torrent.size // torrent.piece_length)
        for _ in _strokes():
            with (
                contextlib.suppress(OSError, EOFError, AssertionError),
                RawPeer(visit.address, visit.daemon.peer_address) as peer,
            ):
                name = b"-XX0666-" + visit.rng.randbytes(12)
                peer.greet(torrent.info_hash, reserved=EXTENDED, peer_id=name)
                peer.send(message(INTERESTED))
                peer.send(*(message(HAVE, index.to_bytes(4, "big")) for index in range(count)))
                visit.world.note("flood: HAVEs")


def idlers(visit: Visit) -> None:
    """Hold many connections open and say nothing."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        for number, _ in enumerate(_strokes()):
            ports = (visit.daemon.peer_port, visit.daemon.tracker_port)
            stack.enter_context(_dial(visit, ports[number % 2]))
            visit.world.note("flood: idle connections")


FLOODS: tuple[Callable[[Visit], None], ...] = (
    announce_flood,
    connection_churn,
    bad_handshakes,
    garbage_http,
    liars,
    idlers,
)
