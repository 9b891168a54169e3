"""What a node does when a torrent comes or goes: to its swarm, peers, cache and account."""

import logging
from collections.abc import Callable, Set

from seeder.config.node import CacheSettings
from seeder.daemon.foundation import Foundation
from seeder.daemon.placement import Placement
from seeder.gateway.downloads import Downloads
from seeder.ledger.counters import FORMER, Account
from seeder.peer.hub import Hub
from seeder.publish.serving import DELETED, WITHDRAWN
from seeder.torrent.objects import PinnedBundle
from seeder.torrent.torrent import Torrent
from seeder.tracker.saved import Counted
from seeder.tracker.swarms import Swarms
from seeder.units import rounded_size

_LOG = logging.getLogger(__name__)

SPARE_PIECES = 4
"""Pieces that a cache should have room for: one is sent while others come."""
_NOT_REGISTERED = "torrent not registered: "
"""Transmission stops asking at this prefix: it is only for torrents that don't come back."""


class NodeAudience:
    """Tells the tracker and the peers of a node what the publisher makes live, and ends."""

    def __init__(
        self,
        foundation: Foundation,
        swarms: Swarms,
        hub: Hub,
        downloads: Downloads,
        *,
        settings: CacheSettings,
        placement: Placement,
        for_members: Callable[[Torrent], bool],
    ) -> None:
        """`for_members` tells whether only holders of passkeys may have a live torrent."""
        self._for_members = for_members
        self._foundation = foundation
        self._swarms = swarms
        self._hub = hub
        self._downloads = downloads
        self._settings = settings
        self._placement = placement

    def torrent_live(self, torrent: Torrent, account: Account) -> None:
        """Open the torrent's swarm, and let peers in if we seed it."""
        self._placement.enter(torrent)
        self._swarms.open(
            torrent.info_hash,
            size=torrent.pinned.size,
            claims=account,
            counted=_counted(account),
            alias=torrent.short_v2_hash,
            private=self._for_members(torrent),
        )
        self._weigh_cache(torrent)

    def publicity_changed(self, torrent: Torrent) -> None:
        """Have a live torrent's swarm let in whom it is for now."""
        self._swarms.guard(torrent.info_hash, private=self._for_members(torrent))

    def torrent_moved(self, torrent: Torrent, account: Account) -> None:
        """Book on another account from now on, and offer again what was taken back from peers."""
        self._swarms.rebook(torrent.info_hash, account, _counted(account))
        self._hub.rebook(torrent)
        self._downloads.rebook(torrent)
        self._hub.regain()

    def _weigh_cache(self, torrent: Torrent) -> None:
        """Warn if the cache can't hold a piece: peers ask for a few of its blocks at a time."""
        cache, count = self._settings, torrent.layout.piece_count
        largest = torrent.layout.piece_size(0) if count else 0
        if largest > max(cache.memory, cache.disk):
            _LOG.warning(
                "%s: a piece of %s doesn't fit the cache, so S3 is read again for every few blocks,"
                " as far as peer.origin_copies_per_address goes; set cache.memory or cache.disk to"
                " %s at least",
                torrent.pinned.ref,
                rounded_size(largest),
                rounded_size(largest * min(count, SPARE_PIECES)),
            )

    def torrent_away(self, torrent: Torrent, reason: str) -> None:
        """Serve nothing of a torrent that may come back; its swarm and its pieces are kept."""
        self._swarms.rest(torrent.info_hash, reason)
        self._end(torrent)

    def torrent_gone(self, torrent: Torrent, reason: str, keep: Set[str] = frozenset()) -> None:
        """Close the torrent's swarm with a reason and let its peers go.

        Pieces are kept whose cache ids are in `keep`.
        """
        self._swarms.close(torrent.info_hash, _NOT_REGISTERED + reason)
        self._end(torrent)
        # Where a bundle goes on, the ladder discards the pieces of objects that have gone.
        goes_on = isinstance(torrent.pinned, PinnedBundle) and reason != DELETED
        gone = {section.cache_id for section in torrent.sections} - keep
        if goes_on:
            gone &= torrent.held.cache_ids if torrent.held is not None else frozenset()
        if reason != WITHDRAWN:
            # Pieces that nobody can want any more must not keep the new object's pieces out.
            for name in gone:
                self._foundation.cache.discard(name)

    def _end(self, torrent: Torrent) -> None:
        self._placement.leave(torrent, "retired")
        self._downloads.end(torrent)
        account = self._foundation.account(torrent)
        account.state, account.peers, account.seeds = FORMER, 0, 0


def _counted(account: Account) -> Counted:
    return Counted(account.counters.completed, account.counters.delivered_claimed_bytes)
