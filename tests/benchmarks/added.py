"""What a hundred thousand entries that were added at run time cost: the start, and each change.

    python -m tests.benchmarks.added [--objects 100000] [--changes 20]

A node runs in this process, on the state of `ten_thousand` with metainfo of each object: nine of
ten have an entry of their own in `added.jsonl`, the others are below a prefix of the file. Another
process asks at the UNIX socket. "Held" is for how long the loop was at most, as in `holds`: CPU
time of its own thread; times are what the client waits, in milliseconds.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import trio

from seeder.config.added import ADDED
from seeder.config.load import load
from seeder.daemon.garbage import garbage_is_rare
from seeder.daemon.node import Node
from seeder.daemon.reloading import Reloader
from seeder.daemon.run import serve
from seeder.daemon.systemd import Notifier
from seeder.daemon.watching import FileWatch
from seeder.plain_json import dump_json
from tests.benchmarks.holds import Holds
from tests.benchmarks.setup import ADDRESS, machine, show
from tests.benchmarks.ten_thousand import BUCKET, PREFIX, Objects, Server, make_state
from tests.support.ports import free_port
from tests.support.toml import toml

QUIET = 15.0
"""Seconds without a question."""
_ASK = """
import json, socket, sys, time
from http.client import HTTPConnection

class Local(HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])

connection, took = Local("localhost"), []
for method, path, body in json.load(sys.stdin):
    data = None if body is None else json.dumps(body)
    begun = time.perf_counter()
    connection.request(method, "/api/v1" + path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    took.append(1000 * (time.perf_counter() - begun))
    assert answer.status < 300, (method, path, answer.status)
    if answer.headers["Connection"] == "close":
        connection.close()
took.sort()
print(json.dumps([took[len(took) // 2], took[-1]]))
"""

_Asked: TypeAlias = tuple[str, str, dict[str, object] | None]
"""Method, path below /api/v1, and body."""


def write_added(path: Path, objects: Objects) -> None:
    """Write what was added in earlier runs: most of the objects."""
    keys = list(objects.etags)
    at = 1_790_000_000_000_000
    with path.open("wb") as file:
        for number, key in enumerate(keys[: len(keys) * 9 // 10]):
            entry = {"bucket": BUCKET, "key": key}
            file.write(dump_json({"at": at + number, "entry": entry}) + b"\n")


def write_configuration(directory: Path, server: Server) -> Path:
    """Write the file of a node that has one prefix, and has the others added."""
    path = directory / "seeder.toml"
    settings: dict[str, object] = {
        "state_directory": str(directory / "state"),
        "origin": {"endpoint": server.endpoint, "path_style": True, "anonymous": True},
        "objects": [{"bucket": BUCKET, "prefix": PREFIX, "max_objects": 10**6}],
        "cache": {"directory": str(directory / "cache"), "disk": "0 B"},
        **{
            name: {"listen": [f"{ADDRESS}:{free_port(ADDRESS)}"]}
            for name in ("tracker", "peer", "admin")
        },
    }
    path.write_text(toml(settings))
    return path


class Measured:
    """The parts, measured one by one."""

    def __init__(self) -> None:
        self.holds = Holds()
        self.rows: list[tuple[str, ...]] = []
        trio.lowlevel.add_instrument(self.holds)

    def note(self, name: str, *figures: float) -> None:
        """Add a row, with the longest hold since `holds.begin`."""
        told = [f"{each:,.1f}" for each in figures]
        told += [""] * (2 - len(told))
        full = str(self.holds.full or "")
        self.rows.append((name, *told, f"{self.holds.worst:.1f}", self.holds.place, full))
        print(self.rows[-1], file=sys.stderr)

    async def ask(self, node: Node, name: str, *asked: _Asked) -> None:
        """Have a client ask for things, one after the other, and wait for what follows."""
        self.holds.begin()
        done = await trio.run_process(
            [sys.executable, "-c", _ASK, str(node.config.control_socket)],
            stdin=json.dumps(asked).encode(),
            capture_stdout=True,
        )
        await trio.sleep(2)
        self.note(name, *json.loads(done.stdout))


async def measure(node: Node, measured: Measured, changes: int) -> None:
    """Ask for each kind of change."""
    keys = [f"{PREFIX}part-{number:06}.tar" for number in range(changes)]
    new = [f"new/{number}" for number in range(changes)]
    measured.holds.begin()
    await trio.sleep(QUIET)
    measured.note(f"{QUIET:.0f} s without a question")
    entries: list[dict[str, object]] = [{"bucket": BUCKET, "key": key} for key in new]
    await measured.ask(node, "POST, new", *(("POST", "/objects", each) for each in entries))
    await measured.ask(node, "POST, the same again", *(("POST", "/objects", e) for e in entries))
    patched: dict[str, object] = {"refresh": "1h"}
    one = [f"/objects/{BUCKET}/{key}" for key in keys]
    await measured.ask(node, "GET", *(("GET", path, None) for path in one))
    await measured.ask(node, "PATCH", *(("PATCH", path, patched) for path in one))
    await measured.ask(node, "DELETE", *(("DELETE", path, None) for path in one))
    await measured.ask(node, "the first page", ("GET", "/objects", None))
    await measured.ask(node, "a page of them", ("GET", "/objects?limit=100", None))
    below: list[dict[str, object]] = [
        {"bucket": BUCKET, "prefix": f"p{number}/"} for number in range(changes)
    ]
    await measured.ask(node, "POST of a prefix", *(("POST", "/prefixes", e) for e in below))
    path = f"/prefixes/{BUCKET}/{PREFIX}"
    await measured.ask(node, ":rehash of the prefix", ("POST", f"{path}:rehash", None))
    await measured.ask(node, ":warm of the prefix", ("POST", f"{path}:warm", None))
    await measured.ask(node, "a reload", ("POST", "/reload", None))


async def _main(chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="added-") as name:
        directory = Path(name)
        with patch("os.fsync"):  # a power cut may take this state
            objects = make_state(directory / "state", chosen.objects, 1)
        write_added(directory / "state" / ADDED, objects)
        server = Server(objects)
        path = write_configuration(directory, server)
        reloader = Reloader(FileWatch(path), None, Notifier(None), lambda _: None)
        run = partial(serve, load(path), reloader=reloader)
        measured = Measured()
        with server.running():
            async with trio.open_nursery() as nursery:
                begun = time.perf_counter()
                with garbage_is_rare():
                    node = await nursery.start(run)
                measured.note("the start, until it is ready", 1000 * (time.perf_counter() - begun))
                await measure(node, measured, chosen.changes)
                nursery.cancel_scope.cancel()
    print(machine())
    header = ("", "median, ms", "most, ms", "held, ms", "the longest step", "full gc")
    show(f"{chosen.objects:,} objects", header, measured.rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="added", description=description)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=20)
    trio.run(_main, parser.parse_args(arguments))


if __name__ == "__main__":
    main()
