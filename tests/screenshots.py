"""Takes the pictures of the status page and of the public list that the documents show.

    python -m tests.screenshots [-o config]

Runs `seeder run` on moto's S3 server with made objects, has libtorrent clients download some of
them, and lets Chromium, headless, draw both pages. Everything lives in one temporary directory
and on free ports of 127.0.0.x, and is gone afterwards. It needs the extra `demo` and Debian's
packages chromium and chromium-driver. The figures on the pictures are those of that run: nothing in
them is made up.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from seeder.commands.demo import s3_server
from seeder.torrent import bencode
from tests.e2e.clients.webdriver import Browser, why_no_webdriver
from tests.e2e.daemon import SeederDaemon
from tests.e2e.s3 import Publisher
from tests.house import ROOT
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content
from tests.support.processes import HarnessError, poll_until
from tests.support.toml import Settings

WIDTH = 1280
"""Of the pictures, in pixels."""
HEIGHTS = {"status.png": 1000, "list.png": 530}
"""In pixels, by picture."""
LARGEST = 250 * KIB
"""Bytes of a picture: it is in the repository."""
TIME_LIMIT = 120.0
"""Seconds for the torrents, and again for the downloads."""

OBJECTS = {
    ("images", "base-2026-11.qcow2"): (96 * MIB, 8),
    ("models", "speech-small.safetensors"): (48 * MIB, 3),
    ("archive", "datasets/2026/stations.parquet"): (24 * MIB, 0),
    ("archive", "datasets/2026/readings.parquet"): (40 * MIB, 0),
    ("archive", "datasets/2026/sensors.parquet"): (5 * MIB, 0),
    ("archive", "datasets/2026/README.md"): (3 * KIB, 0),
}
"""Bytes of each object, and the number of clients that download it."""
SETTINGS: Settings = {
    "objects": [
        {"bucket": "images", "key": "base-2026-11.qcow2", "metainfo": ["build"]},
        {"bucket": "models", "key": "speech-small.safetensors", "metainfo": ["build"]},
        {"bucket": "archive", "prefix": "datasets/2026/", "metainfo": ["build"]},
    ],
    "cache": {"disk": "1 GiB"},
    "budget": {"origin_bytes_per_day": "1 GiB"},
    "peer": {"upload_rate": "8 MiB/s"},
    "savings": {"currency": "USD"},
    "gateway": {"listing": True, "web_seed": True},
}


def main() -> int:
    """Take the pictures; 0 when they are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "config")
    output: Path = parser.parse_args().output
    if why := why_no_webdriver():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(prefix="seeder-screenshot-") as name, s3_server() as endpoint:
        put_objects(endpoint)
        origin = {"endpoint": endpoint, "path_style": True, "anonymous": True}
        seeder = SeederDaemon({"origin": origin, **SETTINGS}, directory=Path(name))
        try:
            with seeder, ExitStack() as leechers:
                download(seeder, leechers)
                photograph_status(seeder, output / "status.png")
                photograph_list(seeder, output / "list.png")
        except HarnessError as error:
            raise SystemExit(f"{error}\n{seeder.log[-2000:]}") from error
    for picture in HEIGHTS:
        print(f"{output / picture}: {(output / picture).stat().st_size} bytes")
    return 0


def put_objects(endpoint: str) -> None:
    """Make the buckets and fill them."""
    publisher = Publisher(endpoint, "made", "made")
    for bucket in {bucket for bucket, _ in OBJECTS}:
        publisher.create_bucket(bucket)
    for (bucket, key), (size, _) in OBJECTS.items():
        publisher.put(bucket, key, content(size), ACL="public-read", ChecksumAlgorithm="SHA256")


def download(seeder: SeederDaemon, stack: ExitStack) -> None:
    """Have the clients download, each on an address of its own, and stay until `stack` ends."""

    def served() -> bool:
        states = [torrent["state"] for torrent in seeder.status()["torrents"]]
        return states == ["serving"] * len(OBJECTS)

    poll_until(served, timeout=TIME_LIMIT, what="torrents of all objects")
    leechers: list[Libtorrent] = []
    for (bucket, key), (_, count) in OBJECTS.items():
        torrent = seeder.directory / f"{bucket}.torrent"
        torrent.write_bytes(without_web_seed(seeder.get(f"/{bucket}/{key}?torrent")[1]))
        for _ in range(count):
            address = f"127.0.0.{len(leechers) + 2}"
            leechers.append(stack.enter_context(Libtorrent(address, seeder.directory / address)))
            leechers[-1].add(torrent)
    wait_for_all(leechers, timeout=TIME_LIMIT)
    # The clients announce their end, and tell each other what they have, a moment later.
    poll_until(
        lambda: seeder.status()["totals"]["completed"] == len(leechers),
        timeout=TIME_LIMIT,
        what="completions",
    )


def without_web_seed(torrent: bytes) -> bytes:
    """Return a torrent whose clients have to get everything from peers."""
    found = bencode.decode(torrent)
    assert isinstance(found, dict)
    found.pop(b"url-list")
    return bencode.encode(found)


def photograph_status(seeder: SeederDaemon, output: Path) -> None:
    """Write a picture of the status page; HarnessError when it is too large."""
    page = f"http://{seeder.address}:{seeder.admin_port}/"
    with Browser(seeder.directory, page, width=WIDTH, height=HEIGHTS["status.png"]) as browser:
        browser.wait_for(lambda: browser.text("#link") == "live", "page with its figures")
        # The last uploads are over, and the plots have them.
        browser.wait_for(lambda: browser.texts("dd[data-figure=rate-peers]") == ["0 B/s"], "rest")
        settled = "return performance.now() > 9000 && document.querySelectorAll('canvas').length"
        browser.wait_for(lambda: browser.run(settled), "plots")
        keep_photograph(browser, output)


def photograph_list(seeder: SeederDaemon, output: Path) -> None:
    """Write a picture of the list with one of its rows open; HarnessError when it is too large."""
    page = f"http://{seeder.address}:{seeder.tracker_port}/"
    with Browser(seeder.directory, page, width=WIDTH, height=HEIGHTS["list.png"]) as browser:
        browser.wait_for(lambda: len(browser.all("summary")) == len(OBJECTS), "all torrents")
        browser.click("tr:nth-last-child(2) summary")
        keep_photograph(browser, output)


def keep_photograph(browser: Browser, output: Path) -> None:
    """Write a picture of what a browser shows; HarnessError when it is too large."""
    picture = output.with_suffix(".new.png")
    browser.photograph(picture)
    size = picture.stat().st_size
    if size > LARGEST:
        picture.unlink()
        raise HarnessError(f"the picture has {size} bytes, more than {LARGEST}")
    picture.replace(output)


if __name__ == "__main__":
    sys.exit(main())
