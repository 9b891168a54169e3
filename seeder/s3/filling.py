"""A byte range that is filled in order, and handed on in parts. No I/O."""

from collections.abc import Callable

from seeder.torrent.layout import ByteRange


class Filling:
    """Takes the bytes of `wanted` where `room` is; each whole part goes to `take` at once.

    Parts have `part_length` bytes, the last one what is left.
    """

    def __init__(
        self, wanted: ByteRange, part_length: int, take: Callable[[bytearray], None]
    ) -> None:
        self._start = wanted.start
        self.left = wanted.length
        """Bytes still to come."""
        self._part_length = part_length
        self._take = take
        self._part = bytearray()
        self._room = memoryview(self._part)

    @property
    def room(self) -> memoryview:
        """Where the next bytes go, as long as any are to come."""
        if not self._room:
            # Not before: to touch 8 MiB takes milliseconds, which the answer is waited for anyway.
            self._part = bytearray(min(self._part_length, self.left))
            self._room = memoryview(self._part)
        return self._room

    @property
    def rest(self) -> ByteRange:
        """What is still to come, as long as anything is."""
        return ByteRange(self._start, self.left)

    def filled(self, count: int) -> None:
        """Take note that the first `count` bytes of `room` are there."""
        self._start += count
        self.left -= count
        self._room = self._room[count:]
        if not self._room:
            self._take(self._part)
