"""The metainfo ladder: from an object to an info dictionary that is true of it.

Rungs are tried in the configured order: `origin` asks S3 (GetObjectTorrent), `sidecar` reads
KEY.torrent beside the object, `build` hashes the object itself. Metainfo from outside is not
believed (decision 5): it must fit the object HEAD described, and the pieces it names are checked
against the object's own bytes, the last and the first before any other, since those tell a liar
soonest. What fails falls to the next rung, and the log says why. Where only what a hybrid says to
v2 clients (BEP 52) is missing or wrong, it is served as v1.
"""

import hashlib
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import trio

from seeder.errors import (
    AccessDenied,
    MetainfoError,
    ObjectMissing,
    OriginFault,
    StorageError,
    TorrentUnsupported,
)
from seeder.origin.answers import label
from seeder.origin.hashing import Hasher, PieceSink, Progress
from seeder.origin.s3 import Meter, S3Origin
from seeder.origin.store import Record, file_stem
from seeder.origin.trees import TreeBuilder, TreeFile
from seeder.torrent.catalog import ObjectRef, PinnedObject, Torrent, cache_id
from seeder.torrent.layout import (
    MOST_HYBRID_PIECES,
    MOST_PIECES,
    Layout,
    default_piece_length,
)
from seeder.torrent.merkle import HASH_LENGTH, Shape, leaf_hashes
from seeder.torrent.metainfo import (
    Info,
    Metainfo,
    build_info,
    parse_info,
    parse_torrent,
    safe_name,
)

_LOG = logging.getLogger(__name__)

LARGEST_TORRENT_FILE = 10 * 1024 * 1024
SAMPLE = 8
"""Pieces checked besides the first and the last: a liar about a fifth of them passes 1 in 6."""
UNSUPPORTED_AFTER = 3
"""Keys that must get "no such thing" before an origin counts as one without GetObjectTorrent."""


class Wish(Protocol):
    """The part of an object's section that says what its metainfo should be."""

    @property
    def metainfo(self) -> Sequence[str]: ...
    @property
    def torrent_file(self) -> Path | None: ...
    @property
    def piece_length(self) -> int | None: ...
    @property
    def private(self) -> bool: ...
    @property
    def format(self) -> str: ...
    @property
    def verify(self) -> str: ...


def describe_wish(wish: Wish) -> str:
    """Return a text that changes when the configured wish does."""
    parts = (*wish.metainfo, wish.torrent_file, wish.piece_length, wish.private)
    # What the default asks for is written as before there was a choice.
    return " ".join(map(str, parts)) + (f" {wish.format}" if wish.format != "v1" else "")


class TorrentSupport:
    """Whether an origin has GetObjectTorrent, learnt from its answers."""

    def __init__(self) -> None:
        self._refusals = 0

    @property
    def absent(self) -> bool:
        return self._refusals >= UNSUPPORTED_AFTER

    def answered(self) -> None:
        self._refusals = -(10**9)  # it has it: what single keys lack says nothing of the others

    def refused(self, for_every_key: bool) -> None:
        self._refusals += UNSUPPORTED_AFTER if for_every_key else 1


class Ladder:
    """Gets metainfo for the objects of one origin."""

    def __init__(
        self, origin: S3Origin, sink: PieceSink, journals: Path, rng: random.Random
    ) -> None:
        self._origin = origin
        self._sink = sink
        self._journals = journals
        self._rng = rng
        self._support = TorrentSupport()

    def journal_path(self, ref: ObjectRef) -> Path:
        """Return where the hashing of an object is noted while it goes on."""
        return self._journals / f"{file_stem(ref)}.journal"

    def tree_path(self, ref: ObjectRef) -> Path:
        """Return where the Merkle tree of a hybrid is made."""
        return self._journals / f"{file_stem(ref)}.tree"

    async def climb(self, record: Record, wish: Wish, meter: Meter, progress: Progress) -> Torrent:
        """Return a verified torrent of the object and note it in `record`.

        OriginError when S3 fails on the way; MetainfoError when no rung is left, or when the
        operator's own `torrent_file` doesn't fit.
        """
        pinned = record.pinned
        if wish.torrent_file is not None:
            try:
                metainfo = await self._from_file(wish.torrent_file)
                tree = await self._verify(pinned, metainfo, wish, meter, progress)
            except MetainfoError as error:
                raise MetainfoError(
                    f"{pinned.ref}: torrent_file {wish.torrent_file} doesn't fit: {error}"
                ) from error
            return self._found(record, "torrent_file", metainfo.info, tree)
        for rung in wish.metainfo:
            if rung in record.refused:
                continue
            if rung == "build":
                return self._found(record, rung, *await self._build(pinned, wish, meter, progress))
            try:
                found = await self._from_outside(rung, pinned, wish, meter, progress)
            except (MetainfoError, OriginFault, AccessDenied) as error:
                reason = str(error).removeprefix(f"{label(pinned.ref)}: ")
                record.refused[rung] = reason
                _LOG.warning("%s: metainfo from %s refused: %s", pinned.ref, rung, reason)
            else:
                if found is not None:
                    return self._found(record, rung, *found)
        why = "; ".join(f"{rung}: {reason}" for rung, reason in record.refused.items())
        raise MetainfoError(
            f"{pinned.ref}: no metainfo from {', '.join(wish.metainfo)}"
            f'{f" ({why})" if why else ""}; add "build" to its metainfo list'
        )

    def _found(self, record: Record, rung: str, info: Info, tree: TreeFile | None) -> Torrent:
        record.info, record.rung, record.tree = info, rung, tree
        return Torrent(info, record.pinned, rung, tree)

    async def _from_outside(
        self, rung: str, pinned: PinnedObject, wish: Wish, meter: Meter, progress: Progress
    ) -> tuple[Info, TreeFile | None] | None:
        """Return verified metainfo of a rung, None where there is none to be had."""
        if rung == "origin":
            data = await self._ask_origin(pinned, meter)
        elif rung == "sidecar":
            data = await self._read_sidecar(pinned, meter)
        else:
            return None
        if data is None:
            return None
        metainfo = parse_torrent(data)
        info = metainfo.info
        if wish.private and not info.private:
            raise MetainfoError("it is not private, the configuration says private = true")
        if wish.piece_length not in (None, info.layout.piece_length):
            raise MetainfoError(
                f"its pieces are {info.layout.piece_length} bytes, the configuration says "
                f"piece_length = {wish.piece_length}"
            )
        return info, await self._verify(pinned, metainfo, wish, meter, progress)

    async def _ask_origin(self, pinned: PinnedObject, meter: Meter) -> bytes | None:
        if self._support.absent:
            return None
        try:
            data = await self._origin.get_torrent(pinned, meter)
        except TorrentUnsupported as error:
            self._support.refused(error.for_every_key)
            _LOG.info("%s: %s", pinned.ref, error)
            return None
        self._support.answered()
        return data

    async def _read_sidecar(self, pinned: PinnedObject, meter: Meter) -> bytes | None:
        ref = ObjectRef(pinned.ref.origin, pinned.ref.bucket, f"{pinned.ref.key}.torrent")
        try:
            return await self._origin.read_small(ref, LARGEST_TORRENT_FILE, meter)
        except ObjectMissing:
            return None
        except AccessDenied:
            # Without s3:ListBucket S3 says 403, not 404, of a key that isn't there.
            return None

    async def _from_file(self, path: Path) -> Metainfo:
        try:
            data = await trio.Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: can't be read: {error.strerror}") from error
        return parse_torrent(data)

    # -- belief

    async def _verify(
        self, pinned: PinnedObject, metainfo: Metainfo, wish: Wish, meter: Meter, progress: Progress
    ) -> TreeFile | None:
        """Check metainfo against the object; MetainfoError says how they differ.

        Returns the tree of a hybrid that v2 clients can be served from.
        """
        info = metainfo.info
        layout = info.layout
        if layout.size != pinned.size:
            raise MetainfoError(f"it says {layout.size} bytes, the object has {pinned.size}")
        if not info.name_is_safe:
            raise MetainfoError(f"its file name is unsafe: {info.name!r:.80}")
        fault = await trio.to_thread.run_sync(_v2_fault, metainfo, wish)
        _insist(fault, wish)
        if wish.verify == "all":
            tree = None if fault else self._builder(pinned, layout)
            hasher = Hasher(self._origin, self._sink, meter, pinned, layout, tree=tree)
            pieces = await hasher.run(self.journal_path(pinned.ref), progress)
            if pieces != info.pieces:
                raise MetainfoError("its hashes are not those of the object")
            made = await trio.to_thread.run_sync(tree.finish) if tree else None
            if tree and made and info.v2 and made.root != info.v2.root:
                made, fault = None, "its pieces root is not the object's"
                tree.discard()
        else:
            fault = await self._sample_pieces(pinned, metainfo, meter, check_v2=not fault) or fault
            made = None
            if not fault:
                made = await trio.to_thread.run_sync(
                    TreeFile.write, self.tree_path(pinned.ref), Shape(layout), _layer(metainfo)
                )
        _insist(fault, wish)
        if fault and (info.v2 or info.v2_fault):
            _LOG.warning("%s: its torrent is served as v1 only: %s", pinned.ref, fault)
        return made

    async def _sample_pieces(
        self, pinned: PinnedObject, metainfo: Metainfo, meter: Meter, *, check_v2: bool
    ) -> str | None:
        """Compare some pieces' hashes with the object's; return how those of v2 differ."""
        info, layout, fault = metainfo.info, metainfo.info.layout, None
        shape, layer = Shape(layout), _layer(metainfo)
        name = cache_id(pinned, layout.piece_length)
        for index in self._sample(layout):
            piece = await self._origin.read_range(
                pinned, layout.piece_range(index), meter, "metainfo"
            )
            digest = await trio.to_thread.run_sync(_sha1, piece)
            if digest != info.piece_hash(index):
                raise MetainfoError(f"the hash of its piece {index} is not the object's")
            if check_v2 and fault is None:
                leaves = await trio.to_thread.run_sync(leaf_hashes, piece)
                root = shape.piece_root(leaves)
                if root != layer[index * HASH_LENGTH : (index + 1) * HASH_LENGTH]:
                    fault = f"the v2 hash of its piece {index} is not the object's"
            await self._sink.keep(name, index, piece)
        return fault

    def _sample(self, layout: Layout) -> list[int]:
        count = layout.piece_count
        ends = dict.fromkeys((count - 1, 0)) if count else {}
        middle = range(1, count - 1)
        return [*ends, *self._rng.sample(middle, min(SAMPLE, len(middle)))]

    # -- build

    async def _build(
        self, pinned: PinnedObject, wish: Wish, meter: Meter, progress: Progress
    ) -> tuple[Info, TreeFile | None]:
        hybrid = wish.format == "hybrid"
        most = MOST_HYBRID_PIECES if hybrid else MOST_PIECES
        length = wish.piece_length or default_piece_length(pinned.size, most)
        layout = Layout(pinned.size, length)
        builder = self._builder(pinned, layout) if hybrid else None
        hasher = Hasher(self._origin, self._sink, meter, pinned, layout, tree=builder)
        pieces = await hasher.run(self.journal_path(pinned.ref), progress)
        tree = await trio.to_thread.run_sync(builder.finish) if builder else None
        raw = build_info(
            name=safe_name(pinned.ref.key),
            layout=layout,
            pieces=pieces,
            private=wish.private,
            root=tree.root if tree else None,
        )
        return parse_info(raw), tree

    def _builder(self, pinned: PinnedObject, layout: Layout) -> TreeBuilder:
        return TreeBuilder(self.tree_path(pinned.ref), Shape(layout))


def _insist(v2_fault: str | None, wish: Wish) -> None:
    """Refuse metainfo of a rung that can't be served to v2 clients where a hybrid is wished for."""
    if v2_fault is not None and wish.format == "hybrid" and wish.torrent_file is None:
        raise MetainfoError(f'{v2_fault}, the configuration says format = "hybrid"')


def _v2_fault(metainfo: Metainfo, wish: Wish) -> str | None:
    """Return why metainfo from outside can't be served to v2 clients; None if it can (BEP 52)."""
    v2 = metainfo.info.v2
    if v2 is None:
        return metainfo.info.v2_fault or "it is of BitTorrent v1 only"
    shape = Shape(metainfo.info.layout)
    if wish.verify == "all" or not shape.has_piece_layer:
        return None
    layer = _layer(metainfo)
    if not layer:
        return "its piece layers are missing"
    if len(layer) != shape.layout.piece_count * HASH_LENGTH or shape.root(layer) != v2.root:
        return "its piece layers don't fit its pieces root"
    return None


def _layer(metainfo: Metainfo) -> bytes:
    """Return a hybrid's piece layer; its root where that is all there is of it."""
    v2 = metainfo.info.v2
    if v2 is None:
        return b""
    if not Shape(metainfo.info.layout).has_piece_layer:
        return v2.root
    return metainfo.piece_layers.get(v2.root, b"")


def _sha1(piece: bytearray) -> bytes:
    return hashlib.sha1(piece, usedforsecurity=False).digest()
