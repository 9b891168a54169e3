"""How fast the tracker answers, beside opentracker and npm's, and what that costs the seeding.

    python -m tests.benchmarks.tracker [--tables announces,beside,memory] [--rounds 5]

`announces`: the trackers take the same load in turns (tests/benchmarks/asker.c), 10 swarms of
1,000 peers, 50 peers a reply, medians of the rounds. `beside`: how long announces take while peers
are seeded at full rate, and how fast they are seeded while announces come. `memory`: of this
process, with the tracker's swarms in it, by the number of peers.
"""

import argparse
import contextlib
import ctypes
import gc
import itertools
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.units import parse_size
from tests.benchmarks.load import Load, Target, run_load
from tests.benchmarks.seeding import depth_for
from tests.benchmarks.setup import machine, numbers, show
from tests.benchmarks.trackers import (
    CLIENT_CORE,
    CLIENTS,
    OTHERS,
    Answers,
    Asker,
    Running,
    fetch_opentracker,
    ours,
    why_not,
)
from tests.e2e.network import Namespace
from tests.support.objects import MIB

SWARMS = 10
WAYS = {"http-close": 64, "http-keep": 800, "udp-kept": 64, "udp-new": 64}
"""How many announces are on their way; of kept connections one in eight has one."""
PEERS = 50
"""That are seeded meanwhile."""


def compare(
    asker: Asker, trackers: Sequence[Running], clients: int, rounds: int, seconds: float
) -> None:
    """Print what each tracker answers a second, and what that costs it."""
    rows = []
    for way, window in WAYS.items():
        if way in ("http-close", "udp-kept"):
            # The key of a client is written in another way there.
            for tracker in trackers:
                asker.ask(tracker, way, clients=clients)
        found: dict[str, list[Answers]] = {tracker.name: [] for tracker in trackers}
        for turn in range(rounds):
            for tracker in (*trackers[turn % len(trackers) :], *trackers[: turn % len(trackers)]):
                answers = asker.ask(tracker, way, clients=clients, seconds=seconds, window=window)
                found[tracker.name].append(answers)
        rates = {name: statistics.median(one.rate for one in all) for name, all in found.items()}
        costs = {name: statistics.median(one.cost for one in all) for name, all in found.items()}
        best = rates.get("opentracker", 0), costs.get("opentracker", 0)
        for tracker in trackers:
            name, last = tracker.name, found[tracker.name][-1]
            rows.append(
                (
                    f"{way}, {name}",
                    f"{rates[name]:,.0f}",
                    f"{costs[name]:.1f}",
                    f"{last.cpu / last.announces * 1e6:.1f}",
                    f"{rates[name] / best[0]:.2f}" if best[0] else "",
                    f"{best[1] / costs[name]:.2f}" if best[1] else "",
                    f"{last.full / last.announces:.0%}",
                    str(last.refused + last.broken + last.lost),
                )
            )
    columns = (
        *("", "announces/s", "us of CPU each", "the asker's"),
        *("rate / opentracker's", "opentracker's CPU / its", "with 50 peers", "went wrong"),
    )
    show(f"{SWARMS} swarms of {clients // SWARMS:,} peers, numwant 50; {machine()}", columns, rows)


def beside_seeding(
    asker: Asker, tracker: Running, size: int, port: int, *, rounds: int, rate: int
) -> None:
    """Print how long announces take beside seeding, and how fast that is beside announces."""
    target = Target(bytes.fromhex(tracker.hashes[0]), size, MIB)
    where = machine()
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    rows = []
    for way in ("http-close", "udp-kept"):
        ratios, halves, p99s, worst, alone, costs, askers = [], [], [], [], [], [], []
        for _ in range(rounds):
            loads: list[Load] = []
            for wanted in (0, rate):
                process = None
                if wanted:
                    process = asker.start(
                        tracker, way, clients=10_000, seconds=8, window=1000, rate=wanted
                    )
                load = run_load(
                    (tracker.host, port),
                    target,
                    connections=PEERS,
                    depth=depth_for(PEERS),
                    passes=1000,
                    seconds=6,
                    pid=tracker.pid,
                )
                loads.append(load)
                if process is not None:
                    answers = asker.finish(process)
                    halves.append(answers.p50)
                    p99s.append(answers.p99)
                    worst.append(answers.worst)
                    askers.append(answers.cpu / answers.seconds)
            alone.append(loads[0].rate)
            ratios.append(loads[1].rate / loads[0].rate)
            costs.append(_beside(*loads) / (rate * loads[1].seconds) * 1e6)
        rows.append(
            (
                way,
                f"{statistics.median(halves):.1f}",
                f"{statistics.median(p99s):.1f}",
                f"{max(worst):.1f}",
                f"{statistics.median(alone):,.0f}",
                f"{statistics.median(ratios):.2f}",
                f"{statistics.median(costs):.0f} ({min(costs):.0f} to {max(costs):.0f})",
                f"{statistics.median(askers):.0%}",
            )
        )
    columns = (
        "",
        "half of the announces, ms",
        "99 %, ms",
        "the longest, ms",
        "MB/s without",
        "with / without",
        "us of CPU an announce",
        "the asker's part of the clients' core",
    )
    show(f"{rate:,} announces/s while {PEERS} peers are seeded; {where}", columns, rows)


def _beside(alone: Load, both: Load) -> float:
    """Return the seeder's CPU seconds for what it did beside seeding as in `alone`."""
    assert alone.seeder_cpu is not None
    assert both.seeder_cpu is not None
    return both.seeder_cpu - alone.seeder_cpu / alone.payload * both.payload


class _Nothing:
    def delivered_claimed(self, count: int) -> None: ...
    def completed(self) -> None: ...


def memory(counts: Sequence[int]) -> None:
    """Print what a listed peer costs that announces as libtorrent does, by where the others are."""
    rows = []
    places: tuple[tuple[str, Callable[[int], bytes]], ...] = (
        ("IPv4, a /24 each", lambda number: (0x10000007 + 257 * number).to_bytes(4)),
        ("IPv6, a /48 each", lambda number: (0x2001 << 112 | number << 80 | 7).to_bytes(16)),
        ("IPv4, five in a /24", lambda number: _near(number // SWARMS)),
    )
    for count, (where, address_of) in itertools.product(counts, places):
        gc.collect()
        policy = SwarmPolicy(peers=2 * count, peers_per_swarm=2 * count)
        swarms = Swarms(policy, OwnSeeder(6881), rng=random.Random(1))
        hashes = [InfoHash(number.to_bytes(20, "big")) for number in range(SWARMS)]
        for info_hash in hashes:
            swarms.open(info_hash, size=1 << 30, claims=_Nothing())
        before = resident()
        for number in range(count):
            address = address_of(number)
            request = AnnounceRequest(
                hashes[number % SWARMS],
                b"-LT20B0-" + random.randbytes(12),
                1024 + number % 60000,
                number << 14,
                (number % 10) << 20,
                AnnounceEvent.STARTED,
                50,
                True,
                random.randbytes(4).hex().encode(),
            )
            swarms.announce(request, address, bytes((198, 51, 100, 7)), number / 1000)
        rows.append((f"{count:,}", where, f"{(resident() - before) / count:.0f}"))
        del swarms
    show(f"memory of the swarms; {machine()}", ("peers", "where", "bytes a peer"), rows)


def _near(number: int) -> bytes:
    return (0x10000001 + 256 * (number // 5) + number % 5).to_bytes(4)


def resident() -> int:
    """Return how much memory this process has, in bytes."""
    gc.collect()
    # What was freed before must not be used again unseen.
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", default="announces,beside,memory", help="some of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--size", type=parse_size, default=512 * MIB, help="of what is seeded")
    parser.add_argument("--rate", type=int, default=2000, help="announces a second meanwhile")
    parser.add_argument("--peers", type=numbers, default=[1_000_000], help="for the memory")
    parser.add_argument("--trackers", default="opentracker,npm", help="beside ours")
    chosen = parser.parse_args(arguments)
    tables = chosen.tables.split(",")
    if "memory" in tables:
        memory(chosen.peers)
    if tables == ["memory"]:
        return
    network = Namespace()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracker-")))
        asker = Asker(directory)
        if "announces" in tables and "opentracker" in chosen.trackers:
            fetch_opentracker(directory)  # while there is a way out
        stack.enter_context(network.entered())
        network.claim(CLIENTS)
        size = chosen.size if "beside" in tables else MIB
        mine, port = stack.enter_context(ours(network, directory, SWARMS, size))
        trackers = [mine]
        for name in chosen.trackers.split(",") if "announces" in tables else []:
            if name and (reason := why_not(name)):
                print(f"without {name}: {reason}", file=sys.stderr)
            elif name:
                start = OTHERS[name]
                trackers.append(stack.enter_context(start(network, directory, mine.hashes)))
        if "announces" in tables:
            compare(asker, trackers, chosen.clients, chosen.rounds, chosen.seconds)
        if "beside" in tables:
            beside_seeding(asker, mine, size, port, rounds=chosen.rounds, rate=chosen.rate)


if __name__ == "__main__":
    main()
