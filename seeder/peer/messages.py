"""The peer wire's messages as values (BEP 3, 6, 10, 52).

`parse` takes whatever has arrived and returns every whole message in it and how many bytes those
were; the rest waits for more. A downloader pipelines, so most of what arrives is runs of
17-byte requests: a run becomes one `Requests` with a tuple a block, unpacked in one sweep.
Everything else is rare and becomes one small object a message.

No I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from seeder.errors import WireError
from seeder.torrent.merkle import HashRequest

BLOCK_SIZE = 16 * 1024
"""Bytes that clients request at a time."""
PROTOCOL = b"\x13BitTorrent protocol"
PIECE_HEADER_LENGTH = 13
INFO_HASH_END = 48
"""The info hash is whole after this many bytes; the peer id may come a round trip later."""

Block = tuple[int, int, int]
"""index, begin, length, as `request` has them."""

_RESERVED_EXTENDED = (5, 0x10)
_RESERVED_FAST = (7, 0x04)
_RESERVED_V2 = (7, 0x10)
_LENGTH = Struct(">I")
_REQUEST = Struct(">IBIII")
_HAVE = Struct(">IBI")
_TRIPLE = Struct(">III")
_HASH_REQUEST = Struct(">32sIIII")
PIECE_HEADER = Struct(">IBII")
"""Length, id, index, begin: what goes before a block."""


class MessageId(IntEnum):
    """BEP 3, BEP 6, BEP 10 and BEP 52 message ids."""

    CHOKE = 0
    UNCHOKE = 1
    INTERESTED = 2
    NOT_INTERESTED = 3
    HAVE = 4
    BITFIELD = 5
    REQUEST = 6
    PIECE = 7
    CANCEL = 8
    PORT = 9
    SUGGEST = 13
    HAVE_ALL = 14
    HAVE_NONE = 15
    REJECT = 16
    ALLOWED_FAST = 17
    EXTENDED = 20
    HASH_REQUEST = 21
    HASHES = 22
    HASH_REJECT = 23


FAST_IDS = frozenset(
    {
        MessageId.SUGGEST,
        MessageId.HAVE_ALL,
        MessageId.HAVE_NONE,
        MessageId.REJECT,
        MessageId.ALLOWED_FAST,
    }
)
# BEP 3 and 6 fix these lengths, id included.
_FIXED_LENGTH: dict[int, int] = {
    MessageId.CHOKE: 1,
    MessageId.UNCHOKE: 1,
    MessageId.INTERESTED: 1,
    MessageId.NOT_INTERESTED: 1,
    MessageId.HAVE: 5,
    MessageId.REQUEST: 13,
    MessageId.CANCEL: 13,
    MessageId.PORT: 3,
    MessageId.SUGGEST: 5,
    MessageId.HAVE_ALL: 1,
    MessageId.HAVE_NONE: 1,
    MessageId.REJECT: 13,
    MessageId.ALLOWED_FAST: 5,
}
KEEP_ALIVE_ID = -1
"""Our id for the message that has none on the wire."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The first 48 bytes that a peer sends; its peer id follows on its own."""

    reserved: bytes
    info_hash: bytes

    @property
    def extended(self) -> bool:
        byte, bit = _RESERVED_EXTENDED
        return bool(self.reserved[byte] & bit)

    @property
    def fast(self) -> bool:
        byte, bit = _RESERVED_FAST
        return bool(self.reserved[byte] & bit)

    @property
    def v2(self) -> bool:
        """Whether a peer that names a hybrid by its v1 hash accepts the v2 hash back (BEP 52)."""
        byte, bit = _RESERVED_V2
        return bool(self.reserved[byte] & bit)


@dataclass(frozen=True, slots=True)
class Requests:
    """A run of `request` messages, in the order they came."""

    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Message:
    """Any other message: its id and what follows the id."""

    id: int
    payload: bytes

    def index(self) -> int:
        """Return the piece index of a `have`."""
        return int(_LENGTH.unpack(self.payload)[0])

    def block(self) -> Block:
        """Return the block of a `cancel`."""
        index, begin, length = _TRIPLE.unpack(self.payload)
        return index, begin, length

    def hash_request(self) -> HashRequest:
        """Return what a `hash request` asks for; WireError `wrong-length`."""
        if len(self.payload) != _HASH_REQUEST.size:
            raise WireError("wrong-length", f"a hash request of {len(self.payload)} bytes")
        return HashRequest(*_HASH_REQUEST.unpack(self.payload))


_KEEP_ALIVE = Message(KEEP_ALIVE_ID, b"")


def parse(data: bytes | bytearray | memoryview, limit: int) -> tuple[list[Requests | Message], int]:
    """Return the whole messages in `data` and the bytes they took.

    WireError `message-too-long` as soon as a length prefix exceeds `limit` (bytes), and
    `wrong-length` for a message whose length BEP 3 or 6 fixes otherwise.
    """
    messages: list[Requests | Message] = []
    view = memoryview(data)
    position, end = 0, len(view)
    while end - position >= 4:
        (length,) = _LENGTH.unpack_from(view, position)
        if length == 13 and end - position >= 17 and view[position + 4] == MessageId.REQUEST:
            blocks = _parse_requests(view[position:end])
            messages.append(Requests(blocks))
            position += 17 * len(blocks)
            continue
        if length > limit:
            raise WireError("message-too-long", f"{length} bytes, at most {limit}")
        if length == 0:
            messages.append(_KEEP_ALIVE)
            position += 4
            continue
        if end - position >= 5:
            identifier = view[position + 4]
            if _FIXED_LENGTH.get(identifier, length) != length:
                raise WireError("wrong-length", f"message {identifier} of {length} bytes")
        if end - position < 4 + length:
            break
        payload = bytes(view[position + 5 : position + 4 + length])
        messages.append(Message(view[position + 4], payload))
        position += 4 + length
    return messages, position


def _parse_requests(view: memoryview) -> list[Block]:
    blocks: list[Block] = []
    whole = len(view) // 17 * 17
    for length, identifier, index, begin, size in _REQUEST.iter_unpack(view[:whole]):
        if length != 13 or identifier != 6:
            break
        blocks.append((index, begin, size))
    return blocks


def parse_handshake(data: bytes | bytearray | memoryview) -> Handshake:
    """Return what the first 48 bytes say; WireError `not-bittorrent` for anything else."""
    if bytes(data[:20]) != PROTOCOL:
        raise WireError("not-bittorrent")
    return Handshake(reserved=bytes(data[20:28]), info_hash=bytes(data[28:INFO_HASH_END]))


def handshake(info_hash: bytes, peer_id: bytes, *, v2: bool = False) -> bytes:
    """Return our 68 bytes: extensions (BEP 10) and fast (BEP 6) offered, nothing else.

    `v2` tells a peer that named a hybrid by its v1 hash that we know the other one (BEP 52).
    """
    reserved = bytearray(8)
    for byte, bit in (_RESERVED_EXTENDED, _RESERVED_FAST):
        reserved[byte] |= bit
    if v2:
        byte, bit = _RESERVED_V2
        reserved[byte] |= bit
    return PROTOCOL + bytes(reserved) + info_hash + peer_id


def message(identifier: int, payload: bytes = b"") -> bytes:
    """Return one message with its length prefix."""
    return _LENGTH.pack(1 + len(payload)) + bytes((identifier,)) + payload


def extended(identifier: int, payload: bytes) -> bytes:
    """Return one BEP 10 message; 0 is the extended handshake."""
    return message(MessageId.EXTENDED, bytes((identifier,)) + payload)


def have(index: int) -> bytes:
    """Return a `have` of a piece (BEP 3)."""
    return _HAVE.pack(5, MessageId.HAVE, index)


def reject(blocks: Iterable[Block]) -> bytes:
    """Return one BEP 6 reject a block."""
    return b"".join(_REQUEST.pack(13, MessageId.REJECT, *block) for block in blocks)


def _hash_message(identifier: int, request: HashRequest, hashes: bytes = b"") -> bytes:
    asked = (request.root, request.base, request.index, request.length, request.proofs)
    return message(identifier, _HASH_REQUEST.pack(*asked) + hashes)


def hashes(request: HashRequest, found: bytes) -> bytes:
    """Return the answer to a `hash request`: the hashes, then their uncles."""
    return _hash_message(MessageId.HASHES, request, found)


def hash_reject(request: HashRequest) -> bytes:
    """Return the refusal of a `hash request` (BEP 52)."""
    return _hash_message(MessageId.HASH_REJECT, request)


def full_bitfield(piece_count: int) -> bytes:
    """Return a `bitfield` with every piece; spare bits zero (BEP 3)."""
    bits = bytearray(b"\xff" * (-(-piece_count // 8)))
    if piece_count % 8:
        bits[-1] = 0xFF << (8 - piece_count % 8) & 0xFF
    return message(MessageId.BITFIELD, bytes(bits))


def bitfield(piece_count: int, indices: Iterable[int]) -> bytes:
    """Return a `bitfield` with these pieces; spare bits zero (BEP 3)."""
    bits = bytearray(-(-piece_count // 8))
    for index in indices:
        bits[index // 8] |= 0x80 >> index % 8
    return message(MessageId.BITFIELD, bytes(bits))


def bitfield_fits(bits: bytes, piece_count: int) -> bool:
    """Tell whether a bitfield has the right length and its spare bits are zero."""
    if len(bits) != -(-piece_count // 8):
        return False
    spare = -piece_count % 8
    return not (bits and spare and bits[-1] & ((1 << spare) - 1))
