"""`seeder diagnose` in a network of its own: real clients and our seeder give it right pieces."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import Client, ClientFactory
from tests.e2e.clients.transmission import Transmission
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content
from tests.support.processes import python_environment


@pytest.fixture
def torrent(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    tmp_path: Path,
) -> Iterator[Path]:
    """The torrent of an object that a running daemon seeds."""
    publisher.put(bucket, "disk", content(2 * MIB))
    objects = [{"bucket": bucket, "key": "disk", "metainfo": ["build"]}]
    with seeder({"origin": origin(ceph), "objects": objects}) as daemon:
        wait_for_state(daemon, bucket, "disk")
        path = tmp_path / "disk.torrent"
        path.write_bytes(served_torrent(daemon, bucket, "disk"))
        yield path


@pytest.mark.parametrize("kind", [Transmission, Libtorrent])
@pytest.mark.usefixtures("namespace")
def test_a_real_client_and_our_seeder_give_right_pieces(
    torrent: Path, client: ClientFactory, kind: type[Client]
) -> None:
    leecher = client(kind)
    leecher.download(torrent, timeout=60)
    told = subprocess.run(
        [sys.executable, "-m", "seeder.cli", "diagnose", "--private", "--json", torrent],
        env=python_environment(HOME="/nonexistent"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, ""), told
    peers = {peer["address"][0]: peer for peer in json.loads(told.stdout)["peers"]}
    assert peers[leecher.address]["verified"] is not None, peers
    assert not peers[leecher.address]["ours"]
    ours = [peer for peer in peers.values() if peer["ours"]]
    assert ours, peers
    assert ours[0]["verified"] is not None
