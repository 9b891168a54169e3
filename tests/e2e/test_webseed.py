"""The web seed from S3 to real HTTP clients, whole and resumed, and to torrents without a tracker.

S3 is read once for all of them, and the ledger knows every byte that was sent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import Aria2, ClientFactory
from tests.e2e.clients.chromium import Chromium, why_no_chromium
from tests.e2e.cutter import Cutter
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_magnet, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import Child, missing_programs, poll_until

MakeDaemon = Callable[..., SeederDaemon]

KEY = "folder/ünïcode + 100%/Nelson.dat"
QUOTED = "folder/%C3%BCn%C3%AFcode%20%2B%20100%25/Nelson.dat"
NAME = "Nelson.dat"
SIZE = 24 * MIB + 5
BODY = content(SIZE)
HALF = SIZE // 2
BUFFERS = 16 * MIB
"""What the system may hold of a reply when its client is lost."""


class Seed:
    """A daemon that serves one cold object over HTTP."""

    def __init__(self, daemon: SeederDaemon, bucket: str) -> None:
        self.daemon = daemon
        self.bucket = bucket

    @property
    def path(self) -> str:
        return f"/{self.bucket}/{QUOTED}"

    @property
    def url(self) -> str:
        return f"http://{self.daemon.address}:{self.daemon.tracker_port}{self.path}"

    def status(self) -> dict[str, Any]:
        return self.daemon.torrent_status(self.bucket, KEY)

    @contextmanager
    def cut(self) -> Iterator[str]:
        """Lead to the object by a wire that breaks once, half-way."""
        target = self.daemon.address, self.daemon.tracker_port
        # Browsers warn of downloads by plain HTTP from anywhere but this machine.
        with Cutter("127.0.0.1", target, count=HALF) as cutter:
            yield f"http://127.0.0.1:{cutter.port}{self.path}"
            assert cutter.has_cut

    @contextmanager
    def sends(self, least: int, most: int | None = None) -> Iterator[None]:
        """Check what is uploaded, and delivered, while the block runs."""
        before = self.status()
        yield
        # The client may have the last byte before the daemon has counted it.
        poll_until(lambda: self.daemon.status()["peers"]["downloads"] == 0, timeout=20, what="end")
        after = self.status()
        for figure in ("uploaded_bytes", "delivered_verified_bytes"):
            assert least <= after[figure] - before[figure] <= (most or least), figure


@pytest.fixture
def seed(ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon) -> Seed:
    publisher.put(bucket, KEY, BODY)
    publisher.put(
        bucket, f"{KEY}.torrent", make_torrent(BODY, name=NAME, piece_length=256 * KIB).file()
    )
    objects = [{"bucket": bucket, "key": KEY, "metainfo": ["sidecar"]}]
    settings: Mapping[str, object] = {
        "origin": origin(ceph),
        "objects": objects,
        "gateway": {"web_seed": True},
        "peer": {"copies_per_address": "unlimited"},
    }
    daemon = seeder(settings)
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    return Seed(daemon, bucket)


def without_tracker(torrent: bytes) -> bytes:
    """Return a torrent file that tells of nobody but its web seeds."""
    outside: Any = bdecode(torrent)
    del outside[b"announce"]
    return bencode(outside)


def run(argv: list[str | Path], directory: Path, *, expect: int = 0) -> None:
    with Child(argv, log=directory / "client.log") as child:
        assert child.wait(60) == expect, child.output()


def test_http_clients_get_the_object_and_go_on_where_they_were_cut_off(
    seed: Seed, ceph: CephRGW, tmp_path: Path
) -> None:
    if missing := missing_programs("curl", "aria2c"):
        pytest.skip(f"{', '.join(missing)} not installed")
    curl = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*"]
    whole = tmp_path / "whole"
    with seed.sends(SIZE):
        run([*curl, "-o", whole, seed.url], tmp_path)
    assert digest(whole) == digest(BODY)

    part = tmp_path / "part"
    with seed.sends(SIZE, SIZE + BUFFERS), seed.cut() as url:
        run([*curl, "-o", part, url], tmp_path, expect=18)
        assert 0 < part.stat().st_size < SIZE
        run([*curl, "-C", "-", "-o", part, url], tmp_path)
    assert digest(part) == digest(BODY)

    aria2 = ["aria2c", "--no-conf", "--max-tries=1", "--split=1", f"--dir={tmp_path}"]
    aria2 += ["--enable-color=false", "--summary-interval=0", "--file-allocation=none"]
    with seed.sends(SIZE, SIZE + BUFFERS), seed.cut() as url:
        run([*aria2, "--out=by-aria2", url], tmp_path, expect=1)
        assert (tmp_path / "by-aria2.aria2").exists()
        run([*aria2, "-c", "--out=by-aria2", url], tmp_path)
    assert digest(tmp_path / "by-aria2") == digest(BODY)

    aria2 = [*aria2[:3], "--split=4", "--min-split-size=1M", *aria2[4:]]
    with seed.sends(SIZE, SIZE + BUFFERS):
        run([*aria2, "-x4", "--out=in-parallel", seed.url], tmp_path)
    assert digest(tmp_path / "in-parallel") == digest(BODY)

    assert ceph.body_bytes_sent(seed.bucket, KEY) == SIZE
    status = seed.status()
    assert status["origin_bytes_by_purpose"]["pieces"] == SIZE - sampled(status)
    assert "Traceback" not in seed.daemon.log


def sampled(status: Mapping[str, Any]) -> int:
    """Return what of the object was read to verify its metainfo; the cache has kept it."""
    pieces = status["origin_bytes"] - status["origin_bytes_by_purpose"]["pieces"]
    sidecar = len(make_torrent(BODY, name=NAME, piece_length=256 * KIB).file())
    return int(pieces) - sidecar


def test_a_browser_downloads_and_resumes(seed: Seed, ceph: CephRGW, tmp_path: Path) -> None:
    if reason := why_no_chromium():
        pytest.skip(reason)
    with (
        seed.sends(SIZE, SIZE + BUFFERS),
        seed.cut() as url,
        Chromium(tmp_path / "browser", url) as browser,
    ):
        file = browser.wait(60)
        assert file.name == NAME
        assert digest(file) == digest(BODY)
    assert ceph.body_bytes_sent(seed.bucket, KEY) == SIZE
    assert "Traceback" not in seed.daemon.log


def test_torrents_without_a_tracker_are_downloaded_by_their_web_seed(
    seed: Seed, ceph: CephRGW, client: ClientFactory, tmp_path: Path
) -> None:
    served = served_torrent(seed.daemon, seed.bucket, KEY)
    outside: Any = bdecode(served)
    assert outside[b"url-list"] == [seed.url.encode()]
    assert f"&ws=http%3A%2F%2F{seed.daemon.address}" in served_magnet(seed.daemon, seed.bucket, KEY)
    file = tmp_path / "alone.torrent"
    file.write_bytes(without_tracker(served))
    for kind in (Libtorrent, Aria2):
        leecher = client(kind)
        with seed.sends(SIZE):
            assert digest(leecher.download(file, timeout=60)) == digest(BODY)
        leecher.close()
    assert seed.daemon.status()["peers"]["accepted"] == 0

    # By tracker, peer wire and web seed at once: nothing is counted as delivered twice.
    both = tmp_path / "both.torrent"
    both.write_bytes(served)
    before = seed.status()["delivered_verified_bytes"]
    leecher = client(Libtorrent)
    assert digest(leecher.download(both, timeout=60)) == digest(BODY)
    leecher.close()
    poll_until(lambda: seed.daemon.status()["peers"]["connected"] == 0, timeout=20, what="end")
    assert seed.daemon.status()["peers"]["accepted"] > 0
    delivered = seed.status()["delivered_verified_bytes"] - before
    assert 0.9 * SIZE <= delivered <= SIZE

    assert ceph.body_bytes_sent(seed.bucket, KEY) == SIZE
    assert "Traceback" not in seed.daemon.log


def test_a_replaced_object_is_never_mixed_with_its_successor(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: MakeDaemon, tmp_path: Path
) -> None:
    if missing_programs("curl"):
        pytest.skip("curl not installed")
    # Of one size, so that only the ETag tells them apart.
    old, new = (content(8 * MIB, seed=number) for number in (1, 2))
    publisher.put(bucket, NAME, old)
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": NAME, "metainfo": ["build"], "refresh": "1s"}],
            "gateway": {"web_seed": True},
            "peer": {"upload_rate": "512 KiB/s"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, NAME)
    url = f"http://{daemon.address}:{daemon.tracker_port}/{bucket}/{NAME}"
    curl: list[str | Path] = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*"]
    part, headers = tmp_path / "part", tmp_path / "headers"
    argv = [*curl, "-D", headers, "-o", part, url]
    with Child(argv, log=tmp_path / "curl.log") as child:
        child.wait_until(lambda: part.exists() and part.stat().st_size > 0, timeout=20, what="data")
        publisher.put(bucket, NAME, new)
        assert child.wait(60) == 18, child.output()
    got = part.read_bytes()
    assert old.startswith(got)
    assert len(got) < len(old)

    daemon.configure(
        {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": NAME, "metainfo": ["build"], "refresh": "1s"}],
            "gateway": {"web_seed": True},
        }
    )
    daemon.reload()
    wait_for_state(daemon, bucket, NAME)
    [etag] = [line for line in headers.read_text().splitlines() if line.startswith("ETag: ")]
    resumed = ["-H", f"If-Range: {etag.removeprefix('ETag: ')}", "-r", f"{len(got)}-"]
    run([*curl, *resumed, "-o", part, url], tmp_path)
    assert part.read_bytes() == new
    assert "Traceback" not in daemon.log
