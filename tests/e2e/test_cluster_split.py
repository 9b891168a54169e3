"""Objects are split over the nodes: each is read from S3 by as many as wanted, and by no other."""

import http.client
import json
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from seeder.cluster.placing import owners
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until
from tests.support.redis import RedisServer

KEY, SIZE = "large.bin", 32 * MIB
NAMES = ("a", "b", "c")


class Nodes:
    """The nodes of one cluster, by name; all publish one object of the bucket."""

    def __init__(
        self,
        make: Callable[..., SeederDaemon],
        ceph: CephRGW,
        bucket: str,
        redis: RedisServer,
        *,
        replicas: int = 2,
    ) -> None:
        self.bucket = bucket
        self.replicas = replicas
        self.all: dict[str, SeederDaemon] = {}
        for name in NAMES:
            self.all[name] = node = make(
                {
                    "origin": origin(ceph),
                    "objects": [
                        {
                            "bucket": bucket,
                            "key": KEY,
                            "metainfo": ["build"],
                            "piece_length": "256 KiB",
                        }
                    ],
                    "gateway": {"web_seed": True},
                }
            )
            node.add(
                cluster={
                    "store": redis.url,
                    "name": name,
                    "replicas": replicas,
                    "url": f"http://{node.address}:{node.tracker_port}",
                }
            )

    def start(self, *names: str) -> None:
        for name in names:
            self.all[name].start(wait=False)
        for name in names:
            self.all[name].wait_until_ready()

    def settle(self, *names: str) -> None:
        """Wait until each of these knows all of them, and no other, and serves the object."""
        for name in names:
            poll_until(
                partial(self._knows, name, names),
                timeout=60,
                what=f"{name} to know {names}",
            )
            wait_for_state(self.all[name], self.bucket, KEY, timeout=60)

    def _knows(self, name: str, names: Sequence[str]) -> bool:
        document = self.all[name].status()["cluster"]
        return [member["name"] for member in document["members"]] == sorted(names)

    def _is_told(self, name: str, owner: str) -> bool:
        seeded_by: list[str] = self.torrent(name)["seeded_by"]
        return seeded_by == [owner]

    def owners(self, *names: str) -> tuple[str, ...]:
        """Return who of these owns the object."""
        what = json.dumps(["default", self.bucket, KEY, None])
        return owners(what, names, self.replicas)

    def wait_moved(self, to: str, *names: str) -> None:
        """Wait until these know that the object is one node's."""
        for name in names:
            poll_until(
                partial(self._is_told, name, to),
                timeout=60,
                what=f"{to} as the owner at {name}",
            )

    def handed_out(self, name: str) -> set[str]:
        """Return the nodes that one's tracker names."""
        torrent = read_torrent(served_torrent(self.all[name], self.bucket, KEY))
        reply = announce(self.all[name], torrent.info_hash)
        ports = {node.peer_port: called for called, node in self.all.items()}
        found = reply[b"peers"]
        ends = [int.from_bytes(found[at + 4 : at + 6], "big") for at in range(0, len(found), 6)]
        return {ports[end] for end in ends if end in ports}

    def read(self, name: str) -> int:
        """Return the bytes that a node has from S3."""
        count: int = self.torrent(name)["origin_bytes"]
        return count

    def torrent(self, name: str) -> dict[str, Any]:
        return self.all[name].torrent_status(self.bucket, KEY)


@pytest.fixture
def nodes(
    seeder: Callable[..., SeederDaemon],
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    redis: RedisServer,
) -> Callable[..., Nodes]:
    publisher.put(bucket, KEY, content(SIZE))

    def make(**options: int) -> Nodes:
        return Nodes(seeder, ceph, bucket, redis, **options)

    return make


def leech(
    cluster: Nodes, client: ClientFactory, directory: Path, count: int, **options: int
) -> list[Libtorrent]:
    """Start clients whose torrents come from each node in turn."""
    leechers = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        file = directory / f"{number}.torrent"
        file.write_bytes(served_torrent(cluster.all[name], cluster.bucket, KEY))
        leechers.append(client(Libtorrent, **options))
        leechers[-1].add(file)
    return leechers


def _ask_a_node_that_owns_nothing(cluster: Nodes, other: str, first: SeederDaemon) -> None:
    """Download from a node that isn't an owner: it sends on to the `first` one."""
    node, target = cluster.all[other], f"/{cluster.bucket}/{KEY}"
    connection = http.client.HTTPConnection(node.address, node.tracker_port, timeout=30)
    connection.request("GET", f"{target}?x=1", headers={"Range": "bytes=5-9"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (307, b"")
    where = f"http://{first.address}:{first.tracker_port}{target}"
    assert answer.headers["Location"] == f"{where}?x=1"
    # What costs S3 nothing is answered at once.
    connection.request("HEAD", target)
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
    connection.close()
    with urllib.request.urlopen(f"http://{node.address}:{node.tracker_port}{target}") as body:
        assert digest(body.read()) == digest(content(SIZE))


def test_an_object_is_read_by_its_owners_alone_and_all_others_send_there(
    nodes: Callable[..., Nodes], client: ClientFactory, ceph: CephRGW, tmp_path: Path
) -> None:
    cluster = nodes()
    cluster.start(*NAMES)
    cluster.settle(*NAMES)
    owning = set(cluster.owners(*NAMES))
    [other] = set(NAMES) - owning
    assert all(cluster.handed_out(name) == owning for name in NAMES)
    _ask_a_node_that_owns_nothing(cluster, other, cluster.all[cluster.owners(*NAMES)[0]])
    for path in wait_for_all(leech(cluster, client, tmp_path, 8), timeout=100):
        assert digest(path) == digest(content(SIZE))
    assert ceph.body_bytes_sent(cluster.bucket, KEY) <= 2.05 * SIZE
    assert cluster.read(other) < 64 * KIB
    assert all(cluster.all[name].complaints() == [] for name in NAMES)


def test_when_an_owner_is_killed_another_node_takes_over(
    nodes: Callable[..., Nodes], client: ClientFactory, tmp_path: Path
) -> None:
    cluster = nodes(replicas=1)
    cluster.start(*NAMES)
    cluster.settle(*NAMES)
    [owner] = cluster.owners(*NAMES)
    others = [name for name in NAMES if name != owner]
    [heir] = cluster.owners(*others)
    file = tmp_path / "file.torrent"
    file.write_bytes(served_torrent(cluster.all[others[0]], cluster.bucket, KEY))
    leecher = client(Libtorrent, download_rate=2 * MIB)
    leecher.add(file)
    poll_until(lambda: leecher.status().progress > 0.05, timeout=60, what="a beginning")
    cluster.all[owner].kill()
    cluster.wait_moved(heir, *others)
    assert cluster.handed_out(others[0]) == {heir}
    leecher.limit_download(0)
    leecher.reannounce()
    assert digest(leecher.wait(timeout=60)) == digest(content(SIZE))
    assert cluster.torrent(heir)["uploaded_bytes"] > 0


def test_a_node_that_joins_takes_its_objects_from_the_others(
    nodes: Callable[..., Nodes], client: ClientFactory, tmp_path: Path
) -> None:
    cluster = nodes(replicas=1)
    [owner] = cluster.owners(*NAMES)
    others = [name for name in NAMES if name != owner]
    [former] = cluster.owners(*others)
    cluster.start(*others)
    cluster.settle(*others)
    file = tmp_path / "file.torrent"
    file.write_bytes(served_torrent(cluster.all[former], cluster.bucket, KEY))
    leecher = client(Libtorrent, download_rate=2 * MIB)
    leecher.add(file)
    poll_until(lambda: leecher.status().progress > 0.05, timeout=60, what="a beginning")
    cluster.start(owner)
    cluster.settle(*NAMES)
    cluster.wait_moved(owner, *NAMES)
    assert cluster.handed_out(former) == {owner}
    leecher.limit_download(0)
    leecher.reannounce()
    assert digest(leecher.wait(timeout=60)) == digest(content(SIZE))
    assert cluster.all[former].status()["peers"]["closes"]["moved"] == 1
    # Its metainfo was made by another node.
    assert cluster.torrent(owner)["origin_bytes_by_purpose"]["hashing"] == 0
