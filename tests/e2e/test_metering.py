"""One address draws what isn't payload as fast as it can: limited, counted, and in the budget."""

import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.request import urlopen

from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import KIB, content
from tests.support.processes import poll_until
from tests.support.raw_peer import EXTENDED, EXTENDED_MESSAGE, FAST, RawPeer, handshake, message

KEY = "object.bin"
PIECES = 640
BODY = content(PIECES * 16 * KIB - 5)
RATE = 200_000
SECONDS = 4.0
AHEAD = 200 * KIB
"""Bytes that may come beside the rate: what the buckets hold at the start, and in the sockets."""
HASH_REQUEST = 21


class Attack:
    """Threads that draw bytes until time is up, and count them."""

    def __init__(self, daemon: SeederDaemon, bucket: str) -> None:
        file = served_torrent(daemon, bucket, KEY)
        self.daemon = daemon
        self.info_hash = read_torrent(file).info_hash
        [self.root] = bdecode(file)[b"piece layers"]
        self.url = f"http://{daemon.address}:{daemon.tracker_port}/{bucket}/{KEY}?torrent"
        self.received = {"metadata": 0, "hashes": 0, "torrent": 0}
        self.until = time.monotonic() + SECONDS

    def run(self) -> float:
        """Return how long it took (s)."""
        began = time.monotonic()
        threads = [
            threading.Thread(target=self._repeat, args=(name, draw))
            for name, draw in (
                ("metadata", self._metadata),
                ("hashes", self._hashes),
                ("torrent", self._torrent),
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return time.monotonic() - began

    def _repeat(self, name: str, draw: Callable[[str], None]) -> None:
        while time.monotonic() < self.until:
            with suppress(OSError):
                draw(name)

    def _metadata(self, name: str) -> None:
        hello = message(EXTENDED_MESSAGE, b"\0" + bencode({b"m": {b"ut_metadata": 7}}))
        wanted = message(EXTENDED_MESSAGE, b"\2" + bencode({b"msg_type": 0, b"piece": 0}))
        self._converse(name, hello + wanted * 4)

    def _hashes(self, name: str) -> None:
        request = struct.pack(">32sIIII", self.root, 0, 0, 512, 0)
        self._converse(name, message(HASH_REQUEST, request) * 16)

    def _converse(self, name: str, words: bytes) -> None:
        """Ask on a new connection, and leave when nothing more comes for a second."""
        with RawPeer("0.0.0.0", self.daemon.peer_address) as peer:
            peer.send(handshake(self.info_hash, reserved=FAST | EXTENDED), words)
            peer.socket.settimeout(1)
            while time.monotonic() < self.until and (data := peer.socket.recv(1 << 16)):
                self.received[name] += len(data)

    def _torrent(self, name: str) -> None:
        with urlopen(self.url, timeout=10) as answer:
            while time.monotonic() < self.until and (data := answer.read(1 << 12)):
                self.received[name] += len(data)


def test_metadata_hashes_and_torrent_files_have_the_limits_of_pieces(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
) -> None:
    publisher.put(bucket, KEY, BODY)
    wanted = {"bucket": bucket, "key": KEY, "format": "hybrid", "piece_length": "16 KiB"}
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [wanted],
            "peer": {"upload_rate": "0.2 MB/s", "copies_per_address": "unlimited"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    attack = Attack(daemon, bucket)
    took = attack.run()
    drawn = attack.received
    assert all(drawn.values()), drawn
    together = sum(drawn.values())
    assert together <= RATE * took + AHEAD, drawn
    # What may leave does leave.
    assert together >= 0.5 * RATE * SECONDS, drawn
    poll_until(
        lambda: bool(daemon.status()["totals"]["protocol_bytes"] >= together),
        timeout=20,
        what="figure of all that was drawn",
    )
    assert daemon.torrent_status(bucket, KEY)["protocol_bytes"] >= 0.9 * together
    assert daemon.status()["totals"]["uploaded_bytes"] == 0
    _, metrics = daemon.get("/metrics", admin=True)
    assert f'seeder_protocol_bytes_total{{bucket="{bucket}",key="{KEY}"}}'.encode() in metrics
