"""What all peer sessions and downloads share, and the hub gives them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seeder.cache.pieces import PieceCache
from seeder.ledger.delivery import Overlap
from seeder.peer.batch import Scratch
from seeder.peer.encryption import Opening
from seeder.peer.pex import Roster
from seeder.peer.progress import UploadAccount
from seeder.torrent.catalog import Torrent
from seeder.units import KIB
from seeder.upload.feed import Shelf
from seeder.upload.rates import Limits
from seeder.upload.slots import Slots
from seeder.upload.superseed import Spreading, Viewer
from seeder.upload.thrift import Availability

if TYPE_CHECKING:
    from seeder.peer.download import Download
    from seeder.peer.session import Session

RECEIVE_SIZE = 64 * KIB


@dataclass(slots=True)
class Supplies:
    """What every session shares, and the downloads over HTTP with them."""

    cache: PieceCache[Torrent]
    find: Callable[[bytes], Torrent | None]
    account: Callable[[Torrent], UploadAccount]
    peer_id: bytes
    client: str
    admit: Callable[["Session"], str | None]
    """Asked when the peer is identified; a reason refuses it."""
    start_drain: Callable[["Session"], None]
    start_lookups: Callable[["Session"], None]
    """Called to have a session's requests for hashes answered in a task."""
    closes: Counter[str]
    lost: Callable[[Torrent, int], None]
    """Told of a piece that can't be had for a while."""
    spreading: Spreading
    roster: Callable[[Torrent], Roster]
    """The torrent's peers that others may hear of."""
    slots: Slots
    availability: Callable[[Torrent], Availability[Viewer] | None]
    """Which of its pieces the torrent's peers have; None where nobody is to wait for others."""
    limits: "Limits[Session | Download]"
    set_pace: Callable[[], None]
    """Called when somebody waits for its turn to send: the timer may have to ring earlier."""
    open: Callable[[], Opening]
    """What tells plaintext from encryption on a new connection."""
    shelf: Shelf = field(default_factory=Shelf)
    overlap: Overlap = field(default_factory=Overlap)
    outgoing: Scratch = field(default_factory=Scratch)
    incoming: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_SIZE)))
    """One receive buffer for all: what was read is used up before anything else runs."""
