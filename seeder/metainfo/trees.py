"""The Merkle tree of a hybrid's file on disk (BEP 52): 32 bytes for each 16 KiB of the object.

A file holds a header, the leaf hashes, and the layers from that of the pieces up to the one below
the root, end to end. The layers between leaves and pieces are cheap to compute. Metainfo from
outside has no leaf hashes: its file begins with the piece layer.

The leaf hashes are written to their places while the object is hashed, and the header last: a file
without a header is a build under way.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from zlib import crc32

from seeder.errors import MetainfoError
from seeder.files import (
    make_directory,
    make_way,
    move_file,
    open_regular,
    remove_file,
    replace_file,
    storage_errors,
)
from seeder.torrent.merkle import NODE_LENGTH, Shape, leaf_hashes, parents

_LOG = logging.getLogger(__name__)

_HEADER = Struct(">16sQLB3x32s")
_MAGIC = b"seeder: hashes\n\1"


class TreeFile:
    """The finished tree of one file; each read opens it anew, for there may be thousands."""

    def __init__(self, path: Path, shape: Shape, root: bytes, *, has_leaves: bool) -> None:
        self.path = path
        self.shape = shape
        self.root = root
        # Where a piece is one leaf, the piece layer holds the leaf hashes.
        self.has_leaves = has_leaves or shape.piece_layer == 0
        self._layer_checksum: int | None = None
        """The CRC-32 of the piece layer, once that was found to be right."""

    @classmethod
    def open(cls, path: Path, shape: Shape, root: bytes) -> "TreeFile | None":
        """Return the tree at `path`; None if that is missing, unfinished, or of another file."""
        for has_leaves in (True, False):
            found = cls(path, shape, root, has_leaves=has_leaves)
            try:
                with _opened(path) as fd:
                    if found._fits(fd) and found._is_whole(fd):
                        return found
            except OSError:
                return None
        return None

    @classmethod
    def write(cls, path: Path, shape: Shape, piece_layer: bytes) -> "TreeFile":
        """Write a tree without leaf hashes to `path`; StorageError."""
        made = cls(path, shape, shape.root(piece_layer), has_leaves=False)
        _begin(path)
        made.finish(piece_layer)
        return made

    def finish(self, piece_layer: bytes) -> None:
        """Write all but the leaves, the header last and once the rest is synced. StorageError."""
        with storage_errors(self.path, "written"):
            make_directory(self.path.parent)
            with _opened(self.path, os.O_RDWR | os.O_CREAT) as fd:
                layer, nodes = self.shape.piece_layer, piece_layer
                while layer < max(1, self.shape.height):
                    _write(fd, nodes, self._place(layer))
                    nodes = parents(nodes, layer)
                    layer += 1
                os.ftruncate(fd, self._end())
                os.fsync(fd)
                _write(fd, self._header(), 0)
                os.fsync(fd)

    def move(self, path: Path) -> None:
        """Move the file to `path`, replacing what is there; StorageError.

        The bytes were synced by `finish`; the new name outlives a power cut once the record beside
        it, which is written next, has synced their directory.
        """
        if path == self.path:
            return
        with storage_errors(path, "written"):
            make_directory(path.parent)
            move_file(self.path, path)
        self.path = path

    def read(self, layer: int, first: int, count: int) -> bytes:
        """Return kept hashes of a layer, unchecked; StorageError, MetainfoError."""
        size = count * NODE_LENGTH
        with storage_errors(self.path, "read"), _opened(self.path) as fd:
            fits = self._fits(fd)
            data = os.pread(fd, size, self._place(layer) + first * NODE_LENGTH)
        if not fits or len(data) != size:
            raise MetainfoError("its tree on disk is damaged, or of another state of the object")
        return data

    def piece_layers(self) -> dict[bytes, bytes]:
        """Return what stands under `piece layers` in a torrent file, checked against the root.

        StorageError, MetainfoError.
        """
        if not self.shape.has_piece_layer:
            return {}
        layer = self.read(self.shape.piece_layer, 0, self.shape.layout.piece_count)
        checksum = crc32(layer)
        # The root takes a tenth of a second, of 190,000 pieces.
        if checksum != self._layer_checksum:
            if self.shape.root(layer) != self.root:
                raise MetainfoError("its piece layer on disk is damaged; it is made anew")
            self._layer_checksum = checksum
        return {self.root: layer}

    def _header(self) -> bytes:
        layout = self.shape.layout
        return _HEADER.pack(_MAGIC, layout.size, layout.piece_length, self.has_leaves, self.root)

    def _fits(self, fd: int) -> bool:
        return os.pread(fd, _HEADER.size, 0) == self._header()

    def _is_whole(self, fd: int) -> bool:
        return os.fstat(fd).st_size == self._end()

    def _place(self, layer: int) -> int:
        """Return the offset of a kept layer; the end of the file for the layer after the last."""
        if layer == 0:
            return _HEADER.size
        below = [0] if self.has_leaves else []
        below += [lower for lower in self.shape.upper_layers() if lower < layer]
        return _HEADER.size + NODE_LENGTH * sum(map(self.shape.count, below))

    def _end(self) -> int:
        return self._place(max(1, self.shape.height))


class TreeBuilder:
    """Takes the leaf hashes of an object that is being hashed, in any order; methods block.

    The journal notes the root of each piece: by it `intact` tells whether its leaves reached the
    disk.
    """

    def __init__(self, path: Path, shape: Shape) -> None:
        self.shape = shape
        self._path = path
        self._roots: dict[int, bytes] = {}

    def start(self) -> None:
        """Begin with an empty file; StorageError."""
        _begin(self._path)

    def intact(self, noted: Iterable[tuple[int, bytes]]) -> set[int]:
        """Return the pieces whose leaves on disk have the root that was noted; StorageError.

        A file that can't be read is begun anew.
        """
        found = {}
        try:
            with _opened(self._path) as fd:
                for index, root in noted:
                    first, count = self._leaves(index)
                    data = os.pread(fd, count * NODE_LENGTH, _place_of(first))
                    if len(data) == count * NODE_LENGTH and self.shape.piece_root(data) == root:
                        found[index] = root
        except FileNotFoundError:
            return set()
        except OSError as error:
            self.start()
            # Not before: where that fails, too, each retry would tell of it again.
            _LOG.warning("%s: can't be read: %s; hashing begins anew", self._path, error.strerror)
            return set()
        self._roots |= found
        return set(found)

    def add(self, first: int, pieces: Sequence[bytes | bytearray]) -> list[bytes]:
        """Keep the leaves of consecutive pieces and return the root of each; StorageError."""
        leaves = [leaf_hashes(piece) for piece in pieces]
        flags = os.O_WRONLY | os.O_CREAT
        with storage_errors(self._path, "written"), _opened(self._path, flags) as fd:
            _write(fd, b"".join(leaves), _place_of(self._leaves(first)[0]))
        roots = [self.shape.piece_root(each) for each in leaves]
        self._roots.update(enumerate(roots, first))
        return roots

    def finish(self) -> TreeFile:
        """Complete the file, once every piece was added or found intact; StorageError."""
        piece_layer = b"".join(self._roots[i] for i in range(self.shape.layout.piece_count))
        made = TreeFile(self._path, self.shape, self.shape.root(piece_layer), has_leaves=True)
        made.finish(piece_layer)
        return made

    def discard(self) -> None:
        """Remove the file; StorageError."""
        with storage_errors(self._path, "removed"):
            remove_file(self._path)

    def _leaves(self, index: int) -> tuple[int, int]:
        """Return the first leaf of a piece, and how many it has."""
        first = index << self.shape.piece_layer
        return first, min(1 << self.shape.piece_layer, self.shape.leaf_count - first)


def _begin(path: Path) -> None:
    with storage_errors(path, "written"):
        make_way(path.parent)
        make_directory(path.parent)
        replace_file(path, b"", durable=False)


@contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = open_regular(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _place_of(leaf: int) -> int:
    return _HEADER.size + leaf * NODE_LENGTH


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
