"""What a keeper does while it isn't known whether its object's next state has the same bytes.

An object may get another ETag and keep its bytes: copied in place, uploaded again, in parts of
another size. Until its new hashes are known, its torrent is *held*: served from the cache, and read
from S3 only where a bundle's other objects are as they were.
"""

from collections.abc import Callable
from math import inf

import trio

from seeder.errors import SeederError
from seeder.torrent.info import Info
from seeder.torrent.objects import PinnedObject, Section, changed_sections, same_state
from seeder.torrent.torrent import Held, Torrent

PAUSE = 1.0
"""Seconds between two looks at an object that S3 gives another ETag of each time."""
MOST_STATES = 8
"""States of one object that are remembered to have the same bytes."""


class Replacing:
    """The question whether an object was replaced by other bytes, and the states that had them."""

    __slots__ = ("_known", "_looked_at", "_states")

    def __init__(self) -> None:
        self._known: trio.Event | None = None
        """Set when it is known whether the object's new state has the bytes of the torrent."""
        self._states: tuple[PinnedObject, ...] = ()
        """The states that have had the torrent's bytes, the latest one last."""
        self._looked_at = -inf
        """When S3 was asked because of another ETag (trio's clock)."""

    @property
    def is_open(self) -> bool:
        """Whether the question is open."""
        return self._known is not None

    def hold(self, torrent: Torrent, pinned: PinnedObject | None) -> None:
        """Serve from the cache alone what isn't in `pinned` as it was; all of it for None."""
        if self._known is None:
            self._known = trio.Event()
        if pinned is None:
            names = frozenset(section.cache_id for section in torrent.sections)
        else:
            names = changed_sections(torrent.sections, pinned)
        torrent.held = Held(names, self._known)

    def settle(self) -> None:
        """Have those go on who wait for the answer, if any do."""
        if self._known is not None:
            self._known.set()
            self._known = None

    def forget(self) -> None:
        """Settle it, and forget the states: another torrent is served from now on, or none."""
        self.settle()
        self._states = ()

    def remember(self, *states: PinnedObject) -> None:
        """Take note of states that have the torrent's bytes, the latest one last."""
        latest_first = dict.fromkeys(reversed((*self._states, *states)))
        self._states = tuple(latest_first)[:MOST_STATES][::-1]

    def knows(self, pinned: PinnedObject) -> bool:
        """Tell whether a state is known to have the torrent's bytes."""
        return any(same_state(each, pinned) for each in self._states)

    async def pause(self) -> None:
        """Wait until S3 may be asked again, if the question is open.

        Servers that disagree about the ETag mustn't have us ask them all the time.
        """
        if self._known is not None:
            await trio.sleep(max(0.0, self._looked_at + PAUSE - trio.current_time()))
            self._looked_at = trio.current_time()


class HeldTorrent:
    """The torrent of an object's last state, while it is looked at whether it has the same bytes.

    `differ` is called when it hasn't, in the task that hashes.
    """

    def __init__(self, torrent: Torrent, differ: Callable[[], None]) -> None:
        self._torrent = torrent
        self._differ = differ
        held = torrent.held
        self.cache_ids = held.cache_ids if held is not None else frozenset[str]()
        self.layout = torrent.layout
        self.hybrid = torrent.hashes is not None

    async def fetch_info(self) -> Info | None:
        """Return the torrent's info; None if it can't be read any more."""
        try:
            return await self._torrent.fetch_info()
        except SeederError:
            return None  # reported by then

    async def compare(self, section: Section, first: int, digests: list[bytes]) -> None:
        """Have the torrent end as soon as a piece is another one than before."""
        if section.layout.piece_length != self.layout.piece_length:
            return  # its own hashes tell nothing of these
        info = await self.fetch_info()
        if info is None:
            return
        start = section.first + first
        if any(info.piece_hash(start + at) != digest for at, digest in enumerate(digests)):
            self._differ()
