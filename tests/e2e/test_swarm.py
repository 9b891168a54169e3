"""What a swarm of real clients costs us: a little more than one copy of the object."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import poll_until

KEY = "object.bin"
LEECHERS = 8
RATE = 16 * MIB
"""Bytes a second and client, each way. Without a limit the eight want more than a machine can do;
then one gets next to nothing from the others for seconds, and a super-seed helps it (LONELY
in seeder/upload/superseed.py), as it should, with pieces that it has sent before."""
BODY = content(64 * MIB)
A_TENTH = {"memory": "3 MiB", "disk": "3 MiB"}


@pytest.mark.parametrize(
    ("peer", "cache", "most_sent", "most_read"),
    [
        pytest.param({"super_seeding": "off"}, {}, 4.0, 1.0, id="normal seeding"),
        pytest.param({"super_seeding": "auto"}, {}, 1.2, 1.0, id="super-seeding"),
        pytest.param({"super_seeding": "auto"}, A_TENTH, 1.2, 1.2, id="with a small cache"),
    ],
)
def test_eight_clients_are_sent_little_more_than_one_copy(
    peer: Mapping[str, str],
    cache: Mapping[str, str],
    most_sent: float,
    most_read: float,
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    torrent = make_torrent(BODY, name=KEY, piece_length=256 * KIB)
    publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, f"{KEY}.torrent", torrent.file())
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"]}]
    daemon = seeder({"origin": origin(ceph), "objects": objects, "peer": peer, "cache": cache})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = tmp_path / "object.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    leechers = [client(Libtorrent, download_rate=RATE, upload_rate=RATE) for _ in range(LEECHERS)]
    for leecher in leechers:
        leecher.add(file)
    for path in wait_for_all(leechers, timeout=90):
        assert digest(path) == digest(BODY)
    # Without thrift a normal seed sends eight; how few it becomes depends on the machine's mood.
    uploaded = daemon.torrent_status(bucket, KEY)["uploaded_bytes"]
    assert 1.0 <= uploaded / len(BODY) <= most_sent
    assert ceph.body_bytes_sent(bucket, KEY) / len(BODY) <= most_read

    # Every client has all of it, from us or from another: so much is delivered, and no byte more.
    def verified() -> float:
        return float(daemon.torrent_status(bucket, KEY)["delivered_verified_bytes"]) / len(BODY)

    poll_until(lambda: verified() >= 0.95 * LEECHERS, timeout=20, what="95 % seen")
    assert verified() <= LEECHERS
