"""What peers only say is no delivery: the figure never exceeds what can have come from us.

How near it is to the truth for honest swarms is in test_swarm.py.
"""

from collections.abc import Callable, Iterable

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.objects import KIB, MIB, content
from tests.support.processes import poll_until
from tests.support.raw_peer import (
    BLOCK,
    FAST,
    HAVE,
    HAVE_ALL,
    HAVE_NONE,
    INTERESTED,
    PIECE,
    RawPeer,
    message,
    request,
)

KEY = "object"
PIECE_LENGTH = 64 * KIB
BODY = content(2 * MIB)
SIZE, PIECES = len(BODY), 2 * MIB // PIECE_LENGTH


class Liars:
    """Peers that tell the daemon what it can't check."""

    def __init__(self, daemon: SeederDaemon, bucket: str) -> None:
        self._daemon, self._bucket = daemon, bucket
        self._info_hash = read_torrent(served_torrent(daemon, bucket, KEY)).info_hash

    def connect(self, address: str) -> RawPeer:
        peer = RawPeer(address, self._daemon.peer_address)
        peer.greet(self._info_hash, reserved=FAST)
        return peer

    def say_so(self, addresses: Iterable[str], *, times: int) -> None:
        """Come with nothing, claim everything in one way or another, and leave; again and again."""
        one_by_one = b"".join(message(HAVE, index.to_bytes(4)) for index in range(PIECES))
        for address in addresses:
            for turn in range(times):
                with self.connect(address) as peer:
                    peer.send(message(HAVE_NONE), message(HAVE_ALL) if turn % 2 else one_by_one)
        poll_until(
            lambda: self._daemon.status()["peers"]["connected"] == 0, timeout=20, what="quiet"
        )

    def download(self, address: str) -> None:
        with self.connect(address) as peer:
            peer.send(message(HAVE_NONE), message(INTERESTED))
            for index in range(PIECES):
                peer.send(*(request(index, at) for at in range(0, PIECE_LENGTH, BLOCK)))
                for _ in range(0, PIECE_LENGTH, BLOCK):
                    peer.wait_for(PIECE)

    @property
    def copies(self) -> tuple[float, float]:
        """Copies uploaded, and copies delivered."""
        status = self._daemon.torrent_status(self._bucket, KEY)
        return status["uploaded_bytes"] / SIZE, status["delivered_verified_bytes"] / SIZE


def test_an_address_that_lies_delivers_nothing_and_each_further_one_a_copy_at_most(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> None:
    publisher.put(bucket, KEY, BODY)
    entry = {
        "bucket": bucket,
        "key": KEY,
        "metainfo": ["build"],
        "piece_length": f"{PIECE_LENGTH} B",
    }
    peer = {"super_seeding": "off", "thrifty": False}
    daemon = seeder({"origin": origin(ceph), "objects": [entry], "peer": peer})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    liars = Liars(daemon, bucket)

    # Nothing has left us: nobody can have got anything, of whomever.
    liars.say_so(["127.0.1.1"], times=60)
    liars.say_so([f"127.0.1.{number}" for number in range(20)], times=2)
    assert liars.copies == (0, 0)

    # One copy has: whoever was believed to have it before gets no second chance.
    liars.download("127.0.2.1")
    liars.say_so(["127.0.2.1"], times=10)
    liars.say_so([f"127.0.1.{number}" for number in range(20)], times=2)
    assert liars.copies == (1, 1)

    # New addresses may have it of that one, each one copy, however often they say so.
    liars.say_so([f"127.0.3.{number}" for number in range(3)], times=20)
    assert liars.copies == (1, 4)
    assert "Traceback" not in daemon.log
