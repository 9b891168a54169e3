"""What several nodes over one Redis come to: announces, seeding, copies from S3, and who dies.

    python -m tests.benchmarks.cluster [--tables announces,seeding,copies,killed,restart]

`announces`: one node, then two behind one port, each pinned to a core; the load generator
(tests/benchmarks/asker.c) runs on the second of these cores, and its share is told. `seeding`: the
same for a load of peers, with a process of tests/benchmarks/load.py a node. `copies`: what three
nodes read from S3 for eight libtorrent clients. `killed`: how long after a kill -9 of the only
owner the tracker of another node names the next one. `restart`: Redis is killed and started again
while announces come. What each announce costs Redis is its own count of commands and bytes.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seeder.units import parse_size
from tests.benchmarks.seeding import depth_for
from tests.benchmarks.setup import http_origin, machine, show
from tests.benchmarks.trackers import CLIENTS, Asker, Running
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, FIRST_CLIENT_ADDRESS, Namespace
from tests.e2e.publishing import announce, served_torrent
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, digest, write_content
from tests.support.processes import poll_until, python_environment
from tests.support.redis import RedisServer

SWARMS, PEERS = 10, 50
TCP_PORT, UDP_PORT = 6969, 6970
WAYS = {"http-close": 64, "http-keep": 800, "udp-kept": 64}
LEECHERS = 8


@dataclass(frozen=True, slots=True)
class Together(Running):
    """Several nodes behind one port."""

    pids: Sequence[int] = ()

    def cpu(self) -> float:
        """Return the CPU seconds of all of them."""
        each = (Running(self.name, self.host, self.ports, pid, ()) for pid in self.pids)
        return sum(running.cpu() for running in each)


class Cluster:
    """So many nodes over a Redis of their own, each with the objects `0.bin` and so on."""

    def __init__(
        self,
        host: str,
        directory: Path,
        endpoint: str,
        count: int,
        *,
        swarms: int,
        replicas: int,
        freely: bool,
    ) -> None:
        self.redis = RedisServer()
        self.swarms = swarms
        # The load generator asks for what it likes, as from any seed.
        peer = {"super_seeding": "off", "thrifty": False} if freely else {}
        self.nodes = [
            SeederDaemon(
                {
                    "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
                    "objects": [
                        {"bucket": "b", "key": f"{number}.bin", "metainfo": ["build"]}
                        for number in range(swarms)
                    ],
                    "tracker": {
                        "listen": [f"{host}:{TCP_PORT}"],
                        "udp_listen": [f"{host}:{UDP_PORT}"],
                    },
                    "cache": {"memory": "1 GiB", "disk": "0 B"},
                    "peer": {
                        "connections": 4000,
                        "connections_per_torrent": 4000,
                        "connections_per_address": 1000,
                        "copies_per_address": "unlimited",
                        "origin_copies_per_address": "unlimited",
                        **peer,
                    },
                    "cluster": {
                        "store": self.redis.url,
                        "name": f"node-{number}",
                        "replicas": replicas,
                    },
                },
                directory=directory / f"node-{number}",
                address=host,
                prefix=("taskset", "-c", str(number % 2)),
            )
            for number in range(count)
        ]
        for node in self.nodes:
            node.tracker_port = TCP_PORT

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
        self.redis.close()

    def start(self) -> None:
        """Start all nodes, and wait until each serves everything and knows the others."""
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_until_ready(timeout=120)
        poll_until(lambda: all(map(self._has_settled, self.nodes)), timeout=180, what="a cluster")

    def _has_settled(self, node: SeederDaemon) -> bool:
        status = node.status()
        served = [each for each in status["torrents"] if each["state"] == "serving"]
        members = status["cluster"]["members"]
        return len(served) == self.swarms and len(members) == len(self.nodes)

    @property
    def hashes(self) -> list[str]:
        """The info hashes, in the order of the objects."""
        torrents = {each["key"]: each for each in self.nodes[0].status()["torrents"]}
        return [torrents[f"{number}.bin"]["info_hash"] for number in range(self.swarms)]

    def together(self) -> Together:
        """Return the nodes as one tracker."""
        first = self.nodes[0]
        pids = [node.pid for node in self.nodes]
        ports = TCP_PORT, UDP_PORT
        name = f"{len(pids)} node{'s' * (len(pids) > 1)}"
        return Together(name, first.address, ports, first.pid, self.hashes, pids)

    def asked_redis(self) -> tuple[int, int]:
        """Return how many commands Redis has had, and how many bytes came to it and went."""
        said = dict(
            line.split(":", 1)
            for line in self.redis.ask("info", "stats").splitlines()
            if ":" in line
        )
        moved = int(said["total_net_input_bytes"]) + int(said["total_net_output_bytes"])
        return int(said["total_commands_processed"]), moved


@dataclass(frozen=True, slots=True)
class Bench:
    """Where clusters are made."""

    network: Namespace
    directory: Path
    endpoint: str
    asker: Asker
    seconds: float
    size: int

    @contextlib.contextmanager
    def cluster(
        self, count: int, *, swarms: int = SWARMS, replicas: int = 2, freely: bool = False
    ) -> Iterator[Cluster]:
        """Run a cluster of so many nodes."""
        host = self.network.address(DAEMON_ADDRESS)
        with tempfile.TemporaryDirectory(dir=self.directory) as room:
            made = Cluster(
                host,
                Path(room),
                self.endpoint,
                count,
                swarms=swarms,
                replicas=replicas,
                freely=freely,
            )
            with contextlib.closing(made):
                made.start()
                yield made


def announces(bench: Bench) -> None:
    """Print what one and two nodes answer a second, and what it costs them and Redis."""
    rows = []
    for way, window in WAYS.items():
        alone = 0.0
        for count in (1, 2):
            with bench.cluster(count) as cluster:
                nodes = cluster.together()
                bench.asker.ask(nodes, "udp-kept", clients=10_000)
                commands, moved = cluster.asked_redis()
                found = bench.asker.ask(
                    nodes, way, clients=10_000, seconds=bench.seconds, window=window
                )
                commands, moved = (
                    after - before
                    for before, after in zip((commands, moved), cluster.asked_redis(), strict=True)
                )
            alone = alone or found.rate
            rows.append(
                (
                    f"{way}, {nodes.name}",
                    f"{found.rate:,.0f}",
                    f"{found.rate / alone:.2f}",
                    f"{found.cost:.0f}",
                    f"{found.cpu / found.seconds:.2f}",
                    f"{commands / found.announces:.4f}",
                    f"{moved / found.announces:.0f}",
                    str(found.refused + found.broken + found.lost),
                )
            )
    columns = (
        *("", "announces/s", "x one node", "us of CPU each", "cores of the asker"),
        *("Redis commands each", "bytes to and from Redis each", "went wrong"),
    )
    show(f"announces of 10,000 clients, {SWARMS} swarms, two cores; {machine()}", columns, rows)


def seeding(bench: Bench) -> None:
    """Print how fast one and two nodes seed one object to `PEERS` connections a node."""
    rows = []
    for count in (1, 2):
        with bench.cluster(count, swarms=1, freely=True) as cluster:
            file = bench.directory / "0.torrent"
            file.write_bytes(served_torrent(cluster.nodes[0], "b", "0.bin"))
            # The cache holds it by then.
            for node in cluster.nodes:
                _load(node, file, seconds=3)[0].communicate(timeout=120)
            loads = [_load(node, file, seconds=bench.seconds) for node in cluster.nodes]
            rates, own, theirs = 0.0, 0.0, 0.0
            for process, node in loads:
                said = process.communicate(timeout=120)[0].decode()
                words = said.replace(",", "").split()
                rate = float(words[0])
                rates += rate
                theirs += rate / 1000 * float(words[words.index("seeder") + 1])
                own += rate / 1000 * float(words[words.index("load") + 1])
                del node
        rows.append(
            (f"{count} node{'s' * (count > 1)}", f"{rates:,.0f}", f"{theirs:.2f}", f"{own:.2f}")
        )
    columns = ("", "MB/s", "cores of the nodes", "cores of the load")
    show(
        f"{PEERS} connections a node, {bench.size // MIB} MiB from memory; {machine()}",
        columns,
        rows,
    )


def _load(
    node: SeederDaemon, file: Path, *, seconds: float
) -> "tuple[subprocess.Popen[bytes], SeederDaemon]":
    host, port = node.peer_address
    words = [sys.executable, "-m", "tests.benchmarks.load", f"{host}:{port}", str(file)]
    words += ["--connections", str(PEERS), "--depth", str(depth_for(PEERS)), "--passes", "1000"]
    words += ["--seconds", str(seconds), "--pid", str(node.pid)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, env=python_environment()), node


def copies(bench: Bench) -> None:
    """Print what three nodes read from S3 for a swarm of `LEECHERS`."""
    rows = []
    for replicas in (1, 2):
        with (
            bench.cluster(3, swarms=1, replicas=replicas) as cluster,
            contextlib.ExitStack() as stack,
        ):
            leechers = _leechers(bench, cluster, stack, LEECHERS)
            began = time.monotonic()
            wait_for_all(leechers, timeout=300)
            took = time.monotonic() - began
            assert len({digest(leecher.downloaded_file()) for leecher in leechers}) == 1
            read = [node.torrent_status("b", "0.bin")["origin_bytes"] for node in cluster.nodes]
        each = ", ".join(f"{count / bench.size:.2f}" for count in sorted(read, reverse=True))
        rows.append((str(replicas), f"{sum(read) / bench.size:.3f}", each, f"{took:.1f}"))
    columns = ("replicas", "S3 copies", "by node", "seconds")
    show(
        f"3 nodes, {LEECHERS} libtorrent clients, {bench.size // MIB} MiB; {machine()}",
        columns,
        rows,
    )


def _leechers(
    bench: Bench, cluster: Cluster, stack: contextlib.ExitStack, count: int, *, rate: int = 0
) -> list[Libtorrent]:
    file = bench.directory / "0.torrent"
    file.write_bytes(served_torrent(cluster.nodes[0], "b", "0.bin"))
    found = []
    for number in range(count):
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.directory)))
        address = bench.network.address(FIRST_CLIENT_ADDRESS + number)
        leecher = stack.enter_context(
            contextlib.closing(Libtorrent(address, room, download_rate=rate))
        )
        leecher.add(file)
        found.append(leecher)
    return found


def killed(bench: Bench) -> None:
    """Print how long clients wait when the only owner of an object is killed."""
    rows = []
    for _ in range(3):
        with bench.cluster(3, swarms=1, replicas=1) as cluster, contextlib.ExitStack() as stack:
            [leecher] = _leechers(bench, cluster, stack, 1, rate=bench.size // 60)
            _wait_progress(leecher, 0.05)
            rows.append(_kill_owner(cluster, leecher))
    columns = ("killed at", "s until others name another", "s from then until a client has more")
    show(f"kill -9 of the only owner of three nodes; {machine()}", columns, rows)


def _kill_owner(cluster: Cluster, leecher: Libtorrent) -> tuple[str, str, str]:
    info_hash = bytes.fromhex(cluster.hashes[0])
    [name] = cluster.nodes[0].torrent_status("b", "0.bin")["seeded_by"]
    owner = cluster.nodes[int(name.removeprefix("node-"))]
    survivor = next(node for node in cluster.nodes if node is not owner)
    at = leecher.status().progress
    owner.kill()
    began = time.monotonic()
    poll_until(
        lambda: survivor.torrent_status("b", "0.bin")["seeded_by"] != [name],
        timeout=60,
        what="another owner",
    )
    named = time.monotonic()
    assert announce(survivor, info_hash)[b"peers"]
    before = leecher.status().progress
    leecher.reannounce()
    _wait_progress(leecher, before + 0.01)
    return f"{at:.0%}", f"{named - began:.1f}", f"{time.monotonic() - named:.1f}"


def _wait_progress(leecher: Libtorrent, share: float) -> None:
    poll_until(lambda: leecher.status().progress > share, timeout=60, what=f"{share:.0%}")


def restart(bench: Bench) -> None:
    """Print what goes wrong with announces while Redis is killed and started again."""
    rows = []
    for way, window in WAYS.items():
        with bench.cluster(2) as cluster:
            nodes = cluster.together()
            process = bench.asker.start(
                nodes,
                way,
                clients=10_000,
                seconds=max(12.0, bench.seconds),
                window=window,
                rate=2000,
            )
            time.sleep(3)
            cluster.redis.stop()
            time.sleep(3)
            cluster.redis.start()
            said = process.communicate(timeout=120)[0]
        found = json.loads(said)
        wrong = found["refused"] + found["broken"] + found["lost"]
        rows.append(
            (
                way,
                f"{found['announces']:,}",
                str(wrong),
                f"{found['p99']:.1f}",
                f"{found['worst']:.1f}",
            )
        )
    columns = ("", "announces", "went wrong", "p99, ms", "the longest, ms")
    show(f"2 nodes, 2,000 announces/s, Redis away for 3 s of 12; {machine()}", columns, rows)


TABLES: dict[str, Callable[[Bench], None]] = {
    "announces": announces,
    "seeding": seeding,
    "copies": copies,
    "killed": killed,
    "restart": restart,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", default=",".join(TABLES), help="some of these")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--size", type=parse_size, default=256 * MIB, help="of what is seeded")
    chosen = parser.parse_args(arguments)
    network = Namespace()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        asker = Asker(directory)
        stack.enter_context(network.entered())
        network.claim(CLIENTS)
        content = directory / "content"
        content.mkdir()
        for number in range(SWARMS):
            write_content(content / f"{number}.bin", 100_000 + number if number else chosen.size)
        endpoint = stack.enter_context(http_origin(content, directory / "origin.log"))
        bench = Bench(network, directory, endpoint, asker, chosen.seconds, chosen.size)
        for name in chosen.tables.split(","):
            TABLES[name](bench)


if __name__ == "__main__":
    main()
