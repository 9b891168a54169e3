"""A bit that flips in the cache while clients download: it is found, and they get right bytes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import Aria2, ClientFactory, Transmission
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.disks import rot
from tests.support.leecher import Leecher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import poll_until

SIZE = 16 * MIB
BODY = content(SIZE)
Publish: TypeAlias = Callable[..., tuple[SeederDaemon, Path]]


@pytest.fixture
def publish(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    tmp_path: Path,
) -> Publish:
    """Return what serves an object from disk alone; given [peer], it returns daemon and torrent."""

    def publish(peer: Mapping[str, object] | None = None) -> tuple[SeederDaemon, Path]:
        publisher.put(bucket, "big", BODY)
        entry = {"bucket": bucket, "key": "big", "metainfo": ["build"], "piece_length": "1 MiB"}
        daemon = seeder(
            {
                "origin": origin(ceph),
                "objects": [entry],
                "cache": {"memory": "0 B"},
                "peer": peer or {},
            }
        )
        daemon.start()
        wait_for_state(daemon, bucket, "big")
        torrent = tmp_path / "big.torrent"
        torrent.write_bytes(served_torrent(daemon, bucket, "big"))
        return daemon, torrent

    return publish


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [Libtorrent, Aria2])
def test_the_first_client_stumbles_over_it_and_the_next_one_does_not(
    publish: Publish, bucket: str, client: ClientFactory, kind: type[Leecher]
) -> None:
    daemon, torrent = publish()
    [first] = (daemon.directory / "cache").glob("*/0/5")
    # As on a dying disk: had somebody written to it, that would be noticed before anything is sent.
    rot(first, at=777)
    stumbling = client(kind)
    stumbling.add(torrent)
    poll_until(lambda: "is corrupt" in daemon.log, timeout=90, what="line about the bad file")
    assert f"{first} is corrupt: read again from S3" in daemon.log
    assert daemon.status()["cache"]["corrupt"] == 1
    assert digest(client(kind).download(torrent, timeout=60)) == digest(BODY)
    stumbling.close()
    assert daemon.torrent_status(bucket, "big")["state"] == "serving"


def spoil(path: Path) -> None:
    """Write another byte into a file."""
    with path.open("r+b") as file:
        file.seek(777)
        [byte] = file.read(1)
        file.seek(777)
        file.write(bytes([byte ^ 16]))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [Libtorrent, Aria2])
def test_a_download_under_way_is_sent_nothing_of_files_that_somebody_wrote_to(
    publish: Publish, bucket: str, client: ClientFactory, kind: type[Leecher]
) -> None:
    daemon, torrent = publish({"upload_rate": "4 MB/s"})
    leecher = client(kind)
    leecher.add(torrent)
    poll_until(
        lambda: int(daemon.status()["totals"]["uploaded_bytes"]) > SIZE // 8,
        timeout=60,
        what="first pieces",
    )
    files = sorted((daemon.directory / "cache").glob("*/0/*"))
    assert len(files) == SIZE // MIB
    for file in files:
        spoil(file)
    assert digest(leecher.wait(timeout=120)) == digest(BODY)
    assert "is corrupt: read again from S3" in daemon.log
    assert daemon.status()["cache"]["corrupt"] > 0
    assert daemon.torrent_status(bucket, "big")["state"] == "serving"


@pytest.mark.timeout(180)
def test_a_client_that_asks_again_gets_it_right(
    publish: Publish, bucket: str, client: ClientFactory
) -> None:
    daemon, torrent = publish()
    [file] = (daemon.directory / "cache").glob("*/0/5")
    rot(file, at=777)
    assert digest(client(Transmission).download(torrent, timeout=120)) == digest(BODY)
    assert f"{file} is corrupt: read again from S3" in daemon.log
    assert daemon.status()["cache"]["corrupt"] == 1
