"""Many clients behind one public address, none of which can reach another."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.support.closing import Closing
from tests.support.objects import MIB, content
from tests.support.processes import poll_until
from tests.support.raw_peer import (
    BITFIELD,
    BLOCK,
    HAVE,
    INTERESTED,
    PIECE,
    UNCHOKE,
    handshake,
    message,
    request,
)

KEY = "object"
BODY = content(64 * MIB)
"""As small as an object may be for it to count by its own size."""
PIECE_LENGTH = MIB
PIECES = len(BODY) // PIECE_LENGTH
CHOKE = 0
PEOPLE = 60
AT_ONCE = 64
"""Requests that a client has open."""
QUICKLY = 12
"""Downloads of an address that aren't slowed down: three copies, four times."""

FURTHER = 24
"""More than the default allows in a day."""


class People(Closing):
    """Clients at one address that download from a seeder, and come again when it hangs up.

    They never speak to each other, and keep what they have when they come again.
    """

    def __init__(self, target: tuple[str, int], info_hash: bytes, address: str) -> None:
        self.finished = 0
        self._target = target
        self._info_hash = info_hash
        self._address = address
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(number,), daemon=True)
            for number in range(PEOPLE)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _live(self, number: int) -> None:
        had: set[int] = set()
        while len(had) < PIECES and not self._ended.is_set():
            with contextlib.suppress(OSError, EOFError), socket.socket() as connection:
                connection.settimeout(1)
                connection.bind((self._address, 0))
                connection.connect(self._target)
                greeting = handshake(self._info_hash, peer_id=b"-XX0000-person%06d" % number)
                connection.sendall(greeting + _bitfield(had) + message(INTERESTED))
                self._read(connection, 68)
                self._download(connection, had)
            self._ended.wait(0.3)
        with self._lock:
            self.finished += len(had) == PIECES

    def _download(self, connection: socket.socket, had: set[int]) -> None:
        """Get the pieces that the seeder shows, a few blocks at a time, until all are there."""
        left: dict[int, set[int]] = {}
        todo: list[tuple[int, int]] = []
        asked, choked = 0, True
        while len(had) < PIECES:
            kind, payload = self._message(connection)
            if kind in (CHOKE, UNCHOKE):
                choked, asked = kind == CHOKE, 0
                todo = [(index, begin) for index, begins in left.items() for begin in begins]
            elif kind in (HAVE, BITFIELD):
                for index in _shown(kind, payload) - had - left.keys():
                    left[index] = set(range(0, PIECE_LENGTH, BLOCK))
                    todo += [(index, begin) for begin in left[index]]
            elif kind == PIECE:
                index, begin = struct.unpack(">II", payload[:8])
                at = index * PIECE_LENGTH + begin
                assert payload[8:] == BODY[at : at + BLOCK]
                asked -= 1
                left[index].discard(begin)
                if not left[index]:
                    del left[index]
                    had.add(index)
                    connection.sendall(message(HAVE, struct.pack(">I", index)))
            if not choked and todo and asked < AT_ONCE // 2:
                now, todo = todo[: AT_ONCE - asked], todo[AT_ONCE - asked :]
                asked += len(now)
                connection.sendall(b"".join(request(*each) for each in now))

    def _message(self, connection: socket.socket) -> tuple[int, bytes]:
        while not (length := int.from_bytes(self._read(connection, 4), "big")):
            pass
        body = self._read(connection, length)
        return body[0], body[1:]

    def _read(self, connection: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = connection.recv(count - len(data))
            except TimeoutError:
                if self._ended.is_set():
                    raise EOFError from None
                continue
            if not more:
                raise EOFError
            data += more
        return data


def _bitfield(had: set[int]) -> bytes:
    bits = "".join("01"[index in had] for index in range(PIECES))
    return message(BITFIELD, int(bits, 2).to_bytes(PIECES // 8, "big"))


def _shown(kind: int, payload: bytes) -> set[int]:
    if kind == HAVE:
        return {int.from_bytes(payload, "big")}
    bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
    return {index for index, bit in enumerate(bits) if bit == "1"}


@pytest.mark.parametrize("super_seeding", ["off", "auto"])
def test_as_many_of_an_address_as_its_copies_allow_come_to_their_end(
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    namespace: Network,
    super_seeding: str,
) -> None:
    ceph.publisher().put(bucket, KEY, BODY)
    wish = {"bucket": bucket, "key": KEY, "metainfo": ["build"], "piece_length": "1 MiB"}
    settings: dict[str, object] = {
        "origin": origin(ceph),
        "objects": [wish],
        "peer": {"super_seeding": super_seeding},
    }
    daemon = seeder(settings)
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    info_hash = read_torrent(served_torrent(daemon, bucket, KEY)).info_hash
    target = daemon.address, daemon.peer_port
    begun = time.monotonic()
    with namespace.entered(), People(target, info_hash, namespace.address(5)) as people:
        poll_until(lambda: people.finished >= QUICKLY, timeout=120, what="the first")
        print(f"{people.finished} had it after {time.monotonic() - begun:.1f} s")
        log = daemon.log
        assert log.count("peer.copies_per_address = 4 allows") == 1
        assert log.count("peer.connections_per_address = 20 connections") == 1
        assert daemon.status()["peers"]["connected"] <= 20
        if super_seeding != "off":
            return
        # What the lines name, set to what they say.
        limits = {
            "super_seeding": super_seeding,
            "copies_per_address": PEOPLE,
            "connections_per_address": 2 * PEOPLE,
        }
        daemon.configure({**settings, "peer": limits})
        daemon.reload()
        poll_until(lambda: people.finished >= FURTHER, timeout=120, what="further ones")
        print(f"{people.finished} had it after {time.monotonic() - begun:.1f} s")
