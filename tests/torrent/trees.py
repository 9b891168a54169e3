"""Hashes of pieces; Merkle trees as BEP 52 describes them, all in memory; a judge of proofs."""

import hashlib

from seeder.torrent.layout import Layout
from seeder.torrent.merkle import HashRequest, Shape

BLOCK = 16 * 1024


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha1s(body: bytes, piece_length: int) -> bytes:
    """Return the SHA-1 of each piece, joined."""
    parts = range(0, len(body), piece_length)
    return b"".join(hashlib.sha1(body[at : at + piece_length]).digest() for at in parts)


class WholeTree:
    """Every node of a file's tree, padding included; it can be served from."""

    def __init__(self, body: bytes, piece_length: int, *, has_leaves: bool = True) -> None:
        self.shape = Shape(Layout(len(body), piece_length))
        self.has_leaves = has_leaves
        leaves = [sha256(body[at : at + BLOCK]) for at in range(0, len(body), BLOCK)]
        while len(leaves) & (len(leaves) - 1):
            leaves.append(bytes(32))
        self.layers = [leaves]
        while len(self.layers[-1]) > 1:
            below = self.layers[-1]
            pairs = zip(below[::2], below[1::2], strict=True)
            self.layers.append([sha256(left + right) for left, right in pairs])

    @property
    def root(self) -> bytes:
        return self.layers[-1][0]

    def read(self, layer: int, first: int, count: int) -> bytes:
        assert first + count <= self.shape.count(layer), "padding is never kept"
        assert layer == 0 or layer in self.shape.upper_layers(), "a layer that isn't kept"
        return b"".join(self.layers[layer][first : first + count])

    def piece_layers(self) -> dict[bytes, bytes]:
        if not self.shape.has_piece_layer:
            return {}
        layer, count = self.shape.piece_layer, self.shape.layout.piece_count
        return {self.root: b"".join(self.layers[layer][:count])}


def proves(request: HashRequest, answer: bytes, tree: WholeTree) -> bool:
    """Tell whether the hashes of an answer and its uncles lead to the tree's own node.

    That node is the root when all proof layers were asked for.
    """
    nodes = [answer[at : at + 32] for at in range(0, len(answer), 32)]
    hashes, uncles = nodes[: request.length], nodes[request.length :]
    layer, index = request.base, request.index
    while len(hashes) & (len(hashes) - 1):
        hashes.append(tree.layers[layer][request.index + len(hashes)])
    while len(hashes) > 1:
        hashes = [sha256(left + right) for left, right in zip(*[iter(hashes)] * 2, strict=True)]
        layer, index = layer + 1, index // 2
    node = hashes[0]
    for uncle in uncles:
        node = sha256(uncle + node if index % 2 else node + uncle)
        layer, index = layer + 1, index // 2
    return tree.layers[layer][index] == node
