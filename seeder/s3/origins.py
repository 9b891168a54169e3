"""Pieces of pinned objects, read from the origins they are in."""

from collections.abc import Callable, Mapping

from seeder.s3.client import Meter, S3Origin
from seeder.torrent.bundle import padded
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
        """Read `count` pieces of one object from `first` on by one ranged GET, each for `take`.

        OriginError, BudgetSpent.
        """
        section, length = torrent.section(first), torrent.layout.piece_length
        start = torrent.data_range(first).start
        stop = torrent.data_range(first + count - 1).stop
        await self._origins[section.pinned.ref.origin].read_parts(
            section.pinned,
            ByteRange(start, stop - start),
            self._meter(torrent),
            "pieces",
            part_length=length,
            take=(lambda piece: take(padded(piece, length))) if torrent.padded else take,
        )
