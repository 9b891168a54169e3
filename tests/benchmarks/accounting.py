"""What counting costs the seeding: a daemon that counts beside one that doesn't, in one run.

    python -m tests.benchmarks.accounting [--size 512MiB] [--connections 8,50] [--rounds 15]

There are two of each. They serve one object from memory and take turns within every round. In those
without, each count and each credit of what a peer gained is an empty call, and nothing looks at the
counters or writes them: no history, no flush. (Which pieces a peer has been sent is known all the
same: thrift and super-seeding go by that, and looks for wrong pieces.) There is no setting for it,
so this module starts it:

    python -m tests.benchmarks.accounting --uncounted run -c FILE
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from seeder.cli import main as command_line
from seeder.ledger.counters import Tally
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.history import History
from seeder.ledger.spread import Household
from seeder.units import parse_size
from tests.benchmarks.load import Load, Target
from tests.benchmarks.seeders import Running
from tests.benchmarks.seeding import Series, measure
from tests.benchmarks.setup import http_origin, machine, numbers, show
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import wait_for_state
from tests.support.objects import MIB, write_content

UNCOUNTED = "--uncounted"
_NAMES = ("counted", "uncounted", "uncounted too", "counted too")
_COUNTS = (
    "origin_request",
    "origin_received",
    "uploaded",
    "protocol",
    "delivered_verified",
    "delivered_claimed",
)


def count_nothing() -> None:
    """Make counting, history and flushes of this process do nothing."""

    async def rest(*_: object, task_status: trio.TaskStatus[None], **__: object) -> None:
        task_status.started()
        await trio.sleep_forever()

    for name in _COUNTS:
        setattr(Tally, name, lambda *_: None)
    Household.sent = lambda *_: None  # type: ignore[method-assign]
    History.run = rest  # type: ignore[method-assign, assignment]
    LedgerDatabase.run = rest  # type: ignore[method-assign, assignment]


@contextlib.contextmanager
def seeding(name: str, words: Sequence[str], content: Path, directory: Path) -> Iterator[Running]:
    """Run a daemon with a file as its object, which its memory holds."""
    size = content.stat().st_size
    with http_origin(content.parent, directory / f"{name}.log") as endpoint:
        settings = {
            "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
            "objects": [{"bucket": "b", "key": content.name, "metainfo": ["build"]}],
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
        program = (sys.executable, "-m", *words)
        with SeederDaemon(settings, directory=directory / name, program=program) as daemon:
            status = wait_for_state(daemon, "b", content.name, timeout=120)
            target = Target(bytes.fromhex(status["info_hash"]), size, -(-size // status["pieces"]))
            yield Running(name, "", daemon.peer_address, daemon.pid, target)


def _cost(*loads: Load) -> float:
    return sum(load.cpu_per_gb or 0 for load in loads)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="accounting", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--size", type=parse_size, default=512 * MIB)
    parser.add_argument("--connections", type=numbers, default=[8, 50])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="accounting-")))
        content = directory / "content" / "object.bin"
        content.parent.mkdir()
        write_content(content, chosen.size)
        counted, uncounted = ("seeder.cli",), ("tests.benchmarks.accounting", UNCOUNTED)
        # Whoever starts first has the worse place in memory: two alike differ by 2 to 3 %.
        four = [
            stack.enter_context(seeding(name, words, content, directory))
            for name, words in zip(_NAMES, (counted, uncounted, uncounted, counted), strict=True)
        ]
        found = measure(four, Series("", _NAMES[0], _NAMES[1:], chosen.connections), chosen.rounds)
    rows = []
    for count in chosen.connections:
        rounds = list(zip(*(found[name, count] for name in _NAMES), strict=True))
        rates = [(a.rate + d.rate) / (b.rate + c.rate) for a, b, c, d in rounds]
        costs = [_cost(a, d) / _cost(b, c) for a, b, c, d in rounds]
        rows.append(
            (str(count), f"{statistics.median(rates):.3f}", f"{statistics.median(costs):.3f}")
        )
    print(machine())
    show(
        f"counted / uncounted, medians of {chosen.rounds} rounds",
        ("connections", "rate", "CPU-seconds a GB"),
        rows,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [UNCOUNTED]:
        count_nothing()
        command_line(sys.argv[2:])
    else:
        main()
