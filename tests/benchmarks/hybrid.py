"""What hashing an object for a hybrid torrent costs beside hashing it for a v1 one.

    python -m tests.benchmarks.hybrid [--size 1GiB] [--rounds 5] [--piece-length 1MiB]

hashing: the digests of pieces in memory alone, SHA-1 beside SHA-1 and the Merkle tree, one thread.
build: a whole build, from an HTTP origin on this machine to the journal and the tree on disk. Each
round does everything once, in turns; medians are printed. MB and GB are 10^6 and 10^9 bytes.
"""

import argparse
import contextlib
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from statistics import median

import trio

from seeder.config.origins import OriginSettings
from seeder.metainfo.hashing import Hasher, digest_pieces
from seeder.metainfo.trees import TreeBuilder
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.client import S3Origin
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef
from seeder.units import MIB, parse_size
from tests.benchmarks.readers import Reading, Uncounted
from tests.benchmarks.setup import http_origin, machine, show
from tests.metainfo.support import Nowhere
from tests.support.objects import write_content

_IN_MEMORY = 32 * MIB
_cpu, _rate = attrgetter("cpu_per_gb"), attrgetter("rate")


async def build(endpoint: str, content: Path, layout: Layout, *, hybrid: bool) -> Reading:
    """Hash an object of the origin as the daemon does, and return what it took."""
    settings = OriginSettings(endpoint=endpoint, path_style=True, anonymous=True)
    origin, meter = S3Origin(settings, rng=random.Random(1)), Uncounted()
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.run)
        pinned = await origin.head(ObjectRef("default", "bucket", content.name), meter)
        with tempfile.TemporaryDirectory(prefix="hybrid-", dir=content.parent.parent) as directory:
            path = Path(directory)
            tree = TreeBuilder(path / "tree", Shape(layout)) if hybrid else None
            hasher = Hasher(
                origin, Nowhere(), meter, pinned, layout, etags=EtagMeaning(), tree=tree
            )
            cpu, began = time.process_time(), time.perf_counter()
            await hasher.run(path / "journal", lambda done, size: None)
            if tree is not None:
                await trio.to_thread.run_sync(tree.finish)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        nursery.cancel_scope.cancel()
    return Reading(layout.size, seconds, cpu)


def hash_in_memory(content: Path, layout: Layout, *, hybrid: bool) -> Reading:
    """Hash the first pieces of a file, read beforehand."""
    with content.open("rb") as file:
        count = max(1, _IN_MEMORY // layout.piece_length)
        pieces = [bytearray(file.read(layout.piece_length)) for _ in range(count)]
    with tempfile.TemporaryDirectory(prefix="hybrid-", dir=content.parent.parent) as directory:
        tree = TreeBuilder(Path(directory) / "tree", Shape(layout)) if hybrid else None
        cpu, began = time.process_time(), time.perf_counter()
        digest_pieces(0, pieces, tree)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Reading(sum(map(len, pieces)), seconds, cpu)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=parse_size("1 GiB"))
    parser.add_argument("--piece-length", type=parse_size, default=MIB)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    layout = Layout(chosen.size, chosen.piece_length)
    found: dict[tuple[str, bool], list[Reading]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hybrid-")))
        content = directory / "content" / "object"
        content.parent.mkdir()
        write_content(content, chosen.size)
        endpoint = stack.enter_context(http_origin(content.parent, directory / "origin.log"))
        for _ in range(chosen.rounds):
            for hybrid in (False, True):
                found["hashing", hybrid].append(hash_in_memory(content, layout, hybrid=hybrid))
                found["build", hybrid].append(
                    trio.run(partial(build, endpoint, content, layout, hybrid=hybrid))
                )
    print(f"{machine()}\n{chosen.size >> 20} MiB, medians of {chosen.rounds} rounds")

    def figure(name: str, hybrid: bool, of: Callable[[Reading], float]) -> float:
        return median(map(of, found[name, hybrid]))

    rows = []
    for name in ("hashing", "build"):
        cells = [
            f"{figure(name, hybrid, _cpu):.2f} / {figure(name, hybrid, _rate):.0f}"
            for hybrid in (False, True)
        ]
        cpu = figure(name, True, _cpu) / figure(name, False, _cpu)
        rate = figure(name, True, _rate) / figure(name, False, _rate)
        rows.append((name, *cells, f"{cpu:.2f} / {rate:.2f}"))
    show("CPU-s per GB / MB/s", ["", "v1", "hybrid", "hybrid / v1"], rows)


if __name__ == "__main__":
    main()
