"""Pieces from S3, verified; adjacent ones that are asked for together come by one GET.

S3 charges for each GET as well as for each byte, so all pieces that are asked for in one turn of
the event loop are read together. A piece that fails its hash is read once more, by itself; if it
fails again, it is refused for a while without asking S3, however often peers want it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio

from seeder.cache.memory import Key, Piece
from seeder.errors import PieceMismatch, SeederError, StorageError
from seeder.torrent.layout import Layout, sha1
from seeder.torrent.torrent import Question
from seeder.units import KIB, MIB

_LOG = logging.getLogger(__name__)

LARGEST_READ = 8 * MIB
HASHED_INLINE = 256 * KIB
"""Bytes from which on pieces are hashed in a thread: a thread costs as much as hashing half of
that."""
REFUSED_FOR = 60.0
"""Seconds for which a piece that came wrong twice isn't asked for again."""


class PieceSection(Protocol):
    """The pieces of a torrent that are kept under one cache id, from `first` on."""

    @property
    def cache_id(self) -> str: ...

    @property
    def first(self) -> int: ...


class Readable(Protocol):
    """What reading has to know of a torrent."""

    @property
    def cache_id(self) -> str:
        """What tells the torrent's content from others: equal ids mean equal bytes."""
        ...

    @property
    def layout(self) -> Layout: ...

    @property
    def sections(self) -> Sequence[PieceSection]:
        """Where its pieces are kept."""
        ...

    def piece_hash(self, index: int) -> bytes: ...

    def piece_key(self, index: int) -> Key:
        """Return what piece `index` is kept under; equal keys mean equal bytes."""
        ...

    def run_stop(self, index: int) -> int:
        """Return the first piece after `index` that one GET can't bring together with it."""
        ...

    def question_of(self, index: int) -> Question | None:
        """Return what has to be known before S3 is asked for piece `index`, if anything."""
        ...


T = TypeVar("T", bound=Readable)
T_contra = TypeVar("T_contra", bound=Readable, contravariant=True)


class PieceSource(Protocol[T_contra]):
    """Where pieces come from; it limits its own concurrency."""

    async def read_pieces(
        self, torrent: T_contra, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        """Read `count` pieces from `first` on by one ranged GET; OriginError, BudgetSpent.

        `take` is called with each piece in turn, as soon as it is there, in the task of this call.
        """
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


class _Check:
    """The pieces that one GET brings, checked and settled in the order in which they come.

    While a thread hashes some, more arrive, and are hashed together next.
    """

    def __init__(
        self, torrent: Readable, first: int, asked: Sequence[_Asked], nursery: trio.Nursery
    ) -> None:
        self.wrong: dict[int, bytes] = {}
        """The pieces that failed their hash, and the SHA-1 that they had instead."""
        self._name = torrent.cache_id
        self._first = first
        # Looked up before the GET: the look-up may fail, and bytes that were paid for mustn't be
        # lost to that.
        self._hashes = [torrent.piece_hash(first + place) for place in range(len(asked))]
        self._asked = asked
        self._nursery = nursery
        self._arrived: list[bytearray] = []
        self._size = 0
        self.checked = 0
        """How many have come and were checked."""
        self._busy: trio.Event | None = None
        self._failed = False
        """Whether pieces couldn't be hashed, by a fault of ours."""

    def take(self, piece: bytearray) -> None:
        """Take the next piece."""
        self._arrived.append(piece)
        self._size += len(piece)
        if self._busy is None and self._size >= HASHED_INLINE:
            self._busy = trio.Event()
            self._nursery.start_soon(self._hash_in_thread, self._busy)

    async def finish(self) -> None:
        """Wait until all that came is settled or wrong; StorageError where we fail at that."""
        if self._busy is not None:
            await self._busy.wait()
        if self._failed:
            raise StorageError("the piece can't be had: internal error")
        if self._arrived:
            pieces = self._take_arrived()
            self._settle(pieces, _hash_pieces(pieces))

    async def _hash_in_thread(self, busy: trio.Event) -> None:
        """Hash what has come until little is left; of a fault of ours `finish` tells."""
        try:
            while self._size >= HASHED_INLINE:
                pieces = self._take_arrived()
                self._settle(pieces, await trio.to_thread.run_sync(_hash_pieces, pieces))
        except Exception:
            _LOG.exception("pieces of %s: internal error", self._name)
            self._failed = True
        finally:
            self._busy = None
            busy.set()

    def _take_arrived(self) -> list[bytearray]:
        pieces, self._arrived, self._size = self._arrived, [], 0
        return pieces

    def _settle(self, pieces: list[bytearray], digests: list[bytes]) -> None:
        for piece, digest in zip(pieces, digests, strict=True):
            index = self._first + self.checked
            if digest == self._hashes[self.checked]:
                self._asked[self.checked].settle(piece)
            else:
                _LOG.debug("piece %d of %s came wrong from S3", index, self._name)
                self.wrong[index] = digest
            self.checked += 1


class OriginReader(Generic[T]):
    """Reads pieces from `source` in the nursery of `run`; `clock` returns seconds.

    `on_recovery` is called with a piece that comes right after it was refused, in the task that
    reads it.
    """

    def __init__(
        self,
        source: PieceSource[T],
        clock: Callable[[], float],
        on_recovery: Callable[[T, int], None],
    ) -> None:
        self.mismatches = 0
        """Pieces that failed their hash, each try counted."""
        self._source = source
        self._clock = clock
        self._on_recovery = on_recovery
        self._batches: dict[str, _Batch] = {}
        self._refused: dict[Key, tuple[float, PieceMismatch]] = {}
        """The pieces that came wrong twice, and haven't come right since."""

    async def read(self, torrent: T, index: int, nursery: trio.Nursery) -> Piece | SeederError:
        """Return a verified piece, or why there is none.

        That is BudgetSpent, an OriginError (PieceMismatch: the piece came wrong twice), or the
        error in reading the metainfo from disk. One error may answer many calls, so it is not
        raised: each raise would add to its traceback. What has to be read is read in `nursery`, and
        goes on if this call is cancelled.
        """
        refused = self._refusal(torrent.piece_key(index))
        if refused is not None:
            await trio.lowlevel.checkpoint()
            return refused
        # The torrent may go on under another id while the batch is gathered.
        name = torrent.cache_id
        batch = self._batches.get(name)
        if batch is None:
            batch = self._batches[name] = {}
            nursery.start_soon(self._gather, torrent, name, batch, nursery)
        asked = batch.setdefault(index, _Asked())
        await asked.settled.wait()
        assert asked.outcome is not None
        return asked.outcome

    def _refusal(self, key: Key) -> PieceMismatch | None:
        """Return why a piece isn't asked for again yet; None if it may be."""
        refused = self._refused.get(key)
        if refused is None:
            return None
        since, error = refused
        return error if self._clock() - since < REFUSED_FOR else None

    async def read_again(self, torrent: T, index: int) -> tuple[bytearray, bytes]:
        """Read a piece whether it is refused or not; return it with its SHA-1, right or wrong.

        OriginError, BudgetSpent, or the error in reading the metainfo from disk.
        """
        wanted = torrent.piece_hash(index)
        got: list[bytearray] = []
        await self._source.read_pieces(torrent, index, 1, got.append)
        [piece] = got
        digest = await trio.to_thread.run_sync(sha1, piece)
        if digest == wanted:
            self._came_right(torrent, [index])
        else:
            self.mismatches += 1
        return piece, digest

    def _came_right(self, torrent: T, indices: Iterable[int]) -> None:
        for index in indices:
            if self._refused.pop(torrent.piece_key(index), None) is not None:
                self._on_recovery(torrent, index)

    def forget(self, cache_id: str) -> None:
        """Refuse no piece of a content that is known no more."""
        for key in [key for key in self._refused if key[0] == cache_id]:
            del self._refused[key]

    async def _gather(self, torrent: T, name: str, batch: _Batch, nursery: trio.Nursery) -> None:
        # After this the batch has all that was asked for in this turn of the event loop.
        await trio.lowlevel.checkpoint()
        del self._batches[name]
        most = LARGEST_READ // torrent.layout.piece_length
        for first, count in runs(batch, most, torrent.run_stop):
            asked = [batch[index] for index in range(first, first + count)]
            nursery.start_soon(self._read_run, torrent, first, asked, nursery)

    async def _read_run(
        self, torrent: T, first: int, asked: list[_Asked], nursery: trio.Nursery
    ) -> None:
        try:
            wrong = await self._try(torrent, first, asked, nursery)
            for index, before in wrong.items():
                alone = asked[index - first]
                again = await self._try(torrent, index, [alone], nursery)
                if again:
                    error = PieceMismatch(
                        f"piece {index} came wrong from S3 twice: the object isn't what its"
                        " torrent describes",
                        index=index,
                        digest=again[index],
                        steady=again[index] == before,
                    )
                    self._refused[torrent.piece_key(index)] = (self._clock(), error)
                    alone.settle(error)
        except SeederError as error:
            # From S3, from the budget, or from reading the metainfo, which may be gone from disk.
            for each in asked:
                each.settle(error)
        except Exception:
            # A fault of ours with one run: whoever waits for others mustn't pay for it.
            _LOG.exception("pieces of %s: internal error", torrent.cache_id)
            for index, each in enumerate(asked, first):
                each.settle(StorageError(f"piece {index} can't be had: internal error"))

    async def _try(
        self, torrent: T, first: int, asked: list[_Asked], nursery: trio.Nursery
    ) -> dict[int, bytes]:
        """Read a run and settle what is right as it comes; return the digests of what isn't."""
        check = _Check(torrent, first, asked, nursery)
        try:
            await self._source.read_pieces(torrent, first, len(asked), check.take)
        finally:
            # What came before a failure was paid for, and is delivered.
            await check.finish()
            self.mismatches += len(check.wrong)
            if self._refused:
                came = range(first, first + check.checked)
                self._came_right(torrent, [each for each in came if each not in check.wrong])
        return check.wrong


def _hash_pieces(pieces: list[bytearray]) -> list[bytes]:
    return [sha1(piece) for piece in pieces]


def runs(
    indices: Iterable[int], most: int, stop: Callable[[int], int] | None = None
) -> Iterator[tuple[int, int]]:
    """Yield (first, count) for each run of consecutive indices, at most `most` (or 1) long.

    No run reaches beyond `stop(first)`, if that is given.
    """
    first = count = end = 0
    for index in sorted(indices):
        if count and index == first + count and count < most and index < end:
            count += 1
            continue
        if count:
            yield first, count
        first, count, end = index, 1, index + most if stop is None else stop(index)
    if count:
        yield first, count
