"""What the sessions of one torrent share: whom they may tell of, which pieces they have."""

from weakref import WeakValueDictionary

from seeder.peer.pex import Roster
from seeder.torrent.catalog import Torrent
from seeder.upload.superseed import Viewer
from seeder.upload.thrift import Availability


class Neighbours:
    """Each torrent's roster and availability, which live as long as a session has them."""

    def __init__(self) -> None:
        self._rosters: WeakValueDictionary[bytes, Roster] = WeakValueDictionary()
        self._availabilities: WeakValueDictionary[bytes, Availability[Viewer]] = (
            WeakValueDictionary()
        )

    def roster(self, torrent: Torrent) -> Roster:
        """Return the torrent's peers that others may hear of."""
        roster = self._rosters.get(torrent.info_hash)
        if roster is None:
            roster = Roster(private=torrent.private)
            self._rosters[torrent.info_hash] = roster
        return roster

    def availability(self, torrent: Torrent) -> Availability[Viewer]:
        """Return which of its pieces the torrent's peers have."""
        known = self._availabilities.get(torrent.info_hash)
        if known is None:
            known = Availability(torrent.layout.piece_count)
            self._availabilities[torrent.info_hash] = known
        return known
