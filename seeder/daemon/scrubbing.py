"""Reading the cache's files again in idle time: a bit that flipped is noticed at last."""

from collections.abc import Iterable

import trio

from seeder.cache.pieces import PieceCache
from seeder.errors import SeederError
from seeder.torrent.catalog import Catalog, Torrent
from seeder.units import MIB

RATE = 8 * MIB
"""Bytes a second: a hundredth of a core, and 50 GiB in less than two hours."""
EVERY = 86400.0
"""Seconds between two beginnings."""
PATIENCE = 60.0
"""Seconds that the next piece waits for a second in which no peer reads from the disk."""


async def scrub(catalog: Catalog, cache: PieceCache[Torrent]) -> None:
    """Look at every trusted file of the live torrents, once a day, until cancelled."""
    while True:
        began = trio.current_time()
        for torrent in _live(catalog):
            try:
                # Held, so that each hash is at hand.
                info = await torrent.fetch_info()
                for index in sorted(cache.trusted(torrent)):
                    await _wait_idle(cache)
                    await cache.look_again(torrent, index)
                    await trio.sleep(torrent.layout.piece_size(index) / RATE)
                del info
            except SeederError:
                # Its metainfo can't be read, and whoever keeps it has heard of that.
                continue
        await trio.sleep_until(began + EVERY)


def _live(catalog: Catalog) -> Iterable[Torrent]:
    return [each.torrent for each in catalog if each.torrent is not None]


async def _wait_idle(cache: PieceCache[Torrent]) -> None:
    with trio.move_on_after(PATIENCE):
        while True:
            before = cache.disk_hits
            await trio.sleep(1)
            if cache.disk_hits == before:
                return
