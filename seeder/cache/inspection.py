"""A second look at files that are trusted because they were right when they were written or read.

To hash each read would cost more than the read. So a file is looked at again when a client behaves
as one that was given wrong bytes, and now and then without a reason. One that has become bad is
deleted, and its piece comes from S3.
"""

import logging
from collections.abc import Callable
from typing import Generic

import trio

from seeder.cache.disk import DiskTier
from seeder.cache.lru import ByteLru
from seeder.cache.memory import Key
from seeder.cache.reading import T
from seeder.errors import SeederError
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

MOST_WAITING = 256
"""Pieces in line; further ones are looked at when somebody stumbles over them again."""
QUIET = 600.0
"""Seconds for which a piece that was looked at isn't doubted again, whoever asks for it."""
MOST_REMEMBERED = 10_000
RATE = 64 * MIB
"""Bytes a second that are hashed because of doubts, at most."""


class Inspector(Generic[T]):
    """Looks at doubtful files in `run`; `clock` is in seconds."""

    def __init__(self, disk: DiskTier, clock: Callable[[], float]) -> None:
        self._disk = disk
        self._clock = clock
        self._line: dict[Key, tuple[T, int]] = {}
        self._looked_at: ByteLru[Key, float] = ByteLru(MOST_REMEMBERED, lambda _: 1)
        self._work = trio.Event()

    def doubt(self, torrent: T, index: int) -> None:
        """Have the file of a piece looked at again, if there is a trusted one."""
        key = torrent.piece_key(index)
        if key in self._line or len(self._line) >= MOST_WAITING or not self._disk.trusts(key):
            return
        looked_at = self._looked_at.get(key)
        if looked_at is None or self._clock() - looked_at >= QUIET:
            self._line[key] = torrent, index
            self._work.set()

    async def run(self) -> None:
        """Look at what is in doubt, until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._line:
                key, (torrent, index) = next(iter(self._line.items()))
                del self._line[key]
                self._looked_at.put(key, self._clock())
                size = torrent.layout.piece_size(index)
                try:
                    await self.look(torrent, index)
                except SeederError as error:
                    _LOG.debug("piece %d of %s not looked at: %s", index, key[0], error)
                await trio.sleep(size / RATE)

    async def look(self, torrent: T, index: int) -> None:
        """Delete a piece's file unless it is right; the errors are those of `piece_hash`."""
        key, size = torrent.piece_key(index), torrent.layout.piece_size(index)
        await self._disk.inspect(key, size, torrent.piece_hash(index))
