"""How the connected peers stand, and why the last ones left, for the status page. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from seeder.net.addresses import SocketAddress
from seeder.torrent.objects import ObjectRef
from seeder.torrent.torrent import Torrent


@dataclass(frozen=True, slots=True)
class PeerStanding:
    """One connected peer that has named a torrent."""

    address: SocketAddress
    client: str
    """As the client calls itself; "" until it has."""
    torrent: Torrent
    share: float
    """Of the pieces, those that it says it has, 0 to 1."""
    uploaded: int
    """Bytes of pieces that we sent it."""
    encrypted: bool
    choked: bool
    """Whether we let it request nothing."""
    interested: bool
    opened_at: float
    """When it connected, on trio's clock (s)."""
    identity: int
    """Equal for no two peers that are connected at one time."""
    holder: str | None = None
    """Of a private swarm: whose passkey it has."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A peer that named a torrent and is gone."""

    address: SocketAddress
    client: str
    ref: ObjectRef
    reason: str
    uploaded: int
    """Bytes of pieces that we sent it."""
    closed_at: float
    """On trio's clock (s)."""


@dataclass(frozen=True, slots=True)
class PieceCounts:
    """How often the pieces of a torrent are there, part by part."""

    peers: int
    """How many connected peers were asked."""
    mean: Sequence[float]
    """Of each part, the mean of its copies at these peers: from 0 to `peers`."""
