"""What S3 gives wrong of a torrent that was made of the object itself, and what is done about it.

Either something on the way spoils bytes, and the piece comes right later; or the object has other
bytes by now, though its ETag and its size are the same. Nothing is believed after one look: the
piece is read again, later each time. When it came as it had come before often enough, the torrent
is made anew; an object that is this today and that tomorrow is hashed ever more seldom.

No I/O.
"""

from collections.abc import Callable, Iterable
from math import inf

AGREEING = 3
"""Further reads that have to give the same wrong bytes before the torrent is made anew."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0
"""Seconds between two of these reads: doubled each time."""
FIRST_REST, LONGEST_REST = 600.0, 86400.0
"""Seconds after an object was hashed again before that may be done once more: doubled each time."""
MOST_DOUBTED_PIECES = 16
"""Pieces that are remembered; others come to light when they are read."""


class Doubts:
    """The pieces of one torrent that came wrong; times in seconds.

    What is hashed again is named by cache id: in a bundle, each object rests by itself.
    """

    # Each object has them, and hardly any has something in them.
    __slots__ = ("_agreed", "_next_at", "_pause", "_rests", "_sure", "_wrong")

    def __init__(self) -> None:
        self._wrong: dict[int, bytes] = {}
        """The SHA-1 that each of the pieces came with."""
        self._sure: dict[int, None] = {}
        """Those that came as they had come before often enough."""
        self._agreed = 0
        self._pause = FIRST_PAUSE
        self._next_at = inf
        self._rests: dict[str, tuple[float, float]] = {}
        """Until when what was hashed again rests, and for how long the next time."""

    def __bool__(self) -> bool:
        """Whether any piece hasn't come right since it came wrong."""
        return bool(self._wrong)

    @property
    def next_at(self) -> float:
        """When a piece is to be read again; inf if none is."""
        return self._next_at if self._wrong else inf

    @property
    def first(self) -> int | None:
        """The piece that is to be read: one that isn't sure, if any; None if there is none."""
        wrong = self._wrong
        return next((each for each in wrong if each not in self._sure), next(iter(wrong), None))

    def add(self, index: int, digest: bytes, now: float) -> None:
        """Take note that a piece came wrong."""
        if not self._wrong:
            self._agreed, self._pause = 0, FIRST_PAUSE
            self._next_at = now + FIRST_PAUSE
        if index in self._wrong or len(self._wrong) < MOST_DOUBTED_PIECES:
            self._wrong.setdefault(index, digest)

    def read_again(self, index: int, digest: bytes, now: float) -> None:
        """Take note of how a piece came this time: wrong once more.

        Nothing unless it still is the first one: it may have come right meanwhile.
        """
        if index != self.first:
            return
        if digest == self._wrong[index]:
            self._agreed += 1
        else:
            self._agreed = 0
            self._sure.pop(index, None)
        self._wrong[index] = digest
        if self._agreed >= AGREEING:
            self._sure[index] = None
            self._agreed = 0
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._next_at = now + self._pause

    def dispel(self, index: int) -> None:
        """Take note that a piece came right."""
        if index == self.first:
            self._agreed = 0
        self._wrong.pop(index, None)
        self._sure.pop(index, None)

    def forget(self) -> None:
        """Forget the pieces: the torrent has ended, and the next one has others."""
        self._wrong.clear()
        self._sure.clear()
        self._agreed = 0

    def due(self, name_of: Callable[[int], str], now: float) -> frozenset[str]:
        """Return what is to be hashed again; `name_of` returns what a piece belongs to.

        Where one is sure, that is all that has a piece in doubt, except what rests.
        """
        if all(now < self._rest_of(name_of(index))[0] for index in self._sure):
            return frozenset()
        names = map(name_of, self._wrong)
        return frozenset(name for name in names if now >= self._rest_of(name)[0])

    def make_anew(self, names: Iterable[str], now: float) -> None:
        """Forget the pieces: these are hashed again."""
        self.forget()
        for name in names:
            _, rest = self._rest_of(name)
            self._rests[name] = now + rest, min(2 * rest, LONGEST_REST)

    def _rest_of(self, name: str) -> tuple[float, float]:
        return self._rests.get(name, (-inf, FIRST_REST))
