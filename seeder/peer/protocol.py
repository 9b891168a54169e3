"""The wire protocol's vocabulary: events for the session, phases, kinds of messages. No I/O."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

from seeder.peer.messages import MessageId
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import HashRequest, KeptHashes


class Served(Protocol):
    """A torrent, as far as the wire protocol needs it."""

    @property
    def layout(self) -> Layout: ...
    @property
    def info_hash(self) -> bytes: ...
    @property
    def raw_info(self) -> bytes: ...
    @property
    def private(self) -> bool: ...
    @property
    def at_hand(self) -> bool:
        """Whether `raw_info` is in memory."""
        ...

    @property
    def hashes(self) -> KeptHashes | None: ...
    @property
    def short_v2_hash(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Greeted:
    """The handshake named a torrent that we serve, and was answered."""

    torrent: Served


@dataclass(frozen=True, slots=True)
class Identified:
    """The peer id arrived."""

    peer_id: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the peer had when it came: a bitfield, or all (True) or nothing (False)."""

    pieces: bytes | bool


@dataclass(frozen=True, slots=True)
class Gained:
    """The peer announced a piece by HAVE."""

    index: int


@dataclass(frozen=True, slots=True)
class Grown:
    """What the peer has by now, all at once: aria2 sends a bitfield instead of several HAVEs."""

    pieces: bytes | bool


@dataclass(frozen=True, slots=True)
class Introduced:
    """The extended handshake named the client software (cleaned, may be empty)."""

    client: str
    listen_port: int | None = None
    """Where the peer takes connections, if it says so (BEP 10 `p`)."""


@dataclass(frozen=True, slots=True)
class WantsNothing:
    """The peer declared itself upload only (BEP 21)."""


@dataclass(frozen=True, slots=True)
class WantsHashes:
    """The peer asked for hashes of the Merkle tree (BEP 52); each is owed an answer."""

    request: HashRequest


Event: TypeAlias = (
    Greeted | Identified | Arrived | Gained | Grown | Introduced | WantsNothing | WantsHashes
)


class Phase(Enum):
    """Where the conversation stands; a bitfield belongs to OPENING.

    seeder/peer/STATES.md has the table.
    """

    HANDSHAKE = auto()
    PEER_ID = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSED = auto()


class Kind(Enum):
    """What a message means to the phase."""

    OPENER = auto()
    EXTENDED = auto()
    OTHER = auto()


NEXT = {
    (Phase.OPENING, Kind.OPENER): Phase.OPEN,
    (Phase.OPENING, Kind.EXTENDED): Phase.OPENING,
    (Phase.OPENING, Kind.OTHER): Phase.OPEN,
    (Phase.OPEN, Kind.OPENER): Phase.OPEN,
    (Phase.OPEN, Kind.EXTENDED): Phase.OPEN,
    (Phase.OPEN, Kind.OTHER): Phase.OPEN,
}
_OPENERS = {MessageId.BITFIELD, MessageId.HAVE_ALL, MessageId.HAVE_NONE}


def kind_of(identifier: int) -> Kind:
    """Return what a message with this id means to the phase."""
    if identifier in _OPENERS:
        return Kind.OPENER
    return Kind.EXTENDED if identifier == MessageId.EXTENDED else Kind.OTHER
