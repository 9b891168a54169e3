"""What reading from S3 costs, and how fast what isn't cached yet reaches a leecher.

    python -m tests.benchmarks.origin [--tables tls,calls,cold,slow-origin] [--size 1GiB]
        [--rounds 3]

tls: CPU seconds a GB of a process that reads an object over TLS, httpx with its defaults beside our
transport. calls: CPU microseconds a call, and how many of them httpx.AsyncClient takes. cold: the
time that one leecher needs for an object of which nothing is cached, beside plain parallel ranged
GETs of the same object by the same number of connections. slow-origin: the rate of a leecher whose
pieces are in memory, alone and while others ask for pieces of an object whose every GET takes two
seconds. Each round runs everything once, in turns; medians are printed.
MB and GB are 10^6 and 10^9 bytes.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from seeder.units import parse_size
from tests.benchmarks import calls, cold, slow_origin, tls
from tests.benchmarks.setup import Setup, machine
from tests.support.objects import write_content

TABLES: dict[str, Callable[[Setup], None]] = {
    "tls": tls.run,
    "calls": calls.run,
    "cold": cold.run,
    "slow-origin": slow_origin.run,
}


def _tables(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(TABLES):
        raise argparse.ArgumentTypeError(f"no table {unknown}: {', '.join(TABLES)}")
    return names


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", type=_tables, default=list(TABLES))
    parser.add_argument("--size", type=parse_size, default=parse_size("1 GiB"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="origin-")))
        content = directory / "content" / "object"
        content.parent.mkdir()
        write_content(content, chosen.size)
        print(f"{machine()}\n{chosen.size >> 20} MiB, medians of {chosen.rounds} rounds")
        for name in chosen.tables:
            own = directory / name
            own.mkdir()
            TABLES[name](Setup(content, chosen.size, chosen.rounds, chosen.connections, own))


if __name__ == "__main__":
    main()
