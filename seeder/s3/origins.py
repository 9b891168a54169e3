"""Every origin by its name, run together and asked as one."""

from collections.abc import Callable, Iterator, Mapping

import trio

from seeder.s3.client import S3Origin
from seeder.s3.operations import OriginStatistics
from seeder.s3.stalls import Stall
from seeder.torrent.bundle import padded
from seeder.torrent.objects import Meter, ObjectRef
from seeder.torrent.torrent import Torrent
from seeder.units import ByteRange


class Origins(Mapping[str, S3Origin]):
    """Origins by name; the cache reads its pieces here.

    `meter` returns what the reads of a torrent's pieces are booked on.
    """

    def __init__(self, origins: Mapping[str, S3Origin], meter: Callable[[Torrent], Meter]) -> None:
        self._origins = dict(origins)
        self._meter = meter

    def __getitem__(self, name: str) -> S3Origin:
        return self._origins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run every origin until cancelled; calls may be made once it has started."""
        async with trio.open_nursery() as nursery:
            for origin in self._origins.values():
                await nursery.start(origin.run)
            task_status.started()

    async def read_pieces(
        self, torrent: Torrent, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        """Read `count` pieces of one object from `first` on, by one ranged GET.

        `take` is called with each piece as soon as it is there. OriginError, BudgetSpent.
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

    def hopes(self, torrent: Torrent) -> bool:
        """Tell whether the S3 of a torrent is away, and reads wait for it."""
        return self._origins[torrent.pinned.ref.origin].hopes()

    def next_try_in(self, torrent: Torrent) -> float:
        """Return the seconds until the S3 of a torrent may be asked again; 0 if it isn't away."""
        return self._origins[torrent.pinned.ref.origin].next_try_in()

    def statistics(self) -> dict[str, OriginStatistics]:
        """Return a snapshot of each origin, by name."""
        return {name: origin.statistics() for name, origin in self._origins.items()}

    def stalls(self) -> Iterator[tuple[ObjectRef, bool, Stall]]:
        """Yield what is stalled of any origin, as `S3Origin.stalls` does."""
        for origin in self._origins.values():
            yield from origin.stalls()

    def is_busy(self) -> bool:
        """Tell whether calls to any of them wait for a connection."""
        return any(origin.is_busy for origin in self._origins.values())
