"""The torrent that an object has at present: it is served, held, goes on with another state, ends.

S3 may show another state of the object at each look. The torrent outlives it as long as that has,
or may have, the same bytes.
"""

import logging
from functools import partial

from seeder.metainfo.library import Library
from seeder.metainfo.records import Record
from seeder.publish.doubts import Doubts
from seeder.publish.makers import Maker
from seeder.publish.replacing import HeldTorrent, Replacing
from seeder.publish.rounds import Rounds
from seeder.publish.serving import Serving, replaced
from seeder.torrent.info import Outline
from seeder.torrent.objects import PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)


class CurrentTorrent:
    """The torrent of one publication, the record that it is made of, and what is in doubt of it.

    `rounds` are woken when a duplicate may take over the torrent.
    """

    __slots__ = (
        "_library",
        "_maker",
        "_publication",
        "_rounds",
        "_serving",
        "doubts",
        "record",
        "replacing",
    )

    def __init__(
        self,
        publication: Publication,
        record: Record | None,
        rounds: Rounds,
        *,
        maker: Maker,
        library: Library,
        serving: Serving,
    ) -> None:
        self.record = record
        """That of the torrent which is served, or was last; an object's next state has another."""
        self.replacing = Replacing()
        self.doubts = Doubts()
        """The object isn't what its own hashes say: no HEAD can clear that."""
        self._publication = publication
        self._rounds = rounds
        self._maker = maker
        self._library = library
        self._serving = serving

    @property
    def is_live(self) -> bool:
        """Whether the torrent is served, for this object and not for a duplicate."""
        return self._serving.is_live(self._publication)

    def serve(self, record: Record, outline: Outline, *, quiet: bool = False) -> None:
        """Serve a record's torrent from now on."""
        self.replacing.forget()
        self.record = record
        torrent = self._library.torrent(record, outline)
        self._serving.serve(self._publication, torrent, self._rounds, quiet=quiet)

    async def serve_or_go_on(self, record: Record, outline: Outline) -> None:
        """Serve a record, by the torrent that is served already if it has the same info hash."""
        torrent, new = self._publication.torrent, self._library.torrent(record, outline)
        if (
            torrent is not None
            and self.is_live
            and (torrent.info_hash, torrent.v2_hash) == (new.info_hash, new.v2_hash)
            and await self._go_on(torrent, record, new)
        ):
            return
        before = self._serving.departed(new)
        if before is not None:
            await self._maker.adopt(before, new)
        self.serve(record, outline)

    async def return_to(self, torrent: Torrent, pinned: PinnedObject) -> bool:
        """Go on with a state that had the torrent's bytes before; False if it ended meanwhile."""
        record = self.record
        assert record is not None
        assert record.outline is not None
        record.pinned = pinned
        return await self._go_on(torrent, record, self._library.torrent(record, record.outline))

    async def _go_on(self, torrent: Torrent, record: Record, new: Torrent) -> bool:
        """Have the torrent that is served go on as one of another state with the same bytes."""
        self.replacing.hold(torrent, new.pinned)
        await self._maker.adopt(torrent, new)
        if self._publication.torrent is not torrent:
            return False
        before = torrent.pinned
        self._maker.move(torrent, new)
        self.replacing.remember(before, new.pinned)
        self.record = record
        self.doubts.forget()
        self.release(torrent)
        self._serving.go_on(self._publication, before)
        return True

    def release(self, torrent: Torrent) -> None:
        """Ask S3 again for what was held."""
        torrent.held = None
        if self.replacing.is_open:
            self.replacing.settle()
            self._publication.settle(State.SERVING)

    def confirm(self, torrent: Torrent, record: Record) -> None:
        """Go on with a torrent whose metainfo was made anew, and is the same."""
        assert record.outline is not None
        self._maker.move(torrent, self._library.torrent(record, record.outline))
        self.record = record
        self.doubts.forget()
        self.release(torrent)

    def end_if_served(self, torrent: Torrent, reason: str) -> None:
        """End a torrent, unless that has happened."""
        if self._publication.torrent is torrent:
            pinned = self._publication.pinned
            self.retire(reason)
            self._publication.pinned = pinned

    def retire(self, reason: str) -> None:
        """End the torrent; what was in doubt of it says nothing of the next one."""
        self.replacing.forget()
        self.doubts.forget()
        self._serving.retire(self._publication, reason)

    def former(self) -> HeldTorrent | None:
        """Return the torrent that may have the bytes of the object as it is now, if any.

        It ends when the object turns out to have others.
        """
        torrent = self._publication.torrent
        if torrent is None:
            torrent = self._serving.may_return(self._publication)
            return None if torrent is None else HeldTorrent(torrent, lambda: None)
        return HeldTorrent(torrent, partial(self._differ, torrent)) if torrent.held else None

    def _differ(self, torrent: Torrent) -> None:
        """End the torrent: the object has other bytes by now."""
        publication = self._publication
        if publication.torrent is torrent:
            reason, pinned = replaced(torrent), publication.pinned
            self.retire(reason)
            publication.pinned = pinned
            publication.settle(State.BUILDING)
            _LOG.info("%s: %s", publication.ref, reason)
