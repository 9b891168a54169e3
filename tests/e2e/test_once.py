"""S3 sends every byte of an object once, however many clients hurry for it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.ceph import LARGEST_WRITE, CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import poll_until

GIB = 1024 * MIB
KEY = "large.bin"
LEECHERS = 4
DISK_HOLDS_IT = {"memory": "128 MiB", "disk": "2 GiB"}
MEMORY_HOLDS_IT = {"memory": "192 MiB", "disk": "0 B"}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A directory for a test that fills it with gigabytes: it is emptied at once."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def write_large(path: Path, size: int) -> str:
    """Write `size` bytes, a multiple of 8 MiB, without two equal pieces, and return the SHA-256.

    Random bytes for all of it would take longer than the upload.
    """
    sha256 = hashlib.sha256()
    chunk = content(8 * MIB)
    with path.open("wb") as file:
        for number in range(size // len(chunk)):
            turned = chunk[number:] + chunk[:number]
            file.write(turned)
            sha256.update(turned)
    return sha256.hexdigest()


@pytest.fixture
def large(
    request: pytest.FixtureRequest, room: Path, publisher: Publisher, bucket: str
) -> Iterator[tuple[int, str]]:
    """Size and SHA-256 of a large object in the bucket."""
    size: int = request.param
    path = room / KEY
    sha256 = write_large(path, size)
    publisher.put(bucket, KEY, path)
    path.unlink()
    yield size, sha256
    publisher.delete(bucket, KEY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("large", "cache"),
    [
        pytest.param(GIB, DISK_HOLDS_IT, id="1 GiB, an eighth of it in memory"),
        pytest.param(128 * MIB, MEMORY_HOLDS_IT, id="128 MiB, no disk"),
    ],
    indirect=["large"],
)
def test_four_clients_cost_s3_one_copy(
    room: Path,
    large: tuple[int, str],
    cache: Mapping[str, str],
    ceph: CephRGW,
    bucket: str,
    *,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
) -> None:
    size, sha256 = large
    objects = [{"bucket": bucket, "key": KEY}]
    daemon = seeder({"origin": origin(ceph), "objects": objects, "cache": cache})
    daemon.start()
    wait_for_state(daemon, bucket, KEY, timeout=60)
    file = room / "large.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    leechers = [client(Libtorrent) for _ in range(LEECHERS)]
    for leecher in leechers:
        leecher.add(file)
    for path in wait_for_all(leechers, timeout=100):
        assert digest(path) == sha256

    sent = ceph.body_bytes_sent(bucket, KEY)
    assert size <= sent <= 1.01 * size
    poll_until(
        lambda: daemon.torrent_status(bucket, KEY)["completed"] == LEECHERS,
        timeout=20,
        what=f"{LEECHERS} completed downloads",
    )
    status = daemon.torrent_status(bucket, KEY)
    # What the ladder asked for, S3's own torrent and a missing sidecar, is counted too.
    everything = [*ceph.exchanges(bucket, KEY), *ceph.exchanges(bucket, f"{KEY}.torrent")]
    from_s3 = [exchange for exchange in everything if exchange.method in ("GET", "HEAD")]
    assert status["origin_requests"] == len(from_s3)
    # RGW does not know GetObjectAttributes and sends the object; the daemon hangs up, and counts
    # what had come. RGW counts only what it had written whole.
    cut = [exchange for exchange in from_s3 if exchange.query == "attributes"]
    assert all(exchange.body_bytes <= LARGEST_WRITE for exchange in cut)
    read = sum(exchange.body_bytes for exchange in from_s3 if exchange not in cut)
    assert read <= status["origin_bytes"] <= read + LARGEST_WRITE * len(cut)
    assert status["origin_bytes_by_purpose"]["pieces"] == 0

    # What a client has came from the daemon or from another client.
    traffic = [leecher.status() for leecher in leechers]
    left = sum(each.total_payload_download - each.total_payload_upload for each in traffic)
    # What was on its way to a client that had enough meanwhile is in our count alone; a block
    # or two that the clients' counters say came from nobody have been seen, with every byte of ours
    # sent once.
    assert 0.999 * left <= status["uploaded_bytes"] <= 1.01 * left
    # What a client had from others and had no time to announce before it left, nobody saw.
    verified = status["delivered_verified_bytes"]
    assert 0.99 * status["uploaded_bytes"] <= verified <= LEECHERS * size
    assert status["delivered_claimed_bytes"] == LEECHERS * size
    assert status["saved_claimed_bytes"] == LEECHERS * size - status["origin_bytes"]


@pytest.mark.parametrize("cache", [{"memory": "8 MiB"}, {"memory": "96 MiB", "disk": "0 B"}])
def test_four_clients_that_hurry_for_what_is_not_cached_cost_one_copy(
    room: Path,
    cache: Mapping[str, str],
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    *,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
) -> None:
    # With a torrent beside it the object isn't read before somebody wants it.
    body = content(64 * MIB + 1)
    sidecar = make_torrent(body, name=KEY, piece_length=256 * KIB)
    publisher.put(bucket, KEY, body)
    publisher.put(bucket, f"{KEY}.torrent", sidecar.file())
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"]}]
    daemon = seeder({"origin": origin(ceph), "objects": objects, "cache": cache})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = room / "cold.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    leechers = [client(Libtorrent) for _ in range(LEECHERS)]
    for leecher in leechers:
        leecher.add(file)
    for path in wait_for_all(leechers, timeout=60):
        assert digest(path) == digest(body)

    assert ceph.body_bytes_sent(bucket, KEY) == len(body)
    status = daemon.torrent_status(bucket, KEY)
    from_s3 = [*ceph.exchanges(bucket, method="GET"), *ceph.exchanges(bucket, method="HEAD")]
    assert status["origin_requests"] == len(from_s3)
    assert status["origin_bytes"] == sum(exchange.body_bytes for exchange in from_s3)


def test_small_pieces_that_a_client_picks_at_random_come_in_large_gets(
    room: Path,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    *,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
) -> None:
    body = content(64 * MIB)
    sidecar = make_torrent(body, name=KEY, piece_length=64 * KIB)
    publisher.put(bucket, KEY, body)
    publisher.put(bucket, f"{KEY}.torrent", sidecar.file())
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"]}]
    peer = {"super_seeding": "off"}
    daemon = seeder({"origin": origin(ceph), "objects": objects, "peer": peer})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = room / "cold.torrent"
    file.write_bytes(served_torrent(daemon, bucket, KEY))
    before = len(ceph.exchanges(bucket, KEY, method="GET"))
    leecher = client(Libtorrent)
    leecher.add(file)
    assert digest(leecher.wait(60)) == digest(body)

    assert ceph.body_bytes_sent(bucket, KEY) == len(body)
    # Eight GETs of 8 MiB would do for an order that is known beforehand.
    gets = len(ceph.exchanges(bucket, KEY, method="GET")) - before
    assert gets <= 8 * 8
