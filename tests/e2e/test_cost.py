"""The cost attack: a peer that makes S3 send the object again and again is stopped at about one."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest, make_torrent
from tests.support.raw_peer import (
    CANCEL,
    FAST,
    INTERESTED,
    PIECE,
    REJECT,
    UNCHOKE,
    RawPeer,
    message,
    request,
)

KEY = "expensive"
PIECES = 80
BODY = content(PIECES * MIB)
TINY = {"memory": "2 MiB", "disk": "0 B"}
MOST = 1.25 * len(BODY) + 8 * MIB
"""What an address may cost by default, and a GET that was under way."""
ATTACKER = 16


def pester(peer: RawPeer, rng: random.Random) -> None:
    """Ask for single blocks all over the object, twice as many as it has pieces."""
    for _ in range(2 * PIECES // 8):
        peer.send(*(request(index) for index in rng.sample(range(PIECES), 8)))
        answers = {peer.read_message()[0] for _ in range(8)}
        assert answers <= {PIECE, REJECT}


def churn(peer: RawPeer, rng: random.Random) -> None:
    """Ask for single blocks all over the object and cancel them at once."""
    indices = rng.sample(range(PIECES), 8)
    peer.send(*(request(index) for index in indices))
    peer.send(*(request(index, number=CANCEL) for index in indices))
    assert {peer.read_message()[0] for _ in indices} <= {PIECE, REJECT}


@pytest.mark.parametrize(
    ("attack", "connections"),
    [pytest.param(pester, 1, id="random access"), pytest.param(churn, 40, id="cancel churn")],
)
def test_who_asks_for_everything_again_and_again_costs_about_one_object(
    attack: Callable[[RawPeer, random.Random], None],
    connections: int,
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    network: Network,
    tmp_path: Path,
) -> None:
    torrent = make_torrent(BODY, name=KEY, piece_length=MIB)
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, f"{KEY}.torrent", torrent.file())
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"]}]
    peer = {"super_seeding": "off"}
    daemon = seeder({"origin": origin(ceph), "objects": objects, "cache": TINY, "peer": peer})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    before = ceph.body_bytes_sent(bucket, KEY)
    info_hash = bytes.fromhex(wait_for_state(daemon, bucket, KEY)["info_hash"])
    rng = random.Random(3)
    for number in range(connections):
        with RawPeer(network.address(ATTACKER), daemon.peer_address) as attacker:
            attacker.greet(info_hash, reserved=FAST, peer_id=b"-XX0000-%012d" % number)
            attacker.send(message(INTERESTED))
            attacker.wait_for(UNCHOKE)
            attacker.wait_for(UNCHOKE)  # once more, for it is interested
            attack(attacker, rng)
    cost = ceph.body_bytes_sent(bucket, KEY) - before
    assert cost <= MOST
    if attack is pester:
        assert cost >= len(BODY)
    # Somebody else has it all the same.
    file = tmp_path / "object.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    assert digest(client(Libtorrent).download(file, timeout=60)) == digest(BODY)
