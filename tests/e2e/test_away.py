"""S3 that is away for a while under a running daemon.

It is said once, shown, and over when it is over; clients wait for it, and end.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.failing import Failing, Outage
from tests.e2e.network import Network
from tests.e2e.publishing import only, origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.s3.fault_server import FaultServer, in_thread
from tests.s3.objects_server import ObjectsServer
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.ports import free_port
from tests.support.processes import poll_until

KEYS = tuple("abcdefgh")
S3 = "127.0.0.1"


@contextlib.contextmanager
def asleep(ceph: CephRGW) -> Iterator[None]:
    """Stop RGW for the length of the block: it accepts connections and never answers."""
    *_, gateway = ceph.pids
    os.kill(gateway, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(gateway, signal.SIGCONT)


def test_an_origin_that_falls_silent_is_said_once_and_shown_until_it_is_back(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> None:
    for key in KEYS:
        publisher.put(bucket, key, key.encode() * 100_000)
    objects = [{"bucket": bucket, "key": key, "refresh": "1s"} for key in KEYS]
    daemon = seeder({"origin": origin(ceph), "objects": objects})
    daemon.start()
    for key in KEYS:
        wait_for_state(daemon, bucket, key, timeout=60)

    def shown() -> dict[str, Any]:
        told: dict[str, Any] = daemon.status()["origins"]["default"]
        return told

    def lines(word: str) -> list[str]:
        return [line for line in daemon.log.splitlines() if f"is {word} " in line]

    before = shown()
    assert (before["reachable"], before["since"], before["reason"]) == (True, None, None)
    began = time.time()
    with asleep(ceph):
        poll_until(lambda: not shown()["reachable"], timeout=60, what="origin that is away")
        away = shown()
        assert began - 5 <= away["last_success"] <= away["since"] + 1
        assert away["since"] <= time.time() - 10
        assert away["reason"].startswith("nothing has come from")
        notifications = daemon.notifications
        assert notifications is not None
        poll_until(
            lambda: any(
                "; origin default is stalled: S3 silent" in line for line in notifications.lines()
            ),
            timeout=20,
            what="word for systemctl status",
        )
        # Nobody need wait for that: what is cached is there, and so are the pages.
        for key in KEYS:
            assert daemon.torrent_status(bucket, key)["state"] in ("serving", "faulty")
    poll_until(lambda: shown()["reachable"], timeout=60, what="origin that is back")
    for key in KEYS:
        wait_for_state(daemon, bucket, key, timeout=60)
    [line] = lines("away")
    assert "S3 at" in line
    assert "request waits" in line or "requests wait" in line
    assert len(lines("back")) == 1
    # Not a line for each object.
    assert "can't connect" not in daemon.log
    assert "no answer in time" not in daemon.log


BODY = content(64 * MIB)
AWAY_FOR = 6.0
"""Seconds: more than five attempts take."""


@pytest.mark.parametrize("kind", ["refused", "silent", "slow-down"])
def test_clients_that_have_no_other_source_wait_for_s3_and_end(
    network: Network,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    tmp_path: Path,
    kind: Outage,
) -> None:
    own = tmp_path / "own.torrent"
    make_torrent(BODY, name="object", piece_length=256 * KIB).write(own)
    with Failing(BODY, network, kind, AWAY_FOR) as s3:
        daemon = seeder(
            {
                "origin": {"endpoint": s3.endpoint, "path_style": True, "anonymous": True},
                "objects": [{"bucket": "bucket", "key": "object", "torrent_file": str(own)}],
                "gateway": {"web_seed": True},
            }
        )
        daemon.start()
        wait_for_state(daemon, "bucket", "object")
        torrent = served_torrent(daemon, "bucket", "object")
        clients = [client(Libtorrent) for _ in range(2)]
        s3.arm(len(BODY) // 8)
        for each, key in zip(clients, (b"announce", b"url-list"), strict=True):
            file = each.directory / "given.torrent"
            file.write_bytes(only(torrent, key))
            each.add(file)
        files = wait_for_all(clients, timeout=100)
        assert [digest(file) for file in files] == [digest(BODY)] * 2
        assert s3.ended_at is not None
        # One for all, every second or so, beside those that were under way at first.
        assert s3.requests <= 60
        told = daemon.status()["origins"]["default"]
        assert told["reachable"]


def settings_of(endpoint: str, **entry: object) -> dict[str, object]:
    return {
        "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
        "objects": [{"bucket": "bucket", "key": "object", **entry}],
    }


def test_a_daemon_that_starts_without_s3_is_ready_and_publishes_when_s3_comes(
    network: Network, seeder: Callable[..., SeederDaemon], client: ClientFactory
) -> None:
    port = free_port(S3)
    store = ObjectsServer(objects={"object": BODY[: 4 * MIB]})
    daemon = seeder(settings_of(f"http://{S3}:{port}"))
    daemon.start()
    poll_until(lambda: " is away since " in daemon.log, timeout=60, what="word of the outage")
    told = daemon.torrent_status("bucket", "object")
    assert told["state"] == "waiting"
    assert "Connection refused" in told["reason"]
    with in_thread(FaultServer(default=store.serve), port=port, inside=network.entered):
        wait_for_state(daemon, "bucket", "object", timeout=60)
        # A line each for the outage and its end, and one for the object.
        assert len([line for line in daemon.complaints() if "refused" in line]) <= 2
        each = client(Libtorrent)
        file = each.directory / "given.torrent"
        file.write_bytes(served_torrent(daemon, "bucket", "object"))
        assert digest(each.download(file, timeout=60)) == digest(BODY[: 4 * MIB])


def test_a_build_goes_on_after_an_outage_where_it_was(
    network: Network, seeder: Callable[..., SeederDaemon]
) -> None:
    with Failing(BODY, network, "refused", AWAY_FOR) as s3:
        daemon = seeder(settings_of(s3.endpoint))
        s3.arm(len(BODY) // 4)
        daemon.start()
        wait_for_state(daemon, "bucket", "object", timeout=100)
        assert s3.ended_at is not None
        read = daemon.torrent_status("bucket", "object")["origin_bytes"]
        assert len(BODY) <= read <= 1.02 * len(BODY)


def test_an_outage_does_not_hold_up_a_stop(
    network: Network, seeder: Callable[..., SeederDaemon]
) -> None:
    with Failing(BODY, network, "mute", AWAY_FOR) as s3:
        daemon = seeder(settings_of(s3.endpoint))
        s3.arm(len(BODY) // 4)
        daemon.start()
        poll_until(lambda: s3.is_away, timeout=60, what="outage")
        assert daemon.stop(timeout=30) == 0
        assert s3.is_away, "it was waited for"
