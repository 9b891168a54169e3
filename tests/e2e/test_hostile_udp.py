"""A flood of datagrams in the names of others, at the UDP tracker of a process of its own."""

import random
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.support.objects import KIB, MIB
from tests.support.trackers import (
    ANNOUNCE,
    CONNECT,
    MAGIC,
    SCRAPE,
    TrackerProgram,
    UdpClient,
    announce_body,
)

HASH = b"h" * 20
FORGED = "100.64.0.0/10"
FLOOD, ROUNDS = 6000, 8
ROOM = 32 * MIB
"""What the tracker may grow by: its buckets for 50,000 addresses and their networks."""
HONEST = 14


class Forger:
    """Sends datagrams that say they come from anywhere."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._target = target
        self._random = random.Random(1)

    def send(self, source: bytes, port: int, data: bytes) -> None:
        length = 28 + len(data)
        ip = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            length,
            0,
            0,
            64,
            17,
            0,
            source,
            socket.inet_aton(self._target[0]),
        )
        # A checksum of 0 is none (RFC 768); that of the IP header is the system's to make.
        udp = struct.pack(">HHHH", port, self._target[1], length - 20, 0)
        self._socket.sendto(ip + udp + data, self._target)

    def flood(self, count: int) -> None:
        """Send requests of all kinds, each in the name of another address."""
        pick = self._random
        for _ in range(count):
            source = struct.pack(">I", (100 << 24 | 64 << 16) + pick.getrandbits(22))
            head = struct.pack(">QII", pick.getrandbits(64), ANNOUNCE, 1)
            data = pick.choice(
                [
                    struct.pack(">QII", MAGIC, CONNECT, 1),
                    struct.pack(">QII", MAGIC, CONNECT, 1),
                    head + announce_body(HASH, b"x" * 20, 6881, event=2),
                    struct.pack(">QII", pick.getrandbits(64), SCRAPE, 1) + HASH * 74,
                    pick.randbytes(pick.randrange(100)),
                ]
            )
            self.send(source, pick.choice([0, 53, 6881, 40000]), data)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def tracker(namespace: Network) -> Iterator[TrackerProgram]:
    namespace.claim(FORGED)
    address = namespace.address(DAEMON_ADDRESS)
    with TrackerProgram([address], {HASH: None}, limited=True) as program:
        yield program


def memory(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * KIB


def test_a_flood_in_the_names_of_others_leaves_nothing_and_honest_peers_are_served(
    tracker: TrackerProgram, namespace: Network
) -> None:
    target = (namespace.address(DAEMON_ADDRESS), tracker.port)
    forger = Forger(target)
    try:
        before = memory(tracker.pid)
        for number in range(ROUNDS):
            forger.flood(FLOOD)
            with UdpClient(namespace.address(HONEST), target) as honest:
                answer = honest.ask(
                    ANNOUNCE, announce_body(HASH, bytes([number]) * 20, 7000 + number)
                )
            action, _, leechers, _ = struct.unpack(">IIII", answer[:16])
            assert (action, leechers) == (ANNOUNCE, number + 1)
        assert memory(tracker.pid) < before + ROOM
    finally:
        forger.close()
    assert {peer["ip"] for peer in tracker.peers(HASH)} == {namespace.address(HONEST)}


def test_a_datagram_from_port_0_is_answered_by_nobody_and_stops_nothing(
    tracker: TrackerProgram, namespace: Network
) -> None:
    target = (namespace.address(DAEMON_ADDRESS), tracker.port)
    forger = Forger(target)
    try:
        connect = struct.pack(">QII", MAGIC, CONNECT, 1)
        # The tracker in its own name, and one that nothing can be sent to.
        for source in (target[0], "255.255.255.255", "0.0.0.0", "224.0.0.1"):
            for port in (0, tracker.port):
                try:
                    forger.send(socket.inet_aton(source), port, connect)
                except OSError:
                    continue
        with UdpClient(namespace.address(HONEST), target) as honest:
            assert honest.ask(SCRAPE, HASH) == struct.pack(">IIII", SCRAPE, 1, 0, 0)
    finally:
        forger.close()
