"""Pieces from S3, verified: those asked for together that lie side by side come in one GET.

A GET is paid for by the request as well as by the byte, so all that was asked for in one turn of
the loop is looked at together. A piece that fails its hash is read once more, by itself; failing
again, it is refused for a while without asking S3, however often peers want it.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio

from seeder.cache.memory import Key, Piece
from seeder.errors import BudgetSpent, OriginError, PieceMismatch, SeederError
from seeder.torrent.layout import KIB, MIB, Layout

_LOG = logging.getLogger(__name__)

LARGEST_READ = 8 * MIB
HASHED_INLINE = 256 * KIB
"""Bytes from which pieces are hashed in a thread; a thread costs as much as hashing half of it."""
REFUSED_FOR = 60.0
"""Seconds for which a piece that came wrong twice isn't asked for again."""


class Readable(Protocol):
    """What reading has to know of a torrent; equal `cache_id` means equal bytes."""

    @property
    def cache_id(self) -> str: ...

    @property
    def layout(self) -> Layout: ...

    def piece_hash(self, index: int) -> bytes: ...


T = TypeVar("T", bound=Readable)
T_contra = TypeVar("T_contra", bound=Readable, contravariant=True)


class PieceSource(Protocol[T_contra]):
    """Where pieces come from; bounds its own concurrency."""

    async def read_pieces(self, torrent: T_contra, first: int, count: int) -> bytearray:
        """Read `count` pieces from `first` on by one ranged GET; OriginError, BudgetSpent."""
        ...


class _Asked:
    """A piece that somebody waits for."""

    __slots__ = ("outcome", "settled")

    def __init__(self) -> None:
        self.outcome: Piece | SeederError | None = None
        self.settled = trio.Event()

    def settle(self, outcome: Piece | SeederError) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.settled.set()


_Batch: TypeAlias = dict[int, _Asked]


class OriginReader(Generic[T]):
    """Reads pieces from `source` in the nursery of `run`; `clock` returns seconds."""

    def __init__(self, source: PieceSource[T], clock: Callable[[], float]) -> None:
        self.mismatches = 0
        """Pieces that failed their hash, each try counted."""
        self._source = source
        self._clock = clock
        self._batches: dict[str, _Batch] = {}
        self._refused: dict[Key, tuple[float, PieceMismatch]] = {}

    async def read(self, torrent: T, index: int, nursery: trio.Nursery) -> Piece:
        """Return a verified piece; BudgetSpent, OriginError (PieceMismatch: it came wrong twice).

        What has to be read is read in `nursery`, and goes on if this call is cancelled.
        """
        self._check_refused((torrent.cache_id, index))
        batch = self._batches.get(torrent.cache_id)
        if batch is None:
            batch = self._batches[torrent.cache_id] = {}
            nursery.start_soon(self._gather, torrent, batch, nursery)
        asked = batch.setdefault(index, _Asked())
        await asked.settled.wait()
        assert asked.outcome is not None
        if isinstance(asked.outcome, SeederError):
            raise asked.outcome
        return asked.outcome

    def _check_refused(self, key: Key) -> None:
        refused = self._refused.get(key)
        if refused is None:
            return
        since, error = refused
        if self._clock() - since < REFUSED_FOR:
            raise error
        del self._refused[key]

    async def _gather(self, torrent: T, batch: _Batch, nursery: trio.Nursery) -> None:
        # Whoever asks in this turn of the loop is in the batch when it goes on.
        await trio.lowlevel.checkpoint()
        del self._batches[torrent.cache_id]
        for first, count in runs(batch, LARGEST_READ // torrent.layout.piece_length):
            asked = [batch[index] for index in range(first, first + count)]
            nursery.start_soon(self._read_run, torrent, first, asked)

    async def _read_run(self, torrent: T, first: int, asked: list[_Asked]) -> None:
        wrong = list(range(first, first + len(asked)))
        try:
            wrong = await self._try(torrent, first, asked)
            for index in wrong:
                if await self._try(torrent, index, [asked[index - first]]):
                    error = PieceMismatch(
                        f"piece {index} came wrong from S3 twice: the object isn't what its"
                        " torrent describes"
                    )
                    self._refused[torrent.cache_id, index] = (self._clock(), error)
                    asked[index - first].settle(error)
        except (OriginError, BudgetSpent) as error:
            for each in asked:
                each.settle(error)

    async def _try(self, torrent: T, first: int, asked: list[_Asked]) -> list[int]:
        """Read a run and settle what is right; return the pieces that aren't."""
        count = len(asked)
        data = await self._source.read_pieces(torrent, first, count)
        if len(data) < HASHED_INLINE:
            digests = _hash_pieces(data, torrent.layout.piece_length)
        else:
            length = torrent.layout.piece_length
            digests = await trio.to_thread.run_sync(_hash_pieces, data, length)
        wrong = []
        for offset, each in enumerate(asked):
            index = first + offset
            if digests[offset : offset + 1] == [torrent.piece_hash(index)]:
                each.settle(data if count == 1 else _cut(data, torrent.layout, offset))
            else:
                self.mismatches += 1
                _LOG.debug("piece %d of %s came wrong from S3", index, torrent.cache_id)
                wrong.append(index)
        return wrong


def _cut(data: bytearray, layout: Layout, offset: int) -> bytes:
    # A copy: a view would keep the whole run in memory for the sake of one piece.
    start = offset * layout.piece_length
    return bytes(memoryview(data)[start : start + layout.piece_length])


def _hash_pieces(data: bytearray, piece_length: int) -> list[bytes]:
    view = memoryview(data)
    return [
        hashlib.sha1(view[at : at + piece_length], usedforsecurity=False).digest()
        for at in range(0, len(data), piece_length)
    ]


def runs(indices: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of indices that follow each other, at most `most` (or 1) at a time."""
    first = count = 0
    for index in sorted(indices):
        if count and index == first + count and count < most:
            count += 1
            continue
        if count:
            yield first, count
        first, count = index, 1
    if count:
        yield first, count
