"""How much memory a connected peer costs that asks for nothing, beside libtorrent.

    python -m tests.benchmarks.idle [--peers 2000] [--pieces 10000] [--seeders ours,libtorrent]

Each peer has an address of its own on loopback and opens as an ordinary client does: handshake,
extended handshake, what it has (nothing, or a bitfield of every other piece), interested. Some come
before the first look, so that what is made once isn't counted. The growth of the process's own
memory (PSS of /proc/PID/smaps_rollup) is shared out; the kernel's socket buffers are not in it.
KiB are 1024 bytes.
"""

import argparse
import contextlib
import re
import resource
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.dialling import open_idle, source_address
from tests.benchmarks.seeders import SEEDERS, Running, prepare, why_not
from tests.benchmarks.setup import machine
from tests.support.objects import KIB

EARLIER_PEERS = 100
SETTLING_SECONDS = 5.0
"""Time for what follows a handshake: a tick, the first peer exchange."""
MODES = ("have none", "bitfield")


def memory(pid: int) -> int:
    """Return the bytes of memory of a process, shared pages counted by their share (PSS)."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found is not None
    return int(found[1]) * KIB


def measure(seeder: Running, bitfield: bytes | None, peers: int) -> float:
    """Return the bytes by which a seeder grows a peer, when `peers` of them are connected."""
    with contextlib.ExitStack() as stack:
        streams: list[socket.socket] = []

        def connect(count: int) -> int:
            for _ in range(count):
                source = source_address(seeder.address[0], len(streams))
                stream = open_idle(
                    seeder.address, seeder.target.info_hash, bitfield=bitfield, source=source
                )
                streams.append(stack.enter_context(stream))
            time.sleep(SETTLING_SECONDS)
            return memory(seeder.pid)

        before = connect(EARLIER_PEERS)
        return (connect(peers) - before) / peers


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="idle", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=int, default=2000)
    parser.add_argument("--pieces", type=int, default=10_000)
    parser.add_argument("--seeders", default="ours,libtorrent", help="of ours, libtorrent")
    chosen = parser.parse_args(arguments)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    names = [name for name in chosen.seeders.split(",") if why_not(name) is None]
    table = Table(box=box.MARKDOWN, title=f"KiB a peer, {chosen.peers} idle peers")
    for column in (f"{chosen.pieces} pieces", *MODES):
        table.add_column(column)
    bitfields = {"have none": None, "bitfield": b"\xaa" * (chosen.pieces // 8)}
    for name in names:
        row = [name]
        for mode in MODES:
            with tempfile.TemporaryDirectory(prefix="idle-") as directory:
                job = prepare(Path(directory), chosen.pieces // 8 * 8 * 16 * KIB, 16 * KIB)
                with SEEDERS[name](job) as seeder:
                    row.append(f"{measure(seeder, bitfields[mode], chosen.peers) / KIB:.1f}")
        table.add_row(*row)
    print(machine())
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
