"""Torrents that have ended and may come back: who deletes an object may be about to upload it.

Nothing is served of them. For a while their clients are told to try again, and whoever comes back
finds the swarm and the cached pieces as they were; then they are gone for good.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from seeder.net.guards import sparing_others
from seeder.torrent.info import InfoHash
from seeder.torrent.objects import ObjectRef
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)

GRACE = 600.0
"""Seconds: a tool that replaces an object by deleting it first needs less, and who takes an object
out of circulation has its clients told within them."""


@dataclass(frozen=True, slots=True)
class _Departed:
    torrent: Torrent
    reason: str
    until: float


class Departures:
    """What has ended of late; its task lives in `nursery` as long as there is anything.

    `end` is called with a torrent whose time is over, and why it ended. An object whose torrent
    `may_come` any moment has as long again.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        end: Callable[[Torrent, str], None],
        may_come: Callable[[ObjectRef], bool],
    ) -> None:
        self._nursery = nursery
        self._end = end
        self._may_come = may_come
        self._departed: OrderedDict[InfoHash, _Departed] = OrderedDict()
        """By info hash, who goes first at the beginning; of a dict, each first one would be looked
        for behind all that have gone."""
        self._of_object: dict[ObjectRef, InfoHash] = {}
        self._waits = False

    def add(self, torrent: Torrent, reason: str) -> None:
        """Take note that a torrent has ended."""
        until = trio.current_time() + GRACE
        self._departed[torrent.info_hash] = _Departed(torrent, reason, until)
        self._of_object[torrent.pinned.ref] = torrent.info_hash
        if not self._waits:
            self._waits = True
            self._nursery.start_soon(self._wait)

    def find(self, info_hash: InfoHash) -> Torrent | None:
        """Return the torrent of an info hash if it may come back."""
        departed = self._departed.get(info_hash)
        return None if departed is None else departed.torrent

    def of(self, ref: ObjectRef) -> Torrent | None:
        """Return the torrent of an object if it may come back."""
        info_hash = self._of_object.get(ref)
        return None if info_hash is None else self.find(info_hash)

    def forget(self, torrent: Torrent) -> None:
        """Let go of a torrent that has come back, or doesn't any more."""
        self._departed.pop(torrent.info_hash, None)
        if self._of_object.get(torrent.pinned.ref) == torrent.info_hash:
            del self._of_object[torrent.pinned.ref]

    async def _wait(self) -> None:
        while self._departed:
            first = next(iter(self._departed.values()))
            await trio.sleep_until(first.until)
            if self._departed.get(first.torrent.info_hash) is not first:
                continue
            self.forget(first.torrent)
            with sparing_others(_LOG, "%s", first.torrent.pinned.ref):
                if self._may_come(first.torrent.pinned.ref):
                    self.add(first.torrent, first.reason)
                else:
                    self._end(first.torrent, first.reason)
        self._waits = False
