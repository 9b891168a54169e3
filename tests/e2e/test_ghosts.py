"""Thousands of peers are announced that aren't there: real clients hardly hear of them.

The ghosts come out of an IPv6 /48, or from a hundred IPv4 addresses with 32 ports each, and all
name one torrent. Clients then load that one and another. What the tracker lists when its places
are taken is in `tests/tracker/test_swarms_ghosts.py`.
"""

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from bencode2 import bdecode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest

KEYS = ["haunted", "quiet"]
BODIES = [content(4 * MIB + 5, seed=seed) for seed in (1, 2)]
OURS = "fd00:9::2"
"""The daemon's address of IPv6."""
GHOSTS = {
    "a-48": [(f"fd00:1:0:{number:x}::1", 6881) for number in range(0, 65536, 21)],
    "hundred-v4": [
        (f"10.64.{number}.1", 7000 + port) for port in range(32) for number in range(100)
    ],
}
HONEST = [f"10.65.{number}.1" for number in range(15)]
"""Addresses of peers that announce and do nothing more; the real clients are in one /24."""


@dataclass
class Torrent:
    file: Path
    body: bytes
    info_hash: bytes


class World:
    """The daemon with its two torrents."""

    def __init__(self, daemon: SeederDaemon, bucket: str, directory: Path) -> None:
        self.daemon = daemon
        self.torrents = []
        for key, body in zip(KEYS, BODIES, strict=True):
            file = directory / key
            file.write_bytes(served_torrent(daemon, bucket, key))
            self.torrents.append(Torrent(file, body, read_torrent(file.read_bytes()).info_hash))

    def announce(
        self, torrent: Torrent, source: str, port: int, *, left: int = MIB, **more: object
    ) -> dict[bytes, Any]:
        """Announce from an address."""
        where = OURS if ":" in source else self.daemon.address
        connection = http.client.HTTPConnection(
            where, self.daemon.tracker_port, timeout=30, source_address=(source, 0)
        )
        fields = {
            "info_hash": quote_from_bytes(torrent.info_hash, safe=""),
            "peer_id": quote_from_bytes(f"-XX0000-{source}-{port}".encode()[:20].ljust(20, b".")),
            "port": port,
            "uploaded": 0,
            "downloaded": 0,
            "left": left,
            "compact": 1,
            "event": "started",
        } | more
        query = "&".join(f"{name}={value}" for name, value in fields.items())
        try:
            connection.request("GET", f"/announce?{query}")
            answer: dict[bytes, Any] = bdecode(connection.getresponse().read())
        finally:
            connection.close()
        assert b"interval" in answer, answer
        return answer


def endpoints(answer: dict[bytes, Any]) -> set[bytes]:
    v4, v6 = answer[b"peers"], answer.get(b"peers6", b"")
    return {v4[at : at + 6] for at in range(0, len(v4), 6)} | {
        v6[at : at + 18] for at in range(0, len(v6), 18)
    }


def v4_address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


@pytest.fixture
def world(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    namespace: Network,
    tmp_path: Path,
) -> World:
    namespace.claim("fd00:1::/48", "fd00:9::/48", "10.64.0.0/15")
    wishes = []
    for key, body in zip(KEYS, BODIES, strict=True):
        publisher.put(bucket, key, body)
        wish = {"bucket": bucket, "key": key, "metainfo": ["build"]}
        wishes.append(wish | {"piece_length": f"{256 * KIB} B"})
    daemon = seeder({})
    daemon.configure(
        {
            "origin": origin(ceph),
            "objects": wishes,
            "tracker": {
                "listen": [
                    f"{daemon.address}:{daemon.tracker_port}",
                    f"[{OURS}]:{daemon.tracker_port}",
                ]
            },
            "peer": {
                "listen": [f"{daemon.address}:{daemon.peer_port}", f"[{OURS}]:{daemon.peer_port}"]
            },
        }
    )
    daemon.start()
    for key in KEYS:
        wait_for_state(daemon, bucket, key)
    return World(daemon, bucket, tmp_path)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", GHOSTS)
def test_ghosts_are_hardly_heard_of(world: World, client: ClientFactory, name: str) -> None:
    haunted, _ = world.torrents
    for number, (source, port) in enumerate(GHOSTS[name]):
        world.announce(haunted, source, port, left=number % 2)
    # Newcomers join: clients, and peers that are no more than an announce.
    clients = []
    for torrent in world.torrents:
        for _ in range(2):
            leecher = client(Libtorrent)
            leecher.add(torrent.file)
            clients.append((torrent, leecher))
        for source in HONEST[:5]:
            world.announce(torrent, source, 6881)
    for torrent, leecher in clients:
        assert digest(leecher.wait(60)) == digest(torrent.body)
        # The other client, ourselves, and those five; a tenth of ghosts would be none.
        assert leecher.status().list_peers <= 8
    for torrent in world.torrents:
        there = {v4_address(leecher.address) for of, leecher in clients if of is torrent}
        there |= {v4_address(source) for source in HONEST[:5]}
        there.add(v4_address(world.daemon.address))
        for source in HONEST[5:]:
            heard = endpoints(world.announce(torrent, source, 6881))
            assert there <= {endpoint[:-2] for endpoint in heard}
            ghosts = [each for each in heard if not each.startswith((b"\x0a\x09", b"\x0a\x41"))]
            assert len(ghosts) <= len(heard) / 10
            there.add(v4_address(source))
    assert "Traceback" not in world.daemon.log


@pytest.mark.timeout(120)
def test_downloads_that_nobody_made_are_hardly_believed(world: World, bucket: str) -> None:
    torrent, size = world.torrents[0], len(BODIES[0])
    for number in range(400):
        world.announce(
            torrent, "10.64.0.1", 7000, left=0, event="completed", downloaded=size, key=number
        )
        world.announce(torrent, "10.64.0.1", 7000, left=0, event="stopped", key=number)
        if number % 10 == 0:
            # Nothing downloaded is no download, wherever it comes from.
            world.announce(torrent, f"10.65.{number % 256}.1", 7000, left=0, event="completed")
    status = world.daemon.torrent_status(bucket, KEYS[0])
    assert status["completed"] <= 3
    assert status["delivered_claimed_bytes"] <= 3 * size
