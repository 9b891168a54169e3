"""What S3 gives wrong of a torrent that was made of the object itself, and what is done about it.

Either something on the way spoils bytes, and the piece comes right later; or the object has other
bytes by now, though its ETag and its size are the same. Nothing is believed after one look: the
piece is read again, later each time. When it came as it had come before often enough, the torrent
is made anew; a store that gives this today and that tomorrow has it made anew ever more seldom.

No I/O.
"""

from math import inf

AGREEING = 3
"""Further reads that have to give the same wrong bytes before the torrent is made anew."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0
"""Seconds between two of these reads: doubled each time."""
FIRST_REST, LONGEST_REST = 600.0, 86400.0
"""Seconds after an object was hashed again before that may be done once more: doubled each time."""
MOST_PIECES = 16
"""Pieces that are remembered; others come to light when they are read."""


class Doubts:
    """The pieces of one torrent that came wrong; times in seconds."""

    def __init__(self) -> None:
        self._wrong: dict[int, bytes] = {}
        """The SHA-1 that each of the pieces came with."""
        self._agreed = 0
        self._pause = FIRST_PAUSE
        self._next_at = inf
        self._rest = FIRST_REST
        self._rests_until = -inf

    def __bool__(self) -> bool:
        """Whether any piece hasn't come right since it came wrong."""
        return bool(self._wrong)

    @property
    def next_at(self) -> float:
        """When a piece is to be read again; inf if none is."""
        return self._next_at if self._wrong else inf

    @property
    def first(self) -> int:
        """The piece that is to be read."""
        return next(iter(self._wrong))

    def add(self, index: int, digest: bytes, now: float) -> None:
        """Take note that a piece came wrong."""
        if not self._wrong:
            self._agreed, self._pause = 0, FIRST_PAUSE
            self._next_at = now + FIRST_PAUSE
        if index in self._wrong or len(self._wrong) < MOST_PIECES:
            self._wrong.setdefault(index, digest)

    def read_again(self, digest: bytes, now: float) -> None:
        """Take note of how `first` came this time: wrong once more."""
        index = self.first
        self._agreed = self._agreed + 1 if digest == self._wrong[index] else 0
        self._wrong[index] = digest
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._next_at = now + self._pause

    def dispel(self, index: int) -> None:
        """Take note that a piece came right."""
        self._wrong.pop(index, None)
        self._agreed = 0

    def may_make_anew(self, now: float) -> bool:
        """Tell whether the object is to be hashed again."""
        return self._agreed >= AGREEING and now >= self._rests_until

    def make_anew(self, now: float) -> None:
        """Forget the pieces: the object is hashed again."""
        self._wrong.clear()
        self._agreed = 0
        self._rests_until = now + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)
