"""Pieces as files that outlive a restart and kill -9, within a budget of bytes.

`PieceWriter` changes the directory once it is open; here it is opened, locked, scanned and read.

A file that has to be read from the disk is checked against its hash each time, and so nothing is
synced. Hashing what the system has in its page cache would cost more than reading it. That is
trusted (`read_cached`) if three things hold:

- The file was written or checked since the start, and all of what was asked for has been in the
  page cache each time since: what has to come off the disk is checked first.
- It has the mtime that it had then: nobody has written to it.
- Nobody has cast doubt on it since (`distrust`; `seeder.cache.inspection` says who does).

So what is trusted is the system's memory, and for a moment a part of a file that the system reads
ahead by itself. A file that is bad is deleted; its piece comes from S3.
"""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from seeder.cache import files
from seeder.cache.health import DISK_RETRY_AFTER, DiskHealth
from seeder.cache.index import PieceIndex
from seeder.cache.memory import Key, Piece
from seeder.cache.writing import PieceWriter
from seeder.errors import StorageError
from seeder.files import DirectoryLock, lock_directory
from seeder.net.guards import Lapses
from seeder.units import counted

TAKEN_AT_A_TIME = 1000
"""Files that enter the index before other tasks run: a directory may have a million."""
READERS = 4
"""Files read at a time; each takes a thread."""

_log = logging.getLogger(__name__)


class DiskTier:
    """One file a piece below `directory`, least recently used first out.

    `clock` returns seconds and times the next try after a failure. `spare` and `memory` are
    PieceWriter's.
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
        self.corrupt = 0
        """Files found unfit."""
        self._directory = directory
        self._root = os.fspath(directory)
        self._clock = clock
        self.health = DiskHealth(self._root, clock)
        self.index = PieceIndex(budget)
        self.writer = PieceWriter(self._root, self.index, self.health, spare=spare, memory=memory)
        self._verified = self.index.verified
        self._lock: DirectoryLock | None = None
        self._is_open = False
        self._readers = trio.CapacityLimiter(READERS)
        self._cached_reads = True
        """Whether the file system can say that a read would have to wait."""
        self._probe = memoryview(bytearray(1))

    @property
    def used(self) -> int:
        """Bytes of the files that are there, those about to be unlinked included."""
        return self.index.used + self.writer.doomed_bytes

    async def open(self) -> None:
        """Lock and scan the directory, and evict what is over the budget.

        StorageError if another seeder uses it. If the disk refuses, the log says so, and `run`
        tries again; meanwhile no piece is read or written.
        """
        try:
            await self._try_opening()
        except BlockingIOError as error:
            raise StorageError(
                f"cache.directory {self._root}: another seeder uses it; "
                "stop that one or set another directory"
            ) from error
        except OSError as error:
            self.health.open_failed(error)

    async def run(self) -> None:
        """Open the directory as soon as that works, if `open` couldn't."""
        lapses = Lapses(_log, self._root)
        while not self._is_open:
            await trio.sleep(DISK_RETRY_AFTER)
            async with lapses.spared():
                try:
                    await self._try_opening()
                except OSError as error:
                    self.health.open_failed(error)

    async def _try_opening(self) -> None:
        found, refused = await trio.to_thread.run_sync(self._open)
        evicted: dict[Key, int] = {}
        for at in range(0, len(found), TAKEN_AT_A_TIME):
            for key, size in found[at : at + TAKEN_AT_A_TIME]:
                evicted.update(self.index.add(key, size))
            await trio.lowlevel.checkpoint()
        if evicted:
            changed = await trio.to_thread.run_sync(files.change, self._root, list(evicted), ())
            for key in changed.unlinked:
                del evicted[key]
            self.writer.doom_files(evicted)
        self._is_open = True
        if refused is not None:
            # What is there can be read all the same, and a full disk may have room later.
            self.health.write_failed(refused)
        self.health.open_worked()
        self.writer.start()

    def close(self) -> None:
        """Let another process have the directory; only after `writer.run` has ended."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def read(self, key: Key, size: int, digest: bytes) -> Piece | None:
        """Return the piece, or None: no file, a bad one (which is deleted), or a broken disk."""
        if self._clock() < self.health.reads_from or not self.index.touch(key):
            return None
        try:
            found = await trio.to_thread.run_sync(
                files.read_piece,
                files.piece_path(self._root, key),
                size,
                digest,
                # The thread holds nothing but a descriptor: a stop needn't wait for a dead disk.
                abandon_on_cancel=True,
                limiter=self._readers,
            )
        except FileNotFoundError:
            # Evicted while we waited for a thread, or removed by somebody.
            if key in self.index:
                self.health.found_missing(files.piece_path(self._root, key))
            self.writer.doom(key)
            return None
        except OSError as error:
            await self._read_failed(key, error)
            return None
        self.health.read_worked()
        if found is None:
            self._found_corrupt(key)
            return None
        if key in self.index:
            self._verified[key] = found[1]
        self.hits += 1
        return found[0]

    def _found_corrupt(self, key: Key) -> None:
        if key not in self.index:
            return  # another look found it a moment ago
        _log.warning("%s is corrupt: read again from S3", files.piece_path(self._root, key))
        self.corrupt += 1
        self.writer.doom(key)

    def trusts(self, key: Key) -> bool:
        """Tell whether a piece has a file that is known to have been right."""
        return key in self._verified

    def distrust(self, key: Key) -> None:
        """Have a file checked before any more of it is sent."""
        self._verified.pop(key, None)

    async def inspect(self, key: Key, size: int, digest: bytes) -> None:
        """Delete a file that isn't right, trust one that is; leave what can't be read to others."""
        if key not in self.index or self._clock() < self.health.reads_from:
            return
        try:
            mtime = await trio.to_thread.run_sync(
                files.check_piece,
                files.piece_path(self._root, key),
                size,
                digest,
                abandon_on_cancel=True,
                limiter=self._readers,
            )
        except OSError:
            return
        if key not in self.index:
            return
        if mtime is None:
            self._found_corrupt(key)
        else:
            # A read that ended meanwhile has set the mtime that holds now.
            self._verified.setdefault(key, mtime)

    def is_verified(self, key: Key) -> bool:
        """Tell whether `read_cached` may find a piece: it has a file that is known to be right."""
        readable = self._cached_reads and self._clock() >= self.health.reads_from
        return readable and key in self._verified

    def is_cached(self, key: Key) -> bool:
        """Tell whether the system seems to have a verified piece in memory, by its first byte."""
        return self._read_now(key, [(0, [self._probe])])

    def read_cached(self, key: Key, reads: Sequence[files.Read]) -> bool:
        """Fill the buffers from a verified file, without waiting; False if that can't be.

        Whatever the reason, `read` meets it too, and deals with it; it isn't trusted until then.
        """
        if not self._read_now(key, reads):
            return False
        self.hits += 1
        self.index.stale.add(key)
        self.index.touch(key)
        return True

    def _read_now(self, key: Key, reads: Sequence[files.Read]) -> bool:
        mtime = self._verified.get(key) if self.is_verified(key) else None
        if mtime is None:
            return False
        try:
            if files.read_cached(files.piece_path(self._root, key), reads, mtime):
                return True
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                self._cached_reads = False
        self.distrust(key)
        return False

    async def _read_failed(self, key: Key, error: OSError) -> None:
        if await trio.to_thread.run_sync(
            files.is_of_one_file, self._root, error, abandon_on_cancel=True
        ):
            _log.warning(
                "%s: can't be read: %s; read again from S3",
                files.piece_path(self._root, key),
                error.strerror or error,
            )
        else:
            self.health.read_failed(error)
            if error.errno != errno.EIO:
                return
        # A bad sector stays bad: without this file, the rest of the disk is of use again.
        self.corrupt += 1
        self.writer.doom(key)

    # In a thread.

    def _open(self) -> tuple[list[tuple[Key, int]], OSError | None]:
        """Lock and scan the directory; return the pieces, and why none can be written, if so.

        OSError leaves it unlocked.
        """
        if self.index.budget == 0 and not self._directory.exists():
            return [], None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock_directory(self._root)
        try:
            refused = self._try_writing()
            return self._scan(), refused
        except OSError:
            self.close()
            raise

    def _try_writing(self) -> OSError | None:
        try:
            files.remove_leftover(self._root)
            files.try_writing(self._root)
        except OSError as error:
            return error
        return None

    def _scan(self) -> list[tuple[Key, int]]:
        found = files.scan(self._root)
        self.corrupt += found.bad
        if found.bad:
            _log.warning("%s: %s of a wrong size deleted", self._root, counted(found.bad, "file"))
        if found.unread:
            _log.warning(
                "%s: %s can't be read, such as %s: %s; left alone",
                self._root,
                counted(len(found.unread), "file or directory", "files or directories"),
                found.unread[0].filename,
                found.unread[0].strerror,
            )
        return found.pieces
