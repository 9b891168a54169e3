"""Reading the cache's files again in idle time: a bit that flipped is noticed at last."""

import logging
from collections.abc import Iterator
from contextlib import suppress

import trio

from seeder.cache.pieces import PieceCache
from seeder.errors import SeederError
from seeder.net.guards import sparing_others
from seeder.net.slices import Slices
from seeder.torrent.catalog import Catalog
from seeder.torrent.torrent import Torrent
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

RATE = 8 * MIB
"""Bytes a second: a hundredth of a core, and 50 GiB in less than two hours."""
EVERY = 86400.0
"""Seconds between two beginnings."""
PATIENCE = 60.0
"""Seconds that the next piece waits for peers to ask for little."""
WINDOW = 1.0
"""Seconds over which what peers ask for is counted, or more."""
LITTLE = 1.0
"""Pieces, or parts of one, that peers may ask for a second."""


async def scrub(catalog: Catalog, cache: PieceCache[Torrent]) -> None:
    """Look at every file of the live torrents once, and again every day, until cancelled."""
    calm = _Calm(cache)
    while True:
        began = trio.current_time()
        await _look_at_all(catalog, cache, calm)
        await trio.sleep_until(began + EVERY)


async def _look_at_all(catalog: Catalog, cache: PieceCache[Torrent], calm: "_Calm") -> None:
    seen, slices = set[str](), Slices()
    for publication in tuple(catalog):
        if slices.is_over:
            await slices.turn()
        torrent = publication.torrent
        if torrent is not None:
            # If its metainfo can't be read, whoever keeps it has heard of that.
            with sparing_others(_LOG, "%s", publication.ref), suppress(SeederError):
                for index in _files(torrent, cache, seen):
                    # Held, so that each hash is at hand. Of an object without files it isn't
                    # read: thousands of infos would fill the memory for those in use.
                    _info = await torrent.fetch_info()
                    await calm.wait()
                    now = catalog.publications.get(publication.ref)
                    if now is None or now.torrent is not torrent:
                        # Its files may be another one's by now, with other hashes.
                        break
                    await cache.look_again(torrent, index)
                    await trio.sleep(torrent.layout.piece_size(index) / RATE)


def _files(torrent: Torrent, cache: PieceCache[Torrent], seen: set[str]) -> Iterator[int]:
    """Yield the pieces that have files, but for those of cache ids in `seen`; add its ids there."""
    for section in torrent.sections:
        if section.cache_id not in seen:
            seen.add(section.cache_id)
            for index in sorted(cache.on_disk(section.cache_id)):
                yield section.first + index


class _Calm:
    """Tells by what was asked of a cache in the last second or so whether peers ask for little."""

    def __init__(self, cache: PieceCache[Torrent]) -> None:
        self._cache = cache
        self._asked = cache.asked
        self._looked_at = trio.current_time()
        self._busy = False

    async def wait(self) -> None:
        """Wait until peers ask for little."""
        with trio.move_on_after(PATIENCE):
            while True:
                if not self._is_busy():
                    return
                await trio.sleep(WINDOW)

    def _is_busy(self) -> bool:
        asked, now = self._cache.asked, trio.current_time()
        seconds = now - self._looked_at
        if seconds >= WINDOW:
            self._busy = asked - self._asked > LITTLE * seconds
            self._asked, self._looked_at = asked, now
        return self._busy
