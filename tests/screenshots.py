"""Takes the picture of the status page that README.md shows.

    python -m tests.screenshots [-o config/status.png]

Runs `seeder run` on moto's S3 server with made objects, has libtorrent clients download some of
them, and lets Chromium, headless, draw the status page. Everything lives in one temporary directory
and on free ports of 127.0.0.x, and is gone afterwards. It needs the extra `demo` and Debian's
package chromium. The figures on the picture are those of that run: nothing in it is made up.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import libtorrent as lt
from botocore.config import Config as BotocoreConfig
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
SIZE = "1280,905"
"""Of the picture, in pixels."""
LARGEST = 150 * 1024
"""Bytes of the picture: it is in the repository."""
TIME_LIMIT = 120.0

OBJECTS = {
    ("images", "base-2026-11.qcow2"): 96 * MIB,
    ("models", "speech-small.safetensors"): 48 * MIB,
    ("archive", "datasets/2026/stations.parquet"): 24 * MIB,
    ("archive", "datasets/2026/readings.parquet"): 40 * MIB,
}
DOWNLOADERS = {("images", "base-2026-11.qcow2"): 8, ("models", "speech-small.safetensors"): 3}
CONFIGURATION = """\
state_directory = "state"
[origin]
endpoint = "{endpoint}"
path_style = true
anonymous = true
[[objects]]
bucket = "images"
key = "base-2026-11.qcow2"
metainfo = ["build"]
[[objects]]
bucket = "models"
key = "speech-small.safetensors"
metainfo = ["build"]
[[objects]]
bucket = "archive"
prefix = "datasets/2026/"
metainfo = ["build"]
[tracker]
listen = ["127.0.0.1:{tracker}"]
[peer]
listen = ["127.0.0.1:{peer}"]
public_address = "127.0.0.1:{peer}"
[cache]
directory = "cache"
disk = "1 GiB"
[admin]
listen = ["127.0.0.1:{admin}"]
[budget]
origin_bytes_per_day = "1 GiB"
"""
CHROMIUM = (
    "chromium",
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


class Failed(Exception):
    """The picture could not be taken."""


def main() -> int:
    """Take the picture; 0 when it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "config" / "status.png")
    output: Path = parser.parse_args().output.absolute()
    if shutil.which(CHROMIUM[0]) is None:
        print("chromium is not installed", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="seeder-screenshot-") as name, ExitStack() as stack:
            take(Path(name), stack, output)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output}: {output.stat().st_size} bytes")
    return 0


def take(home: Path, stack: ExitStack, output: Path) -> None:
    """Start everything, wait until the downloads are done, and write the picture."""
    endpoint = stack.enter_context(s3_server())
    put_objects(endpoint)
    tracker, peer, admin = free_ports(3)
    path = home / "seeder.toml"
    path.write_text(
        CONFIGURATION.format(endpoint=endpoint, tracker=tracker, peer=peer, admin=admin)
    )
    stack.enter_context(running([sys.executable, "-m", "seeder.cli", "run", "-c", path], home))
    page = f"http://127.0.0.1:{admin}/"
    states = f"{page}status.json"
    poll(lambda: all_served(states), what="torrents of all objects")
    leechers: list[tuple[Any, Any]] = []
    for (bucket, key), count in DOWNLOADERS.items():
        torrent = get(f"http://127.0.0.1:{tracker}/{bucket}/{key}?torrent")
        for _ in range(count):
            number = len(leechers) + 2
            leechers.append(leech(torrent, f"127.0.0.{number}", home / str(number)))
    poll(lambda: all(handle.status().is_seeding for _, handle in leechers), what="downloads")
    # The clients announce their end, and tell each other what they have, a moment later.
    expected = sum(DOWNLOADERS.values())
    poll(lambda: json.loads(get(states))["totals"]["completed"] == expected, what="completions")
    photograph(page, home, output)
    for session, _ in leechers:
        session.pause()


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server on a free port; yield its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def put_objects(endpoint: str) -> None:
    """Make the buckets and fill them."""
    client: Any = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="made",
        aws_secret_access_key="made",
        config=BotocoreConfig(s3={"addressing_style": "path"}, proxies={}),
    )
    for bucket in sorted({bucket for bucket, _ in OBJECTS}):
        client.create_bucket(Bucket=bucket, ACL="public-read")
    for (bucket, key), size in OBJECTS.items():
        client.put_object(Bucket=bucket, Key=key, Body=os.urandom(size), ACL="public-read")
    client.close()


@contextmanager
def running(command: Sequence[str | Path], home: Path) -> Iterator[None]:
    """Run a program in `home`, its output in a log there; end it by SIGTERM."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (home / "seeder.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    except Failed as error:
        raise Failed(f"{error}\n{(home / 'seeder.log').read_text()[-2000:]}") from error
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def get(url: str) -> bytes:
    """Return what a URL gives."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def all_served(url: str) -> bool:
    """Tell whether every object has its torrent; False also before the page answers."""
    try:
        torrents = json.loads(get(url))["torrents"]
    except OSError:
        return False
    return len(torrents) == len(OBJECTS) and all(each["state"] == "serving" for each in torrents)


def poll(condition: Callable[[], bool], *, what: str) -> None:
    """Wait until a condition holds; Failed when it takes too long."""
    deadline = time.monotonic() + TIME_LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"no {what} within {TIME_LIMIT:.0f} s")
        time.sleep(0.2)


def leech(torrent: bytes, address: str, directory: Path) -> tuple[Any, Any]:
    """Have a libtorrent client of its own address download a torrent; return session and handle."""
    session: Any = lt.session(
        {
            "listen_interfaces": f"{address}:0",
            "outgoing_interfaces": address,
            "allow_multiple_connections_per_ip": True,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "alert_mask": 0,
        }
    )
    parameters: Any = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    directory.mkdir()
    parameters.save_path = str(directory)
    return session, session.add_torrent(parameters)


def photograph(page: str, home: Path, output: Path) -> None:
    """Write a picture of a page; Failed when there is none, or one that is too large."""
    picture = home / "status.png"
    command = [
        *CHROMIUM,
        f"--user-data-dir={home / 'profile'}",
        f"--window-size={SIZE}",
        "--virtual-time-budget=5000",  # the page asks for its figures after it has loaded
        f"--screenshot={picture}",
        page,
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode or not picture.is_file():
        raise Failed(f"chromium took no picture:\n{done.stderr.decode(errors='replace')[-2000:]}")
    if picture.stat().st_size > LARGEST:
        raise Failed(f"the picture has {picture.stat().st_size} bytes, {LARGEST} at most are kept")
    shutil.copyfile(picture, output)


if __name__ == "__main__":
    sys.exit(main())
