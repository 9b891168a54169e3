"""The tracker's swarms on disk: a crash costs new clients at most the last minute's peers.

The file has a line that says when it was written, then a line for each row of `Swarms.export`. It
is made in slices, so that the loop is never held for long.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from seeder.daemon.tasks import running
from seeder.errors import StorageError
from seeder.files import read_file, replace_file, storage_errors
from seeder.net.guards import Lapses
from seeder.net.slices import Slices
from seeder.plain_json import dump_json, parse_json
from seeder.tracker.swarms import Swarms
from seeder.units import KIB, MIB

_LOG = logging.getLogger(__name__)

SAVE_EVERY = 60.0
"""Seconds between two saves, if anything has changed."""
STOP_SECONDS = 5.0
"""How long the last save may take."""
_PART = 256 * KIB
"""Bytes written at a time: joining more would hold the loop."""
_LARGEST = 256 * MIB
"""Bytes that are read: 200,000 peers, and as many that have stopped, are 100 MiB at most."""
_LONGEST_LINE = MIB
"""Bytes of a line that is looked into: a row has some 100 KiB at most, unless it is damaged."""
_FORMAT = 2


class SwarmFile:
    """Restores the swarms of the last run from `path`, and saves those of this one there.

    `clock` is the wall clock (Unix s), or that of all nodes: how long we were down counts as
    silence of the peers.
    """

    def __init__(
        self, swarms: Swarms, path: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._swarms = swarms
        self._path = path
        self._clock = clock
        self._saved = swarms.changes
        """What `changes` was at the last save."""
        self._failing = False

    @asynccontextmanager
    async def remembered(self) -> AsyncIterator[None]:
        """Restore the swarms, and save them for the length of the block, for the last time after.

        What can't be read or written is a line in the log.
        """
        await trio.to_thread.run_sync(self._restore, trio.current_time(), self._clock())
        async with running(self._run):
            yield

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        lapses = Lapses(_LOG, "the swarms on disk")
        try:
            while True:
                await trio.sleep(SAVE_EVERY)
                if self._swarms.changes != self._saved or self._failing:
                    async with lapses.spared():
                        await self.save()
        finally:
            with trio.move_on_after(STOP_SECONDS, shield=True):
                async with lapses.spared():
                    await self.save()

    async def save(self) -> None:
        """Write every swarm; a failure is a warning, and leaves the last save as it was."""
        changes = self._swarms.changes
        parts = await self._parts()
        try:
            await trio.to_thread.run_sync(self._write, parts)
        except StorageError as error:
            if not self._failing:
                _LOG.warning("%s; a crash would lose the swarms", error)
            self._failing = True
        else:
            self._failing, self._saved = False, changes

    async def _parts(self) -> list[bytes]:
        """Return the lines, joined to parts that a thread writes."""
        lines = [dump_json({"swarms": _FORMAT, "at": self._clock()})]
        parts, size, slices = [], 0, Slices()
        for row in self._swarms.export(trio.current_time()):
            lines.append(dump_json(row))
            size += len(lines[-1])
            if size > _PART:
                parts.append(_joined(lines))
                size = 0
            if slices.is_over:
                await slices.turn()
        parts.append(_joined(lines))
        return parts

    def _write(self, parts: list[bytes]) -> None:
        with storage_errors(self._path, "written"):
            replace_file(self._path, parts, durable=True)

    def _restore(self, now: float, wall: float) -> None:
        try:
            data = read_file(self._path, _LARGEST)
            if data is None:
                return
            first, *lines = data.split(b"\n")
            is_list = data.startswith(b"[")  # earlier versions wrote one, at the stop
            del data
            if len(first) > _LONGEST_LINE and not is_list:
                raise ValueError("its first line has no end")
            header = parse_json(first)
            if isinstance(header, list):
                elapsed = wall - self._path.stat().st_mtime
                self._swarms.restore(header, now, elapsed=max(0.0, elapsed))
                return
            if header["swarms"] != _FORMAT:
                raise ValueError("another version wrote it")
            elapsed = max(0.0, wall - header["at"])
        except OSError as error:
            self._lose(f"it can't be read: {error.strerror}")
        except (ValueError, KeyError, TypeError) as error:
            self._lose(f"it is damaged ({str(error) or repr(error)})")
        else:
            self._restore_lines(lines, now, elapsed)

    def _lose(self, why: str) -> None:
        _LOG.warning("%s: the swarms of the last run are lost: %s", self._path, why)

    def _restore_lines(self, lines: list[bytes], now: float, elapsed: float) -> None:
        # Each line ends with a line feed; what follows the last one is a torn line.
        bad = int(not lines or lines.pop() != b"")
        for line in lines:
            try:
                if len(line) > _LONGEST_LINE:
                    raise ValueError("no row is so long")
                self._swarms.restore([parse_json(line)], now, elapsed=elapsed)
            except ValueError:
                bad += 1
        if bad:
            self._lose(f"{bad} of {len(lines) + 1} lines are damaged")


def _joined(lines: list[bytes]) -> bytes:
    """Return the lines in one piece, each with its end; the list is empty then."""
    part = b"\n".join([*lines, b""])
    lines.clear()
    return part
