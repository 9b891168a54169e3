"""Pieces on their way to the disk: queued in the loop, written by one task, one thread at a time.

Only that task (`PieceWriter.run`) changes the directory once it is open, one file at a time, and it
unlinks what has to go before it writes what is new: so the budget holds at every moment, the
temporary file included. Whoever gives files another name (`PieceWriter.rename`) waits for its turn.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import trio

from seeder.cache import files
from seeder.cache.health import DiskHealth
from seeder.cache.index import PieceIndex
from seeder.cache.memory import Key, Piece
from seeder.units import MIB

_log = logging.getLogger(__name__)

LAST_WRITES_SECONDS = 2.0
"""How long a stop may take to write what is queued."""

WRITE_BEHIND = 64 * MIB
"""Bytes of offers that may wait to be written, or more (see PieceWriter). Others are dropped."""

MOST_COMPLAINTS = 1000
"""Directories that are remembered so that the log has one line of each."""

WRITE_SIZE = 8 * MIB
"""Bytes written in one call of a thread, where pieces are smaller: a call waits for the loop."""


class _Write:
    """A piece on its way to the disk; `kept` holds once `done` is set."""

    __slots__ = ("done", "evicts", "kept", "piece")

    def __init__(self, piece: Piece, *, evicts: bool) -> None:
        self.piece = piece
        self.evicts = evicts
        """Whether it was offered: it may evict other pieces, and may be dropped."""
        self.done = trio.Event()
        self.kept = False


class PieceWriter:
    """Writes pieces below `root` and unlinks them, and keeps `index` true of what is there.

    `spare` tells whether a piece is in use elsewhere, so that its file is worth more than its own
    age says. Up to three quarters of `memory`, the budget of the memory tier in bytes, may wait to
    be written: that tier holds most of those pieces anyway.
    """

    def __init__(
        self,
        root: str,
        index: PieceIndex,
        health: DiskHealth,
        *,
        spare: Callable[[Key], bool],
        memory: int,
    ) -> None:
        self.behind = 0
        """Bytes of offers that wait to be written."""
        self.dropped = 0
        """Offers dropped because too many bytes were waiting."""
        self._root = root
        self._index = index
        self._health = health
        self._spare = spare
        self._most_behind = max(WRITE_BEHIND, memory * 3 // 4)
        self._accepting = False
        self._queue: dict[Key, _Write] = {}
        self._doomed: dict[Key, int] = {}
        """Sizes of the files that are to be unlinked, and are in the index no more."""
        self._complained: set[str] = set()
        """Directories of which the log has a line."""
        self._work = trio.Event()
        self._thread = trio.CapacityLimiter(1)
        self._turn = trio.Lock()
        """Held from the look at the index to the end of the change to the directory."""

    @property
    def queued(self) -> int:
        """Pieces that wait to be written."""
        return len(self._queue)

    @property
    def doomed_bytes(self) -> int:
        """Bytes of the files that are about to be unlinked."""
        return sum(self._doomed.values())

    def start(self) -> None:
        """Take pieces from now on: the directory is open, and `run` comes next, or runs."""
        self._accepting = True

    def pending(self, key: Key) -> Piece | None:
        """Return a piece that is still on its way to the disk, or None."""
        write = self._queue.get(key)
        return None if write is None else write.piece

    def takes(self, size: int) -> bool:
        """Tell whether a piece of `size` bytes may be written, if need be in place of others."""
        return self._accepting and size <= self._index.budget and self._health.may_write

    def offer(self, key: Key, piece: Piece) -> None:
        """Queue a verified piece; dropped if the disk is broken, too small, or too far behind."""
        if key in self._index or key in self._queue or not self.takes(len(piece)):
            return
        if self.behind and self.behind + len(piece) > self._most_behind:
            self.dropped += 1
            return
        self.behind += len(piece)
        self._queue[key] = _Write(piece, evicts=True)
        self._work.set()

    async def keep(self, key: Key, piece: Piece) -> bool:
        """Wait until a verified piece is on disk; False if it can't be without an eviction.

        Cancelled, it leaves the piece in the queue.
        """
        write = self._queue.get(key)
        if write is None:
            size = len(piece)
            if key in self._index or not self.takes(size) or not self._index.has_room(size):
                await trio.lowlevel.checkpoint()
                return key in self._index
            write = self._queue[key] = _Write(piece, evicts=False)
            self._work.set()
        await write.done.wait()
        return write.kept

    def doom(self, key: Key) -> None:
        """Forget a file, to be unlinked as soon as that works; a missing one is no error."""
        size = self._index.remove(key)
        if size is not None:
            self._doomed[key] = size
            self._work.set()

    def doom_files(self, sizes: Mapping[Key, int]) -> None:
        """Have files unlinked that are in the index no more."""
        self._doomed.update(sizes)
        self._work.set()

    def discard(self, cache_id: str) -> None:
        """Forget every piece of `cache_id`, those in the queue too."""
        for key in [key for key in self._queue if key[0] == cache_id]:
            self._finish(key, kept=False)
        for index in self._index.pieces_of(cache_id):
            self.doom((cache_id, index))

    async def rename(self, old: str, new: str, indices: Sequence[int]) -> None:
        """Have files under another name, as far as that has none; the rest is unlinked.

        Cancelled, it has done all of that or nothing.
        """
        async with self._turn:
            moves = [
                ((old, index), (new, index))
                for index in indices
                if (new, index) not in self._index and (new, index) not in self._doomed
            ]
            moved = await trio.to_thread.run_sync(
                files.rename_pieces, self._root, moves, limiter=self._thread
            )
            for key, target in moved:
                self._moved(key, target)
            for index in indices:
                self.doom((old, index))

    def _moved(self, key: Key, target: Key) -> None:
        mtime, stale = self._index.verified.get(key), key in self._index.stale
        size = self._index.remove(key)
        if size is None:
            self._doomed[target] = 0  # doomed meanwhile, with its size, under the old name
            self._work.set()
            return
        self._index.add(target, size)
        if mtime is not None:
            self._index.verified[target] = mtime
        if stale:
            self._index.stale.add(target)

    def rename_queued(self, old: str, new: str) -> None:
        """Queue under another name what waits to be written."""
        for key in [key for key in self._queue if key[0] == old]:
            piece = self._queue[key].piece
            self._finish(key, kept=False)
            self.offer((new, key[1]), piece)

    async def run(self) -> None:
        """Write what is queued and unlink what is doomed, until cancelled.

        What is queued then has been paid for: it still gets LAST_WRITES_SECONDS to be written.
        """
        try:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                await self._step()
                if self._queue:
                    self._work.set()
        finally:
            with trio.move_on_after(LAST_WRITES_SECONDS, shield=True):
                while self._queue and self._health.works:
                    await self._step()
                await self._renew()
            self._accepting = False
            self._drop_queue()

    def _drop_queue(self) -> None:
        for key in list(self._queue):
            self._finish(key, kept=False)

    async def _step(self) -> None:
        """Unlink every doomed file and write some pieces, in one call of a thread."""
        async with self._turn:
            try:
                await self._change()
            except Exception:
                # A fault of ours, maybe with one of them: the next ones shall be written.
                _log.exception("%s: internal error", self._root)
                self._drop_queue()

    async def _change(self) -> None:
        writes = self._admit()
        doomed = list(self._doomed)
        if not writes and not doomed:
            return
        changed = await trio.to_thread.run_sync(
            files.change,
            self._root,
            doomed,
            [(key, write.piece) for key, write in writes],
            limiter=self._thread,
        )
        for key in changed.unlinked:
            del self._doomed[key]
        for key, error in changed.refused:
            # What can't be unlinked is left alone, or every step would meet it again.
            self._doomed.pop(key, None)
            self._complain(key, error)
        if changed.error is not None:
            # What was written before that is no sign that the disk works again.
            self._health.write_failed(changed.error)
        elif changed.written:
            self._health.write_worked()
        for key, write in writes:
            self._written(key, write, changed.written.get(key))

    def _complain(self, key: Key, error: OSError) -> None:
        """Say once of each directory that a piece of it can be neither written nor unlinked."""
        path = files.piece_path(self._root, key)
        directory = os.path.dirname(path)
        if directory not in self._complained and len(self._complained) < MOST_COMPLAINTS:
            self._complained.add(directory)
            _log.warning(
                "%s: can't be written or removed: %s; it is left alone",
                error.filename or path,
                error.strerror or error,
            )

    async def _renew(self) -> None:
        """Let the next start know what was used last; setting an mtime may wait for the disk."""
        stale = [key for key in self._index if key in self._index.stale]
        if stale and self._health.works:
            with suppress(OSError):
                await trio.to_thread.run_sync(
                    files.renew, self._root, stale, abandon_on_cancel=True, limiter=self._thread
                )

    def _admit(self) -> list[tuple[Key, _Write]]:
        """Return the queued pieces to write next, at least one if any may be written.

        Room is made for the first one that may be written; those before it are refused. Those after
        it come along as far as there is room without an eviction.
        """
        admitted: list[tuple[Key, _Write]] = []
        total = 0
        for key, write in tuple(self._queue.items()):
            total += len(write.piece)
            if admitted:
                if total > WRITE_SIZE or not self._index.has_room(total):
                    break
            elif not self.takes(total) or not (write.evicts or self._index.has_room(total)):
                self._finish(key, kept=False)
                total = 0
                continue
            else:
                self._doomed.update(self._index.make_room(total, self._spare))
            admitted.append((key, write))
        return admitted

    def _written(self, key: Key, write: _Write, mtime: int | None) -> None:
        """Take note of a piece that was written, its file's mtime is known, or that wasn't."""
        on_disk = mtime is not None
        # Not one that came after a discard, and has the same key: it may have other bytes.
        if self._queue.get(key) is write:
            if mtime is not None:
                self._index.add(key, len(write.piece))
                self._index.verified[key] = mtime
            self._finish(key, kept=on_disk)
        elif on_disk:
            # Discarded while it was being written; its file has to go as well.
            self._doomed[key] = len(write.piece)
            self._work.set()

    def _finish(self, key: Key, *, kept: bool) -> None:
        write = self._queue.pop(key)
        if write.evicts:
            self.behind -= len(write.piece)
        write.kept = kept
        write.done.set()
