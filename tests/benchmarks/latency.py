"""How long a peer waits for one block of a warm piece while many others are served.

    python -m tests.benchmarks.latency [--busy 200] [--seconds 5] [--rounds 3] [--size 1GiB]

A probe asks for one block at a time, in a process of its own, while a load keeps the busy
connections at 64 requests each. The seeders take turns. Percentiles are over the samples of all
rounds, and the rate is that of the busy ones meanwhile: MB are 10^6 bytes.
"""

import argparse
import contextlib
import multiprocessing
import secrets
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from seeder.units import parse_size
from tests.benchmarks.dialling import open_plain, read_exactly, source_address
from tests.benchmarks.load import BLOCK, Target, run_load
from tests.benchmarks.seeders import SEEDERS, Running, prepare, why_not
from tests.benchmarks.setup import machine
from tests.support.objects import KIB, MIB

DEPTH = 64
_REQUEST = struct.Struct(">IBIII")
_PIECE_HEADER = 13
_PROBE = 2000
"""The number of the address that the probe dials from, beyond those of the busy ones."""


@dataclass
class Samples:
    """Seconds from a request to the last byte of its block, and MB/s of the busy connections."""

    waits: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        """Return milliseconds."""
        return statistics.quantiles(self.waits, n=100)[percent - 1] * 1000


def measure(seeder: Running, samples: Samples, *, busy: int, seconds: float) -> None:
    """Probe a seeder while `busy` connections keep it at work for `seconds`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    load = context.Process(
        target=_keep_busy, args=(theirs, seeder.address, seeder.target, busy, seconds)
    )
    load.start()
    try:
        source = source_address(seeder.address[0], _PROBE)
        with open_plain(seeder.address, seeder.target.info_hash, source=source) as stream:
            stream.setblocking(True)
            ours.recv()
            while not ours.poll():
                request = _REQUEST.pack(13, 6, *_any_block(seeder.target), BLOCK)
                began = time.perf_counter()
                stream.sendall(request)
                read_exactly(stream, _PIECE_HEADER + BLOCK)
                samples.waits.append(time.perf_counter() - began)
        samples.rates.append(ours.recv())
    finally:
        load.join(seconds)
        if load.is_alive():
            load.kill()


def _any_block(target: Target) -> tuple[int, int]:
    start = secrets.randbelow(target.size // BLOCK) * BLOCK
    return divmod(start, target.piece_length)


def _keep_busy(
    told: Connection, address: tuple[str, int], target: Target, busy: int, seconds: float
) -> None:
    load = run_load(
        address,
        target,
        connections=busy,
        depth=DEPTH,
        passes=1000,
        seconds=seconds,
        started=lambda: told.send(None),
    )
    told.send(load.rate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="latency", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--busy", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=parse_size, default=1024 * MIB)
    parser.add_argument("--piece-length", type=parse_size, default=MIB)
    parser.add_argument("--seeders", default="ours,libtorrent", help="some of the known ones")
    chosen = parser.parse_args(arguments)
    names = [name for name in chosen.seeders.split(",") if why_not(name) is None]
    samples = {name: Samples() for name in names}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latency-")))
        job = prepare(directory, chosen.size, chosen.piece_length)
        running = [stack.enter_context(SEEDERS[name](job)) for name in names]
        for seeder in running:
            run_load(seeder.address, seeder.target, connections=1, depth=256)
        for _ in range(chosen.rounds):
            for seeder in running:
                measure(seeder, samples[seeder.name], busy=chosen.busy, seconds=chosen.seconds)
    table = Table(box=box.MARKDOWN, title=f"one block, {chosen.busy} busy peers")
    for column in ("seeder", "p50 ms", "p99 ms", "samples", "MB/s of the busy ones"):
        table.add_column(column, justify="left" if column == "seeder" else "right")
    for name, found in samples.items():
        percentiles = [f"{found.percentile(percent):.1f}" for percent in (50, 99)]
        rate = statistics.median(found.rates)
        table.add_row(name, *percentiles, str(len(found.waits)), f"{rate:.0f}")
    print(f"pieces of {chosen.piece_length // KIB} KiB, depth {DEPTH}\n{machine()}")
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
