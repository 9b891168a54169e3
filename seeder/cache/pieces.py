"""Verified pieces for whoever asks: from memory, else from disk, else fetched from S3 once.

A fetch runs in the cache's own nursery, so the peer that asked may leave. A peer that asks for the
same piece meanwhile joins the fetch. Each waiter is called once, with the piece or with the error.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import trio

from seeder.cache import files
from seeder.cache.disk import DiskTier
from seeder.cache.fetches import Fetch, Fetches, Unread, Waiter
from seeder.cache.inspection import Inspector
from seeder.cache.memory import Key, MemoryTier, Piece
from seeder.cache.reading import OriginReader, PieceSource, T
from seeder.errors import (
    ObjectChanged,
    OriginError,
    OriginUnreachable,
    SeederError,
    StorageError,
)
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

AHEAD_AT_MOST = 128 * MIB
"""Bytes of pieces read ahead that may be on their way at a time: they take memory already."""
AHEAD_AT_LEAST = 16 * MIB
"""Bytes on their way or waiting to be written, above which nothing is read ahead for the disk,
unless half of the memory's budget is more: then that."""

HELD_FOR = 8.0
"""Seconds that a read waits until it is known whether a replaced object has the same bytes. It is
turned down before a peer's patience with us ends (20 s), and a client asks again."""
ADOPTED_AT_A_TIME = 256
"""Files that are renamed in one call of a thread."""


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """A snapshot; counts are since the start."""

    memory_budget: int
    """Bytes that memory may hold."""
    memory_bytes: int
    memory_pieces: int
    memory_hits: int
    memory_evictions: int
    disk_budget: int
    """Bytes that the disk may hold."""
    disk_bytes: int
    disk_pieces: int
    disk_hits: int
    disk_evictions: int
    disk_ok: bool
    misses: int
    """Pieces that S3 was asked for."""
    fetching: int
    """Pieces that are on their way right now."""
    queued_writes: int
    dropped_writes: int
    """Pieces that were not written because the disk was too far behind."""
    corrupt: int
    """Copies of pieces found unfit and dropped: files, and pieces in memory."""
    origin_mismatches: int
    """Pieces from S3 that failed their hash, each try counted."""


class PieceCache(Generic[T]):
    """Whole verified pieces in two tiers, filled from `source`.

    `memory` and `disk` are the tiers' budgets in bytes. `on_fault` is called with an object that
    can't be read or fails its hashes, unless all of its origin is away: for each piece that fails
    its hash, else once for all the fetches of a torrent that are under way, in the task of one of
    them, and before their waiters.
    `on_recovery` is called with a piece that failed its hash and comes right now. `clock` returns
    seconds.
    """

    def __init__(
        self,
        source: PieceSource[T],
        directory: Path,
        *,
        memory: int,
        disk: int,
        on_fault: Callable[[T, OriginError], None],
        on_recovery: Callable[[T, int], None],
        clock: Callable[[], float],
    ) -> None:
        self._reader = OriginReader(source, clock, on_recovery)
        self._on_fault = on_fault
        self._memory = MemoryTier(memory)
        self._disk = DiskTier(
            directory, disk, clock=clock, spare=self._memory.__contains__, memory=memory
        )
        self._inspector = Inspector(self._disk, self._memory, clock)
        self._files = self._disk.index
        self._writer = self._disk.writer
        self._nursery: trio.Nursery | None = None
        self._budget = memory, disk
        self._fetches: Fetches[T] = Fetches()
        self._misses = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the directory, report the start, serve until cancelled.

        StorageError if another seeder uses the directory; without one that works, memory has to do.

        When it ends, every waiter gets a StorageError, and so does every request before the start
        or after the end.
        """
        try:
            await self._disk.open()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._writer.run)
                nursery.start_soon(self._inspector.run)
                nursery.start_soon(self._disk.run)
                self._nursery = nursery
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # A request that comes while the fetches are being cancelled is refused.
                    self._nursery = None
        finally:
            self._disk.close()

    def peek(self, torrent: T, index: int) -> Piece | None:
        """Return the piece if it is in memory, and mark it as used just now."""
        return self._memory.get(torrent.piece_key(index))

    def read_cached(self, torrent: T, index: int, reads: Sequence[files.Read]) -> bool:
        """Fill the buffers from a piece on disk, without waiting; False if that can't be.

        The piece isn't put into the memory tier: the system's page cache has it already.
        """
        return self._disk.read_cached(torrent.piece_key(index), reads)

    def is_cached(self, torrent: T, index: int) -> bool:
        """Tell whether `read_cached` will probably work for any part of the piece."""
        return self._disk.is_cached(torrent.piece_key(index))

    def is_on_disk(self, torrent: T, index: int) -> bool:
        """Tell whether the piece is in a verified file, so that it needn't be held."""
        return self._disk.is_verified(torrent.piece_key(index))

    def doubt(self, torrent: T, index: int, *, wanted: bool) -> None:
        """Have a piece's copies looked at again: a client may have been given wrong bytes.

        If it is `wanted` again, nothing of its file is sent before that. A piece is looked at once
        a while, whoever asks for it.
        """
        self._inspector.doubt(torrent, index, wanted=wanted)

    def on_disk(self, cache_id: str) -> frozenset[int]:
        """Return the pieces kept under a name that have a file; one of them may prove corrupt."""
        return self._files.pieces_of(cache_id)

    async def look_again(self, torrent: T, index: int) -> None:
        """Delete the file of a piece unless it is right; the errors are those of `piece_hash`."""
        size, digest = torrent.layout.piece_size(index), torrent.piece_hash(index)
        await self._disk.inspect(torrent.piece_key(index), size, digest)

    @property
    def asked(self) -> int:
        """How often a piece, or a part of one, was asked for since the start."""
        return self._memory.hits + self._disk.hits + self._misses

    def is_cold(self, torrent: T, index: int) -> bool:
        """Tell whether S3 has to be asked for the piece, and hasn't been yet."""
        key = torrent.piece_key(index)
        if key in self._fetches or key in self._memory or key in self._files:
            return False
        return self._writer.pending(key) is None

    def request(self, torrent: T, index: int, waiter: Waiter, unread: Unread | None = None) -> bool:
        """Have `waiter` called once, later, with the piece or the error. IndexError outside.

        Returns whether that starts a fetch. Only then `unread` is kept, to be called if it fails.
        """
        torrent.layout.piece_size(index)
        fetch = self._fetches.get(torrent.piece_key(index))
        first = fetch is None
        if fetch is None:
            fetch = self._start(torrent, index, unread, ahead=False)
        fetch.waiters.append((index, waiter))
        return first

    def read_ahead(self, torrent: T, indices: Iterable[int], unread: Unread | None = None) -> int:
        """Fetch pieces that nobody has asked for yet, as far as there is room; return the bytes.

        `unread` is called for each of them that fails.

        Nothing is read ahead of an object that is larger than the cache, nor where other pieces
        would have to make room, nor for a disk that takes nothing: what is read ahead must not have
        to be read again.
        """
        memory, disk = self._budget
        if self._nursery is None or torrent.layout.size > max(memory, disk):
            return 0
        started = 0
        for index in indices:
            if self.is_cold(torrent, index):
                if not self._has_room(torrent.layout.piece_size(index)):
                    break
                started += self._start(torrent, index, unread, ahead=True).size
        return started

    def _has_room(self, size: int) -> bool:
        memory, disk = self._budget
        if self._fetches.ahead + size > AHEAD_AT_MOST:
            return False
        size += self._fetches.size
        if self._memory.used + size <= memory:
            return True
        if not self._writer.takes(0):
            return False
        # What comes and what waits for the disk may take half of the memory: so each piece is
        # written before it has to leave memory, and reading goes no faster than writing.
        size += self._writer.behind
        return size <= max(memory // 2, AHEAD_AT_LEAST) and self._disk.used + size <= disk

    def _start(self, torrent: T, index: int, unread: Unread | None, *, ahead: bool) -> Fetch[T]:
        fetch = Fetch(torrent, index, ahead=ahead, unread=unread)
        files.check_cache_id(fetch.key[0])
        self._fetches.add(fetch)
        if self._nursery is not None:
            self._nursery.start_soon(self._fetch, fetch)
        else:
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(self._fetches.settle, fetch, _not_running())
        return fetch

    def forget(self, torrent: T, index: int, waiter: Waiter) -> None:
        """Never call `waiter` for this piece; the fetch goes on."""
        self._fetches.forget(torrent.piece_key(index), index, waiter)

    async def read_again(self, torrent: T, index: int) -> bytes:
        """Read a piece from S3 even if it came wrong lately; return its SHA-1, right or wrong.

        A right one is kept. OriginError, BudgetSpent, StorageError, MetainfoError.
        """
        piece, digest = await self._reader.read_again(torrent, index)
        if digest == torrent.piece_hash(index):
            self._remember(torrent.piece_key(index), piece)
        return digest

    async def recall(self, cache_id: str, index: int, size: int, digest: bytes) -> Piece | None:
        """Return a piece that was kept, from memory or disk; None if it isn't there, or is bad."""
        key = (cache_id, index)
        piece = self._memory.get(key) or self._writer.pending(key)
        return piece if piece is not None else await self._disk.read(key, size, digest)

    async def keep(self, cache_id: str, index: int, piece: Piece) -> bool:
        """Wait until a verified piece is on disk; False if it can't be without an eviction.

        Where the disk takes nothing, memory keeps the piece if it has room. Cancelled, this leaves
        the piece in the queue.
        """
        files.check_cache_id(cache_id)
        key, size = (cache_id, index), len(piece)
        kept = await self._writer.keep(key, piece)
        running = self._nursery is not None
        if running and not kept and not self._writer.takes(size) and self._memory.has_room(size):
            self._memory.put(key, piece)
        return kept

    def held(self, torrent: T) -> frozenset[int]:
        """Return the pieces in memory or on disk; one on disk may still prove corrupt."""
        found: set[int] = set()
        for section in torrent.sections:
            name = section.cache_id
            kept = self._files.pieces_of(name) | self._memory.pieces_of(name)
            found.update(section.first + index for index in kept)
        return frozenset(found)

    async def adopt(self, old: str, new: str) -> None:
        """Have the pieces that are kept under a name under another one: they have the same bytes.

        What is there already stays, and the old name has nothing when this returns. Cancelled, or
        ended by a crash, it leaves each piece under one of the two: call it again.
        """
        files.check_cache_id(new)
        while waiting := sorted(self._files.pieces_of(old)):
            for at in range(0, len(waiting), ADOPTED_AT_A_TIME):
                await self._writer.rename(old, new, waiting[at : at + ADOPTED_AT_A_TIME])
        for index in self._memory.pieces_of(old):
            piece = self._memory.find((old, index))
            self._memory.drop_piece((old, index))
            if piece is not None and (new, index) not in self._memory:
                self._memory.put((new, index), piece)
        self._writer.rename_queued(old, new)

    def follow(self, torrent: T) -> None:
        """Have the fetches under way of a torrent that has moved keep what they bring."""
        self._fetches.follow(torrent)

    def discard(self, cache_id: str) -> None:
        """Forget every piece in both tiers; what is being fetched is delivered, but not kept."""
        self._fetches.discard(cache_id)
        self._reader.forget(cache_id)
        self._memory.drop(cache_id)
        self._writer.discard(cache_id)

    def statistics(self) -> CacheStatistics:
        """Return a snapshot."""
        memory, disk, writer = self._memory, self._disk, self._writer
        return CacheStatistics(
            memory_budget=self._budget[0],
            memory_bytes=memory.used,
            memory_pieces=len(memory),
            memory_hits=memory.hits,
            memory_evictions=memory.evictions,
            disk_budget=self._budget[1],
            disk_bytes=disk.used,
            disk_pieces=len(self._files),
            disk_hits=disk.hits,
            disk_evictions=self._files.evictions,
            disk_ok=disk.health.works,
            misses=self._misses,
            fetching=len(self._fetches),
            queued_writes=writer.queued,
            dropped_writes=writer.dropped,
            corrupt=disk.corrupt + self._inspector.corrupt,
            origin_mismatches=self._reader.mismatches,
        )

    async def _fetch(self, fetch: Fetch[T]) -> None:
        found: Piece | SeederError
        try:
            found = await self._find(fetch)
        except SeederError as error:
            found = error
        except Exception:
            # A fault of ours with one piece: whoever waits for others mustn't pay for it.
            _LOG.exception("piece %d of %s: internal error", fetch.index, fetch.key[0])
            found = StorageError(f"piece {fetch.index} can't be had: internal error")
        except BaseException:
            self._fetches.settle(fetch, _not_running())
            raise
        self._fetches.settle(fetch, found)

    async def _find(self, fetch: Fetch[T]) -> Piece | SeederError:
        torrent, index, key = fetch.torrent, fetch.index, fetch.key
        resident = self._memory.get(key)
        if resident is not None:
            return resident
        piece = self._writer.pending(key)
        if piece is None:
            size, digest = torrent.layout.piece_size(index), torrent.piece_hash(index)
            piece = await self._disk.read(key, size, digest)
        if piece is None:
            self._misses += 1
            found = await self._read_origin(fetch)
            if isinstance(found, SeederError):
                return found
            piece = found
        if fetch.kept:
            self._remember(fetch.key, piece)
        return piece

    def _remember(self, key: Key, piece: Piece) -> None:
        self._writer.offer(key, piece)
        for gone, evicted in self._memory.put(key, piece):
            # Its last use counts on disk too, and a disk that was busy then may take it now.
            if gone != key and not self._files.touch(gone):
                self._writer.offer(gone, evicted)

    async def _read_origin(self, fetch: Fetch[T]) -> Piece | SeederError:
        torrent, index = fetch.torrent, fetch.index
        # One try more for an object that turns out to have the same bytes in another state.
        for last in (False, True):
            question = torrent.question_of(index)
            if question is not None:
                with trio.move_on_after(HELD_FOR):
                    await question.wait()
                if torrent.question_of(index) is not None:
                    return _held(index)
                # What was adopted meanwhile may have the piece.
                size, digest = torrent.layout.piece_size(index), torrent.piece_hash(index)
                piece = await self._disk.read(fetch.key, size, digest)
                if piece is not None:
                    return piece
            if self._nursery is None:
                return _not_running()
            found = await self._reader.read(torrent, index, self._nursery)
            # Where all of the origin is away, it says so itself.
            away = isinstance(found, OriginUnreachable) and found.away
            if isinstance(found, OriginError) and not away and self._fetches.is_news(fetch, found):
                self._on_fault(torrent, found)
            changed = isinstance(found, ObjectChanged) and torrent.question_of(index) is not None
            if last or not changed:
                break
        return found


def _held(index: int) -> ObjectChanged:
    return ObjectChanged(
        f"piece {index}: the object was replaced; whether its bytes are others is looked at"
    )


def _not_running() -> StorageError:
    return StorageError("the piece cache is not running")
