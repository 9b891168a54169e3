"""Pieces of pinned objects, read from the origins they are in."""

from collections.abc import Callable, Mapping

from seeder.origin.s3 import Meter, S3Origin
from seeder.torrent.catalog import Torrent
from seeder.torrent.layout import ByteRange


class PinnedSource:
    """Reads pieces by ranged GETs; `meter` says what a torrent's reads are booked on."""

    def __init__(self, origins: Mapping[str, S3Origin], meter: Callable[[Torrent], Meter]) -> None:
        self._origins = origins
        self._meter = meter

    async def read_pieces(self, torrent: Torrent, first: int, count: int) -> bytearray:
        """Read `count` pieces from `first` on by one ranged GET; OriginError, BudgetSpent."""
        start = torrent.layout.piece_range(first).start
        stop = torrent.layout.piece_range(first + count - 1).stop
        origin = self._origins[torrent.pinned.ref.origin]
        wanted = ByteRange(start, stop - start)
        return await origin.read_range(torrent.pinned, wanted, self._meter(torrent), "pieces")
