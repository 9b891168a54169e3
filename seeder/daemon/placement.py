"""Which torrents this node seeds, of those that the cluster has: told to the tracker and the peers.

Every node has all swarms and all metainfo. A torrent that others seed is no torrent to our peers:
they are turned away at their handshake, and go on to the nodes that the tracker names.
"""

import logging

from seeder.cluster.split import Split
from seeder.net.slices import Slices
from seeder.peer.hub import Hub
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import InfoHash
from seeder.torrent.torrent import Torrent
from seeder.tracker.swarms import Swarms
from seeder.units import counted

_LOG = logging.getLogger(__name__)

MOVED = "moved"
"""Why peers are let go of a torrent that other nodes seed from now on."""


class Placement:
    """Keeps swarms and hub to a cluster's split; where there is none, all torrents are ours."""

    def __init__(
        self,
        split: Split | None,
        catalog: Catalog,
        swarms: Swarms,
        hub: Hub,
        elsewhere: set[InfoHash],
    ) -> None:
        self._split = split
        self._catalog = catalog
        self._swarms = swarms
        self._hub = hub
        self._elsewhere = elsewhere
        """The live torrents that others seed; the hub doesn't find them."""
        self._alike_changes = catalog.alike_changes

    def enter(self, torrent: Torrent) -> None:
        """Take up a torrent that has become live."""
        if self._place(torrent):
            self._hub.add_torrent(torrent)
        else:
            self._elsewhere.add(torrent.info_hash)

    def leave(self, torrent: Torrent, reason: str) -> None:
        """Let go of a torrent that has ended."""
        self._swarms.placed.pop(torrent.info_hash, None)
        self._elsewhere.discard(torrent.info_hash)
        self._hub.remove_torrent(torrent, reason)

    @property
    def seeded(self) -> int:
        """How many torrents we seed."""
        return self._catalog.live_count - len(self._elsewhere)

    def url_of(self, torrent: Torrent) -> str | None:
        """Return where a node that has a torrent's object is reached; None if we do, too."""
        if self._split is None:
            return None
        return self._split.url_of(self._catalog.first_ref(torrent))

    def _place(self, torrent: Torrent) -> bool:
        """Have the tracker name who seeds a torrent; tell whether we do."""
        split = self._split
        if split is None:
            return True
        ref = self._catalog.first_ref(torrent)
        self._swarms.placed[torrent.info_hash] = split.seeders_of(ref)
        return split.is_ours(ref)

    @property
    def is_stale(self) -> bool:
        """Whether objects came or went that change who seeds a torrent of others."""
        return self._alike_changes != self._catalog.alike_changes

    async def follow(self) -> None:
        """Place all live torrents anew: nodes have come or gone, or are reached elsewhere."""
        self._alike_changes = self._catalog.alike_changes
        slices, came, went = Slices(), 0, 0
        for publication in tuple(self._catalog):
            if slices.is_over:
                await slices.turn()
            torrent = publication.torrent
            if torrent is None or self._catalog.by_hash(torrent.info_hash) is not torrent:
                continue
            ours, was_ours = self._place(torrent), torrent.info_hash not in self._elsewhere
            if ours and not was_ours:
                self._elsewhere.discard(torrent.info_hash)
                self._hub.add_torrent(torrent)
                came += 1
            elif was_ours and not ours:
                self._elsewhere.add(torrent.info_hash)
                self._hub.remove_torrent(torrent, MOVED)
                went += 1
        if came or went:
            _LOG.info(
                "the members have changed: %s came to us, and %s went to others",
                counted(came, "torrent"),
                counted(went, "torrent"),
            )
