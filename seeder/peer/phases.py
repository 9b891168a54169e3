"""Where a conversation on the peer wire stands, and what a message makes of it. No I/O."""

from enum import Enum, auto

from seeder.peer.messages import MessageId


class Phase(Enum):
    """Where the conversation stands; a bitfield belongs into OPENING."""

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
