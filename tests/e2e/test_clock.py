"""A running daemon whose machine has its clock set, with a real S3 server and real clients."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.state import ledger
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.processes import poll_until, run
from tests.support.wall_clock import WallClock

DAY = 86_400
YEAR = 365 * DAY
BODY = content(8 * MIB)
WITHOUT_BATTERY = 946_684_800.0
"""The year 2000."""


def test_clients_end_and_counts_stay_however_often_the_clock_is_set(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", BODY)
    clock, began = WallClock(tmp_path), time.time()
    clock.step_to(WITHOUT_BATTERY)
    # S3 is read for each download.
    settings = {
        "origin": origin(ceph),
        "objects": [{"bucket": bucket, "key": "object", "metainfo": ["build"], "refresh": "1s"}],
        "cache": {"memory": "2 MiB", "disk": "0 B"},
    }
    daemon = seeder(settings, environment={**ceph.environment(), **clock.environment})
    daemon.start()
    wait_for_state(daemon, bucket, "object")

    def downloads() -> None:
        each = client(Libtorrent)
        file = each.directory / "given.torrent"
        file.write_bytes(served_torrent(daemon, bucket, "object"))
        assert digest(each.download(file, timeout=60)) == digest(BODY)
        each.close()

    def behind() -> float:
        ahead: float = daemon.status()["origins"]["default"]["clock_ahead"]
        return ahead

    def follows(ahead: float) -> bool:
        return abs(behind() + ahead) < 60

    assert abs(behind() - (time.time() - WITHOUT_BATTERY)) < 60
    downloads()
    ahead = (25.0 * YEAR, -2.0 * DAY, 0.0)
    for each in ahead:
        clock.step_ahead(each)
        downloads()
        poll_until(partial(follows, each), timeout=60, what="word of S3's clock")
        assert abs(daemon.status()["at"] - time.time() - each) < 60
    program: tuple[str | Path, ...] = (sys.executable, "-m", "seeder.cli")
    told = json.loads(run([*program, "status", "-c", daemon.path, "--json"]))
    assert began - 60 < told["started"] < time.time()
    sent = (1 + len(ahead)) * len(BODY)
    assert daemon.stop() == 0
    totals = ledger(daemon).ledger.totals()
    assert sent <= totals.uploaded_bytes < sent + MIB
    assert totals.delivered_verified_bytes == sent
    # A line for each time that S3 had to be asked what time it is, and nothing else.
    complaints = daemon.complaints()
    assert len(complaints) <= len(ahead) + 1
    assert all("set it (NTP)" in line for line in complaints)
