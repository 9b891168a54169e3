"""How often an object is looked at that is another one each time, or by each witness. No I/O."""

from math import inf

from seeder.s3.listing import Listed
from seeder.torrent.objects import PinnedObject, opaque

MANY_CHANGES = 5
"""Rounds in a row after which an object that changes in each of them is tried every `refresh` only:
S3 is read in vain."""
RESTLESS = (
    "it has another ETag each time it is read: it is written all the time, or servers behind one"
    " name disagree; it is tried again every refresh"
)
_MOST_DOUBLINGS = 10


class Restless:
    """What the rounds of one object came to of late."""

    __slots__ = ("_changes", "_disagreed")

    def __init__(self) -> None:
        self._changes = 0
        """Rounds in a row in which the object changed before it was read."""
        self._disagreed = 0
        """Rounds in a row after which HEAD told another ETag than the listing."""

    def changes(self) -> bool:
        """Take note that the object changed once more; return whether that was too often."""
        self._changes += 1
        return self._changes >= MANY_CHANGES

    def pause(self, listed: Listed | None, pinned: PinnedObject | None, refresh: float) -> float:
        """Return the seconds after a round that succeeded until the object is looked at again.

        One that is `listed` is looked at when its line in the listing has changed. But where HEAD
        tells another ETag, that may be a cache's, or lag behind: it is asked again, ever more
        seldom, for there are servers that always do so.
        """
        self._changes = 0
        if listed is None:
            return refresh
        if pinned is None or opaque(listed.etag) == pinned.tag:
            self._disagreed = 0
            return inf
        self._disagreed += 1
        return float(refresh * 2.0 ** min(self._disagreed - 1, _MOST_DOUBLINGS))
