"""Objects that change or go while they are published: nobody gets a byte that doesn't belong."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import libtorrent as lt

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, Torrent, content, digest, make_torrent
from tests.support.processes import POLL_SECONDS, poll_until

MakeDaemon = Callable[..., SeederDaemon]

PIECE = 64 * KIB
# Of one size, so that only the ETag tells them apart.
OLD, NEW = (content(8 * MIB, seed=seed) for seed in (1, 2))
OLD_TORRENT, NEW_TORRENT = (
    make_torrent(body, name="object", piece_length=PIECE) for body in (OLD, NEW)
)
NO_CACHE = {"memory": "128 KiB", "disk": "0 B"}
"""Every piece is read from S3 when it is asked for."""


TALKATIVE: "lt.settings_pack" = {
    "alert_mask": lt.alert.category_t.all_categories,
    "alert_queue_size": 100_000,
}


class Watched(Libtorrent):
    """A client whose messages can be waited for."""

    def wait_for_message(self, text: str, *, timeout: float) -> None:
        """Wait until libtorrent has reported something that contains `text`."""

        def reported() -> bool:
            self._read_alerts(until=time.monotonic() + POLL_SECONDS)
            return any(text in message for message in self.messages)

        poll_until(reported, timeout=timeout, what=f"message {text!r} of libtorrent")

    def flush(self) -> None:
        """Wait until the file holds what arrived."""
        self._torrent.flush_cache()
        self.wait_for_message("cache_flushed", timeout=60)


def serving(
    make: MakeDaemon, ceph: CephRGW, bucket: str, *, cache: object, **further: object
) -> SeederDaemon:
    """Return a running daemon that serves the object, built by itself."""
    section = {"bucket": bucket, "key": "object", "metainfo": ["build"], **further}
    daemon = make({"origin": origin(ceph), "objects": [section], "cache": cache})
    daemon.start()
    wait_for_state(daemon, bucket, "object")
    return daemon


def save_torrent(daemon: SeederDaemon, bucket: str, directory: Path) -> Path:
    path = directory / f"{secrets.token_hex(4)}.torrent"
    path.write_bytes(served_torrent(daemon, bucket, "object"))
    return path


def begin_download(client: ClientFactory, file: Path) -> Watched:
    """Return a client that is some pieces into a download of several seconds."""
    leecher = client(Watched, download_rate=MIB, settings=TALKATIVE)
    leecher.add(file)
    poll_until(lambda: sum(leecher.status().pieces) >= 4, timeout=30, what="first pieces")
    return leecher


def wait_for_failure(daemon: SeederDaemon, info_hash: bytes, reason: str) -> None:
    """Wait until the tracker refuses a torrent for `reason`."""
    poll_until(
        lambda: reason in announce(daemon, info_hash).get(b"failure reason", b"").decode(),
        timeout=60,
        what=f"failure reason {reason!r}",
    )


def wait_until_served(daemon: SeederDaemon, bucket: str, torrent: Torrent) -> None:
    """Wait until the object's torrent is this one, at ?torrent and at the tracker."""
    poll_until(
        lambda: wait_for_state(daemon, bucket, "object")["info_hash"] == torrent.info_hash.hex(),
        timeout=60,
        what="new torrent",
    )
    assert read_torrent(served_torrent(daemon, bucket, "object")).info == torrent.info
    assert b"failure reason" not in announce(daemon, torrent.info_hash)


def check_partial(leecher: Watched, torrent: Torrent, body: bytes) -> None:
    """Check that a client that was cut off has pieces of `body` and nothing else."""
    poll_until(lambda: leecher.status().num_peers == 0, timeout=60, what="end of the connection")
    status = leecher.status()
    assert 0 < sum(status.pieces) < len(status.pieces)
    assert status.total_failed_bytes == 0
    leecher.flush()
    with leecher.downloaded_file().open("rb") as file:
        for index, has in enumerate(status.pieces):
            if has:
                file.seek(index * PIECE)
                assert file.read(PIECE) == body[index * PIECE : (index + 1) * PIECE]


def test_an_object_replaced_during_a_download_ends_the_old_torrent(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", OLD)
    daemon = serving(seeder, ceph, bucket, cache=NO_CACHE)
    old = begin_download(client, save_torrent(daemon, bucket, tmp_path))

    publisher.put(bucket, "object", NEW)
    # The next read meets it, long before the next refresh.
    wait_for_failure(daemon, OLD_TORRENT.info_hash, "replaced")
    # What it has asked for is turned down and taken back before the connection ends.
    for message in ("<== REJECT", "<== DONT_HAVE", "CONNECTION_CLOSED"):
        old.wait_for_message(message, timeout=60)
    check_partial(old, OLD_TORRENT, OLD)
    old.reannounce()
    old.wait_for_message("replaced", timeout=60)

    wait_until_served(daemon, bucket, NEW_TORRENT)
    new = client(Libtorrent)
    assert digest(new.download(save_torrent(daemon, bucket, tmp_path), timeout=30)) == digest(NEW)


def test_an_object_deleted_during_a_download_ends_its_torrent_until_it_comes_back(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", OLD)
    daemon = serving(seeder, ceph, bucket, cache=NO_CACHE)
    old = begin_download(client, save_torrent(daemon, bucket, tmp_path))

    publisher.delete(bucket, "object")
    wait_for_failure(daemon, OLD_TORRENT.info_hash, "deleted")
    check_partial(old, OLD_TORRENT, OLD)
    gone = wait_for_state(daemon, bucket, "object", "failed")
    assert "no such key" in gone["reason"]
    code, body = daemon.get(f"/{bucket}/object?torrent")
    assert (code, b"<Code>NoSuchKey</Code>" in body) == (404, True)

    # It comes back, and with it the torrent; who was cut off is still in the swarm.
    publisher.put(bucket, "object", OLD)
    wait_until_served(daemon, bucket, OLD_TORRENT)
    assert daemon.torrent_status(bucket, "object")["peers"] >= 1
    new = client(Libtorrent)
    file = save_torrent(daemon, bucket, tmp_path)
    assert digest(new.download(file, timeout=30)) == digest(OLD)
    assert "not registered" not in daemon.log


def test_a_change_is_noticed_though_everything_is_cached(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    *,
    tmp_path: Path,
) -> None:
    publisher.put(bucket, "object", OLD)
    # Room for one of the two: the old pieces have to make way.
    daemon = serving(
        seeder, ceph, bucket, cache={"disk": "12 MiB", "memory": "1 MiB"}, refresh="1s"
    )
    old = begin_download(client, save_torrent(daemon, bucket, tmp_path))
    sent = ceph.body_bytes_sent(bucket, "object")
    assert sent == len(OLD)

    publisher.put(bucket, "object", NEW)
    wait_for_failure(daemon, OLD_TORRENT.info_hash, "replaced")
    check_partial(old, OLD_TORRENT, OLD)
    wait_until_served(daemon, bucket, NEW_TORRENT)
    new = client(Libtorrent)
    assert digest(new.download(save_torrent(daemon, bucket, tmp_path), timeout=30)) == digest(NEW)
    assert ceph.body_bytes_sent(bucket, "object") == sent + len(NEW)

    publisher.delete(bucket, "object")
    wait_for_failure(daemon, NEW_TORRENT.info_hash, "deleted")
    # And back again.
    publisher.put(bucket, "object", NEW)
    wait_until_served(daemon, bucket, NEW_TORRENT)


def test_the_same_bytes_uploaded_anew_keep_their_torrent(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon
) -> None:
    first = publisher.put(bucket, "object", OLD)
    daemon = serving(seeder, ceph, bucket, cache={}, refresh="1s")
    assert publisher.put_multipart(bucket, "object", OLD, part_size=5 * MIB) != first

    def seen() -> bool:
        return bool(daemon.torrent_status(bucket, "object")["version"] != first)

    poll_until(seen, timeout=60, what="new version")
    wait_until_served(daemon, bucket, OLD_TORRENT)
