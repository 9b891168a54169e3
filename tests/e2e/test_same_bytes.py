"""The same bytes uploaded anew while real clients download them: nobody notices."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory, Rtorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import announce, only, origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher, wait_for_all
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import Child, HarnessError, missing_programs, poll_until

KEY = "object"
BODY = content(48 * MIB)
PIECE = 256 * KIB
SAMPLE = 10 * PIECE
"""What metainfo from outside is checked by."""
CURL = 16
"""The number of curl's address."""


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


@pytest.mark.timeout(300)
def test_an_object_that_is_copied_in_place_ends_no_download_from_its_web_seed(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    kinds: list[type[Leecher]],
    namespace: Network,
    tmp_path: Path,
) -> None:
    if missing := missing_programs("curl"):
        pytest.skip(f"{', '.join(missing)} not installed")
    body = BODY[: 20 * MIB]
    publisher.put(bucket, KEY, body)
    wish = {"bucket": bucket, "key": KEY, "metainfo": ["build"], "piece_length": f"{PIECE} B"}
    settings: dict[str, object] = {
        "origin": origin(ceph),
        "objects": [{**wish, "refresh": "1s"}],
        "gateway": {"web_seed": True},
        # A fifth of it: most of what they ask meanwhile is not at hand.
        "cache": {"memory": "4 MiB", "disk": "0 B"},
    }
    daemon = seeder({**settings, "peer": {"upload_rate_per_peer": "256 KiB/s"}})
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    file = tmp_path / "object.torrent"
    file.write_bytes(only(served_torrent(daemon, bucket, KEY), b"url-list"))
    leechers = [client(kind) for kind in kinds if kind is not Rtorrent]
    for leecher in leechers:
        leecher.add(file)
    # Those ask again where they are cut off; this one doesn't.
    address, url = namespace.address(CURL), f"http://{daemon.address}:{daemon.tracker_port}"

    def are_under_way() -> bool:
        """Tell whether each of them has a download open, and something of it."""
        here = f"{daemon.address}:{daemon.tracker_port}"
        lines = namespace.run(["ss", "-Htn", "state", "established", "src", here]).splitlines()
        there = {line.split()[3].rpartition(":")[0] for line in lines}
        uploaded = daemon.torrent_status(bucket, KEY)["uploaded_bytes"]
        wanted = {address, *(leecher.address for leecher in leechers)}
        return there >= wanted and uploaded >= 2 * MIB

    with Child(
        ["curl", "-sSf", "--interface", address, "-o", tmp_path / "got", f"{url}/{bucket}/{KEY}"],
        log=tmp_path / "curl.log",
        prefix=namespace.prefix,
    ) as curl:
        poll_until(are_under_way, timeout=60, what="a download of each client")
        version = daemon.torrent_status(bucket, KEY)["version"]
        publisher.copy_in_place(bucket, KEY, size=len(body), part_size=5 * MIB)
        poll_until(
            lambda: daemon.torrent_status(bucket, KEY)["version"] != version,
            timeout=30,
            what="new version",
        )
        wait_for_state(daemon, bucket, KEY)
        daemon.configure(settings)
        daemon.reload()
        for path in wait_for_all(leechers, timeout=90):
            assert digest(path) == digest(body)
        # Where S3 stalls, a piece is asked for again after 30 s, and maybe again.
        try:
            ended = curl.wait(150)
        except HarnessError as error:
            raise HarnessError(f"{error}; {daemon.torrent_status(bucket, KEY)}") from error
        assert ended == 0, curl.output()
    assert digest(tmp_path / "got") == digest(body)
    assert "the same bytes under another ETag" in daemon.log
    assert "not registered" not in daemon.log
