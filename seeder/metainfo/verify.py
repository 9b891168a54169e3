"""Whether metainfo from outside is true of an object.

Such metainfo is not believed (see seeder/README.md, decision 5). It must fit the object that HEAD
described, and some or all of its hashes are compared with the object's own bytes. The last and the
first piece come before any other, since they expose wrong metainfo soonest. A hybrid whose part for
v2 clients (BEP 52) is missing or wrong is served as v1 only.
"""

import logging
import random

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.errors import MetainfoError
from seeder.metainfo.hashing import Hasher, OnProgress
from seeder.metainfo.journal import Builds
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.client import S3Origin
from seeder.torrent.info import Info, Metainfo
from seeder.torrent.layout import SHA1_LENGTH, Layout, sha1
from seeder.torrent.merkle import NODE_LENGTH, Shape, leaf_hashes
from seeder.torrent.objects import Meter, PinnedObject, cache_id
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)

SAMPLE = 8
"""Pieces checked besides the first and the last: if a fifth of all are wrong, 1 in 6 such torrents
passes."""


class Verifier:
    """Checks metainfo of the objects of one origin."""

    def __init__(
        self,
        origin: S3Origin,
        cache: PieceCache[Torrent],
        builds: Builds,
        etags: EtagMeaning,
        rng: random.Random,
    ) -> None:
        self._origin = origin
        self._cache = cache
        self._builds = builds
        self._etags = etags
        self._rng = rng

    async def verify(
        self,
        pinned: PinnedObject,
        metainfo: Metainfo,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
    ) -> TreeFile | None:
        """Check metainfo against the object; MetainfoError says how they differ.

        Returns a hybrid's tree, from which v2 clients can be served; None if they can't be.
        """
        info = metainfo.info
        if info.layout.size != pinned.size:
            raise MetainfoError(f"it says {info.layout.size} bytes, the object has {pinned.size}")
        if not info.name_is_safe:
            raise MetainfoError(f"its file name is unsafe: {info.name!r:.80}")
        fault = await trio.to_thread.run_sync(_v2_fault, metainfo, settings)
        _insist(fault, settings)
        if settings.verify == "all":
            made, found = await self._read_all(
                pinned, metainfo, meter, progress, check_v2=not fault
            )
        else:
            made, found = await self._sample_pieces(pinned, metainfo, meter, check_v2=not fault)
        fault = found or fault
        _insist(fault, settings)
        if fault and (info.v2 or info.v2_fault):
            _LOG.warning("%s: its torrent is served as v1 only: %s", pinned.ref, fault)
        return made

    async def _read_all(
        self,
        pinned: PinnedObject,
        metainfo: Metainfo,
        meter: Meter,
        progress: OnProgress,
        *,
        check_v2: bool,
    ) -> tuple[TreeFile | None, str | None]:
        """Hash all of the object; return a hybrid's tree, or how its v2 part differs."""
        info = metainfo.info
        path = self._builds.tree(pinned.ref)
        tree = TreeBuilder(path, Shape(info.layout)) if check_v2 else None
        hasher = Hasher(
            self._origin, self._cache, meter, pinned, info.layout, etags=self._etags, tree=tree
        )
        pieces = await hasher.run(self._builds.journal(pinned.ref), progress)
        if pieces != info.pieces:
            await self._read_wrong_ones(pinned, info, pieces, meter, tree)
        if tree is None:
            return None, None
        made = await trio.to_thread.run_sync(tree.finish)
        if info.v2 and made.root != info.v2.root:
            tree.discard()
            return None, "its pieces root is not the object's"
        return made, None

    async def _sample_pieces(
        self, pinned: PinnedObject, metainfo: Metainfo, meter: Meter, *, check_v2: bool
    ) -> tuple[TreeFile | None, str | None]:
        """Compare some pieces' hashes with the object's; return as `_read_all` does."""
        info, layout, fault = metainfo.info, metainfo.info.layout, None
        shape, layer = Shape(layout), _layer(metainfo)
        name = cache_id(pinned, layout.piece_length)
        for index in self._sample(layout):
            piece = await self._read_piece(pinned, info, index, meter)
            if check_v2 and fault is None:
                leaves = await trio.to_thread.run_sync(leaf_hashes, piece)
                root = shape.piece_root(leaves)
                if root != layer[index * NODE_LENGTH : (index + 1) * NODE_LENGTH]:
                    fault = f"the v2 hash of its piece {index} is not the object's"
            await self._cache.keep(name, index, piece)
        if fault or not check_v2:
            return None, fault
        path = self._builds.tree(pinned.ref)
        return await trio.to_thread.run_sync(TreeFile.write, path, shape, layer), None

    async def _read_wrong_ones(
        self,
        pinned: PinnedObject,
        info: Info,
        pieces: bytes,
        meter: Meter,
        tree: TreeBuilder | None,
    ) -> None:
        """Read the pieces again that differ from an info; MetainfoError unless they come right.

        Not if they are many, nor where the object's MD5 has vouched for them.
        """
        differ = [
            index
            for index in range(info.layout.piece_count)
            if pieces[index * SHA1_LENGTH : (index + 1) * SHA1_LENGTH] != info.piece_hash(index)
        ]
        if len(differ) > SAMPLE or self._etags.md5_of(pinned) is not None:
            raise MetainfoError("its hashes are not those of the object")
        again = [await self._read_piece(pinned, info, index, meter) for index in differ]
        # The cache has the wrong ones.
        name = cache_id(pinned, info.layout.piece_length)
        self._cache.discard(name)
        for index, piece in zip(differ, again, strict=True):
            if tree is not None:
                await trio.to_thread.run_sync(tree.add, index, [piece])
            await self._cache.keep(name, index, piece)

    async def _read_piece(
        self, pinned: PinnedObject, info: Info, index: int, meter: Meter
    ) -> bytearray:
        """Return a piece; MetainfoError if its hash is another one, whichever way it is read.

        One that comes wrong is read once more: something on the way may spoil it.
        """
        for _ in range(2):
            wanted = info.layout.piece_range(index)
            piece = await self._origin.read_range(pinned, wanted, meter, "metainfo")
            if await trio.to_thread.run_sync(sha1, piece) == info.piece_hash(index):
                return piece
        raise MetainfoError(f"the hash of its piece {index} is not the object's")

    def _sample(self, layout: Layout) -> list[int]:
        count = layout.piece_count
        ends = dict.fromkeys((count - 1, 0)) if count else {}
        middle = range(1, count - 1)
        return [*ends, *self._rng.sample(middle, min(SAMPLE, len(middle)))]


def _insist(v2_fault: str | None, settings: ObjectSettings) -> None:
    """Raise MetainfoError if a hybrid is wanted and v2 clients can't be served.

    The operator's own `torrent_file` may be of v1 only all the same.
    """
    if v2_fault is not None and settings.format == "hybrid" and settings.torrent_file is None:
        raise MetainfoError(f'{v2_fault}, the configuration says format = "hybrid"')


def _v2_fault(metainfo: Metainfo, settings: ObjectSettings) -> str | None:
    """Return why metainfo from outside can't be served to v2 clients; None if it can (BEP 52)."""
    v2 = metainfo.info.v2
    if v2 is None:
        return metainfo.info.v2_fault or "it is of BitTorrent v1 only"
    shape = Shape(metainfo.info.layout)
    if settings.verify == "all" or not shape.has_piece_layer:
        return None
    layer = _layer(metainfo)
    if not layer:
        return "its piece layers are missing"
    if len(layer) != shape.layout.piece_count * NODE_LENGTH or shape.root(layer) != v2.root:
        return "its piece layers don't fit its pieces root"
    return None


def _layer(metainfo: Metainfo) -> bytes:
    """Return a hybrid's piece layer; its root, if one piece makes up the file."""
    v2 = metainfo.info.v2
    if v2 is None:
        return b""
    if not Shape(metainfo.info.layout).has_piece_layer:
        return v2.root
    return metainfo.piece_layers.get(v2.root, b"")
