"""Hashing an object piece by piece, read once by parallel ranged GETs (decision 6).

Each range covers whole pieces and at most 8 MiB. Its hashes go into a journal before its pieces go
into the cache, so that a build that was killed goes on where it stopped: what is in the journal is
never read again for hashing.
"""

import hashlib
import json
import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Protocol

import trio

from seeder.errors import BudgetSpent, SeederError, StorageError
from seeder.origin.s3 import Meter, S3Origin
from seeder.torrent.catalog import PinnedObject, cache_id
from seeder.torrent.layout import MIB, ByteRange, Layout

READ_SIZE = 8 * MIB
"""S3 gives its best rate from ranges of 8 to 16 MiB."""
PARALLEL_READS = 8
HASH_LENGTH = 20
_RECORD_LENGTH = 4 + HASH_LENGTH

Progress = Callable[[int, int], None]
"""Called with the bytes hashed so far and in all."""


class PieceSink(Protocol):
    """Where the pieces go that had to be read anyway: the cache."""

    async def keep(self, cache_id: str, index: int, piece: bytes | bytearray) -> bool: ...


class Journal:
    """The hashes known so far of one cut of one object: (index, SHA-1) in the order they came.

    Written without fsync: it survives the death of the process; after a power cut a torn tail is
    dropped and read again.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._header = json.dumps({"journal": 1, "of": name}).encode() + b"\n"

    def load(self) -> dict[int, bytes]:
        """Return the hashes by piece; a journal of something else counts as empty."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"{self._path}: can't be read: {error.strerror}") from error
        if not data.startswith(self._header):
            return {}
        records = data[len(self._header) :]
        whole = len(records) // _RECORD_LENGTH * _RECORD_LENGTH
        return {
            int.from_bytes(records[at : at + 4], "big"): records[at + 4 : at + _RECORD_LENGTH]
            for at in range(0, whole, _RECORD_LENGTH)
        }

    def start(self, known: dict[int, bytes]) -> None:
        """Write the journal anew with what is known: drops a torn tail."""
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(self._header + b"".join(map(_record, known.items())))
            os.replace(partial, self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: can't be written: {error.strerror}") from error

    def append(self, first: int, hashes: list[bytes]) -> None:
        """Add the hashes of consecutive pieces from `first`."""
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(map(_record, enumerate(hashes, first))))
        except OSError as error:
            raise StorageError(f"{self._path}: can't be written: {error.strerror}") from error

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _record(item: tuple[int, bytes]) -> bytes:
    index, digest = item
    return index.to_bytes(4, "big") + digest


class Hasher:
    """Reads an object once and returns the hash of each piece."""

    def __init__(
        self, origin: S3Origin, sink: PieceSink, meter: Meter, pinned: PinnedObject, layout: Layout
    ) -> None:
        self._origin = origin
        self._sink = sink
        self._meter = meter
        self._pinned = pinned
        self._layout = layout
        self._name = cache_id(pinned, layout.piece_length)

    async def run(self, path: Path, progress: Progress) -> bytes:
        """Return the concatenated SHA-1s (20 bytes a piece); `path` is the journal.

        OriginError as the origin has it, or BudgetSpent; what was hashed by then stays in the
        journal.
        """
        journal = Journal(path, self._name)
        hashes = await trio.to_thread.run_sync(journal.load)
        await trio.to_thread.run_sync(journal.start, hashes)
        layout = self._layout
        done = sum(layout.piece_size(index) for index in hashes)
        progress(done, layout.size)

        async def worker() -> None:
            nonlocal done
            try:
                for first, count in runs:
                    digests, size = await self._read_run(first, count, journal)
                    hashes.update(enumerate(digests, first))
                    done += size
                    progress(done, layout.size)
            except BudgetSpent as error:
                # The other reads are paid for, so they come to their ends.
                failures.append(error)
            except SeederError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        failures: list[SeederError] = []
        runs = missing_runs(frozenset(hashes), layout)
        async with trio.open_nursery() as nursery:
            for _ in range(PARALLEL_READS):
                nursery.start_soon(worker)
        if failures:
            raise failures[-1]
        return b"".join(hashes[index] for index in range(layout.piece_count))

    async def _read_run(self, first: int, count: int, journal: Journal) -> tuple[list[bytes], int]:
        layout = self._layout
        start = first * layout.piece_length
        stop = layout.piece_range(first + count - 1).stop
        data = await self._origin.read_range(
            self._pinned, ByteRange(start, stop - start), self._meter, "hashing"
        )
        digests = await trio.to_thread.run_sync(_hash_pieces, data, layout.piece_length)
        journal.append(first, digests)
        view = memoryview(data)
        for offset in range(count):
            at = offset * layout.piece_length
            piece = data if count == 1 else bytes(view[at : at + layout.piece_length])
            await self._sink.keep(self._name, first + offset, piece)
        return digests, stop - start


def _hash_pieces(data: bytearray, piece_length: int) -> list[bytes]:
    view = memoryview(data)
    return [
        hashlib.sha1(view[at : at + piece_length], usedforsecurity=False).digest()
        for at in range(0, len(data), piece_length)
    ]


def missing_runs(known: Container[int], layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield runs (first piece, count) of pieces that aren't `known`, at most READ_SIZE each."""
    most = max(1, READ_SIZE // layout.piece_length)
    first, count = 0, 0
    for index in range(layout.piece_count):
        if index in known or count == most:
            if count:
                yield first, count
            count = 0
        if index not in known:
            first = first if count else index
            count += 1
    if count:
        yield first, count
