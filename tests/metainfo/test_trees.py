"""Merkle trees on disk: what is written is found again, and damage is never believed."""

import errno
import random
from contextlib import suppress
from pathlib import Path

import pytest

from seeder.errors import MetainfoError, StorageError
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import HashRequest, Shape, hashes_for
from seeder.units import KIB
from tests.support.disks import failing_disk
from tests.torrent.trees import BLOCK, WholeTree, proves

PIECE = 64 * KIB
SIZE = 11 * PIECE + 40 * KIB


def build(path: Path, size: int = SIZE, piece_length: int = PIECE) -> tuple[TreeFile, WholeTree]:
    body = random.Random(size).randbytes(size)
    builder = TreeBuilder(path, Shape(Layout(size, piece_length)))
    pieces = [body[at : at + piece_length] for at in range(0, size, piece_length)]
    for index in reversed(range(len(pieces))):
        builder.add(index, pieces[index : index + 1])
    return builder.finish(), WholeTree(body, piece_length)


@pytest.mark.parametrize("piece_length", [BLOCK, PIECE])
@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, PIECE, PIECE + 1, SIZE])
def test_every_kept_hash_is_found_again(tmp_path: Path, size: int, piece_length: int) -> None:
    made, whole = build(tmp_path / "tree", size, piece_length)
    found = TreeFile.open(made.path, made.shape, whole.root)
    assert found is not None
    assert found.has_leaves
    for layer in {0, *made.shape.upper_layers()}:
        count = made.shape.count(layer)
        assert found.read(layer, 0, count) == whole.read(layer, 0, count)
        assert found.read(layer, count - 1, 1) == whole.read(layer, count - 1, 1)
    assert found.piece_layers() == whole.piece_layers()
    kept = sum(made.shape.count(layer) for layer in {0, *made.shape.upper_layers()})
    assert made.path.stat().st_size == 64 + 32 * kept


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(64) + data[64:],
        lambda data: b"x" + data[1:],
    ],
)
def test_a_damaged_tree_counts_as_none(tmp_path: Path, damage: object) -> None:
    made, _ = build(tmp_path / "tree")
    made.path.write_bytes(damage(made.path.read_bytes()))  # type: ignore[operator]
    assert TreeFile.open(made.path, made.shape, made.root) is None


def test_a_tree_of_another_file_counts_as_none(tmp_path: Path) -> None:
    made, _ = build(tmp_path / "tree")
    assert TreeFile.open(made.path, made.shape, bytes(32)) is None
    assert TreeFile.open(made.path, Shape(Layout(SIZE + 1, PIECE)), made.root) is None
    assert TreeFile.open(tmp_path / "elsewhere", made.shape, made.root) is None


def test_a_tree_that_was_replaced_is_not_read_as_the_old_one(tmp_path: Path) -> None:
    old, _ = build(tmp_path / "tree")
    newer, _ = build(tmp_path / "newer", SIZE + 1)
    newer.move(old.path)
    assert newer.read(0, 0, 1)
    with pytest.raises(MetainfoError, match="another state"):
        old.read(0, 0, 1)
    newer.path.unlink()
    with pytest.raises(StorageError, match="can't be read"):
        newer.read(0, 0, 1)


def test_what_did_not_reach_the_disk_is_not_taken_as_kept(tmp_path: Path) -> None:
    made, whole = build(tmp_path / "tree")
    noted = [
        (index, whole.layers[made.shape.piece_layer][index])
        for index in range(made.shape.layout.piece_count)
    ]
    data = bytearray(made.path.read_bytes())
    data[64 + 5 * 4 * 32] ^= 1  # a leaf of piece 5
    made.path.write_bytes(data)
    again = TreeBuilder(made.path, made.shape)
    assert again.intact(noted) == set(range(12)) - {5}
    made.path.write_bytes(data[: 64 + 11 * 4 * 32 + 1])
    assert again.intact(noted) == set(range(11)) - {5}
    made.path.unlink()
    assert again.intact(noted) == set()


def test_a_disk_that_takes_no_tree_is_named(tmp_path: Path) -> None:
    builder = TreeBuilder(tmp_path / "builds" / "tree", Shape(Layout(SIZE, PIECE)))
    for action in (builder.start, lambda: builder.add(0, [bytes(PIECE)])):
        with (
            failing_disk(errno.EACCES, tmp_path / "builds"),
            pytest.raises(StorageError, match="tree"),
        ):
            action()


@pytest.mark.parametrize("earlier", [True, False])
def test_a_bit_that_flips_in_the_piece_layer_is_found_before_a_torrent_file_has_it(
    tmp_path: Path, earlier: bool
) -> None:
    made, whole = build(tmp_path / "tree")
    if earlier:
        assert made.piece_layers() == made.piece_layers() == whole.piece_layers()
    data = bytearray(made.path.read_bytes())
    data[64 + 32 * made.shape.leaf_count + 77] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(MetainfoError, match="piece layer on disk is damaged"):
        made.piece_layers()


@pytest.mark.parametrize("place", [70, 64 + 32 * 4, -40, -1])
@pytest.mark.parametrize("base", [0, 2])
def test_a_bit_that_flips_is_found_before_a_peer_has_it(
    tmp_path: Path, place: int, base: int
) -> None:
    made, whole = build(tmp_path / "tree")
    shape = made.shape
    length = 4 if base == 0 else 8

    def answered() -> int:
        """Return how many of the requests for a layer are answered, rightly."""
        good = 0
        for index in range(0, shape.count(base) - length, length):
            for proofs in (0, shape.height - base - 1):
                request = HashRequest(made.root, base, index, length, proofs)
                with suppress(MetainfoError):
                    assert proves(request, hashes_for(request, shape, made.read), whole)
                    good += 1
        return good

    assert answered()
    data = bytearray(made.path.read_bytes())
    data[place] ^= 1
    made.path.write_bytes(data)
    answered()
