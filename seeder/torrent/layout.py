"""Pieces: which bytes of the object each one covers, and the hash of its bytes. No I/O."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from seeder.errors import MetainfoError
from seeder.units import KIB, MIB, ByteRange, counted, exact_size, rounded_size

SHA1_LENGTH = 20
"""Bytes of the hash of a piece, and of an info hash (BEP 3)."""

_PIECE_LENGTHS = (
    # Largest object, piece length: libtorrent's choice, so that our torrents look like others.
    (42_900_000, 64 * KIB),
    (172_000_000, 128 * KIB),
    (687_000_000, 256 * KIB),
    (2_750_000_000, 512 * KIB),
    (11_000_000_000, 1 * MIB),
    (44_000_000_000, 2 * MIB),
    (176_000_000_000, 4 * MIB),
    (704_000_000_000, 8 * MIB),
)
_USUAL_PIECE_LENGTH = 16 * MIB
SMALLEST_PIECE_LENGTH = 16 * KIB
"""A block, the least that peers request (BEP 3)."""
LARGEST_PIECE_LENGTH = 128 * MIB
"""All clients that were tried take 256 MiB, which is libtorrent's limit. A piece is fetched whole
before its first block goes out, and some peers leave after 5 s; it is also what one peer can make
us hold."""
MOST_PIECES = 200_000
"""libtorrent refuses metadata above 4 MiB (BEP 9); 20 bytes a piece leave room for the rest."""
MOST_HYBRID_PIECES = 190_000
"""With 52 bytes a piece: libtorrent takes torrent files of at most 10^7 bytes."""
MOST_PIECES_AT_ALL = 490_000
"""With 20 bytes a piece, for the same reason. Beyond MOST_PIECES a magnet link is of no use."""


def sha1(data: bytes | bytearray) -> bytes:
    """Return the SHA-1 of a piece, or of an info dictionary: 20 bytes."""
    return hashlib.sha1(data, usedforsecurity=False).digest()


def default_piece_length(size: int, most_pieces: int = MOST_PIECES) -> int:
    """Return the piece length in bytes (a power of two) for an object of `size` bytes."""
    for limit, length in _PIECE_LENGTHS:
        if size <= limit:
            return length
    length = _USUAL_PIECE_LENGTH
    while size > length * most_pieces and length < LARGEST_PIECE_LENGTH:
        length *= 2
    return length


@dataclass(frozen=True, slots=True)
class Layout:
    """How `size` bytes are cut into pieces of `piece_length`; an empty object has none."""

    size: int
    piece_length: int

    def __post_init__(self) -> None:
        if self.size < 0 or self.piece_length < 1:
            raise ValueError(f"not a layout: size {self.size}, piece length {self.piece_length}")

    @property
    def piece_count(self) -> int:
        return -(-self.size // self.piece_length)

    def piece_size(self, index: int) -> int:
        """Return the bytes in piece `index`; the last one may be short. IndexError outside."""
        start = index * self.piece_length
        if not 0 <= start < self.size:
            raise IndexError(index)
        return min(self.piece_length, self.size - start)

    def piece_range(self, index: int) -> ByteRange:
        """Return the bytes of the object that piece `index` covers. IndexError outside."""
        return ByteRange(index * self.piece_length, self.piece_size(index))


def check_piece_count(layout: Layout, *, hybrid: bool = False) -> None:
    """Raise MetainfoError if no client would take a torrent of so many pieces.

    S3's largest objects (48.8 TiB) fit, in pieces of 128 MiB.
    """
    most = MOST_HYBRID_PIECES if hybrid else MOST_PIECES_AT_ALL
    if layout.piece_count <= most:
        return
    fitting = LARGEST_PIECE_LENGTH
    while fitting > layout.piece_length and layout.size <= fitting // 2 * most:
        fitting //= 2
    advice = "it can't be published"
    if layout.size <= fitting * most:
        advice = f'set piece_length = "{exact_size(fitting)}" or more'
    elif hybrid and layout.size <= fitting * MOST_PIECES_AT_ALL:
        advice = 'leave out format = "hybrid"'
    raise MetainfoError(
        f"its {rounded_size(layout.size)} are {counted(layout.piece_count, 'piece')} of"
        f" {exact_size(layout.piece_length)}, and clients take {most} at most; {advice}"
    )


def bitfield_indices(pieces: bytes | bool, piece_count: int) -> Iterator[int]:
    """Yield the pieces that a bitfield names, or all (True) or none (False) of them."""
    if isinstance(pieces, bool):
        yield from range(piece_count if pieces else 0)
        return
    for at, byte in enumerate(pieces):
        if byte:
            yield from (8 * at + bit for bit in range(8) if byte & (0x80 >> bit))
