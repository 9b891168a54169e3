"""How often S3 and the seeder send an object to a swarm of real clients that start together.

    python -m tests.benchmarks.swarm [--size 256MiB] [--leechers 8] [--rounds 3]

One Ceph RGW, one object, a daemon a case, and as many libtorrent leechers, each with an address of
its own. S3 copies are all body bytes that RGW itself counts, what was read for the metainfo
included; seeder copies come from our ledger. The cases take turns, and the medians are printed.
"""

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from seeder.torrent.layout import MIB
from seeder.values import parse_size
from tests.benchmarks.seeding import machine
from tests.e2e import ceph as ceph_module
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import wait_for_all
from tests.e2e.daemon import SeederDaemon
from tests.e2e.libtorrent_client import Libtorrent
from tests.e2e.network import Network
from tests.e2e.objects import content, digest, make_torrent
from tests.e2e.publishing import origin, served_torrent, wait_for_state

BUCKET, KEY = "bucket", "object"


@dataclass(frozen=True)
class Case:
    """A way to seed: super-seeding or not, and the share of the object that the cache holds."""

    name: str
    super_seeding: str
    cache: float
    given: bool = False
    """The metainfo is a torrent of one's own, so that the object needn't be hashed."""


CASES = (
    Case("normal, cache >= object", "off", 2.0),
    Case("super-seeding, cache >= object", "auto", 2.0),
    Case("normal, cache 10 %", "off", 0.1),
    Case("super-seeding, cache 10 %", "auto", 0.1),
    Case("super-seeding, cache 10 %, torrent given", "auto", 0.1, given=True),
)


@dataclass(frozen=True)
class Outcome:
    """What one swarm cost."""

    s3_copies: float
    seeder_copies: float
    seconds: float


def run(case: Case, ceph: CephRGW, body: bytes, *, leechers: int, directory: Path) -> Outcome:
    """Start a daemon and a swarm, wait until everybody has the object, and count."""
    network, size, sha256 = Network(), len(body), digest(body)
    cache = int(size * case.cache)
    entry: dict[str, object] = {"bucket": BUCKET, "key": KEY, "piece_length": "1 MiB"}
    if case.given:
        own = directory / "own.torrent"
        own.write_bytes(make_torrent(body, name=KEY, piece_length=MIB).file())
        entry["torrent_file"] = str(own)
    else:
        entry["metainfo"] = ["build"]
    daemon = SeederDaemon(
        {
            "origin": origin(ceph),
            "objects": [entry],
            "cache": {"memory": f"{cache // 2} B", "disk": f"{cache // 2} B"},
            "peer": {"super_seeding": case.super_seeding},
        },
        directory=directory / "daemon",
        address=network.address(2),
        environment={
            "AWS_ACCESS_KEY_ID": ceph_module.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ceph_module.SECRET_KEY,
        },
    )
    before = ceph.body_bytes_sent(BUCKET, KEY)
    with ExitStack() as stack:
        stack.enter_context(daemon)
        wait_for_state(daemon, BUCKET, KEY)
        torrent = directory / "object.torrent"
        torrent.write_bytes(served_torrent(daemon, BUCKET, KEY))
        started = time.monotonic()
        clients = []
        for number in range(leechers):
            client = Libtorrent(network.address(3 + number), directory / f"client-{number}")
            stack.callback(client.close)
            client.add(torrent)
            clients.append(client)
        files = wait_for_all(clients, timeout=300)
        seconds = time.monotonic() - started
        assert all(digest(path) == sha256 for path in files)
        read = ceph.body_bytes_sent(BUCKET, KEY) - before
        uploaded = daemon.torrent_status(BUCKET, KEY)["uploaded_bytes"]
        return Outcome(read / size, uploaded / size, seconds)


def main() -> None:
    """Run the cases by turns and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("256 MiB"))
    parser.add_argument("--leechers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    outcomes: dict[Case, list[Outcome]] = defaultdict(list)
    chunk = content(min(chosen.size, 8 * MIB))
    # No two pieces alike, and made faster than random bytes.
    turned = (chunk[number:] + chunk[:number] for number in range(-(-chosen.size // len(chunk))))
    body = b"".join(turned)[: chosen.size]
    with CephRGW("127.0.0.1") as ceph, tempfile.TemporaryDirectory() as name:
        publisher = ceph.publisher()
        publisher.create_bucket(BUCKET)
        publisher.put(BUCKET, KEY, body)
        for turn in range(chosen.rounds):
            for number, case in enumerate(CASES):
                directory = Path(name) / f"{turn}-{number}"
                directory.mkdir()
                found = run(case, ceph, body, leechers=chosen.leechers, directory=directory)
                outcomes[case].append(found)
                shutil.rmtree(directory)
    print(f"{chosen.leechers} leechers, {chosen.size >> 20} MiB, medians of {chosen.rounds} rounds")
    print(f"{machine()}\n\n| | S3 copies | seeder copies | seconds |\n|---|---|---|---|")
    for case in CASES:
        found_all = outcomes[case]
        s3, seeder, seconds = (
            median(getattr(each, field) for each in found_all)
            for field in ("s3_copies", "seeder_copies", "seconds")
        )
        print(f"| {case.name} | {s3:.2f} | {seeder:.2f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
