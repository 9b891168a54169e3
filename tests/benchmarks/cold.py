"""The table `cold` of tests.benchmarks.origin: an uncached object reaches one leecher."""

import contextlib
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks import readers
from tests.benchmarks.load import Target, run_load
from tests.benchmarks.setup import ADDRESS, Setup, http_origin, show
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, make_torrent

BUCKET, KEY = "bucket", "object"
_GIB = 1024 * MIB
_LATENCY = 0.03
_RATE = 12.5e6
"""Bytes a second and connection: sixteen make 200 MB/s, less than two cores can do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way to get the object once: seconds, and the ranged GETs and bytes that S3 counted."""

    seconds: float
    requests: int
    sent: int


Way = Callable[[Setup, str, Path], float]
"""Gets the object, given an empty directory; returns seconds."""


def plain(kind: str, setup: Setup, endpoint: str, directory: Path) -> float:
    """Read it by parallel ranged GETs of 8 MiB, and throw it away."""
    return readers.measure(
        kind,
        f"{endpoint}/{BUCKET}/{KEY}",
        setup.size,
        range_length=8 * MIB,
        connections=setup.connections,
        directory=directory,
    ).seconds


@contextlib.contextmanager
def cold_daemon(
    setup: Setup, endpoint: str, directory: Path, piece_length: int
) -> Iterator[tuple[SeederDaemon, Path]]:
    """Run a daemon that was given the torrent and has nothing in its cache."""
    own = setup.directory / f"{piece_length}.torrent"
    if not own.exists():
        make_torrent(setup.content, name=KEY, piece_length=piece_length).write(own)
    settings = {
        "origin": {
            "endpoint": endpoint,
            "path_style": True,
            "anonymous": True,
            "connections": setup.connections,
        },
        "objects": [{"bucket": BUCKET, "key": KEY, "torrent_file": str(own)}],
        "cache": {"memory": "256 MiB", "disk": f"{2 * setup.size} B"},
        "peer": {"super_seeding": "off", "thrifty": False},
    }
    with SeederDaemon(settings, directory=directory / "daemon", address="127.0.0.2") as daemon:
        wait_for_state(daemon, BUCKET, KEY)
        torrent = directory / "served.torrent"
        torrent.write_bytes(served_torrent(daemon, BUCKET, KEY))
        yield daemon, torrent


def load(depth: int, setup: Setup, endpoint: str, directory: Path) -> float:
    """Let the load generator ask for it from front to back."""
    with cold_daemon(setup, endpoint, directory, MIB) as (daemon, torrent):
        target = Target.of_file(torrent)
        return run_load(daemon.peer_address, target, connections=1, depth=depth).seconds


def libtorrent(piece_length: int, setup: Setup, endpoint: str, directory: Path) -> float:
    """Let a libtorrent download it, in the order that it likes."""
    with cold_daemon(setup, endpoint, directory, piece_length) as (_, torrent):
        client = Libtorrent(Network().address(3), directory / "client")
        with contextlib.closing(client):
            began = time.perf_counter()
            client.add(torrent)
            client.wait(300)
            return time.perf_counter() - began


WAYS: dict[str, Way] = {
    "plain ranged GETs, our transport": partial(plain, "ours"),
    "plain ranged GETs, httpx": partial(plain, "httpx-raw"),
    "load generator, depth 256": partial(load, 256),
    "load generator, depth 2000": partial(load, 2000),
    "libtorrent": partial(libtorrent, MIB),
    "libtorrent, pieces of 64 KiB": partial(libtorrent, 64 * KIB),
}


def run(setup: Setup) -> None:
    """Get the object in each way from each origin, in turns; print the medians."""
    with CephRGW(ADDRESS, settings={"rgw torrent flag": "false"}) as ceph:
        publisher = ceph.publisher()
        publisher.create_bucket(BUCKET)
        publisher.put(BUCKET, KEY, setup.content)
        publisher.allow_everybody(BUCKET, "s3:GetObject")

        def sent() -> list[int]:
            return [exchange.body_bytes for exchange in ceph.exchanges(BUCKET, KEY, method="GET")]

        title = f"cold: Ceph RGW over HTTP, {setup.connections} connections, pieces of 1 MiB"
        _show(title, setup, _measure(setup, ceph.endpoint, WAYS, sent))
    with http_origin(
        setup.content.parent, setup.directory / "origin.log", delays={KEY: _LATENCY}, rate=_RATE
    ) as endpoint:
        ways = {name: way for name, way in WAYS.items() if "64 KiB" not in name}
        title = (
            f"cold: an origin with {_LATENCY * 1000:.0f} ms to the first byte and"
            f" {_RATE / 1e6:.1f} MB/s a connection, as S3 is from afar"
        )
        _show(title, setup, _measure(setup, endpoint, ways, list))


def _measure(
    setup: Setup, endpoint: str, ways: Mapping[str, Way], sent: Callable[[], list[int]]
) -> dict[str, list[Outcome]]:
    """Go each way in each round; `sent` returns the body bytes of every GET so far."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for turn in range(setup.rounds):
        for number, (name, way) in enumerate(ways.items()):
            directory = setup.directory / f"{turn}-{number}"
            directory.mkdir()
            before = len(sent())
            seconds = way(setup, endpoint, directory)
            new = sent()[before:]
            found[name].append(Outcome(seconds, len(new), sum(new)))
            shutil.rmtree(directory)
    return found


def _show(title: str, setup: Setup, found: Mapping[str, list[Outcome]]) -> None:
    ours, httpx = (_seconds(found[name]) for name in list(WAYS)[:2])
    rows = [
        (
            name,
            f"{_seconds(outcomes):.2f}",
            f"{setup.size / _seconds(outcomes) / 1e6:.0f}",
            f"{_seconds(outcomes) / ours:.2f}",
            f"{_seconds(outcomes) / httpx:.2f}",
            f"{median(each.requests for each in outcomes) / setup.size * _GIB:.0f}",
            f"{median(each.sent for each in outcomes) / setup.size:.2f}",
        )
        for name, outcomes in found.items()
    ]
    columns = ["", "seconds", "MB/s", "/ plain, ours", "/ plain, httpx", "GETs a GiB", "S3 copies"]
    counted = any(each.requests for outcomes in found.values() for each in outcomes)
    width = len(columns) if counted else len(columns) - 2
    show(title, columns[:width], [row[:width] for row in rows])


def _seconds(outcomes: list[Outcome]) -> float:
    return median(each.seconds for each in outcomes)
