"""A real disk that is full under a running daemon: clients end, and S3 is read no more for it."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.disks import small_file_system
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import poll_until

BODY = content(24 * MIB)


def test_clients_end_and_the_ledger_is_written_where_the_cache_may_have_more_than_there_is(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", BODY)
    with small_file_system(tmp_path / "disk", 16 * MIB) as point:
        settings = {
            "state_directory": str(point / "state"),
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": "object", "metainfo": ["build"]}],
            "cache": {"directory": str(point / "cache"), "memory": "4 MiB", "disk": "1 GiB"},
        }
        with seeder(settings) as daemon:
            wait_for_state(daemon, bucket, "object")
            told = daemon.status()["cache"]
            assert not told["disk_ok"]
            kept = told["disk_bytes"]
            assert kept > 12 * MIB
            before = ceph.body_bytes_sent(bucket, "object")
            each = client(Libtorrent)
            file = each.directory / "given.torrent"
            file.write_bytes(served_torrent(daemon, bucket, "object"))
            assert digest(each.download(file, timeout=100)) == digest(BODY)
            each.close()
            # What isn't on disk, once; some of it comes and goes again before it is asked for.
            missing = len(BODY) - kept
            assert ceph.body_bytes_sent(bucket, "object") - before < missing + 4 * MIB
            flushes = daemon.status()["ledger"]["flushes"]
            poll_until(
                lambda: daemon.status()["ledger"]["flushes"] > flushes, timeout=60, what="flush"
            )
            assert daemon.get("/readyz", admin=True)[0] == 200
            code, metrics = daemon.get("/metrics", admin=True)
            assert (code, b"\nseeder_cache_disk_ok 0" in metrics) == (200, True)
            assert daemon.stop() == 0
            [line] = daemon.complaints()
            assert "No space left on device" in line
            assert "works again" not in daemon.log
