"""For how long the event loop is held with ten thousand objects: by each page, and by what recurs.

    python -m tests.benchmarks.holds [--objects 10000] [--pieces 50] [--rounds 3]

A node runs in this process, on the state of `ten_thousand`, with a swarm of a peer or two for each
object and something counted for each of them. A hold is what the loop does between two looks at its
sockets, in milliseconds of its own thread's CPU time, for the machine may do other work as well; of
each part the longest is shown, the median of some rounds, with the place where its longest step
ended, and how often all objects of the process were looked at for garbage. Other processes ask for
the pages. "Bytes" are of the reply's body as it is sent, of the stream the median of an update.
"""

import argparse
import contextlib
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from seeder.config.load import load
from seeder.config.objects import ObjectSettings
from seeder.daemon.garbage import garbage_is_rare
from seeder.daemon.node import Node
from seeder.daemon.run import serve
from seeder.daemon.swarm_file import SwarmFile
from seeder.tracker.announce import AnnounceRequest
from tests.benchmarks.setup import ADDRESS, machine, show
from tests.benchmarks.ten_thousand import BUCKET, PREFIX, Objects, Server, make_state
from tests.support.ports import free_port
from tests.support.toml import toml

STREAMED = 12.0
"""Seconds for which the stream of events is read."""
_FETCH = """
import gzip, sys, urllib.request
for _ in range(int(sys.argv[2])):
    asked = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=60) as reply:
        size = len(reply.read())
print(size)
"""
_STREAM = """
import sys, time, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
sizes, over = [], time.monotonic() + float(sys.argv[2])
with urllib.request.urlopen(asked, timeout=60) as reply:
    while time.monotonic() < over:
        sizes.append(len(reply.read1(1 << 20)))
print(sorted(sizes[1:])[len(sizes) // 2 - 1], sizes[0])
"""


class Holds(trio.abc.Instrument):
    """Measures every turn of the loop, and in it the longest step of a task."""

    def __init__(self) -> None:
        self.begin()
        self._turn = self._step = time.thread_time_ns()
        self._longest, self._place = 0, ""
        self._collected = 0
        gc.callbacks.append(self._note_collection)

    def _note_collection(self, phase: str, info: dict[str, int]) -> None:
        at = time.thread_time_ns()
        self._collected += -at if phase == "start" else at
        if phase == "stop" and info["generation"] == 2:
            self.full += 1

    def begin(self) -> None:
        """Forget what was measured."""
        self.worst, self.place, self.full = 0.0, "", 0
        """Milliseconds of the longest hold, and where its longest step ended."""

    def after_io_wait(self, timeout: float) -> None:
        self._turn, self._longest, self._collected = time.thread_time_ns(), 0, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time_ns() - self._step
        if took > self._longest:
            self._longest = took
            ours = [
                frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else ""
                for frame, _ in task.iter_await_frames()
                if "/seeder/" in frame.f_code.co_filename
            ]
            self._place = ours[-1] if ours else task.name.rpartition(".")[2]

    def before_io_wait(self, timeout: float) -> None:
        held = (time.thread_time_ns() - self._turn) / 1e6
        if held > self.worst:
            self.worst, self.place = held, f"{self._place} {self._longest / 1e6:.1f}"
            if self._collected > 1e5:
                self.place += f", garbage {self._collected / 1e6:.1f}"


async def _ask(program: str, *words: object) -> list[int]:
    """Run a client; return the numbers that it prints."""
    found = await trio.run_process(
        [sys.executable, "-c", program, *map(str, words)], capture_stdout=True
    )
    return [int(word) for word in found.stdout.split()]


@contextlib.asynccontextmanager
async def running(objects: Objects, directory: Path) -> AsyncIterator[Node]:
    """Run a node in this process until the block is over."""
    server = Server(objects)
    path = directory / "seeder.toml"
    settings: dict[str, object] = {
        "state_directory": str(directory / "state"),
        "origin": {"endpoint": server.endpoint, "path_style": True, "anonymous": True},
        "objects": [{"bucket": BUCKET, "prefix": PREFIX, "public": True, "max_objects": 10**6}],
        "cache": {"directory": str(directory / "cache"), "disk": "0 B"},
        "gateway": {"listing": True},
        "tracker": {"listen": [f"{ADDRESS}:{free_port(ADDRESS)}"]},
        "peer": {"listen": [f"{ADDRESS}:{free_port(ADDRESS)}"], "public_address": "192.0.2.1:6881"},
        "admin": {"listen": [f"{ADDRESS}:{free_port(ADDRESS)}"]},
    }
    path.write_text(toml(settings))
    with server.running():
        async with trio.open_nursery() as nursery:
            with garbage_is_rare():
                node = await nursery.start(serve, load(path))
            yield node
            nursery.cancel_scope.cancel()


def _make_busy(node: Node, rng: random.Random) -> None:
    """Have something counted for every object, and one peer or two in its swarm."""
    for account in node.foundation.ledger.accounts:
        account.origin_received("pieces", rng.randrange(10**6))
        account.uploaded(rng.randrange(10**6))
        account.delivered_verified(rng.randrange(10**6))
    now = trio.current_time()
    for publication in node.catalog:
        torrent = publication.torrent
        if torrent is not None:
            for _ in range(rng.randrange(1, 3)):
                asked = AnnounceRequest(torrent.info_hash, rng.randbytes(20), 6881, left=1)
                node.swarms.announce(asked, rng.randbytes(4), None, now)
    # What this has made at once would be looked at during the first part.
    gc.collect()


class Measured:
    """The parts of a node, measured one by one."""

    def __init__(self, node: Node, objects: Objects, rounds: int) -> None:
        self._node = node
        self._objects = objects
        self._rounds = rounds
        self._rng = random.Random(1)
        self._holds = Holds()
        self.rows: list[tuple[str, ...]] = []
        trio.lowlevel.add_instrument(self._holds)

    async def part(self, name: str, run: Callable[[], Awaitable[object]], rounds: int = 1) -> None:
        """Add a row: the median over the rounds of the longest hold in each."""
        found, full = [], 0
        for _ in range(rounds):
            await trio.sleep(0.1)
            self._holds.begin()
            size = await run()
            await trio.sleep(0.05)
            found.append((self._holds.worst, self._holds.place))
            full += self._holds.full
        held, place = statistics.median_low(found)
        self.rows.append((name, f"{held:.1f}", place, str(full or ""), str(size or "")))
        print(self.rows[-1], file=sys.stderr)

    async def page(self, base: str, target: str, name: str = "") -> None:
        """Have a page fetched."""

        async def fetch() -> int:
            return (await _ask(_FETCH, base + target, 3))[-1]

        await self.part(name or target, fetch, self._rounds)

    async def events(self, admin: str) -> None:
        """Have the stream of events read while bytes are counted for many objects."""

        async def count() -> None:
            while True:
                for account in self._rng.sample(self._node.foundation.ledger.accounts, 200):
                    account.uploaded(self._rng.randrange(10**6))
                await trio.sleep(0.2)

        async def stream() -> str:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                median, first = await _ask(_STREAM, f"{admin}/events", STREAMED)
                nursery.cancel_scope.cancel()
            return f"{median} (the first {first})"

        await self.part("/events", stream)

    async def recurring(self) -> None:
        """Measure what happens again and again: the line of status, looks, flushes, saves."""
        node, database = self._node, self._node.foundation.database
        await self.part("15 s without a question", partial(trio.sleep, 15))

        async def flush() -> None:
            _make_busy(node, self._rng)
            await trio.sleep(0.5)
            self._holds.begin()
            await database.flush(node.foundation.ledger)

        async def save() -> None:
            with tempfile.TemporaryDirectory() as name:
                await SwarmFile(node.swarms, Path(name) / "swarms.json").save()

        async def expire() -> None:
            for _ in node.swarms.expire(trio.current_time()):
                await trio.lowlevel.checkpoint()

        await self.part("a flush of all accounts", flush, self._rounds)
        await self.part("the swarms are saved", save, self._rounds)
        await self.part("old peers are looked for", expire, self._rounds)

    async def changing(self) -> None:
        """Measure thousands of objects that come and go at once."""
        publisher, etags = self._node.publisher, self._objects.etags

        async def list_again() -> None:
            for key in list(etags)[::2]:
                del etags[key]
            for follower in publisher.prefixes._followers.values():
                before = follower.prefix.listed_at
                follower.wake()
                while follower.prefix.listed_at == before:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            await trio.sleep(1)

        async def apply(objects: Sequence[ObjectSettings]) -> None:
            await publisher.apply(objects)
            await trio.sleep(1)

        await self.part("a listing in which half of them have gone", list_again)
        await self.part("a reload without the others", partial(apply, ()))
        await self.part("a reload with them", partial(apply, self._node.config.objects))


async def measure(node: Node, objects: Objects, rounds: int) -> list[tuple[str, ...]]:
    """Return a row for each part."""
    admin, public = f"http://{node.admin_address}", f"http://{ADDRESS}:{node.tracker_port}"
    measured = Measured(node, objects, rounds)
    _make_busy(node, random.Random(2))
    await measured.recurring()
    for target in (
        "/status.json",
        "/status.json?limit=100",
        "/metrics",
        *(f"/history.json?span={span}" for span in ("hour", "day", "month", "all")),
        "/",
    ):
        await measured.page(admin, target)
    await measured.events(admin)
    await measured.page(public, "/", "the list of what is public")
    await measured.page(public, f"/{BUCKET}?list-type=2", "a listing for S3's tools")
    await measured.changing()
    return measured.rows


async def _main(chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="holds-") as name:
        directory = Path(name)
        objects = make_state(directory / "state", chosen.objects, chosen.pieces)
        async with running(objects, directory) as node:
            rows = await measure(node, objects, chosen.rounds)
    print(machine())
    show(
        f"{chosen.objects:,} objects",
        ("", "held, ms", "the longest step", "full gc", "bytes"),
        rows,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="holds", description=description)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--pieces", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    trio.run(_main, parser.parse_args(arguments))


if __name__ == "__main__":
    main()
