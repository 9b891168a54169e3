"""How fast we seed from a warm cache, beside libtorrent and rtorrent on the same machine.

    python -m tests.benchmarks.seeding [--size 1GiB] [--connections 1,8,50] [--rounds 5]

All seeders run at once and idle but one: they take turns within every round, so that a machine
whose speed drifts treats all alike. Medians over the rounds; MB and GB are 10^6 and 10^9 bytes.
"""

import argparse
import contextlib
import datetime
import os
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.load import Load, LoadError, run_load
from tests.benchmarks.seeders import SEEDERS, Job, Running, why_not
from tests.e2e.objects import KIB, MIB, make_torrent, write_content

_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": 1024 * MIB}
# rtorrent takes no torrent without a tracker; nothing listens on port 1.
_NO_TRACKER = "http://127.0.0.1:1/announce"
Results = dict[tuple[str, int], list[Load]]


def measure(running: Sequence[Running], connections: Sequence[int], rounds: int) -> Results:
    """Run `rounds` loads of one pass for every seeder and number of connections, interleaved."""
    results: Results = {}
    for seeder in running:
        # Once through the file, so that caches are warm and buffers grown.
        _one(seeder, 1)
    for count in connections:
        for turn in range(rounds):
            order = [*running[turn % len(running) :], *running[: turn % len(running)]]
            for seeder in order:
                results.setdefault((seeder.name, count), []).append(_one(seeder, count))
    return results


def _one(seeder: Running, connections: int) -> Load:
    try:
        return run_load(
            seeder.address,
            seeder.target,
            connections=connections,
            depth=depth_for(connections),
            pid=seeder.pid,
        )
    except LoadError as error:
        raise SystemExit(f"{seeder.name}, {connections} connections: {error}") from error


def depth_for(connections: int) -> int:
    """Return the requests that each connection keeps outstanding: a lone one asks deeper."""
    return 256 if connections == 1 else 64


def show(results: Results, running: Sequence[Running], connections: Sequence[int]) -> None:
    """Print medians of MB/s and CPU seconds per GB, and ours against the best of the others."""
    table = Table(box=box.MARKDOWN, title="MB/s (lowest to highest) / CPU-s per GB of the seeder")
    table.add_column("seeder")
    for count in connections:
        table.add_column(f"{count} x depth {depth_for(count)}", justify="right")
    for seeder in running:
        cells = [_cell(results[seeder.name, count]) for count in connections]
        table.add_row(f"{seeder.name} {seeder.version}", *cells)
    others = [seeder.name for seeder in running if seeder.name != "ours"]
    if len(others) < len(running) and others:
        ratios = [_ratio(results, others, count) for count in connections]
        table.add_row("ours / best other", *ratios)
    Console(width=max(120, Console().width), highlight=False).print(table)


def _cell(loads: Sequence[Load]) -> str:
    rates = [load.rate for load in loads]
    spread = f"({min(rates):.0f} to {max(rates):.0f})"
    return f"{statistics.median(rates):.0f} {spread} / {_cost(loads):.3f}"


def _cost(loads: Sequence[Load]) -> float:
    return statistics.median(load.cpu_per_gb or 0.0 for load in loads)


def _ratio(results: Results, others: Sequence[str], count: int) -> str:
    def rate(name: str) -> float:
        return statistics.median(load.rate for load in results[name, count])

    speed = rate("ours") / max(rate(name) for name in others)
    cost = _cost(results["ours", count]) / min(_cost(results[name, count]) for name in others)
    return f"{speed:.2f} / {cost:.2f}"


def machine() -> str:
    """Describe what the figures were taken on: processor, cores, kernel, Python, date."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    today = datetime.datetime.now(datetime.UTC).date()
    cores = len(os.sched_getaffinity(0))
    python = platform.python_version()
    return f"{processor}, {cores} cores, Linux {platform.release()}, Python {python}, {today}"


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+) ?([KMG]iB)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256MiB or 1GiB")
    return int(found[1]) * _UNITS[found[2]]


def _counts(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SEEDERS):
        raise argparse.ArgumentTypeError(f"no seeder {unknown}: {', '.join(SEEDERS)}")
    return names


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="seeding", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=_size, default=_size("1GiB"))
    parser.add_argument("--piece-length", type=_size, default=MIB)
    parser.add_argument("--connections", type=_counts, default=[1, 8, 50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeders", type=_names, default=list(SEEDERS))
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seeding-")))
        content = directory / "content" / "object.bin"
        content.parent.mkdir()
        write_content(content, chosen.size)
        torrent = make_torrent(
            content, name=content.name, piece_length=chosen.piece_length, trackers=[_NO_TRACKER]
        )
        job = Job(
            content, torrent.write(directory / "object.torrent"), chosen.piece_length, directory
        )
        running = []
        for name in chosen.seeders:
            if reason := why_not(name):
                print(f"without {name}: {reason}", file=sys.stderr)
                continue
            running.append(stack.enter_context(SEEDERS[name](job)))
        results = measure(running, chosen.connections, chosen.rounds)
        print(
            f"{chosen.size // MIB} MiB, pieces of {chosen.piece_length // KIB} KiB, loopback, ",
            end="",
        )
        print(f"medians of {chosen.rounds} rounds\n{machine()}\n")
        show(results, running, chosen.connections)


if __name__ == "__main__":
    main()
