"""S3 that falls silent under a running daemon: it is said once, shown, and over when it is over."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.processes import poll_until

KEYS = tuple("abcdefgh")


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
            lambda: any("; origin default is away: " in line for line in notifications.lines()),
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
