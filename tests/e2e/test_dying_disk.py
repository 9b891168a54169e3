"""A real disk that can't be read any more under a running daemon: clients have every byte."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.disks import dying_disk
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest

BODY = content(24 * MIB)


def test_clients_have_every_byte_of_a_disk_that_answers_with_eio_and_it_is_used_again_once_mended(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", BODY)
    with dying_disk(tmp_path, 64 * MIB) as disk:
        settings = {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": "object", "metainfo": ["build"]}],
            "cache": {"directory": str(disk.point / "cache"), "memory": "4 MiB", "disk": "1 GiB"},
        }
        with seeder(settings) as daemon:
            wait_for_state(daemon, bucket, "object")
            file = tmp_path / "given.torrent"
            file.write_bytes(served_torrent(daemon, bucket, "object"))

            def download() -> int:
                """Download all of it, and return the bytes that S3 sent for that."""
                before = ceph.body_bytes_sent(bucket, "object")
                each = client(Libtorrent)
                assert digest(each.download(file, timeout=100)) == digest(BODY)
                each.close()
                return ceph.body_bytes_sent(bucket, "object") - before

            disk.lose(kept=8 * MIB)
            assert 8 * MIB < download() <= len(BODY) + 4 * MIB
            assert daemon.get("/readyz", admin=True)[0] == 200
            assert not daemon.status()["cache"]["disk_ok"]
            assert daemon.stop() == 0
            [line] = [each for each in daemon.complaints() if "cache" in each]
            assert "can't read: Input/output error; going on with memory and S3" in line
            disk.mend()
            daemon.start()
            wait_for_state(daemon, bucket, "object")
            download()
            assert daemon.status()["cache"]["disk_ok"]
            assert download() <= 4 * MIB
