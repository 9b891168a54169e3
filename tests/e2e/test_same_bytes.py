"""The same bytes uploaded anew while real clients download them: nobody notices."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher, wait_for_all
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import poll_until

KEY = "object"
BODY = content(48 * MIB)
PIECE = 256 * KIB
SAMPLE = 10 * PIECE
"""What metainfo from outside is checked by."""


def test_the_same_bytes_uploaded_anew_disturb_no_download(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    kinds: list[type[Leecher]],
    tmp_path: Path,
) -> None:
    torrent = make_torrent(BODY, name=KEY, piece_length=PIECE)
    first = publisher.put(bucket, KEY, BODY)
    publisher.put(bucket, f"{KEY}.torrent", torrent.file())
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"], "refresh": "1s"}]
    peer = {"upload_rate_per_peer": "2 MiB/s", "super_seeding": "off"}
    daemon = seeder({"origin": origin(ceph), "objects": objects, "peer": peer})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = tmp_path / "object.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    leechers = [client(kind) for kind in kinds]
    for leecher in leechers:
        leecher.add(file)

    def status(key: str) -> object:
        return daemon.torrent_status(bucket, KEY)[key]

    swarm = len(leechers)
    poll_until(lambda: status("peers") == swarm, timeout=60, what="all clients in the swarm")
    read = ceph.body_bytes_sent(bucket, KEY)
    version = status("version")
    assert publisher.put_multipart(bucket, KEY, BODY, part_size=5 * MIB) != first
    poll_until(lambda: status("version") != version, timeout=30, what="new version")
    wait_for_state(daemon, bucket, KEY)
    sent = daemon.torrent_status(bucket, KEY)["uploaded_bytes"]
    # The same swarm, with the same clients in it.
    assert b"failure reason" not in announce(daemon, torrent.info_hash)
    for path in wait_for_all(leechers, timeout=90):
        assert digest(path) == digest(BODY)
    # The peers that were there go on, and are booked on the state of now.
    assert daemon.torrent_status(bucket, KEY)["uploaded_bytes"] >= sent + MIB
    assert "the same bytes under another ETag" in daemon.log
    assert "not registered" not in daemon.log
    most = max(read, len(BODY)) + SAMPLE
    assert ceph.body_bytes_sent(bucket, KEY) <= most + 16 * PIECE
