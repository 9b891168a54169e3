"""Pieces of pinned objects, read from the origins they are in."""

from collections.abc import Callable, Mapping

from seeder.origin.s3 import Meter, S3Origin
from seeder.torrent.catalog import Torrent


class PinnedSource:
    """Reads pieces by ranged GETs; `meter` says what a torrent's reads are booked on."""

    def __init__(self, origins: Mapping[str, S3Origin], meter: Callable[[Torrent], Meter]) -> None:
        self._origins = origins
        self._meter = meter

    async def read_piece(self, torrent: Torrent, index: int) -> bytearray:
        """Read piece `index` by one ranged GET; OriginError."""
        wanted = torrent.layout.piece_range(index)
        origin = self._origins[torrent.pinned.ref.origin]
        return await origin.read_range(torrent.pinned, wanted, self._meter(torrent), "pieces")
