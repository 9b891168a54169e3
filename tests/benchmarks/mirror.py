"""A mirror of thousands of torrents behind one address: what becomes of its announces, and ghosts.

    python -m tests.benchmarks.mirror [--torrents 5000] [--size 32KiB] [--connections 20] [--udp]

One libtorrent session with its own limits has all torrents of a prefix. It begins with nothing and
downloads them from the daemon's peer listener, pauses (which says `stopped` for each), goes on as a
seed, and ends. The daemon runs as it comes, but for `--connections` (peer.connections_per_address).
With `--udp` the torrents name the tracker's UDP alone. What the tracker took is its own count;
ghosts are peers that it lists when the mirror has gone.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from seeder.net.addresses import HostPort
from seeder.units import parse_size
from tests.benchmarks.setup import machine, show
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, FIRST_CLIENT_ADDRESS, Namespace
from tests.s3.fault_server import FaultServer, in_thread
from tests.s3.objects_server import ObjectsServer
from tests.support.mirror import Mirror
from tests.support.objects import KIB, Torrent, content, make_torrent

BUCKET, PREFIX = "archive", "sets/"
PIECE = 16 * KIB
UDP_PORT = 6969
LATEST = 2700.0
"""Seconds until a phase counts as one that never ends."""
QUIET = 5.0
"""Seconds without an announce after which the mirror has said all."""
ADMITTED = 50
"""Requests a second of one address (`REQUESTS_A_SECOND` in seeder.gateway.clients)."""


def announces(daemon: SeederDaemon) -> Mapping[str, Mapping[str, int]]:
    """Return the announces since the start, by event and outcome; cheaply."""
    code, body = daemon.get("/status.json?limit=1", admin=True)
    assert code == 200, body[:200]
    found: Mapping[str, Mapping[str, int]] = json.loads(body)["tracker"]["announces"]
    return found


def taken(daemon: SeederDaemon, event: str) -> int:
    return announces(daemon).get(event, {}).get("answered", 0)


def ghosts(daemon: SeederDaemon) -> int:
    """Return how many peers all swarms list."""
    return sum(torrent["peers"] for torrent in daemon.status()["torrents"])


def quiet(daemon: SeederDaemon, mirror: Mirror | None = None) -> None:
    """Wait until no announce has come for a while."""
    before, since = -1, time.monotonic()
    while time.monotonic() < since + QUIET:
        if mirror is not None:
            mirror.look()
        time.sleep(0.5)
        now = sum(sum(outcomes.values()) for outcomes in announces(daemon).values())
        if now != before:
            before, since = now, time.monotonic()


def busiest(each_second: Counter[int], begin: int, stop: float = float("inf")) -> int:
    """Return the most of any second of a span."""
    return max((count for at, count in each_second.items() if begin <= at < stop), default=0)


class Rows:
    """The table as it grows."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def add(self, what: str, value: object) -> None:
        self.all.append((what, f"{value:.1f}" if isinstance(value, float) else f"{value:,}"))
        print(*self.all[-1], sep=": ", flush=True)


def measure(daemon: SeederDaemon, torrents: Sequence[Torrent], address: str, where: Path) -> Rows:
    """Run the mirror through its life."""
    rows, count = Rows(), len(torrents)
    with Mirror(address, where) as mirror:

        def wait(event: str, number: int, what: str) -> float:
            return mirror.wait_until(
                lambda: taken(daemon, event) >= number, timeout=LATEST, what=what
            )

        mirror.add(torrents)
        rows.add("every `started` taken, s", wait("started", count, "the start"))
        first_minute = sum(n for at, n in mirror.refused_at.items() if at < 60)
        rows.add("refused in the first minute", first_minute)
        rows.add("refused later", mirror.told["refused"] - first_minute)
        rows.add("announces in the busiest second later", busiest(mirror.announced_at, 60))
        begun, done = time.monotonic(), mirror.finished
        mirror.wait_until(lambda: mirror.finished >= count, timeout=LATEST, what="the downloads")
        rows.add("downloaded then", done)
        rows.add("until all are downloaded, s more", time.monotonic() - begun)
        wait("completed", count, "word of the downloads")
        rows.add("`completed` taken", taken(daemon, "completed"))
        rows.add("downloads that the tracker counts", completed(daemon))
        before = ghosts(daemon)
        rows.add("listed", before)
        begun = time.monotonic()
        mirror.pause()
        wait("stopped", count, "the pause")
        rows.add("paused: every `stopped` taken, s", time.monotonic() - begun)
        rows.add("paused: ghosts", ghosts(daemon))
        again = mirror.told.copy()
        mirror.resume()
        rows.add("goes on as a seed: every `started` taken, s", wait("started", 2 * count, "more"))
        rows.add("goes on: refused", mirror.told["refused"] - again["refused"])
        rows.add("goes on: listed", ghosts(daemon))
        begun = time.monotonic()
    rows.add("ends after, s", time.monotonic() - begun)
    quiet(daemon)
    rows.add("ended: `stopped` taken", taken(daemon, "stopped") - count)
    rows.add("ended: ghosts", ghosts(daemon))
    for reason, number in mirror.reasons.most_common(3):
        print(f"refused {number} times: {reason}")
    print(announces(daemon), daemon.status()["peers"]["refusals"])
    print(*daemon.complaints(), sep="\n")
    return rows


def completed(daemon: SeederDaemon) -> int:
    """Return how many downloads all swarms have seen."""
    return sum(torrent["completed"] for torrent in daemon.status()["torrents"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torrents", type=int, default=5000)
    parser.add_argument("--size", type=parse_size, default=32 * KIB)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--udp", action="store_true")
    options = parser.parse_args()
    bodies = {
        f"{PREFIX}part-{number:05}.tar": content(options.size, seed=number)
        for number in range(options.torrents)
    }
    store = ObjectsServer(objects=bodies)
    store.etags = {key: store.etag(body) for key, body in bodies.items()}
    network = Namespace()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mirror-")))
        stack.enter_context(network.entered())
        server = FaultServer(default=store.serve)
        stack.enter_context(in_thread(server, inside=network.entered))
        entry = {"bucket": BUCKET, "prefix": PREFIX, "metainfo": ["build"]}
        settings = {
            "origin": {"endpoint": server.url, "path_style": True, "anonymous": True},
            "objects": [entry | {"piece_length": f"{PIECE} B"}],
            "peer": {"connections_per_address": options.connections},
        }
        udp = HostPort(network.address(DAEMON_ADDRESS), UDP_PORT)
        if options.udp:
            settings["tracker"] = {"udp_listen": [str(udp)]}
        daemon = SeederDaemon(
            settings, directory=directory / "seeder", address=network.address(DAEMON_ADDRESS)
        )
        stack.callback(daemon.kill)
        begun = time.monotonic()
        daemon.start(timeout=LATEST)
        while sum(each["state"] == "serving" for each in daemon.status()["torrents"]) < len(bodies):
            time.sleep(1)
        print(f"published in {time.monotonic() - begun:.0f} s", flush=True)
        torrents = [
            make_torrent(
                body,
                name=key.removeprefix(PREFIX),
                piece_length=PIECE,
                trackers=[f"udp://{udp}/announce" if options.udp else daemon.announce_url],
            )
            for key, body in bodies.items()
        ]
        rows = measure(
            daemon, torrents, network.address(FIRST_CLIENT_ADDRESS), directory / "downloads"
        )
    show(f"a mirror of {options.torrents:,} torrents; {machine()}", ["", ""], rows.all)


if __name__ == "__main__":
    main()
