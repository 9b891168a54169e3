"""After kill -9 and after a restart: nothing is read from S3 again, and no byte counted twice."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seeder.ledger.database import FLUSH_SECONDS
from seeder.metainfo.hashing import LARGEST_RANGE
from tests.e2e.ceph import CephRGW, Exchange
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.state import journaled, ledger, ledgered, pieces_on_disk
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest, make_torrent, write_content
from tests.support.processes import poll_until

PIECE = MIB
CONNECTIONS = 2
KEY = "big"

MakeDaemon = Callable[..., SeederDaemon]


def uploaded(daemon: SeederDaemon) -> int:
    """Return the bytes uploaded as the running daemon says."""
    return int(daemon.status()["totals"]["uploaded_bytes"])


def pieces_read(exchanges: Sequence[Exchange]) -> list[int]:
    """Return every piece that ranged GETs touched, as often as they did."""
    pieces: list[int] = []
    for exchange in exchanges:
        if exchange.method == "GET" and exchange.status == 206:
            assert exchange.range is not None
            first, last = map(int, exchange.range.removeprefix("bytes=").split("-"))
            pieces += range(first // PIECE, last // PIECE + 1)
    return pieces


def test_a_build_that_was_killed_goes_on_where_it_stopped(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    size = 256 * MIB
    original = tmp_path / KEY
    write_content(original, size)
    publisher.put(bucket, KEY, original)
    wish = {"bucket": bucket, "key": KEY, "metainfo": ["build"], "piece_length": "1 MiB"}
    daemon = seeder({"origin": origin(ceph, connections=CONNECTIONS), "objects": [wish]})
    daemon.start()
    progress = 0.0

    def half_done() -> bool:
        nonlocal progress
        progress = daemon.torrent_status(bucket, KEY)["progress"] or progress
        return progress > 0.4

    poll_until(half_done, timeout=30, what="half of the build")
    daemon.kill()
    before = ceph.exchanges(bucket, KEY)
    noted, held = journaled(daemon), pieces_on_disk(daemon)
    assert len(held) > 0.3 * size / PIECE
    assert held <= noted
    assert len(noted) < size / PIECE

    daemon.start()
    first = daemon.torrent_status(bucket, KEY)["progress"]
    assert first is None or first >= len(noted) * PIECE / size
    wait_for_state(daemon, bucket, KEY)
    built = ceph.exchanges(bucket, KEY)[len(before) :]
    assert sorted(pieces_read(built)) == sorted(set(range(size // PIECE)) - noted)
    # What was on its way, or came and was not hashed yet, is all that was read twice.
    in_flight = len(pieces_read(before)) - len(noted)
    assert 0 <= in_flight <= 8 * LARGEST_RANGE / PIECE
    served = served_torrent(daemon, bucket, KEY)
    assert read_torrent(served).info == make_torrent(original, name=KEY, piece_length=PIECE).info

    leecher = client(Libtorrent)
    torrent = tmp_path / "big.torrent"
    torrent.write_bytes(served)
    assert digest(leecher.download(torrent, timeout=60)) == digest(original)
    exchanges = ceph.exchanges(bucket, KEY)
    downloaded = pieces_read(exchanges[len(before) + len(built) :])
    assert set(downloaded) <= noted - held
    assert len(downloaded) == len(set(downloaded))
    # RGW leaves out the write (4 MiB) during which a client hangs up.
    assert daemon.status()["totals"]["origin_bytes"] <= ceph.body_bytes_sent(bucket, KEY)


def test_a_download_goes_on_after_kill_9_and_nothing_is_read_or_counted_twice(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    size, rate = 96 * MIB, 12 * MIB
    body = content(size)
    publisher.put(bucket, KEY, body)
    # A torrent of one's own leaves the cache cold, so that the download itself reads from S3.
    own = make_torrent(body, name=KEY, piece_length=PIECE).write(tmp_path / "own.torrent")
    wish = {"bucket": bucket, "key": KEY, "torrent_file": str(own)}
    daemon = seeder({"origin": origin(ceph), "objects": [wish]})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    torrent = tmp_path / "served.torrent"
    torrent.write_bytes(served_torrent(daemon, bucket, KEY))
    # It dials the daemon again when that has been up for a while (by default after a minute), and
    # lets little lie in its socket.
    patience = {"min_reconnect_time": 3, "recv_socket_buffer_size": 65536}
    leecher = client(Libtorrent, download_rate=rate, settings=patience)
    leecher.add(torrent)
    poll_until(lambda: ledgered(daemon) > 0, timeout=20, what="flush")
    first_flush = ledgered(daemon)
    poll_until(lambda: uploaded(daemon) > first_flush + PIECE, timeout=60, what="more upload")
    received = leecher.status().total_payload_download
    seen = daemon.status()["totals"]
    daemon.kill()
    # Booked as sent, these bytes may have died in the sockets.
    unread = max(0, seen["uploaded_bytes"] - received)
    killed_at = time.time()
    kept = ledger(daemon)
    before, held = ceph.exchanges(bucket, KEY), pieces_on_disk(daemon)
    flushed = kept.ledger.totals()
    assert kept.at is not None
    since = killed_at - kept.at
    assert since < FLUSH_SECONDS + 15  # a busy machine comes late to a flush
    assert 0 < flushed.uploaded_bytes <= seen["uploaded_bytes"]
    assert 10 < len(held) < size / PIECE

    daemon.start()
    after = daemon.status()["totals"]
    assert after["uploaded_bytes"] == flushed.uploaded_bytes
    assert after["origin_bytes"] == flushed.origin_bytes
    leecher.reannounce()
    assert digest(leecher.wait(60)) == digest(body)
    received = leecher.status().total_payload_download
    poll_until(
        lambda: daemon.status()["totals"]["completed"] == 1, timeout=60, what="completed announce"
    )
    totals = daemon.status()["totals"]
    assert received - (since + 2) * rate < totals["uploaded_bytes"] <= received + unread
    # What it had claimed before the crash is not known any more, and not counted again.
    assert 0 < totals["delivered_claimed_bytes"] <= size
    assert totals["delivered_verified_bytes"] <= size + unread

    again = pieces_read(ceph.exchanges(bucket, KEY)[len(before) :])
    assert again
    assert not set(again) & held
    assert len(again) == len(set(again))
    sent = ceph.body_bytes_sent(bucket, KEY)
    assert totals["origin_bytes"] <= sent
    # Twice came what was in flight, or waited for the disk, when it was killed.
    assert size <= sent <= size + 16 * PIECE


def test_after_a_clean_stop_nothing_is_read_and_nobody_is_forgotten(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: MakeDaemon,
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    body = content(20 * MIB + 5)
    publisher.put(bucket, KEY, body)
    daemon = seeder(
        {"origin": origin(ceph), "objects": [{"bucket": bucket, "key": KEY, "metainfo": ["build"]}]}
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    torrent = tmp_path / "served.torrent"
    torrent.write_bytes(served_torrent(daemon, bucket, KEY))
    leecher = client(Libtorrent)
    leecher.download(torrent, timeout=30)
    poll_until(lambda: daemon.status()["totals"]["seeds"] == 1, timeout=60, what="seed")
    before = daemon.status()["totals"]
    assert daemon.stop() == 0
    kept = ledger(daemon).ledger.totals()
    read = ceph.body_bytes_sent(bucket, KEY)
    assert kept.uploaded_bytes == before["uploaded_bytes"] >= len(body)
    assert kept.completed == 1

    daemon.start()
    after = daemon.status()["totals"]
    for name in _COUNTED:
        assert after[name] == before[name], name
    assert (after["peers"], after["seeds"]) == (1, 1)
    assert served_torrent(daemon, bucket, KEY) == torrent.read_bytes()
    handout: Any = announce(daemon, read_torrent(torrent.read_bytes()).info_hash)[b"peers"]
    address = bytes(map(int, leecher.address.split("."))) + leecher.port.to_bytes(2, "big")
    assert address in {handout[at : at + 6] for at in range(0, len(handout), 6)}
    leecher.close()

    newcomer = client(Libtorrent)
    assert digest(newcomer.download(torrent, timeout=30)) == digest(body)
    assert ceph.body_bytes_sent(bucket, KEY) == read
    assert daemon.status()["totals"]["origin_bytes"] == before["origin_bytes"]


_COUNTED = (
    "origin_bytes",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "completed",
    "peers_seen",
)
