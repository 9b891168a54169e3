"""A hybrid torrent (BEP 52) with real clients: as v1, as v2 and as both, in one swarm."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import libtorrent as lt

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory, Rtorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import (
    announce,
    origin,
    served_magnet,
    served_torrent,
    wait_for_state,
)
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, content, digest
from tests.support.processes import python_environment

KEY = "object.bin"
# More pieces than a client asks for at a time (512), the last of them short.
BODY = content(640 * 16 * KIB - 5)


def printed(daemon: SeederDaemon, command: str, bucket: str) -> bytes:
    """Return what the command line prints of the object's torrent."""
    run = subprocess.run(
        [sys.executable, "-m", "seeder.cli", command, "-c", daemon.path, f"{bucket}/{KEY}"],
        env=python_environment(**CephRGW.environment()),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return run.stdout.rstrip() if command == "magnet" else run.stdout


def test_a_hybrid_is_downloaded_as_v1_as_v2_and_as_both(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, KEY, BODY)
    wanted = {"bucket": bucket, "key": KEY, "format": "hybrid", "piece_length": "16 KiB"}
    settings = {"origin": origin(ceph), "objects": [wanted]}
    daemon = seeder(settings)
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = tmp_path / "object.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    hashes = lt.load_torrent_file(str(file)).info_hashes
    magnet = served_magnet(daemon, bucket, KEY)
    v1, v2 = (re.sub(rf"xt=urn:{other}:[^&]*&", "", magnet) for other in ("btmh", "btih"))
    assert len(v1) < len(v2) < len(magnet)
    assert printed(daemon, "torrent", bucket) == file.read_bytes()
    assert lt.parse_magnet_uri(printed(daemon, "magnet", bucket).decode()).info_hashes == hashes

    # From us alone, one after another; of v2 there is nothing but the hash, and that encrypted.
    for source, encryption in ((file, "plain"), (magnet, "plain"), (v2, "rc4")):
        leecher = client(Libtorrent, encryption=encryption)
        assert digest(leecher.download(source, timeout=60)) == digest(BODY)
        assert leecher.status().info_hashes == hashes
        leecher.close()
    old = client(Rtorrent)
    assert digest(old.download(file, timeout=60)) == digest(BODY)
    first = client(Libtorrent)
    assert digest(first.download(v1, timeout=60)) == digest(BODY)

    # One swarm: who names the one hash is told of who came by the other.
    for name in (hashes.v1, hashes.v2):
        peers = announce(daemon, name.to_bytes()[:20])[b"peers"]
        ports = {int.from_bytes(peers[at + 4 : at + 6]) for at in range(0, len(peers), 6)}
        assert {first.port, daemon.peer_port} <= ports
    daemon.configure({**settings, "peer": {"upload_rate": "64 KiB/s"}})
    daemon.reload()
    second = client(Libtorrent)
    assert digest(second.download(v2, timeout=60)) == digest(BODY)
    assert first.status().total_payload_upload > len(BODY) / 2
