"""The info dictionaries of what is served, read from disk when they are asked for.

The most recently used are kept, up to a budget of bytes; so is any other while a peer session or a
read holds it.
"""

from collections.abc import Callable
from weakref import WeakValueDictionary

import trio

from seeder.cache.lru import ByteLru
from seeder.errors import MetainfoError, SeederError
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.torrent.info import Info, InfoHash, Outline
from seeder.torrent.torrent import Torrent
from seeder.units import MIB

BUDGET = 64 * MIB
"""The info of 1 GiB in pieces of 1 MiB takes 40 KiB: its bytes as found, and its hashes apart."""
_OVERHEAD = 1024


class Library:
    """Gives torrents their infos, which are in `store`; `budget` is in bytes.

    `lost` is called with a torrent whose metainfo can't be read from there (StorageError), or isn't
    there any more or damaged (MetainfoError). It runs in the task that asked for it, before the
    error reaches that task.
    """

    def __init__(
        self,
        store: MetainfoStore,
        *,
        lost: Callable[[Torrent, SeederError], None],
        budget: int = BUDGET,
    ) -> None:
        self._store = store
        self._lost = lost
        self._recent: ByteLru[InfoHash, Info] = ByteLru(budget, _size)
        self._alive: WeakValueDictionary[InfoHash, Info] = WeakValueDictionary()
        self._reading: dict[InfoHash, trio.Event] = {}

    def torrent(self, record: Record, outline: Outline) -> Torrent:
        """Return the torrent of a record that is in the store; `outline` is that of its info."""
        return Torrent(
            outline,
            record.pinned,
            record.rung,
            record.tree,
            infos=self,
            published=record.published,
            similar=record.similar,
        )

    def put(self, info: Info) -> None:
        """Keep an info in memory that is on disk already, as if it had just been read."""
        self._alive[info.info_hash] = info
        self._recent.put(info.info_hash, info)

    def drop(self, torrent: Torrent) -> None:
        """Let go of the info of a torrent that is no longer served."""
        self._recent.pop(torrent.info_hash)

    def lose(self, torrent: Torrent, error: SeederError) -> None:
        """Report that a hybrid's hashes on disk are damaged."""
        self._lost(torrent, error)

    def has(self, torrent: Torrent) -> bool:
        """Tell whether the info is in memory."""
        return torrent.info_hash in self._alive

    def take(self, torrent: Torrent) -> Info:
        """Return the info, read from disk if need be; StorageError, MetainfoError."""
        info = self._find(torrent)
        return info if info is not None else self._keep(torrent, self._read(torrent))

    async def fetch(self, torrent: Torrent) -> Info:
        """Return the info, read by a thread if need be, once for all that wait for it.

        StorageError, MetainfoError.
        """
        while True:
            info = self._find(torrent)
            if info is not None:
                return info
            reading = self._reading.get(torrent.info_hash)
            if reading is None:
                break
            await reading.wait()
        reading = self._reading[torrent.info_hash] = trio.Event()
        try:
            return self._keep(torrent, await trio.to_thread.run_sync(self._read, torrent))
        finally:
            del self._reading[torrent.info_hash]
            reading.set()

    def _find(self, torrent: Torrent) -> Info | None:
        """Return the info if it is in memory, and mark it as used just now."""
        info = self._recent.get(torrent.info_hash)
        if info is None:
            info = self._alive.get(torrent.info_hash)
            if info is not None:
                self._recent.put(torrent.info_hash, info)
        return info

    def _read(self, torrent: Torrent) -> Info | SeederError:
        try:
            record = self._store.load(torrent.pinned.ref)
        except SeederError as error:
            return error
        if record is None or record.info is None or record.info.info_hash != torrent.info_hash:
            return MetainfoError("its metainfo on disk is gone or damaged; it is made anew")
        return record.info

    def _keep(self, torrent: Torrent, found: Info | SeederError) -> Info:
        if isinstance(found, SeederError):
            self._lost(torrent, found)
            try:
                raise found
            finally:
                del found  # else it would be kept by its own traceback
        self.put(found)
        return found


def _size(info: Info) -> int:
    return len(info.raw) + len(info.pieces) + _OVERHEAD
