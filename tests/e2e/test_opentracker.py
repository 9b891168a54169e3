"""The same announces to Debian's opentracker and to ours: where the BEPs fix the reply, it is one.

It is built for IPv4, and serves the torrents of a list alone (-w), as ours does. What differs by
design is taken into account here, with the reason, and nothing else is.
"""

import random
import shutil
import struct
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from bencode2 import bdecode

from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.trackers import (
    ANNOUNCE,
    ERROR,
    SCRAPE,
    TrackerProgram,
    UdpClient,
    announce_body,
)

HASHES = [b"a" * 20, bytes(range(100, 120))]
STRANGE = b"x" * 20
OTHERS, FIRST, LAST = 3, 4, 12
"""Addresses: opentracker's, and the clients'."""
STEPS = 400
EVENTS = ["", "completed", "started", "stopped"]

pytestmark = pytest.mark.skipif(
    shutil.which("opentracker") is None, reason="opentracker is not installed"
)


@dataclass(frozen=True)
class Step:
    """One announce of one client."""

    info_hash: bytes
    address: str
    port: int
    event: int
    left: int
    numwant: int

    @property
    def peer_id(self) -> bytes:
        return b"-TT0001-" + self.endpoint + b"......"

    @property
    def endpoint(self) -> bytes:
        return bytes(map(int, self.address.split("."))) + struct.pack(">H", self.port)


@dataclass(frozen=True)
class Answer:
    """What the BEPs fix of a reply."""

    seeds: int
    leechers: int
    peers: list[bytes]
    interval: int


class Trackers:
    """Both trackers, each asked in the same way."""

    def __init__(self, network: Network, ports: dict[str, tuple[str, int]]) -> None:
        self.ports = ports
        self._network = network
        self._udp: dict[tuple[str, str], UdpClient] = {}
        self.stack = ExitStack()

    def udp(self, name: str, address: str) -> UdpClient:
        client = self._udp.get((name, address))
        if client is None:
            client = self.stack.enter_context(UdpClient(address, self.ports[name]))
            self._udp[name, address] = client
        return client

    def get(self, name: str, address: str, page: str) -> dict[bytes, Any]:
        """Return what a page of the tracker says in bencoding."""
        host, port = self.ports[name]

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, request: urllib.request.Request) -> Any:
                from http.client import HTTPConnection

                def connect(host: str, **options: Any) -> HTTPConnection:
                    return HTTPConnection(host, source_address=(address, 0), **options)

                return self.do_open(connect, request)

        with urllib.request.build_opener(Handler).open(f"http://{host}:{port}{page}") as reply:
            found: dict[bytes, Any] = bdecode(reply.read())
            return found

    def announce(self, name: str, step: Step, *, by_udp: bool) -> Answer:
        downloaded = 100 if step.left == 0 else 0
        if by_udp:
            body = announce_body(
                step.info_hash,
                step.peer_id,
                step.port,
                left=step.left,
                downloaded=downloaded,
                event=step.event,
                numwant=step.numwant,
            )
            answer = self.udp(name, step.address).ask(ANNOUNCE, body)
            action, interval, leechers, seeds = struct.unpack(">IIII", answer[:16])
            assert action == ANNOUNCE
            return Answer(seeds, leechers, cut(answer[16:]), interval)
        fields = {
            "info_hash": quote_from_bytes(step.info_hash),
            "peer_id": quote_from_bytes(step.peer_id),
            "port": step.port,
            "uploaded": 0,
            "downloaded": downloaded,
            "left": step.left,
            "compact": 1,
            "event": EVENTS[step.event],
            "numwant": step.numwant,
        }
        fields = {key: value for key, value in fields.items() if value not in ("", -1)}
        query = "&".join(f"{key}={value}" for key, value in fields.items())
        reply = self.get(name, step.address, f"/announce?{query}")
        peers = cut(reply[b"peers"])
        return Answer(reply[b"complete"], reply[b"incomplete"], peers, reply[b"interval"])

    def scrape(self, name: str, address: str, *, by_udp: bool) -> dict[bytes, tuple[int, int, int]]:
        """Return complete, downloaded and incomplete of each swarm."""
        if by_udp:
            answer = self.udp(name, address).ask(SCRAPE, b"".join(HASHES))
            assert answer[:4] == struct.pack(">I", SCRAPE)
            counts = struct.iter_unpack(">III", answer[4:])
            return dict(zip(HASHES, counts, strict=True))
        found = {}
        for info_hash in HASHES:
            page = f"/scrape?info_hash={quote_from_bytes(info_hash)}"
            files = self.get(name, address, page)[b"files"]
            counts = files.get(info_hash, {})
            found[info_hash] = tuple(
                counts.get(key, 0) for key in (b"complete", b"downloaded", b"incomplete")
            )
        return found


def cut(endpoints: bytes) -> list[bytes]:
    assert len(endpoints) % 6 == 0
    return [endpoints[start : start + 6] for start in range(0, len(endpoints), 6)]


@pytest.fixture
def trackers(namespace: Network) -> Iterator[Trackers]:
    host = namespace.address(OTHERS)
    port = free_port(host)
    directory = Path(tempfile.mkdtemp())  # it reads the list as nobody, who can't see pytest's
    try:
        directory.chmod(0o755)
        (directory / "white").write_text("".join(f"{each.hex()}\n" for each in HASHES))
        words = ("-i", host, "-p", str(port), "-P", str(port), "-w", "white", "-d", directory)
        with (
            Child(["opentracker", *words], log=directory / "log", cwd=directory) as child,
            TrackerProgram([namespace.address(DAEMON_ADDRESS)], dict.fromkeys(HASHES)) as ours,
        ):
            both = Trackers(
                namespace,
                {"ours": (namespace.address(DAEMON_ADDRESS), ours.port), "theirs": (host, port)},
            )
            with both.stack:
                child.wait_until(lambda: listens(host, port), timeout=30, what="opentracker")
                yield both
    finally:
        shutil.rmtree(directory)


def listens(host: str, port: int) -> bool:
    import socket

    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def steps(network: Network, seed: int) -> Iterator[Step]:
    pick = random.Random(seed)
    addresses = [network.address(number) for number in range(FIRST, LAST)]
    for _ in range(STEPS):
        event = pick.choice([0, 0, 1, 2, 2, 2, 3])
        yield Step(
            pick.choice(HASHES),
            pick.choice(addresses),
            6881 + pick.randrange(3),
            event,
            0 if event == 1 else pick.choice([0, 5, 5, 2**63 - 1]),
            pick.choice([-1, -1, 0, 1, 5, 100]),
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_both_trackers_answer_alike(trackers: Trackers, namespace: Network, seed: int) -> None:
    pick = random.Random(seed)
    peers: dict[bytes, dict[bytes, bool]] = {info_hash: {} for info_hash in HASHES}
    """By endpoint, whether it is a seed."""
    for step in steps(namespace, seed):
        by_udp = pick.random() < 0.5
        swarm = peers[step.info_hash]
        swarm.pop(step.endpoint, None)
        if step.event != 3:
            swarm[step.endpoint] = step.left == 0
        ours, theirs = (trackers.announce(name, step, by_udp=by_udp) for name in ("ours", "theirs"))
        # Our seeder, which never announces, is a complete peer of the swarm.
        assert (ours.seeds - 1, ours.leechers) == (theirs.seeds, theirs.leechers)
        assert ours.seeds - 1 == sum(swarm.values())
        assert ours.interval > 0
        assert theirs.interval > 0
        # Theirs names the asker, too, and seeds to seeds, which can do nothing with each other.
        useful = {e for e, seed in swarm.items() if not (seed and step.left == 0)} - {step.endpoint}
        count = {-1: 50, 0: 0}.get(step.numwant, step.numwant) if step.event != 3 else 0
        assert len(set(ours.peers)) == len(ours.peers)
        assert set(ours.peers) <= useful
        assert set(theirs.peers) <= set(swarm)
        if step.event == 2:
            assert len(ours.peers) == min(count, len(useful))
            if count >= len(swarm):
                assert set(ours.peers) == set(theirs.peers) & useful
        else:
            # Ours gives no others to who has just got some (in five seconds).
            assert len(ours.peers) in (0, min(count, len(useful)))
    for by_udp in (False, True):
        ours_counts, theirs_counts = (
            trackers.scrape(name, namespace.address(FIRST), by_udp=by_udp)
            for name in ("ours", "theirs")
        )
        for info_hash in HASHES:
            complete, downloaded, incomplete = ours_counts[info_hash]
            assert (complete - 1, incomplete) == theirs_counts[info_hash][::2]
            # Ours believes an address three downloads a day, and a client but once.
            assert 0 < downloaded <= theirs_counts[info_hash][1]


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_both_refuse_a_torrent_that_they_do_not_serve_in_the_same_form(
    trackers: Trackers, namespace: Network, name: str
) -> None:
    address = namespace.address(FIRST)
    step = Step(STRANGE, address, 6881, 2, 5, -1)
    body = announce_body(STRANGE, step.peer_id, 6881, event=2)
    answer = trackers.udp(name, address).ask(ANNOUNCE, body)
    page = f"/announce?info_hash={quote_from_bytes(STRANGE)}&peer_id={'a' * 20}&port=1&left=5"
    reply = trackers.get(name, address, page)
    if name == "theirs" and b"failure reason" not in reply:
        # It answers as if the swarm were empty.
        assert reply[b"peers"] == b""
    else:
        assert reply[b"failure reason"]
    assert answer[:4] in (struct.pack(">I", ERROR), struct.pack(">I", ANNOUNCE))
    assert name == "theirs" or answer[:4] == struct.pack(">I", ERROR)
