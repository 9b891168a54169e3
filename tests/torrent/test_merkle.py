"""Merkle trees of BEP 52: roots and layers as libtorrent makes them, proofs that hold."""

import random
from dataclasses import replace
from pathlib import Path

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.torrent.info import build_info, parse_torrent, torrent_file
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import (
    PADS,
    HashRequest,
    Shape,
    hashes_for,
    leaf_hashes,
    root_of,
)
from seeder.units import KIB, MIB
from tests.torrent.trees import BLOCK, WholeTree, proves, sha1s

ROOT = b"r" * 32


def body_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def piece_layer(body: bytes, piece_length: int) -> bytes:
    """Return the root of each piece, as hashing makes them."""
    shape = Shape(Layout(len(body), piece_length))
    pieces = [body[at : at + piece_length] for at in range(0, len(body), piece_length)]
    return b"".join(shape.piece_root(leaf_hashes(piece)) for piece in pieces)


PIECE = 64 * KIB
BORDERS = sorted(
    size + more
    for size in (BLOCK, 2 * BLOCK, 3 * BLOCK, PIECE, 2 * PIECE, 3 * PIECE, 5 * PIECE, 8 * PIECE)
    for more in (-1, 0, 1)
)


@pytest.mark.parametrize("piece_length", [BLOCK, PIECE])
@pytest.mark.parametrize("size", [1, *BORDERS])
def test_a_hybrid_is_what_libtorrent_makes_of_the_same_file(
    tmp_path: Path, size: int, piece_length: int
) -> None:
    body = body_of(size)
    (tmp_path / "data.bin").write_bytes(body)
    creator = lt.create_torrent([lt.create_file_entry("data.bin", size, 0)], piece_length, 0)
    lt.set_piece_hashes(creator, str(tmp_path))
    theirs = creator.generate()
    layout, layer = Layout(size, piece_length), piece_layer(body, piece_length)
    root = Shape(layout).root(layer)
    pieces = sha1s(body, piece_length)
    info = build_info(name="data.bin", layout=layout, pieces=pieces, root=root)
    assert info == lt.bencode(theirs[b"info"])
    layers = {root: layer} if layout.piece_count > 1 else {}
    assert layers == theirs[b"piece layers"]
    file = torrent_file(info, trackers=[["http://t/a"]], created_by="us", piece_layers=layers)
    loaded, read = lt.load_torrent_buffer(file).info_hashes, parse_torrent(file)
    assert read.info.v2 is not None
    assert loaded.v1.to_bytes() == read.info.info_hash
    assert loaded.v2.to_bytes() == read.info.v2.info_hash
    assert (read.info.v2.root, read.piece_layers) == (root, layers)


def test_a_file_of_no_bytes_has_no_tree() -> None:
    shape = Shape(Layout(0, PIECE))
    assert (shape.leaf_count, shape.height, shape.root(b"")) == (0, 0, b"")
    assert shape.fault(HashRequest(b"", 0, 0, 2, 0), b"", has_leaves=True)


def test_padding_is_what_whole_trees_of_zeros_have() -> None:
    assert PADS[0] == bytes(32)
    assert PADS[3] == root_of(bytes(8 * 32), 0, 3)


@st.composite
def requests(draw: st.DrawFn) -> tuple[WholeTree, HashRequest]:
    """Return a tree and a request that it can answer."""
    piece_length = draw(st.sampled_from([BLOCK, 2 * BLOCK, 8 * BLOCK, 64 * BLOCK]))
    # The size of the last block is of no importance, and bodies are dear: blocks of one byte.
    leaves = draw(st.integers(2, 300))
    tree = _tree(leaves, piece_length)
    shape = tree.shape
    base = draw(st.sampled_from([0, *(x for x in shape.upper_layers() if x != 0)]))
    width = 1 << draw(st.integers(1, shape.height - base))
    index = draw(st.integers(0, (shape.count(base) - 1) // width)) * width
    length = width
    if width // 2 < shape.count(base) - index < width and draw(st.booleans()):
        length = shape.count(base) - index
    proofs = draw(st.integers(0, shape.height - base - 1))
    return tree, HashRequest(tree.root, base, index, length, proofs)


_TREES: dict[tuple[int, int], WholeTree] = {}


def _tree(leaves: int, piece_length: int) -> WholeTree:
    if (leaves, piece_length) not in _TREES:
        _TREES[leaves, piece_length] = WholeTree(bytes(leaves * BLOCK), piece_length)
    return _TREES[leaves, piece_length]


@given(requests(), st.data())
def test_every_answer_proves_itself_and_nothing_else(
    asked: tuple[WholeTree, HashRequest], data: st.DataObject
) -> None:
    tree, request = asked
    assert tree.shape.fault(request, tree.root, has_leaves=True) is None
    answer = hashes_for(request, tree.shape, tree.read)
    levels = (request.length - 1).bit_length()
    assert len(answer) == 32 * (request.length + max(0, request.proofs - levels + 1))
    assert proves(request, answer, tree)
    spoilt = bytearray(answer)
    spoilt[data.draw(st.integers(0, len(answer) - 1))] ^= 1
    assert not proves(request, bytes(spoilt), tree)


@pytest.mark.parametrize("pieces", [2, 3, 511, 512, 513, 515, 1025])
@pytest.mark.parametrize("piece_length", [BLOCK, 4 * BLOCK])
def test_what_libtorrent_asks_for_is_answered(pieces: int, piece_length: int) -> None:
    # 512 pieces at a time, the rest rounded up to a power of two: of 513 the last one alone.
    tree = WholeTree(bytes((pieces - 1) * piece_length + 1), piece_length)
    base, height = tree.shape.piece_layer, tree.shape.height
    for index in range(0, pieces, 512):
        left = pieces - index
        length = min(512, 1 << (left - 1).bit_length())
        request = HashRequest(tree.root, base, index, length, height - base - 1)
        assert tree.shape.fault(request, tree.root, has_leaves=base == 0) is None
        assert proves(request, hashes_for(request, tree.shape, tree.read), tree)


# 20 pieces of four blocks: 80 leaves, a height of 7, pieces in layer 2.
SHAPE = Shape(Layout(20 * PIECE, PIECE))
GOOD = HashRequest(ROOT, 2, 0, 16, 4)


@pytest.mark.parametrize(
    "request_",
    [
        replace(GOOD, root=b"x" * 32),
        replace(GOOD, base=1),
        replace(GOOD, base=7, length=1),
        replace(GOOD, base=2**32 - 1),
        replace(GOOD, index=8),
        replace(GOOD, index=32),
        replace(GOOD, index=2**32 - 16),
        replace(GOOD, index=16, length=8, base=3),
        replace(GOOD, length=0),
        replace(GOOD, length=1),
        replace(GOOD, length=15),
        replace(GOOD, length=64),
        replace(GOOD, length=2**32 - 1),
        replace(GOOD, proofs=5),
        replace(GOOD, proofs=2**32 - 1),
        HashRequest(ROOT, 0, 0, 128, 7),
        HashRequest(ROOT, 0, 20, 16, 0),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: HashRequest) -> None:
    assert SHAPE.fault(GOOD, ROOT, has_leaves=True) is None
    assert SHAPE.fault(request_, ROOT, has_leaves=True)


def test_leaves_that_are_not_kept_are_refused() -> None:
    leaves = HashRequest(ROOT, 0, 0, 4, 6)
    assert SHAPE.fault(leaves, ROOT, has_leaves=True) is None
    assert SHAPE.fault(leaves, ROOT, has_leaves=False)
    assert SHAPE.fault(GOOD, ROOT, has_leaves=False) is None


def test_one_answer_holds_at_most_512_hashes_or_the_leaves_of_a_piece() -> None:
    huge = Shape(Layout(2**40, MIB))
    assert huge.fault(HashRequest(ROOT, 0, 0, 512, 0), ROOT, has_leaves=True) is None
    assert huge.fault(HashRequest(ROOT, 0, 0, 1024, 0), ROOT, has_leaves=True)
    huge = Shape(Layout(2**40, 64 * MIB))
    assert huge.fault(HashRequest(ROOT, 0, 0, 4096, 0), ROOT, has_leaves=True) is None
    assert huge.fault(HashRequest(ROOT, 0, 0, 8192, 0), ROOT, has_leaves=True)
