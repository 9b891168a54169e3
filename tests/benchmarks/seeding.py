"""How fast we seed from a warm cache, beside libtorrent and rtorrent on the same machine.

    python -m tests.benchmarks.seeding [--size 1GiB] [--connections 1,8,50] [--rounds 5]

Three tables: plain connections; ours from memory and from disk (in the page cache, with memory for
an eighth of the object); connections that insist on RC4. All seeders run at once and idle but one:
they take turns within every round, so that a machine whose speed drifts treats all alike. Medians
over the rounds; MB and GB are 10^6 and 10^9 bytes.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from seeder.units import parse_size
from tests.benchmarks.dialling import LoadError
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.seeders import SEEDERS, Running, prepare, why_not
from tests.benchmarks.setup import machine, numbers
from tests.support.objects import KIB, MIB


@dataclass(frozen=True, slots=True)
class Series:
    """Loads that belong into one table; `ours` is compared to the best of the other seeders."""

    title: str
    ours: str
    others: Sequence[str]
    connections: Sequence[int]
    encrypted: bool = False


Results = dict[tuple[str, int], list[Load]]


def measure(running: Sequence[Running], series: Series, rounds: int) -> Results:
    """Run `rounds` loads of one pass for every seeder and number of connections, interleaved."""
    results: Results = {}
    for seeder in running:
        # Once through the file, so that caches are warm and buffers grown.
        _one(seeder, 1, encrypted=series.encrypted)
    for count in series.connections:
        for turn in range(rounds):
            order = [*running[turn % len(running) :], *running[: turn % len(running)]]
            for seeder in order:
                load = _one(seeder, count, encrypted=series.encrypted)
                results.setdefault((seeder.name, count), []).append(load)
    return results


def _one(seeder: Running, connections: int, *, encrypted: bool) -> Load:
    try:
        return run_load(
            seeder.address,
            seeder.target,
            connections=connections,
            depth=depth_for(connections),
            pid=seeder.pid,
            encrypted=encrypted,
        )
    except LoadError as error:
        raise SystemExit(f"{seeder.name}, {connections} connections: {error}") from error


def depth_for(connections: int) -> int:
    """Return the requests that each connection keeps outstanding: a lone one asks deeper."""
    return 256 if connections == 1 else 64


def show(results: Results, running: Sequence[Running], series: Series) -> None:
    """Print medians of MB/s and CPU seconds per GB, and ours against the best of the others."""
    table = Table(box=box.MARKDOWN, title=series.title)
    table.add_column("MB/s (lowest to highest) / CPU-s per GB of the seeder")
    for count in series.connections:
        table.add_column(f"{count} x depth {depth_for(count)}", justify="right")
    for seeder in running:
        cells = [_cell(results[seeder.name, count]) for count in series.connections]
        table.add_row(f"{seeder.name} {seeder.version}", *cells)
    names = [seeder.name for seeder in running]
    others = [name for name in names if name != series.ours]
    if series.ours in names and others:
        ratios = [_ratio(results, series.ours, others, count) for count in series.connections]
        table.add_row(f"{series.ours} / best other", *ratios)
    Console(width=max(120, Console().width), highlight=False).print(table)


def _cell(loads: Sequence[Load]) -> str:
    rates = [load.rate for load in loads]
    spread = f"({min(rates):.0f} to {max(rates):.0f})"
    return f"{statistics.median(rates):.0f} {spread} / {_cost(loads):.3f}"


def _cost(loads: Sequence[Load]) -> float:
    return statistics.median(load.cpu_per_gb or 0.0 for load in loads)


def _ratio(results: Results, ours: str, others: Sequence[str], count: int) -> str:
    def rate(name: str) -> float:
        return statistics.median(load.rate for load in results[name, count])

    speed = rate(ours) / max(rate(name) for name in others)
    cost = _cost(results[ours, count]) / min(_cost(results[name, count]) for name in others)
    return f"{speed:.2f} / {cost:.2f}"


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SEEDERS):
        raise argparse.ArgumentTypeError(f"no seeder {unknown}: {', '.join(SEEDERS)}")
    return names


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="seeding", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=1024 * MIB)
    parser.add_argument("--piece-length", type=parse_size, default=MIB)
    parser.add_argument("--connections", type=numbers, default=[1, 8, 50, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeders", type=_names, default=list(SEEDERS))
    parser.add_argument("--tables", default="plain,disk,encrypted", help="some of these")
    chosen = parser.parse_args(arguments)
    tables = {
        "plain": Series("plain", "ours", ("libtorrent", "rtorrent"), chosen.connections),
        "disk": Series("from disk and from memory", "ours-disk", ("ours",), (8, 50)),
        "encrypted": Series("RC4", "ours", ("libtorrent",), (8,), encrypted=True),
    }
    wanted = [series for name, series in tables.items() if name in chosen.tables.split(",")]
    needed = {name for series in wanted for name in (series.ours, *series.others)}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seeding-")))
        job = prepare(directory, chosen.size, chosen.piece_length)
        running: dict[str, Running] = {}
        for name in chosen.seeders:
            if name in needed and (reason := why_not(name)):
                print(f"without {name}: {reason}", file=sys.stderr)
            elif name in needed:
                running[name] = stack.enter_context(SEEDERS[name](job))
        print(
            f"{chosen.size // MIB} MiB, pieces of {chosen.piece_length // KIB} KiB, loopback, "
            f"medians of {chosen.rounds} rounds\n{machine()}\n"
        )
        for series in wanted:
            names = [name for name in (series.ours, *series.others) if name in running]
            taking_turns = [running[name] for name in names]
            if taking_turns:
                show(measure(taking_turns, series, chosen.rounds), taking_turns, series)


if __name__ == "__main__":
    main()
