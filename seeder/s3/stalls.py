"""What is wanted of S3, and how long nothing has come of it: whether it is stalled. No I/O.

Times are of one clock, in seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from seeder.torrent.objects import ObjectRef
from seeder.units import counted, rounded_time


@dataclass(frozen=True, slots=True)
class Stall:
    """What has been wanted in vain."""

    seconds: float
    """Since something came, or since it is wanted."""
    tries: int
    """Requests that were made of it in that time."""
    why: str | None
    """What S3 answers; None if it answers nothing."""

    def __str__(self) -> str:
        since = rounded_time(self.seconds)
        if not self.tries:
            return (
                f"no request to S3 sent for {since}: its connections or credentials are waited for"
            )
        tries = counted(self.tries, "try", "tries")
        if self.why is None:
            return f"S3 silent for {since}, {tries}"
        return f"S3 gives only errors for {since}, {tries}: {self.why}"


class Outstanding:
    """The calls for one object, or for all of an origin, that haven't ended."""

    __slots__ = ("_active", "_since", "_tries", "calls", "why")

    def __init__(self) -> None:
        self.calls = 0
        self.why: str | None = None
        """The last error that S3 answered since anything else came."""
        self._since = 0.0
        self._tries = self._active = 0

    def wanted(self, now: float) -> None:
        """Take note of one more call."""
        if not self.calls:
            self._since, self._tries, self.why = now, 0, None
        self.calls += 1

    def tried(self) -> None:
        """Take note that a request is made."""
        self._active += 1
        self._tries += 1

    def ended(self) -> None:
        """Take note that a request has ended."""
        self._active -= 1

    def heard(self, now: float) -> None:
        """Take note that something came that is no error."""
        self._since, self._tries, self.why = now, self._active, None

    def stall(self, now: float, silence: float) -> Stall | None:
        """Return how it is stalled, if nothing has come for so many seconds of `silence`."""
        seconds = now - self._since
        if not self.calls or seconds < silence:
            return None
        return Stall(seconds, self._tries, self.why)


class Stalls:
    """What is wanted of one origin: in all, and by object (or by prefix, for listings).

    Of an object, its bytes and questions about it are counted apart; questions that we can do
    without say nothing of the origin. What has brought nothing for `silence` seconds is stalled.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._all = Outstanding()
        self._objects: dict[tuple[ObjectRef, bool], Outstanding] = {}
        """By object, and whether it is a question about it."""

    def begin(
        self, ref: ObjectRef, now: float, *, question: bool, optional: bool = False
    ) -> tuple[Outstanding, ...]:
        """Take note of a call; return what its attempts are to be told to, and `end` too."""
        own = self._objects.setdefault((ref, question), Outstanding())
        waits = (own,) if optional else (own, self._all)
        for wait in waits:
            wait.wanted(now)
        return waits

    def end(self, ref: ObjectRef, waits: tuple[Outstanding, ...], *, question: bool) -> None:
        """Take note that a call has ended."""
        for wait in waits:
            wait.calls -= 1
        if not waits[0].calls:
            del self._objects[ref, question]

    def stall(self, now: float) -> Stall | None:
        """Return how the origin is stalled, if it is."""
        return self._all.stall(now, self._silence)

    def stalls(self, now: float) -> Iterator[tuple[ObjectRef, bool, Stall]]:
        """Yield the objects that are stalled, and whether only a question about them is."""
        for (ref, question), wait in self._objects.items():
            if (stall := wait.stall(now, self._silence)) is not None:
                yield ref, question, stall
