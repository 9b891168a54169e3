"""How long a leecher takes that comes when the swarm has finished and left.

    python -m tests.benchmarks.late [--size 256MiB] [--leechers 4] [--rounds 5]

One Ceph RGW and one object, once seeded normally and once super-seeded. As many libtorrent
leechers download it and leave; then one more comes. The cases take turns, and the medians of its
seconds are printed with their ratio. A latecomer of the other kind is kept waiting by a rate limit
on everything that a first leecher does: it comes when that one has a quarter of the object.
"""

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from seeder.units import KIB, MIB, parse_size
from tests.benchmarks.setup import machine
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import content, digest
from tests.support.processes import poll_until

BUCKET, KEY = "bucket", "object"
MODES = ("off", "auto")
ALONE, BESIDE_A_SLOW_ONE = "after the swarm has left", "beside a slow leecher with a quarter"


class Round:
    """One daemon and its clients, in a directory of their own."""

    def __init__(self, ceph: CephRGW, super_seeding: str, directory: Path) -> None:
        self._network = Network()
        self._directory = directory
        self._stack = ExitStack()
        self._clients = 0
        self.daemon = SeederDaemon(
            {
                "origin": origin(ceph),
                "objects": [{"bucket": BUCKET, "key": KEY, "metainfo": ["build"]}],
                "peer": {"super_seeding": super_seeding},
            },
            directory=directory / "daemon",
            address=self._network.address(2),
            environment=CephRGW.environment(),
        )

    def __enter__(self) -> "Round":
        self._stack.enter_context(self.daemon)
        wait_for_state(self.daemon, BUCKET, KEY)
        self.torrent = self._directory / "object.torrent"
        self.torrent.write_bytes(served_torrent(self.daemon, BUCKET, KEY))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, **options: Any) -> Libtorrent:
        """Return a client that has begun."""
        directory = self._directory / f"client-{self._clients}"
        made = Libtorrent(self._network.address(3 + self._clients), directory, **options)
        self._stack.callback(made.close)
        self._clients += 1
        made.add(self.torrent)
        return made


def seconds_alone(made: Round, leechers: int, sha256: str) -> float:
    """Return the seconds of a leecher that comes when `leechers` others have left."""
    swarm = [made.client() for _ in range(leechers)]
    wait_for_all(swarm, timeout=300)
    for client in swarm:
        client.leave()
    poll_until(
        lambda: made.daemon.torrent_status(BUCKET, KEY)["seeds"] == 0,
        timeout=30,
        what="end of the swarm",
    )
    return _seconds_of_one_more(made, sha256)


def seconds_beside(made: Round, size: int, sha256: str) -> float:
    """Return the seconds of a leecher that comes when a slow one has a quarter of the object."""
    slow = made.client(download_rate=size // 16, upload_rate=64 * KIB)
    poll_until(lambda: slow.status().progress > 0.25, timeout=60, what="a quarter of the object")
    return _seconds_of_one_more(made, sha256)


def _seconds_of_one_more(made: Round, sha256: str) -> float:
    started = time.monotonic()
    path = made.client().wait(300)
    seconds = time.monotonic() - started
    assert digest(path) == sha256
    return seconds


def main() -> None:
    """Run the cases by turns and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("256 MiB"))
    parser.add_argument("--leechers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    body = content(chosen.size)
    sha256 = digest(body)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with CephRGW("127.0.0.1") as ceph, tempfile.TemporaryDirectory() as name:
        publisher = ceph.publisher()
        publisher.create_bucket(BUCKET)
        publisher.put(BUCKET, KEY, body)
        for turn in range(chosen.rounds):
            for mode in MODES:
                directory = Path(name) / f"{turn}-{mode}"
                with Round(ceph, mode, directory / "alone") as made:
                    found[ALONE, mode].append(seconds_alone(made, chosen.leechers, sha256))
                with Round(ceph, mode, directory / "beside") as made:
                    found[BESIDE_A_SLOW_ONE, mode].append(seconds_beside(made, chosen.size, sha256))
                shutil.rmtree(directory)
    print(f"{chosen.size / MIB:.0f} MiB, medians of {chosen.rounds} rounds, seconds\n{machine()}\n")
    print("| a late leecher | normal | super-seeding | ratio |\n|---|---|---|---|")
    for case in (ALONE, BESIDE_A_SLOW_ONE):
        normal, auto = (median(found[case, mode]) for mode in MODES)
        print(f"| {case} | {normal:.2f} | {auto:.2f} | {auto / normal:.2f} |")


if __name__ == "__main__":
    main()
