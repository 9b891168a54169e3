"""A second look at pieces that are trusted because they were right when they were written or read.

To hash each read would cost more than the read. So a piece is looked at again when a client behaves
as one that was given wrong bytes, and now and then without a reason. Of a file that a client asks
for again, nothing is sent before that. One that has become bad is deleted, a bad piece in memory is
let go, and the piece comes from S3.
"""

import logging
from collections.abc import Callable

import trio

from seeder.cache.disk import DiskTier
from seeder.cache.lru import ByteLru
from seeder.cache.memory import Key, MemoryTier
from seeder.cache.reading import Readable
from seeder.errors import SeederError
from seeder.net.guards import Lapses
from seeder.torrent.layout import sha1
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

MOST_WAITING = 256
"""Pieces in line; further ones are looked at when somebody stumbles over them again."""
QUIET = 600.0
"""Seconds for which a piece that was looked at isn't doubted again, whoever asks for it."""
MOST_REMEMBERED = 10_000
RATE = 64 * MIB
"""Bytes a second that are hashed because of doubts, at most."""


class Inspector:
    """Looks at doubtful pieces in `run`; `clock` is in seconds."""

    def __init__(self, disk: DiskTier, memory: MemoryTier, clock: Callable[[], float]) -> None:
        self.corrupt = 0
        """Pieces in memory found unfit, and let go."""
        self._disk = disk
        self._memory = memory
        self._clock = clock
        self._line: dict[Key, tuple[int, bytes, bool]] = {}
        """Size and hash of each piece, whose torrent needn't last as long; if it is wanted."""
        self._looked_at: ByteLru[Key, float] = ByteLru(MOST_REMEMBERED, lambda _: 1)
        self._work = trio.Event()

    def doubt(self, torrent: Readable, index: int, *, wanted: bool) -> None:
        """Have the copies of a piece looked at again, if there is one that is trusted.

        If it is `wanted` again, nothing of its file is sent before that.
        """
        key = torrent.piece_key(index)
        if key in self._line or len(self._line) >= MOST_WAITING:
            return
        if not self._disk.trusts(key) and self._memory.find(key) is None:
            return
        looked_at = self._looked_at.get(key)
        if looked_at is not None and self._clock() - looked_at < QUIET:
            return
        try:
            digest = torrent.piece_hash(index)
        except SeederError as error:
            # Whoever keeps the metainfo has heard of that.
            _LOG.debug("piece %d of %s not looked at: %s", index, key[0], error)
            return
        if wanted:
            self._disk.distrust(key)
        self._line[key] = torrent.layout.piece_size(index), digest, wanted
        self._work.set()

    async def run(self) -> None:
        """Look at what is in doubt, until cancelled."""
        lapses = Lapses(_LOG, "a second look at a piece")
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._line:
                key, (size, digest, wanted) = next(iter(self._line.items()))
                del self._line[key]
                async with lapses.spared():
                    looks = await self._look(key, size, digest, wanted=wanted)
                    await trio.sleep(looks * size / RATE)

    async def _look(self, key: Key, size: int, digest: bytes, *, wanted: bool) -> int:
        """Look at the copies of a piece; return how many there were."""
        self._looked_at.put(key, self._clock())
        looks = await self._look_at_memory(key, digest)
        # Who wanted it may have had its file checked meanwhile.
        if not (wanted and self._disk.trusts(key)):
            await self._disk.inspect(key, size, digest)
            looks += 1
        return looks

    async def _look_at_memory(self, key: Key, digest: bytes) -> int:
        """Let go of a piece in memory that isn't right; return how many there were."""
        piece = self._memory.find(key)
        if piece is None:
            return 0
        found = await trio.to_thread.run_sync(sha1, piece)
        if found != digest and self._memory.find(key) is piece:
            _LOG.warning("piece %d of %s is corrupt in memory: read again", key[1], key[0])
            self.corrupt += 1
            self._memory.drop_piece(key)
        return 1
