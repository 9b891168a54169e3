"""How well upload limits are kept: what leechers on real sockets get, beside what was allowed.

    python -m tests.benchmarks.limits [--rates 1,10,100] [--peers 1,20] [--seconds 3]

One daemon with a warm cache; SIGHUP sets each limit in turn, and new leechers ask for all that they
can get. The first half second, with what a full bucket holds, is left out. Rates are in MB/s, 10^6
bytes. A window is a tenth of a second: it shows how smoothly the bytes come, and holds few blocks
of 16 KiB at the low rates (6 at 1 MB/s).
"""

import argparse
import contextlib
import select
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.dialling import open_plain, source_address
from tests.benchmarks.load import BLOCK, Connection, Target
from tests.benchmarks.setup import machine
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.support.objects import MIB, content

ADDRESS = "127.0.0.1"
BUCKET, KEY, SIZE, PIECE = "benchmark", "object", 64 * MIB, MIB
KINDS = {
    "total": "upload_rate",
    "torrent": "upload_rate_per_torrent",
    "peer": "upload_rate_per_peer",
}
DEPTH = 128
SKIPPED = 0.5
WINDOW = 0.1
MOST = 400.0
"""MB/s of all peers together; beyond, the machine is measured and not the limit."""
_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One limit, in MB/s, and how many leechers there are."""

    kind: str
    rate: float
    peers: int

    @property
    def asked(self) -> float:
        """MB/s of all peers together."""
        return self.rate * self.peers if self.kind == "peer" else self.rate


@dataclass(frozen=True, slots=True)
class Got:
    """What arrived, in blocks with the second at which each began, by leecher."""

    arrivals: tuple[tuple[float, int, int], ...]
    """Second, leecher, blocks."""
    seconds: float
    peers: int

    @property
    def rate(self) -> float:
        """MB/s of all peers together."""
        return sum(blocks for _, _, blocks in self.arrivals) * BLOCK / self.seconds / 1e6

    def shares(self) -> tuple[float, float]:
        """Return the least and the most that one leecher got, as parts of an even share."""
        got: Counter[int] = Counter(dict.fromkeys(range(self.peers), 0))
        for _, number, blocks in self.arrivals:
            got[number] += blocks
        even = sum(got.values()) / self.peers
        return min(got.values()) / even, max(got.values()) / even

    def windows(self, asked: float) -> tuple[float, float]:
        """Return the least and the most of `asked` (MB/s) that came in any window."""
        count = int(self.seconds / WINDOW)
        found = [0] * count
        for at, _, blocks in self.arrivals:
            if at < count * WINDOW:
                found[int(at / WINDOW)] += blocks
        part = [blocks * BLOCK / WINDOW / 1e6 / asked for blocks in found]
        return min(part), max(part)

    def longest_gap(self) -> float:
        """Return the longest time without a block (s)."""
        return max((after[0] - before[0] for before, after in pairwise(self.arrivals)), default=0)


def measure(address: tuple[str, int], target: Target, peers: int, seconds: float) -> Got:
    """Let `peers` leechers take what they get for `seconds`."""
    requests = memoryview(target.requests())
    blocks = len(requests) // 17
    buffer = memoryview(bytearray(_BUFFER))
    arrivals: list[tuple[float, int, int]] = []
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        leechers = {}
        for number in range(peers):
            source = source_address(address[0], number)
            stream = stack.enter_context(open_plain(address, target.info_hash, source=source))
            first = blocks * number // peers
            leecher = Connection(requests, first=first, share=1 << 40, depth=DEPTH)
            leechers[stream.fileno()] = number, stream, leecher
        began = time.perf_counter() + SKIPPED
        for descriptor, (_, stream, leecher) in leechers.items():
            leecher.ask(stream)
            poll.register(descriptor, select.EPOLLIN)
        while (now := time.perf_counter() - began) < seconds:
            for descriptor, _ in poll.poll(max(0.0, seconds - now)):
                number, stream, leecher = leechers[descriptor]
                before = leecher.blocks
                leecher.receive(stream, buffer)
                leecher.ask(stream)
                at = time.perf_counter() - began
                if 0 <= at < seconds:
                    arrivals.append((at, number, leecher.blocks - before))
    return Got(tuple(each for each in arrivals if each[2]), seconds, peers)


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[tuple[SeederDaemon, dict[str, object]]]:
    """Run a daemon that has an object in memory; with it come its settings."""
    with CephRGW(ADDRESS, settings={"rgw torrent flag": "false"}) as ceph:
        publisher = ceph.publisher()
        publisher.create_bucket(BUCKET)
        publisher.put(BUCKET, KEY, content(SIZE))
        entry = {"bucket": BUCKET, "key": KEY, "metainfo": ["build"], "piece_length": "1 MiB"}
        settings: dict[str, object] = {
            "origin": origin(ceph),
            "objects": [entry],
            "cache": {"memory": "256 MiB", "disk": "256 MiB"},
            "peer": {"super_seeding": "off", "connections_per_address": 1000},
        }
        credentials = CephRGW.environment()
        with SeederDaemon(settings, directory=directory, environment=credentials) as daemon:
            wait_for_state(daemon, BUCKET, KEY, timeout=120)
            yield daemon, settings


def run(
    daemon: SeederDaemon, settings: dict[str, object], case: Case, target: Target, seconds: float
) -> Got:
    """Set the limit, and see what comes."""
    peer = {"super_seeding": "off", "connections_per_address": 1000}
    limit = {KINDS[case.kind]: f"{round(case.rate * 1e6)} B/s"}
    daemon.configure({**settings, "peer": {**peer, **limit}})
    daemon.reload()
    return measure(daemon.peer_address, target, case.peers, seconds)


def show(results: Sequence[tuple[Case, Got]]) -> None:
    """Print a line a case."""
    table = Table(box=box.MARKDOWN)
    for title in ("limit", "MB/s", "peers", "asked", "got", "got / asked"):
        table.add_column(title, justify="right")
    for title in ("one peer's share", "in 0.1 s", "longest gap"):
        table.add_column(title, justify="right")
    for case, got in results:
        least, most = got.shares()
        low, high = got.windows(case.asked)
        table.add_row(
            *(case.kind, f"{case.rate:g}", str(case.peers), f"{case.asked:g}"),
            *(f"{got.rate:.2f}", f"{got.rate / case.asked:.1%}"),
            *(f"{least:.2f} to {most:.2f}", f"{low:.0%} to {high:.0%}"),
            f"{got.longest_gap() * 1000:.0f} ms",
        )
    Console(width=max(120, Console().width), highlight=False).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="limits", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", default="1,10,100", help="MB/s")
    parser.add_argument("--peers", default="1,20")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seconds", type=float, default=3.0, help="measured a case")
    chosen = parser.parse_args(arguments)
    cases = [
        Case(kind, float(rate), int(peers))
        for kind in chosen.kinds.split(",")
        for rate in chosen.rates.split(",")
        for peers in chosen.peers.split(",")
    ]
    results = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limits-")))
        daemon, settings = stack.enter_context(serving(directory))
        info_hash = bytes.fromhex(daemon.torrent_status(BUCKET, KEY)["info_hash"])
        target = Target(info_hash, SIZE, PIECE)
        for case in cases:
            if case.asked <= MOST:
                results.append((case, run(daemon, settings, case, target, chosen.seconds)))
    print(f"{chosen.seconds:g} s a case, loopback\n{machine()}\n")
    show(results)


if __name__ == "__main__":
    main()
