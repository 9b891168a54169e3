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

    async def read_pieces(
        self, torrent: Torrent, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        """Read `count` pieces from `first` on by one ranged GET, each for `take`.

        OriginError, BudgetSpent.
        """
        start = torrent.layout.piece_range(first).start
        stop = torrent.layout.piece_range(first + count - 1).stop
        await self._origins[torrent.pinned.ref.origin].read_parts(
            torrent.pinned,
            ByteRange(start, stop - start),
            self._meter(torrent),
            "pieces",
            part_length=torrent.layout.piece_length,
            take=take,
        )
