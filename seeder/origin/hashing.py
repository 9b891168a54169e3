"""Hashing an object piece by piece, read once by parallel ranged GETs (decision 6).

Each range covers whole pieces and at most 8 MiB. Its hashes go into a journal before its pieces go
into the cache, so that a build that was killed goes on where it stopped: what is in the journal is
never read again for hashing. For a hybrid the leaves of its Merkle tree go to disk before either.
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
from seeder.origin.trees import TreeBuilder
from seeder.torrent.catalog import PinnedObject, cache_id
from seeder.torrent.layout import MIB, ByteRange, Layout
from seeder.torrent.merkle import HASH_LENGTH as TREE_HASH_LENGTH

READ_SIZE = 8 * MIB
"""S3 gives its best rate from ranges of 8 to 16 MiB."""
PARALLEL_READS = 8
HASH_LENGTH = 20
CHECKED_AT_A_TIME = 64
"""Pieces whose leaves on disk are looked at in one go, for a stop not to wait long."""

Progress = Callable[[int, int], None]
"""Called with the bytes hashed so far and in all."""


class PieceSink(Protocol):
    """Where the pieces go that had to be read anyway: the cache."""

    async def keep(self, cache_id: str, index: int, piece: bytes | bytearray) -> bool: ...


class Journal:
    """The hashes known so far of one cut of one object: (index, digest) in the order they came.

    A digest is the piece's SHA-1, for a hybrid with the piece's root in the Merkle tree behind it.
    Written without fsync: it survives the death of the process; after a power cut a torn tail is
    dropped and read again.
    """

    def __init__(self, path: Path, name: str, digest_length: int = HASH_LENGTH) -> None:
        self._path = path
        self._record_length = 4 + digest_length
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
        records, length = data[len(self._header) :], self._record_length
        whole = len(records) // length * length
        return {
            int.from_bytes(records[at : at + 4], "big"): records[at + 4 : at + length]
            for at in range(0, whole, length)
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
    """Reads an object once and returns the hash of each piece; `tree` gets the leaves (BEP 52)."""

    def __init__(
        self,
        origin: S3Origin,
        sink: PieceSink,
        meter: Meter,
        pinned: PinnedObject,
        layout: Layout,
        *,
        tree: TreeBuilder | None = None,
    ) -> None:
        self._origin = origin
        self._sink = sink
        self._meter = meter
        self._pinned = pinned
        self._layout = layout
        self._tree = tree
        self._name = cache_id(pinned, layout.piece_length)

    async def run(self, path: Path, progress: Progress) -> bytes:
        """Return the concatenated SHA-1s (20 bytes a piece); `path` is the journal.

        OriginError as the origin has it, or BudgetSpent; what was hashed by then stays in the
        journal.
        """
        journal = self.journal(path)
        hashes = await trio.to_thread.run_sync(journal.load)
        if self._tree is not None:
            hashes = await self._with_leaves(self._tree, hashes)
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
        return b"".join(hashes[index][:HASH_LENGTH] for index in range(layout.piece_count))

    def journal(self, path: Path) -> Journal:
        """Return the journal of this hashing at `path`."""
        if self._tree is None:
            return Journal(path, self._name)
        return Journal(path, f"{self._name} and tree", HASH_LENGTH + TREE_HASH_LENGTH)

    async def _with_leaves(self, tree: TreeBuilder, hashes: dict[int, bytes]) -> dict[int, bytes]:
        """Return those of the hashes whose leaves are on disk as well."""
        if not hashes:
            await trio.to_thread.run_sync(tree.start)
        noted = [(index, digest[HASH_LENGTH:]) for index, digest in hashes.items()]
        intact: set[int] = set()
        for at in range(0, len(noted), CHECKED_AT_A_TIME):
            intact |= await trio.to_thread.run_sync(tree.intact, noted[at : at + CHECKED_AT_A_TIME])
        return {index: digest for index, digest in hashes.items() if index in intact}

    async def _read_run(self, first: int, count: int, journal: Journal) -> tuple[list[bytes], int]:
        layout = self._layout
        start = first * layout.piece_length
        stop = layout.piece_range(first + count - 1).stop
        wanted = ByteRange(start, stop - start)
        pieces: list[bytearray] = []
        await self._origin.read_parts(
            self._pinned,
            wanted,
            self._meter,
            "hashing",
            part_length=layout.piece_length,
            take=pieces.append,
        )
        digests = await trio.to_thread.run_sync(digest_pieces, first, pieces, self._tree)
        journal.append(first, digests)
        for index, piece in enumerate(pieces, first):
            await self._sink.keep(self._name, index, piece)
        return digests, wanted.length


def digest_pieces(first: int, pieces: list[bytearray], tree: TreeBuilder | None) -> list[bytes]:
    """Return what the journal notes of consecutive pieces; their leaves go to `tree`."""
    digests = [hashlib.sha1(piece, usedforsecurity=False).digest() for piece in pieces]
    if tree is None:
        return digests
    roots = tree.add(first, pieces)
    return [digest + root for digest, root in zip(digests, roots, strict=True)]


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
