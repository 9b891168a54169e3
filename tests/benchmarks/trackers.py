"""Trackers to measure side by side, ours, opentracker and npm's, and what asks them.

They run in one network namespace, pinned to the first core; `asker.c`, which asks them, to the
second. Debian's opentracker need not be installed: its package is fetched and unpacked otherwise.
npm's bittorrent-tracker is the one in .webtorrent.
"""

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.setup import http_origin
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, FIRST_CLIENT_ADDRESS, Namespace
from tests.support.objects import MIB, write_content
from tests.support.processes import Child, HarnessError, poll_until, python_environment

CLIENTS = "16.0.0.0/4"
"""Where the clients of `asker.c` are."""
SERVER_CORE, CLIENT_CORE = "0", "1"
TCP_PORT, UDP_PORT = 6969, 6970
NPM = Path(__file__).parents[2] / ".webtorrent" / "node_modules" / "bittorrent-tracker"
_BUILT = {"metainfo": ["build"], "piece_length": "1 MiB"}
_SOURCE = Path(__file__).with_name("asker.c")
_NODE = """
import { Server } from %s
const hashes = new Set(%s)
const server = new Server({ http: true, udp: true, ws: false, stats: false,
  filter: (hash, params, done) => done(hashes.has(hash) ? null : new Error('unknown')) })
server.on('error', error => console.error(error))
server.on('warning', () => {})
server.listen({ http: %d, udp: %d }, { http: %r, udp: %r, udp6: '::1' },
  () => console.log('listening'))
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What `asker.c` got; times of single announces in ms."""

    seconds: float
    announces: int
    full: int
    """Replies with 50 peers or more."""
    refused: int
    broken: int
    lost: int
    """Datagrams that were sent again after a second."""
    cpu: float
    """Seconds of the asker's own."""
    p50: float
    p99: float
    worst: float
    server_cpu: float
    """Seconds."""

    @property
    def rate(self) -> float:
        return self.announces / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU an announce."""
        return self.server_cpu / self.announces * 1e6


@dataclass(frozen=True, slots=True)
class Running:
    """A tracker that is ready."""

    name: str
    host: str
    ports: tuple[int, int]
    """HTTP's, UDP's."""
    pid: int
    hashes: Sequence[str]

    def cpu(self) -> float:
        """Return the CPU seconds of all its threads, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Asker:
    """The program that asks, built in a directory; HarnessError without a C compiler."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise HarnessError("the load generator needs a C compiler")
        self._program = directory / "asker"
        subprocess.run([compiler, "-O2", "-o", self._program, _SOURCE], check=True)

    def start(
        self,
        tracker: Running,
        way: str,
        *,
        clients: int,
        seconds: float,
        window: int = 64,
        rate: int = 0,
    ) -> "subprocess.Popen[bytes]":
        """Start asking in the network that this thread is in; return when it begins."""
        words = (way, tracker.host, tracker.ports[way.startswith("udp")], "".join(tracker.hashes))
        numbers = (clients, seconds, window, rate)
        argv = ["taskset", "-c", CLIENT_CORE, self._program, *words, *numbers]
        process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def ask(
        self,
        tracker: Running,
        way: str,
        *,
        clients: int,
        seconds: float = 0,
        window: int = 64,
        rate: int = 0,
    ) -> Answers:
        """Ask for some seconds, or with each client once; SystemExit if it can't."""
        process = self.start(
            tracker, way, clients=clients, seconds=seconds, window=window, rate=rate
        )
        before = tracker.cpu()
        answers = self.finish(process)
        return replace(answers, server_cpu=tracker.cpu() - before)

    def finish(self, process: "subprocess.Popen[bytes]") -> Answers:
        """Wait until it has asked, and return what it got; SystemExit if it can't."""
        said, _ = process.communicate(timeout=900)
        if process.returncode:
            raise SystemExit(f"the asker ended with {process.returncode}")
        return Answers(**json.loads(said), server_cpu=0.0)


@contextlib.contextmanager
def ours(
    network: Namespace, directory: Path, swarms: int, size: int
) -> Iterator[tuple[Running, int]]:
    """Our daemon, with an object of `size` bytes and others beside it, one a swarm."""
    host = network.address(DAEMON_ADDRESS)
    content = directory / "content"
    content.mkdir()
    for number in range(swarms):
        write_content(content / f"{number}.bin", size if not number else 100_000 + number)
    with http_origin(content, directory / "origin.log") as endpoint:
        settings = {
            "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
            "objects": [
                {"bucket": "b", "key": f"{number}.bin"} | _BUILT for number in range(swarms)
            ],
            "tracker": {
                "listen": [f"{host}:{TCP_PORT}"],
                "udp_listen": [f"{host}:{UDP_PORT}"],
            },
            "cache": {"memory": f"{size // MIB + 64} MiB", "disk": "0 B"},
            # The load generator asks for what it likes, as from any seed.
            "peer": {
                "connections": 4000,
                "connections_per_torrent": 4000,
                "connections_per_address": 1000,
                "copies_per_address": "unlimited",
                "super_seeding": "off",
                "thrifty": False,
            },
        }
        daemon = SeederDaemon(
            settings,
            directory=directory / "ours",
            address=host,
            prefix=("taskset", "-c", SERVER_CORE),
        )
        daemon.tracker_port = TCP_PORT
        with daemon:
            torrents = {torrent["key"]: torrent for torrent in _serving(daemon, swarms)}
            hashes = [torrents[f"{number}.bin"]["info_hash"] for number in range(swarms)]
            running = Running("ours", host, (TCP_PORT, UDP_PORT), daemon.pid, hashes)
            yield running, daemon.peer_port


def _serving(daemon: SeederDaemon, count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def ready() -> bool:
        found[:] = [each for each in daemon.status()["torrents"] if each["state"] == "serving"]
        return len(found) == count

    poll_until(ready, timeout=120, what="objects")
    return found


@contextlib.contextmanager
def opentracker(network: Namespace, directory: Path, hashes: Sequence[str]) -> Iterator[Running]:
    """Debian's opentracker, which serves the torrents of a list alone."""
    host = network.address(FIRST_CLIENT_ADDRESS)
    (directory / "opentracker").mkdir()
    (directory / "opentracker" / "white.txt").write_text("".join(f"{each}\n" for each in hashes))
    unpacked = directory / "debian" / "usr"
    installed = shutil.which("opentracker")
    program = installed or unpacked / "bin" / "opentracker"
    ports = ("-i", host, "-p", str(TCP_PORT), "-P", str(UDP_PORT))
    files = ("-w", "white.txt", "-d", directory / "opentracker")
    with Child(
        [program, *ports, *files],
        log=directory / "opentracker.log",
        env=python_environment(LD_LIBRARY_PATH="" if installed else str(unpacked / "lib")),
        cwd=directory,
        prefix=("taskset", "-c", SERVER_CORE),
    ) as child:
        running = Running("opentracker", host, (TCP_PORT, UDP_PORT), child.pid, hashes)
        child.wait_until(lambda: _listens(running), timeout=30, what="opentracker")
        yield running


def fetch_opentracker(directory: Path) -> None:
    """Unpack Debian's opentracker below a directory, unless it is installed."""
    if shutil.which("opentracker") is None:
        packages = ("opentracker", "libowfat0")
        subprocess.run(
            ["apt-get", "download", *packages], cwd=directory, check=True, capture_output=True
        )
        for package in directory.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, directory / "debian"], check=True)


@contextlib.contextmanager
def npm(network: Namespace, directory: Path, hashes: Sequence[str]) -> Iterator[Running]:
    """npm's bittorrent-tracker with a filter that admits the same torrents."""
    host = network.address(FIRST_CLIENT_ADDRESS + 1)
    script = directory / "tracker.mjs"
    where = json.dumps(str(NPM / "index.js"))
    script.write_text(_NODE % (where, json.dumps(hashes), TCP_PORT, UDP_PORT, host, host))
    with Child(
        ["node", script],
        log=directory / "npm.log",
        prefix=("taskset", "-c", SERVER_CORE),
    ) as child:
        child.wait_until(lambda: "listening" in child.output(), timeout=30, what="node")
        yield Running("bittorrent-tracker", host, (TCP_PORT, UDP_PORT), child.pid, hashes)


def _listens(tracker: Running) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((tracker.host, tracker.ports[0]), timeout=1).close()
        return True
    return False


Start = Callable[[Namespace, Path, Sequence[str]], contextlib.AbstractContextManager[Running]]
OTHERS: dict[str, Start] = {"opentracker": opentracker, "npm": npm}


def why_not(name: str) -> str | None:
    """Return why a tracker can't run here; None if it can."""
    if name == "npm" and not (NPM.is_dir() and shutil.which("node")):
        return "node or .webtorrent is missing"
    if name == "opentracker" and not (shutil.which("opentracker") or shutil.which("apt-get")):
        return "this is no Debian"
    return None
