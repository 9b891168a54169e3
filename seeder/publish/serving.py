"""What becomes of torrents: they go live, are duplicates of live ones, and end for a reason.

One that may come back isn't gone at once: see `departures`.
"""

import logging
from collections.abc import Set
from typing import Protocol

import trio

from seeder.ledger.counters import FORMER, Account, Ledger
from seeder.metainfo.library import Library
from seeder.publish.departures import Departures
from seeder.publish.rounds import Rounds
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash
from seeder.torrent.objects import (
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    may_be_equal,
    same_state,
)
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from seeder.units import counted

_LOG = logging.getLogger(__name__)

REPLACED = "the object was replaced in S3; get its new torrent"
REGROUPED = "objects below the prefix changed in S3; get its new torrent"
DELETED = "the object was deleted from S3"
WITHDRAWN = "the torrent is no longer published here"
LOST = "its metainfo is made anew"
_MAY_RETURN = {
    DELETED: f"{DELETED}; if it comes back, so does its torrent: try again in a minute",
    LOST: f"{LOST}; try again in a minute",
}
"""What clients are told for a while of a torrent that has ended, by the reason."""


class Audience(Protocol):
    """What has to be told when a torrent comes or goes."""

    def torrent_live(self, torrent: Torrent, account: Account) -> None: ...
    def torrent_moved(self, torrent: Torrent, account: Account) -> None: ...
    def publicity_changed(self, torrent: Torrent) -> None: ...
    def torrent_away(self, torrent: Torrent, reason: str) -> None: ...
    def torrent_gone(self, torrent: Torrent, reason: str, keep: Set[str] = frozenset()) -> None: ...


class Serving:
    """Keeps the catalog, the accounts, the library and the audience agreed on what is served.

    A round may go on for a moment after its publication was withdrawn: a task that is due already
    isn't cancelled before it waits again. What it says then is passed over.
    """

    def __init__(
        self,
        catalog: Catalog,
        ledger: Ledger,
        library: Library,
        audience: Audience,
        nursery: trio.Nursery,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._library = library
        self._audience = audience
        self._departures = Departures(
            nursery, end=audience.torrent_gone, may_come=self._is_being_made
        )
        self._duplicates: dict[InfoHash, dict[ObjectRef, Rounds]] = {}
        """By info hash: the objects whose torrent is already served for another object."""

    def serve(
        self, publication: Publication, torrent: Torrent, rounds: Rounds, *, quiet: bool = False
    ) -> None:
        """Make a torrent live in place of the publication's last one, or note it as a duplicate.

        A duplicate's `rounds` are woken when it may take over the torrent.
        """
        if not self._is_published(publication):
            return
        known = publication.state is State.DUPLICATE
        before = publication.torrent
        if before is not None and before.info_hash != torrent.info_hash:
            self.retire(publication, replaced(before))
        if not self._catalog.serve(publication, torrent):
            self._duplicates.setdefault(torrent.info_hash, {})[publication.ref] = rounds
            if not known:
                _LOG.info("%s: %s; one torrent serves both", publication.ref, publication.reason)
            return
        self._welcome_back(torrent)
        account = enter_torrent(self._ledger, torrent)
        _LOG.log(
            logging.DEBUG if quiet else logging.INFO,
            "%s: serving %s%s, %d bytes in %s, metainfo from %s",
            publication.ref,
            torrent.info_hash,
            f" (v2 {torrent.v2_hash.hex()})" if torrent.v2_hash else "",
            torrent.pinned.size,
            counted(torrent.layout.piece_count, "piece"),
            torrent.rung,
        )
        self._audience.torrent_live(torrent, account)

    def _welcome_back(self, torrent: Torrent) -> None:
        """Take a torrent back that had ended; if it is another one, that one is gone for good."""
        back = self._departures.find(torrent.info_hash)
        if back is not None:
            self._departures.forget(back)
        last = self._departures.of(torrent.pinned.ref)
        if last is not None:
            self._departures.forget(last)
            keep = {section.cache_id for section in torrent.sections}
            self._audience.torrent_gone(last, replaced(last), keep)

    def look_at(self, publication: Publication, pinned: PinnedObject | None) -> None:
        """Take note of an object's state, None if it is gone; the last one is over, if unserved."""
        if not self._is_published(publication):
            return
        before, torrent = publication.pinned, publication.torrent
        publication.pinned = pinned
        if before is None or (pinned is not None and same_state(before, pinned)):
            return
        if torrent is None or not same_state(before, torrent.pinned):
            self._ledger.account_of(before).state = FORMER

    def departed(self, torrent: Torrent) -> Torrent | None:
        """Return the torrent with the info hash of this one that ended of late, if any."""
        return self._departures.find(torrent.info_hash)

    def may_return(self, publication: Publication) -> Torrent | None:
        """Return the publication's torrent that ended of late and may come back, if any."""
        return self._departures.of(publication.ref)

    def change_publicity(self, publication: Publication, *, public: bool) -> None:
        """Take note that a publication is public now, or that it isn't."""
        if publication.public is not public:
            publication.public = public
            if publication.torrent is not None and self.is_live(publication):
                self._audience.publicity_changed(publication.torrent)

    def reveal(self, publication: Publication) -> None:
        """Have a publication found by its name from now on: its time has come."""
        if self._is_published(publication):
            self._catalog.reveal(publication)

    def rule_out(self, publication: Publication, pinned: PinnedObject) -> None:
        """End for good what can't come back: its object is another one now."""
        if not self._is_published(publication):
            return
        last = self._departures.of(publication.ref)
        if last is not None and not may_be_equal(last.pinned, pinned):
            self._departures.forget(last)
            self._audience.torrent_gone(last, replaced(last))

    def _is_published(self, publication: Publication) -> bool:
        return self._catalog.publications.get(publication.ref) is publication

    def _is_being_made(self, ref: ObjectRef) -> bool:
        publication = self._catalog.publications.get(ref)
        return publication is not None and publication.state is State.BUILDING

    def is_live(self, publication: Publication) -> bool:
        """Tell whether the publication's torrent is served for it, not for a duplicate."""
        torrent = publication.torrent
        return torrent is not None and self._catalog.by_hash(torrent.info_hash) is torrent

    def go_on(self, publication: Publication, before: PinnedObject) -> None:
        """Serve a live torrent that has moved on from the state `before`."""
        torrent = publication.torrent
        if not self._is_published(publication):
            return
        assert torrent is not None
        former = self._ledger.account_of(before)
        account = enter_torrent(self._ledger, torrent)
        if former is not account:
            former.state, former.peers, former.seeds = FORMER, 0, 0
        publication.pinned = torrent.pinned
        publication.settle(State.SERVING)
        _LOG.info(
            "%s: the same bytes under another ETag; its peers and its cached pieces stay",
            publication.ref,
        )
        self._audience.torrent_moved(torrent, account)

    def retire(self, publication: Publication, reason: str) -> None:
        """End the publication's torrent, if it has one; the object waits for another."""
        if not self._is_published(publication):
            return
        self._forget_duplicate(publication)
        torrent = self._catalog.retire(publication, reason)
        if torrent is not None:
            self._gone(torrent, reason)

    def withdraw(self, publication: Publication, reason: str) -> None:
        """Forget the publication, and end its torrent."""
        self._forget_duplicate(publication)
        torrent = self._catalog.remove(publication.ref)
        if torrent is not None:
            self._gone(torrent, reason)
        last = self._departures.of(publication.ref)
        if last is not None and reason not in _MAY_RETURN:
            self._departures.forget(last)
            self._audience.torrent_gone(last, reason)

    def _forget_duplicate(self, publication: Publication) -> None:
        torrent = publication.torrent
        others = self._duplicates.get(torrent.info_hash) if torrent is not None else None
        if torrent is not None and others is not None:
            others.pop(publication.ref, None)
            if not others:
                del self._duplicates[torrent.info_hash]

    def _gone(self, torrent: Torrent, reason: str) -> None:
        self._library.drop(torrent)
        if reason in _MAY_RETURN:
            self._departures.add(torrent, reason)
            self._audience.torrent_away(torrent, _MAY_RETURN[reason])
        else:
            self._audience.torrent_gone(torrent, reason)
        for rounds in self._duplicates.pop(torrent.info_hash, {}).values():
            rounds.wake()


def enter_torrent(ledger: Ledger, torrent: Torrent) -> Account:
    """Enter a torrent in the account of its object, and return the account."""
    account = ledger.account_of(torrent.pinned)
    account.info_hash = torrent.info_hash.hex()
    account.size = torrent.pinned.size
    account.pieces = torrent.layout.piece_count
    return account


def replaced(torrent: Torrent) -> str:
    """Return the reason for which a torrent ends when S3 has something else in its place."""
    return REGROUPED if isinstance(torrent.pinned, PinnedBundle) else REPLACED
