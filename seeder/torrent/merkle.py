"""SHA-256 Merkle trees of a file (BEP 52): a leaf is 16 KiB, and absent leaves are zeros.

Layer 0 holds the leaves, and layer `height` only the root. A node that lies wholly after the end of
the file is padding: it is never kept, since its hash is known.

No I/O.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from seeder.errors import MetainfoError
from seeder.torrent.layout import Layout
from seeder.units import KIB

BLOCK = 16 * KIB
NODE_LENGTH = 32
MOST_HASHES = 512
"""Hashes in one answer; as many as a piece has leaves, if that is more."""


def _pads() -> Iterator[bytes]:
    pad = bytes(NODE_LENGTH)
    while True:
        yield pad
        pad = _sha256(pad + pad)


def _sha256(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


# Enough for 2^63 bytes.
PADS = tuple(pad for _, pad in zip(range(64), _pads(), strict=False))
"""The hash of a node that covers nothing of the file, by layer."""


def leaf_hashes(piece: bytes | bytearray | memoryview) -> bytes:
    """Return the SHA-256 of each 16 KiB of a piece, end to end; its last block may be short."""
    view = memoryview(piece)
    return b"".join([_sha256(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)])


def parents(nodes: bytes, layer: int) -> bytes:
    """Return the nodes above `nodes`, which begin at an even place of `layer`."""
    pair = 2 * NODE_LENGTH
    if len(nodes) % pair:
        nodes += PADS[layer]
    return b"".join([_sha256(nodes[at : at + pair]) for at in range(0, len(nodes), pair)])


def root_of(nodes: bytes, layer: int, height: int) -> bytes:
    """Return the node `height` layers above `nodes` of `layer`; those missing are padding."""
    for _ in range(height):
        nodes = parents(nodes, layer)
        layer += 1
    return nodes or PADS[layer]


@dataclass(frozen=True, slots=True)
class HashRequest:
    """The hashes that a peer asks for (BEP 52, `hash request`)."""

    root: bytes
    base: int
    index: int
    length: int
    proofs: int
    """Layers above `base` whose uncle hashes are wanted; those that follow from the hashes
    themselves count too."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The tree of one file: how many nodes each layer has."""

    layout: Layout

    @property
    def leaf_count(self) -> int:
        return -(-self.layout.size // BLOCK)

    @property
    def height(self) -> int:
        """Layers above the leaves; 0 for a file of at most one block."""
        return max(0, self.leaf_count - 1).bit_length()

    @property
    def piece_layer(self) -> int:
        """The layer where a node covers a piece; a file of one piece may end below it."""
        return (self.layout.piece_length // BLOCK).bit_length() - 1

    @property
    def has_piece_layer(self) -> bool:
        """Whether the file has more than one piece; otherwise its root is all that is needed."""
        return self.layout.piece_count > 1

    def count(self, layer: int) -> int:
        """Return how many nodes of a layer are not padding."""
        return -(-self.leaf_count // (1 << layer))

    def piece_root(self, leaves: bytes) -> bytes:
        """Return the node over the leaves of one piece: the file's root where it has only one."""
        return root_of(leaves, 0, min(self.piece_layer, self.height))

    def root(self, piece_layer: bytes) -> bytes:
        """Return the file's root from its piece layer, one hash a piece; b"" for 0 bytes."""
        if not self.has_piece_layer:
            return piece_layer
        return root_of(piece_layer, self.piece_layer, self.height - self.piece_layer)

    def upper_layers(self) -> range:
        """Return the layers kept besides the leaves: from the piece layer to below the root."""
        return range(max(1, self.piece_layer), self.height)

    def fault(self, request: HashRequest, root: bytes, *, has_leaves: bool) -> str | None:
        """Return why a request can't be answered, None if it can (BEP 52, `hash request`)."""
        base, index, length = request.base, request.index, request.length
        if request.root != root:
            return "another root"
        if base >= self.height or not (base or has_leaves) or 0 < base < self.piece_layer:
            return "a layer that isn't kept"
        width = _width(length)
        actual = self.count(base)
        if not 0 < length <= max(MOST_HASHES, self.layout.piece_length // BLOCK):
            return "too many hashes"
        if index >= actual or index % width or index + length > 1 << (self.height - base):
            return "an index outside"
        if (length == 1 or length != width) and index + length != actual:
            # Only the end of the layer may cut it short: libtorrent asks for a lone last hash.
            return "a length that is no power of two"
        if request.proofs >= self.height - base:
            return "proofs beyond the root"
        return None


ReadHashes = Callable[[int, int, int], bytes]
"""Returns kept hashes; takes their layer, the first one's index, and their count."""


def hashes_for(request: HashRequest, shape: Shape, read: ReadHashes) -> bytes:
    """Return the hashes that answer a request without a fault, and their uncles, end to end.

    MetainfoError unless they lead to the root: whatever is read is damaged, then.
    """
    base, index, length = request.base, request.index, request.length
    kept = min(length, shape.count(base) - index)
    answer = read(base, index, kept) + PADS[base] * (length - kept)
    levels = _width(length).bit_length() - 1
    node = root_of(answer, base, levels)
    index >>= levels
    for layer in range(base + levels, shape.height):
        uncle = _node(layer, index ^ 1, shape, read)
        if layer <= base + request.proofs:
            answer += uncle
        node = _sha256(uncle + node if index & 1 else node + uncle)
        index >>= 1
    if node != request.root:
        raise MetainfoError("the hashes of its tree on disk are damaged; it is made anew")
    return answer


def _node(layer: int, index: int, shape: Shape, read: ReadHashes) -> bytes:
    if index >= shape.count(layer):
        return PADS[layer]
    if layer == 0 or layer in shape.upper_layers():
        return read(layer, index, 1)
    first = index << layer
    return root_of(read(0, first, min(1 << layer, shape.leaf_count - first)), 0, layer)


def _width(length: int) -> int:
    """Return the least power of two that is at least `length`."""
    return 1 << max(0, length - 1).bit_length()


class KeptHashes(Protocol):
    """The tree of one torrent's file, kept on disk; its methods block.

    They raise StorageError where it can't be read, MetainfoError where it is damaged, which shows
    at the latest when its hashes don't lead to the root.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def root(self) -> bytes:
        """The pieces root, 32 bytes; empty for a file of 0 bytes."""
        ...

    @property
    def has_leaves(self) -> bool: ...

    def read(self, layer: int, first: int, count: int) -> bytes:
        """Return kept hashes of a layer, 32 bytes each."""
        ...

    def piece_layers(self) -> dict[bytes, bytes]:
        """Return the value of `piece layers` in a torrent file; empty for one piece."""
        ...
