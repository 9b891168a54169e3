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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from seeder.units import MIB, parse_size
from tests.benchmarks.setup import machine, numbers
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import content, digest, make_torrent

BUCKET, KEY = "bucket", "object"


@dataclass(frozen=True)
class Case:
    """A way to seed: super-seeding or not, and the share of the object that the cache holds."""

    name: str
    super_seeding: bool
    cache: float = 2.0
    given: bool = False
    """The metainfo is a torrent of one's own, so that the object needn't be hashed."""
    thrifty: bool = True
    libtorrent: bool = False
    """libtorrent seeds, from a file of its own."""


CASES = (
    Case("normal, cache >= object", False),
    Case("normal, not thrifty", False, thrifty=False),
    Case("libtorrent, normal", False, libtorrent=True),
    Case("super-seeding, cache >= object", True),
    Case("libtorrent, super-seeding", True, libtorrent=True),
    Case("normal, cache 10 %", False, 0.1),
    Case("super-seeding, cache 10 %", True, 0.1),
    Case("super-seeding, cache 10 %, torrent given", True, 0.1, given=True),
)


@dataclass(frozen=True)
class Outcome:
    """What one swarm cost."""

    s3_copies: float | None
    seeder_copies: float
    seconds: float


def run(case: Case, ceph: CephRGW, body: bytes, *, leechers: int, directory: Path) -> Outcome:
    """Start a seeder and a swarm, wait until everybody has the object, and count."""
    seed = _libtorrent if case.libtorrent else _ours
    with ExitStack() as stack:
        source = stack.enter_context(seed(case, ceph, body, directory))
        started = time.monotonic()
        clients: list[Libtorrent] = []
        for number in range(leechers):
            client = Libtorrent(source.network.address(3 + number), directory / f"client-{number}")
            stack.callback(client.close)
            client.add(source.torrent)
            if case.libtorrent:
                # What our tracker tells in the other cases.
                for other in (source.address, *((each.address, each.port) for each in clients)):
                    client.connect(other)
            clients.append(client)
        files = wait_for_all(clients, timeout=300)
        seconds = time.monotonic() - started
        sha256 = digest(body)
        assert all(digest(path) == sha256 for path in files)
        read, uploaded = source.counts()
        copies = None if read is None else read / len(body)
        return Outcome(copies, uploaded / len(body), seconds)


@dataclass(frozen=True)
class Source:
    """A seeder that is ready: its torrent, its address, and what it and S3 have sent so far."""

    network: Network
    torrent: Path
    address: tuple[str, int]
    counts: Callable[[], tuple[int | None, int]]


@contextmanager
def _libtorrent(case: Case, ceph: CephRGW, body: bytes, directory: Path) -> Iterator[Source]:
    network = Network()
    file = directory / "seeded" / KEY
    file.parent.mkdir()
    file.write_bytes(body)
    torrent = directory / "object.torrent"
    torrent.write_bytes(make_torrent(body, name=KEY, piece_length=MIB).file())
    seeder = Libtorrent(network.address(2), directory / "seeder")
    with closing(seeder):
        seeder.seed(torrent, file, super_seeding=case.super_seeding)
        address = (seeder.address, seeder.port)
        yield Source(
            network, torrent, address, lambda: (None, seeder.status().total_payload_upload)
        )


@contextmanager
def _ours(case: Case, ceph: CephRGW, body: bytes, directory: Path) -> Iterator[Source]:
    network, cache = Network(), int(len(body) * case.cache)
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
            "peer": {
                "super_seeding": "auto" if case.super_seeding else "off",
                "thrifty": case.thrifty,
            },
        },
        directory=directory / "daemon",
        address=network.address(2),
        environment=CephRGW.environment(),
    )
    before = ceph.body_bytes_sent(BUCKET, KEY)

    def counts() -> tuple[int, int]:
        read = ceph.body_bytes_sent(BUCKET, KEY) - before
        return read, daemon.torrent_status(BUCKET, KEY)["uploaded_bytes"]

    with daemon:
        wait_for_state(daemon, BUCKET, KEY)
        torrent = directory / "object.torrent"
        torrent.write_bytes(served_torrent(daemon, BUCKET, KEY))
        yield Source(network, torrent, daemon.peer_address, counts)


def main() -> None:
    """Run the cases by turns and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("256 MiB"))
    parser.add_argument("--leechers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=numbers, default=range(len(CASES)), help="such as 0,3")
    chosen = parser.parse_args()
    cases = [CASES[number] for number in chosen.cases]
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
            for number, case in enumerate(cases):
                directory = Path(name) / f"{turn}-{number}"
                directory.mkdir()
                found = run(case, ceph, body, leechers=chosen.leechers, directory=directory)
                outcomes[case].append(found)
                shutil.rmtree(directory)
    print(f"{chosen.leechers} leechers, {chosen.size >> 20} MiB, medians of {chosen.rounds} rounds")
    print(f"{machine()}\n\n| | S3 copies | seeder copies | seconds |\n|---|---|---|---|")
    for case in cases:
        found_all = outcomes[case]
        read = [each.s3_copies for each in found_all if each.s3_copies is not None]
        copies = f"{median(read):.2f}" if read else "-"
        seeder = median(each.seeder_copies for each in found_all)
        seconds = median(each.seconds for each in found_all)
        print(f"| {case.name} | {copies} | {seeder:.2f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
