"""A configured object and what has become of it: its torrent, or why it has none. No I/O."""

from dataclasses import dataclass
from enum import StrEnum

from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.torrent.work import Work


class State(StrEnum):
    """Where a publication stands; the values are those of `state` in /status.json."""

    WAITING = "waiting"
    """Not tried yet, or it failed and will be tried again; `reason` says why."""
    BUILDING = "building"
    SERVING = "serving"
    FAULTY = "faulty"
    """Served from the cache only: the origin gives wrong bytes, or none."""
    DUPLICATE = "duplicate"
    """Has the content and the name of another publication, whose torrent serves both."""
    EMBARGOED = "embargoed"
    """Its metainfo is there, and its time has not come; `reason` says when that is."""
    FAILED = "failed"
    """Not tried again before the object or the configuration changes."""


STALLED = "stalled"
"""The state that is shown of one of which S3 gives nothing though it is asked, whatever it is
otherwise."""
UNFIT = "unfit"
"""The state of an added entry that is wrong by now, and so has no publication."""
SHOWN_STATES = (*(each.value for each in State), STALLED, UNFIT)
"""All that is ever told as the state of an object."""
MADE_ELSEWHERE = "another node of the cluster makes its metainfo"
"""The reason of one that waits for that."""


@dataclass(slots=True)
class Publication:
    """One configured object and what has become of it."""

    ref: ObjectRef
    public: bool = True
    """Whether anybody may have the torrent; if not, only those who may read the object."""
    bundle: bool = False
    """Whether it is of all objects below a prefix, which is the key of `ref`."""
    state: State = State.WAITING
    reason: str | None = None
    progress: float | None = None
    """Share of the object hashed, 0 to 1, while building."""
    work: Work | None = None
    """How the building goes on, once it has begun."""
    torrent: Torrent | None = None
    pinned: PinnedObject | None = None
    """The object as S3 described it last; None while that isn't known."""
    hidden: bool = False
    """Whether nobody may know of it yet: it is found by no name, and has no torrent."""

    @property
    def for_members(self) -> bool:
        """Whether only holders of passkeys may have its torrent: it is private and not public."""
        return self.torrent is not None and self.torrent.private and not self.public

    def settle(self, state: State, reason: str | None = None) -> None:
        """Move to `state`; progress is over."""
        self.state = state
        self.reason = reason
        self.progress = self.work = None
