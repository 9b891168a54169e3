"""A torrent and a connection for the tests of the wire, and what a peer would read of it."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from seeder.peer import messages
from seeder.peer.connection import Identity, PeerConnection
from seeder.peer.messages import Block, Message, MessageId, Requests
from seeder.peer.protocol import Event
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import HashRequest, KeptHashes

INFO_HASH = bytes(range(20))
OUR_ID = b"-SB0100-us0123456789"
PEER_ID = b"-XX0001-them01234567"
LAYOUT = Layout(size=10 * 1000 + 7, piece_length=1000)
LIMIT = 2**20
HANDSHAKE_LENGTH = 68


@dataclass(frozen=True)
class FakeTorrent:
    """What the state machine has to know of a torrent."""

    layout: Layout = LAYOUT
    info_hash: bytes = INFO_HASH
    raw_info: bytes = b"i" * 40_000
    at_hand: bool = True
    private: bool = False
    hashes: KeptHashes | None = None
    short_v2_hash: bytes | None = None


def connect(torrent: FakeTorrent | None = None, now: float = 0.0) -> PeerConnection:
    """Return a connection that has received nothing yet."""
    served = torrent or FakeTorrent()
    identity = Identity(OUR_ID, "seeder/0", bytes((127, 0, 0, 1)))
    names = {served.info_hash: served, served.short_v2_hash: served}
    return PeerConnection(identity, names.get, now)


def greeting(
    *, fast: bool = True, extended: bool = True, info_hash: bytes = INFO_HASH, peer: bytes = PEER_ID
) -> bytes:
    """Return a peer's handshake."""
    reserved = bytes((0, 0, 0, 0, 0, 0x10 if extended else 0, 0, 0x04 if fast else 0))
    return messages.PROTOCOL + reserved + info_hash + peer


def opened(
    torrent: FakeTorrent | None = None,
    *,
    fast: bool = True,
    extended: bool = True,
    choking: bool = False,
) -> PeerConnection:
    """Return a connection behind its handshake, unchoked, with everything read so far."""
    wire = connect(torrent)
    wire.receive(greeting(fast=fast, extended=extended), 0.0)
    if not choking:
        wire.unchoke()
    wire.data_to_send()
    return wire


def read(data: bytes) -> list[Message]:
    """Return the messages in what we sent; no request is ever among them."""
    parsed, used = messages.parse(data, LIMIT)
    assert used == len(data)
    found: list[Message] = []
    for item in parsed:
        assert not isinstance(item, Requests)
        found.append(item)
    return found


def answers(wire: PeerConnection) -> list[Message]:
    """Return what the connection has to say, and forget it."""
    return read(wire.data_to_send())


def rejects(wire: PeerConnection) -> list[Block]:
    """Return the blocks that were rejected; nothing else may have been said."""
    found = answers(wire)
    assert all(message.id == MessageId.REJECT for message in found)
    return [message.block() for message in found]


def holds(layout: Layout, block: Block) -> bool:
    """Tell whether a block lies inside one piece; one of no bytes does not."""
    index, begin, length = block
    inside = 0 <= index < layout.piece_count and begin >= 0 and length >= 1
    return inside and begin + length <= layout.piece_size(index)


def piece_header(index: int, begin: int, length: int) -> bytes:
    """Return what goes before a block of `length` bytes (BEP 3 `piece`)."""
    return struct.pack(">IBII", 9 + length, 7, index, begin)


def request_message(block: Block) -> bytes:
    """Return a `request` (BEP 3)."""
    return struct.pack(">IBIII", 13, MessageId.REQUEST, *block)


def cancel_message(block: Block) -> bytes:
    """Return a `cancel` (BEP 3)."""
    return struct.pack(">IBIII", 13, MessageId.CANCEL, *block)


def hash_request_message(asked: HashRequest) -> bytes:
    """Return a `hash request` (BEP 52)."""
    numbers = (asked.base, asked.index, asked.length, asked.proofs)
    return messages.message(MessageId.HASH_REQUEST, struct.pack(">32sIIII", asked.root, *numbers))


def requests(blocks: Iterable[Block]) -> bytes:
    """Return one request a block."""
    return b"".join(map(request_message, blocks))


def receive(wire: PeerConnection, *data: bytes, now: float = 0.0) -> list[Event]:
    """Hand over each of `data` on its own; return every event."""
    return [event for part in data for event in wire.receive(part, now)]


def taken(wire: PeerConnection, index: int, most: int = 10_000) -> list[Block]:
    """Take what is wanted of a piece."""
    return [(index, begin, length) for begin, length in wire.take(index, most)]
