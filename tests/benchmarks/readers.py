"""Ways to read an object by parallel ranged GETs, to measure one by one, each in its own process.

    python -m tests.benchmarks.readers KIND URL --size BYTES [--range BYTES] [--connections N]

URL is http[s]://HOST:PORT/BUCKET/KEY of an object that anybody may read. The bytes are thrown away.
Prints seconds and CPU seconds of the process as JSON, from the first request to the last byte.

httpx-raw is the cheapest that httpx offers with its defaults (`stream` and `aiter_raw`), httpx is
the usual `get` and its `content`. ours is S3Origin.read_range: the bytes end up in one buffer;
ours-verified reads ranges as the cache does, in pieces that are checked against SHA-1.
"""

import argparse
import hashlib
import json
import random
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx
import trio

from seeder.cache.reading import OriginReader
from seeder.config.origins import OriginSettings
from seeder.errors import SeederError
from seeder.s3.client import S3Origin
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject, Purpose, Section
from seeder.units import MIB, ByteRange
from tests.support.processes import Child, python_environment

Read: TypeAlias = Callable[[ByteRange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Job:
    """What to read, how, and whom to trust."""

    url: str
    size: int
    range_length: int
    connections: int
    ca_file: Path | None
    content: Path | None
    """The object as a file, for its hashes."""
    piece_length: int

    @property
    def ranges(self) -> Iterator[ByteRange]:
        """Yield the ranges, in order."""
        for start in range(0, self.size, self.range_length):
            yield ByteRange(start, min(self.range_length, self.size - start))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading of the object took; bytes, seconds, and CPU seconds of the reader."""

    size: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / self.seconds / 1e6

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds per GB."""
        return self.cpu / self.size * 1e9


class Uncounted:
    """A meter for bytes that nobody books."""

    def origin_request(self, purpose: Purpose) -> None: ...

    def origin_received(self, purpose: Purpose, count: int) -> None: ...

    def requester_charged(self) -> None: ...


def measure(
    kind: str,
    url: str,
    size: int,
    *,
    range_length: int,
    connections: int,
    directory: Path,
    ca_file: Path | None = None,
    content: Path | None = None,
) -> Reading:
    """Run one reader as a process of its own and return what it measured."""
    argv = [sys.executable, "-m", "tests.benchmarks.readers", kind, url, "--size", str(size)]
    argv += ["--range", str(range_length), "--connections", str(connections)]
    argv += [] if ca_file is None else ["--ca-file", str(ca_file)]
    argv += [] if content is None else ["--content", str(content)]
    log = directory / "reader.log"
    log.unlink(missing_ok=True)
    with Child(argv, log=log, env=python_environment()) as child:
        if child.wait(300):
            raise child.failure(f"{kind} failed")
        told = json.loads(child.output())
    return Reading(size, told["seconds"], told["cpu"])


async def _run(job: Job, read: Read) -> None:
    """Read everything, `connections` ranges at a time, and print what it took."""
    ranges = job.ranges

    async def worker() -> None:
        for wanted in ranges:
            await read(wanted)

    cpu, began = time.process_time(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(job.connections):
            nursery.start_soon(worker)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


async def _httpx(job: Job, *, raw: bool) -> None:
    verify = True if job.ca_file is None else ssl.create_default_context(cafile=job.ca_file)
    async with httpx.AsyncClient(verify=verify) as client:

        async def read(wanted: ByteRange) -> None:
            headers, length = {"Range": wanted.header}, 0
            if raw:
                async with client.stream("GET", job.url, headers=headers) as response:
                    async for chunk in response.aiter_raw():
                        length += len(chunk)
            else:
                length = len((await client.get(job.url, headers=headers)).content)
            assert length == wanted.length

        await _run(job, read)


async def _ours(job: Job, *, verified: bool) -> None:
    endpoint, bucket, key = job.url.rsplit("/", 2)
    settings = OriginSettings(
        endpoint=endpoint,
        path_style=True,
        anonymous=True,
        ca_file=job.ca_file,
        connections=job.connections,
    )
    origin, meter = S3Origin(settings, rng=random.Random(1)), Uncounted()
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.run)
        pinned = await origin.head(ObjectRef("default", bucket, key), meter)

        async def read(wanted: ByteRange) -> None:
            assert len(await origin.read_range(pinned, wanted, meter, "pieces")) == wanted.length

        if verified:
            await _run(job, _through_the_cache(job, origin, pinned, nursery))
        else:
            await _run(job, read)
        nursery.cancel_scope.cancel()


def _through_the_cache(
    job: Job, origin: S3Origin, pinned: PinnedObject, nursery: trio.Nursery
) -> Read:
    assert job.content is not None
    layout = Layout(job.size, job.piece_length)
    torrent = _Pieces("benchmark", layout, _hashes(job.content, layout))
    reader = OriginReader(_Source(origin, pinned), trio.current_time, lambda *_: None)

    async def read_piece(index: int) -> None:
        found = await reader.read(torrent, index, nursery)
        if isinstance(found, SeederError):
            raise found

    async def read(wanted: ByteRange) -> None:
        first = wanted.start // job.piece_length
        stop = -(-wanted.stop // job.piece_length)
        async with trio.open_nursery() as waiting:
            for index in range(first, stop):
                waiting.start_soon(read_piece, index)

    return read


@dataclass(frozen=True)
class _Pieces:
    """What the reader has to know of a torrent."""

    cache_id: str
    layout: Layout
    hashes: tuple[bytes, ...]

    sections: tuple[Section, ...] = ()

    def piece_hash(self, index: int) -> bytes:
        return self.hashes[index]

    def piece_key(self, index: int) -> tuple[str, int]:
        return self.cache_id, index

    def question_of(self, _: int) -> None:
        return None

    def run_stop(self, index: int) -> int:
        return self.layout.piece_count


@dataclass(frozen=True)
class _Source:
    """Pieces of one object."""

    origin: S3Origin
    pinned: PinnedObject

    async def read_pieces(
        self, torrent: _Pieces, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        start = torrent.layout.piece_range(first).start
        wanted = ByteRange(start, torrent.layout.piece_range(first + count - 1).stop - start)
        length = torrent.layout.piece_length
        await self.origin.read_parts(
            self.pinned, wanted, Uncounted(), "pieces", part_length=length, take=take
        )


def _hashes(content: Path, layout: Layout) -> tuple[bytes, ...]:
    with content.open("rb") as file:
        pieces = iter(lambda: file.read(layout.piece_length), b"")
        return tuple(hashlib.sha1(piece, usedforsecurity=False).digest() for piece in pieces)


KINDS: dict[str, Callable[[Job], Awaitable[None]]] = {
    "httpx-raw": lambda job: _httpx(job, raw=True),
    "httpx": lambda job: _httpx(job, raw=False),
    "ours": lambda job: _ours(job, verified=False),
    "ours-verified": lambda job: _ours(job, verified=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("url")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--range", type=int, default=8 * MIB)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--ca-file", type=Path)
    parser.add_argument("--content", type=Path)
    parser.add_argument("--piece-length", type=int, default=MIB)
    chosen = parser.parse_args(arguments)
    job = Job(
        chosen.url,
        chosen.size,
        chosen.range,
        chosen.connections,
        chosen.ca_file,
        chosen.content,
        chosen.piece_length,
    )
    trio.run(KINDS[chosen.kind], job)


if __name__ == "__main__":
    main()
