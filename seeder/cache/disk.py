"""Pieces as files that outlive a restart and kill -9, within a budget of bytes.

Only one task (`DiskTier.run`) changes the directory, one file at a time, and it unlinks what has to
go before it writes what is new: so the budget holds at every moment, the temporary file included.
Nothing is synced: the first read after a start checks the hash anyway.
"""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from seeder.cache import files
from seeder.cache.lru import ByteLru
from seeder.cache.memory import Key, Piece
from seeder.errors import StorageError
from seeder.files import lock_directory
from seeder.units import MIB

STOP_SECONDS = 2.0
"""What a stop may take to write what is queued."""
RETRY_AFTER = 60.0
"""Seconds between a failure of the disk and the next try."""

WRITE_BEHIND = 64 * MIB
"""Bytes that may wait to be written before offers are dropped, or more: see DiskTier."""

WRITE_SIZE = 8 * MIB
"""Bytes written in one call of a thread, where pieces are smaller: a call waits for the loop."""

READERS = 4
"""Files read at a time; each takes a thread."""

_log = logging.getLogger(__name__)


class _Write:
    """A piece on its way to the disk; `kept` holds once `done` is set."""

    __slots__ = ("done", "evicts", "kept", "piece")

    def __init__(self, piece: Piece, *, evicts: bool) -> None:
        self.piece = piece
        self.evicts = evicts
        self.done = trio.Event()
        self.kept = False


class DiskTier:
    """One file a piece, least recently used first out.

    `clock` returns seconds and times the next try after a failure. `spare` tells whether a piece
    is in use elsewhere, so that its file is worth more than its own age says. Up to three quarters
    of `memory`, the budget of the tier that holds most of it anyway, may wait to be written.
    """

    def __init__(
        self,
        directory: Path,
        budget: int,
        *,
        clock: Callable[[], float],
        spare: Callable[[Key], bool],
        memory: int,
    ) -> None:
        self.hits = 0
        """Reads that brought a piece, or a part of one."""
        self.evictions = 0
        self.corrupt = 0
        self.dropped_writes = 0
        self._directory = directory
        self._root = os.fspath(directory)
        self._clock = clock
        self._spare = spare
        self._lock: int | None = None
        self._accepting = False
        self._index: ByteLru[Key, int] = ByteLru(budget, int)
        self._by_id: dict[str, set[int]] = {}
        self._unverified: set[Key] = set()
        self._used: set[Key] = set()
        """Read without a thread, and so without a new mtime."""
        self._doomed: dict[Key, int] = {}
        self._queue: dict[Key, _Write] = {}
        self._behind = 0
        self._most_behind = max(WRITE_BEHIND, memory * 3 // 4)
        self._work = trio.Event()
        self._drops: list[trio.Event] = []
        self._readers = trio.CapacityLimiter(READERS)
        self._writer = trio.CapacityLimiter(1)
        self._broken: set[str] = set()
        self._reads_from = self._writes_from = float("-inf")
        self._cached_reads = True
        """Whether the file system can say that a read would have to wait."""
        self._probe = memoryview(bytearray(1))

    def __contains__(self, key: Key) -> bool:
        return key in self._index

    def __len__(self) -> int:
        return len(self._index)

    @property
    def used(self) -> int:
        """Bytes of the files that are there, those about to be unlinked included."""
        return self._index.used + sum(self._doomed.values())

    @property
    def works(self) -> bool:
        """Whether nothing has failed since it last worked."""
        return not self._broken

    @property
    def queued(self) -> int:
        """Pieces that wait to be written."""
        return len(self._queue)

    @property
    def behind(self) -> int:
        """Bytes of offers that wait to be written; too many are dropped."""
        return self._behind

    def pieces_of(self, cache_id: str) -> frozenset[int]:
        """Return the indices that have a file, checked since the start or not."""
        return frozenset(self._by_id.get(cache_id, ()))

    def pending(self, key: Key) -> Piece | None:
        """Return a piece that is still on its way to the disk, or None."""
        write = self._queue.get(key)
        return None if write is None else write.piece

    def touch(self, key: Key) -> bool:
        """Mark a piece as used just now; False if it has no file."""
        return self._index.get(key) is not None

    async def open(self) -> None:
        """Lock and scan the directory, evict what is over the budget; StorageError if it can't."""
        await trio.to_thread.run_sync(self._open)
        self._accepting = True

    def close(self) -> None:
        """Let another process have the directory; only after `run` has ended."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def run(self) -> None:
        """Write what is queued and unlink what is doomed, until cancelled.

        What is queued then has been paid for: it still gets STOP_SECONDS to be written.
        """
        try:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                await self._step()
                if self._queue:
                    self._work.set()
        finally:
            with trio.move_on_after(STOP_SECONDS, shield=True):
                while self._queue and self.works:
                    await self._step()
                await self._renew()
            self._accepting = False
            for key in list(self._queue):
                self._finish(key, kept=False)
            self._end_drops(self._drops)

    async def read(self, key: Key, size: int, sha1: bytes) -> Piece | None:
        """Return the piece, or None: no file, a bad one (which is deleted), or a broken disk."""
        if self._clock() < self._reads_from or not self.touch(key):
            return None
        try:
            piece = await trio.to_thread.run_sync(
                files.read_piece,
                files.piece_path(self._root, key),
                size,
                sha1 if key in self._unverified else None,
                # It holds nothing but its own descriptor, so a stop needn't wait for a dead disk.
                abandon_on_cancel=True,
                limiter=self._readers,
            )
        except FileNotFoundError:
            # Evicted while we waited for a thread, or removed by somebody.
            self._doom(key)
            return None
        except OSError as error:
            self._read_failed(key, error)
            return None
        self._works_again("read")
        if piece is None:
            _log.warning("%s is corrupt: read again from S3", files.piece_path(self._root, key))
            self.corrupt += 1
            self._doom(key)
            return None
        self._unverified.discard(key)
        self.hits += 1
        return piece

    def is_verified(self, key: Key) -> bool:
        """Tell whether `read_cached` may find a piece: it has a file that is known to be right."""
        readable = self._cached_reads and self._clock() >= self._reads_from
        return readable and key in self._index and key not in self._unverified

    def is_cached(self, key: Key) -> bool:
        """Tell whether the system seems to have a verified piece in memory, by its first byte."""
        return self._read_now(key, [(0, [self._probe])])

    def read_cached(self, key: Key, reads: Sequence[files.Read]) -> bool:
        """Fill the buffers from a verified file, without waiting; False if that can't be.

        Whatever the reason is, `read` will meet it too, and do something about it.
        """
        if not self._read_now(key, reads):
            return False
        self.hits += 1
        self._used.add(key)
        self.touch(key)
        return True

    def _read_now(self, key: Key, reads: Sequence[files.Read]) -> bool:
        if not self.is_verified(key):
            return False
        try:
            return files.read_cached(files.piece_path(self._root, key), reads)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                self._cached_reads = False
            return False

    def offer(self, key: Key, piece: Piece) -> None:
        """Queue a verified piece; dropped if the disk is broken, too small, or too far behind."""
        if key in self._index or key in self._queue or not self.takes(len(piece)):
            return
        if self._behind and self._behind + len(piece) > self._most_behind:
            self.dropped_writes += 1
            return
        self._behind += len(piece)
        self._queue[key] = _Write(piece, evicts=True)
        self._work.set()

    async def keep(self, key: Key, piece: Piece) -> bool:
        """Wait until a verified piece is on disk; False if it can't be without an eviction.

        Cancelled, it leaves the piece in the queue.
        """
        write = self._queue.get(key)
        if write is None:
            if key in self._index or not self.takes(len(piece)) or not self._has_room(len(piece)):
                await trio.lowlevel.checkpoint()
                return key in self._index
            write = self._queue[key] = _Write(piece, evicts=False)
            self._work.set()
        await write.done.wait()
        return write.kept

    def discard(self, cache_id: str) -> None:
        """Forget every piece of `cache_id`; its files go with the next change that works."""
        for key in [key for key in self._queue if key[0] == cache_id]:
            self._finish(key, kept=False)
        for index in self.pieces_of(cache_id):
            self._doom((cache_id, index))

    async def flush(self) -> None:
        """Wait until the files of discarded pieces are unlinked, or the disk refuses."""
        if not self._accepting:
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()
        self._drops.append(done)
        self._work.set()
        await done.wait()

    async def _step(self) -> None:
        """Unlink every doomed file and write some pieces, in one call of a thread."""
        drops, self._drops = self._drops, []
        try:
            writes = self._admit()
            doomed = list(self._doomed)
            if not writes and not doomed:
                return
            unlinked, written, error = await trio.to_thread.run_sync(
                files.change,
                self._root,
                doomed,
                [(key, write.piece) for key, write in writes],
                limiter=self._writer,
            )
            for key in doomed[:unlinked]:
                del self._doomed[key]
            if error is not None:
                self._fail("write", error)
            for number, (key, write) in enumerate(writes):
                self._written(key, write, on_disk=number < written)
        finally:
            self._end_drops(drops)

    async def _renew(self) -> None:
        """Let the next start know what was used last; setting an mtime may wait for the disk."""
        used = [key for key in self._index if key in self._used]
        if used and self.works:
            with suppress(OSError):
                await trio.to_thread.run_sync(
                    files.renew, self._root, used, abandon_on_cancel=True, limiter=self._writer
                )

    def _admit(self) -> list[tuple[Key, _Write]]:
        """Return the first queued piece that may be written, with room made; refuse those before.

        Others behind it come along as far as there is room anyway.
        """
        admitted: list[tuple[Key, _Write]] = []
        total = 0
        for key, write in tuple(self._queue.items()):
            total += len(write.piece)
            if admitted:
                if total > WRITE_SIZE or not self._has_room(total):
                    break
            elif not self.takes(total) or not (write.evicts or self._has_room(total)):
                self._finish(key, kept=False)
                total = 0
                continue
            else:
                for victim, freed in self._index.make_room(total, self._spare):
                    self._leave(victim)
                    self._doomed[victim] = freed
                    self.evictions += 1
            admitted.append((key, write))
        return admitted

    def _written(self, key: Key, write: _Write, *, on_disk: bool) -> None:
        if on_disk:
            self._works_again("write")
        if key in self._queue:
            if on_disk:
                self._index.put(key, len(write.piece))
                self._by_id.setdefault(key[0], set()).add(key[1])
            self._finish(key, kept=on_disk)
        elif on_disk:
            # Dropped while it was being written; the drop has asked for another step.
            self._doomed[key] = len(write.piece)

    def takes(self, size: int) -> bool:
        """Tell whether a piece of `size` bytes may be written at all, perhaps for another one."""
        if not self._accepting or size > self._index.budget:
            return False
        return self._clock() >= self._writes_from

    def _has_room(self, size: int) -> bool:
        return self._index.used + size <= self._index.budget

    def _finish(self, key: Key, *, kept: bool) -> None:
        write = self._queue.pop(key)
        if write.evicts:
            self._behind -= len(write.piece)
        write.kept = kept
        write.done.set()

    def _end_drops(self, drops: list[trio.Event]) -> None:
        for done in drops:
            done.set()

    def _doom(self, key: Key) -> None:
        size = self._index.pop(key)
        if size is not None:
            self._leave(key)
            self._doomed[key] = size
            self._work.set()

    def _leave(self, key: Key) -> None:
        self._unverified.discard(key)
        self._used.discard(key)
        indices = self._by_id[key[0]]
        indices.discard(key[1])
        if not indices:
            del self._by_id[key[0]]

    def _read_failed(self, key: Key, error: OSError) -> None:
        self._fail("read", error)
        self._reads_from = self._writes_from
        if error.errno == errno.EIO:
            # A bad sector stays bad: without this file, the rest of the disk is of use again.
            self.corrupt += 1
            self._doom(key)

    def _fail(self, what: str, error: OSError) -> None:
        if not self._broken:
            _log.warning(
                "cache.directory %s: can't %s: %s; going on with memory and S3, next try in %.0f s",
                self._root,
                what,
                error.strerror or error,
                RETRY_AFTER,
            )
        self._broken.add(what)
        self._writes_from = self._clock() + RETRY_AFTER

    def _works_again(self, what: str) -> None:
        if self._broken:
            # A write proves more than a read: a full or read-only disk can still be read.
            self._broken -= {what, "read"}
            if not self._broken:
                _log.info("cache.directory %s: works again", self._root)

    # In a thread, before anybody else uses the tier.

    def _open(self) -> None:
        if self._index.budget == 0 and not self._directory.exists():
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock_directory(self._root)
            self._try_writing()
            self._scan()
        except BlockingIOError as error:
            raise StorageError(
                f"cache.directory {self._root}: another seeder uses it; "
                "stop that one or set another directory"
            ) from error
        except OSError as error:
            self.close()
            raise StorageError(
                f"cache.directory {self._root}: {error.strerror or error}: "
                f"{error.filename or self._root}; make it writable or set another directory"
            ) from error

    def _try_writing(self) -> None:
        files.remove_leftover(self._root)
        try:
            files.try_writing(self._root)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # What is there can be read all the same, and room may come back.
            self._fail("write", error)

    def _scan(self) -> None:
        found, self.corrupt = files.scan(self._root)
        if self.corrupt:
            _log.warning("%s: %d files of a wrong size deleted", self._root, self.corrupt)
        for key, size in found:
            for victim, _ in self._index.put(key, size):
                files.unlink_piece(self._root, victim)
                self.evictions += 1
        by_id: dict[str, set[int]] = {}
        for cache_id, index in self._index:
            by_id.setdefault(cache_id, set()).add(index)
        self._by_id = by_id
        self._unverified = set(self._index)
