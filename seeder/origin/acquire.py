"""The metainfo ladder: from an object to an info dictionary that is true of it.

Rungs are tried in the configured order: `origin` asks S3 (GetObjectTorrent), `sidecar` reads
KEY.torrent beside the object, `checksums` takes S3's SHA-1 of each part for a piece's, `build`
hashes the object itself. Metainfo from outside is not believed (decision 5): it must fit the object
HEAD described, and the pieces it names are checked against the object's own bytes, the last and the
first before any other, since those tell a liar soonest. What fails falls to the next rung, and the
log says why.
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
    ObjectChanged,
    ObjectMissing,
    OriginFault,
    StorageError,
    TorrentUnsupported,
)
from seeder.origin.answers import label
from seeder.origin.bundles import BundlePlan
from seeder.origin.checksums import SMALLEST_PART_LENGTH
from seeder.origin.hashing import Hasher, PieceSink, Progress
from seeder.origin.parts import PartReader
from seeder.origin.s3 import Meter, S3Origin
from seeder.origin.store import Record, file_stem
from seeder.origin.support import Support
from seeder.torrent.catalog import (
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    Torrent,
    cache_id,
)
from seeder.torrent.layout import Layout, default_piece_length
from seeder.torrent.metainfo import Info, build_info, parse_info, parse_torrent, safe_name

_LOG = logging.getLogger(__name__)

LARGEST_TORRENT_FILE = 10 * 1024 * 1024
SAMPLE = 8
"""Pieces checked besides the first and the last: a liar about a fifth of them passes 1 in 6."""


class Shelf(PieceSink, Protocol):
    """A sink that also lets go of pieces."""

    def discard(self, cache_id: str) -> None:
        """Forget the pieces of a state of an object that is no more."""


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
    def verify(self) -> str: ...
    @property
    def bundle(self) -> bool: ...


def describe_wish(wish: Wish) -> str:
    """Return a text that changes when the configured wish does."""
    parts = (*wish.metainfo, wish.torrent_file, wish.piece_length, wish.private)
    return " ".join(map(str, (*parts, "bundle") if wish.bundle else parts))


class Ladder:
    """Gets metainfo for the objects of one origin."""

    def __init__(self, origin: S3Origin, sink: Shelf, journals: Path, rng: random.Random) -> None:
        self._origin = origin
        self._sink = sink
        self._journals = journals
        self._rng = rng
        self._support = Support()
        self._parts = PartReader(origin)

    def journal_path(self, ref: ObjectRef) -> Path:
        """Return where the hashing of an object is noted while it goes on."""
        return self._journals / f"{file_stem(ref)}.journal"

    async def climb(self, record: Record, wish: Wish, meter: Meter, progress: Progress) -> Torrent:
        """Return a verified torrent of the object and note it in `record`.

        OriginError when S3 fails on the way; MetainfoError when no rung is left, or when the
        operator's own `torrent_file` doesn't fit.
        """
        pinned = record.pinned
        if isinstance(pinned, PinnedBundle):
            return await self._build_bundle(record, pinned, wish, meter, progress)
        if wish.torrent_file is not None:
            try:
                info = await self._from_file(wish.torrent_file)
                await self._verify(pinned, info, wish, meter, progress)
            except MetainfoError as error:
                raise MetainfoError(
                    f"{pinned.ref}: torrent_file {wish.torrent_file} doesn't fit: {error}"
                ) from error
            return self._found(record, "torrent_file", info)
        for rung in wish.metainfo:
            if rung in record.refused:
                continue
            if rung == "build":
                info = await self._build(pinned, wish, meter, progress)
                return self._found(record, rung, info)
            try:
                found = await self._from_outside(rung, pinned, wish, meter, progress)
            except (MetainfoError, OriginFault, AccessDenied) as error:
                reason = str(error).removeprefix(f"{label(pinned.ref)}: ")
                record.refused[rung] = reason
                _LOG.warning("%s: metainfo from %s refused: %s", pinned.ref, rung, reason)
            else:
                if found is not None:
                    return self._found(record, rung, found)
        why = "; ".join(f"{rung}: {reason}" for rung, reason in record.refused.items())
        raise MetainfoError(
            f"{pinned.ref}: no metainfo from {', '.join(wish.metainfo)}"
            f'{f" ({why})" if why else ""}; add "build" to its metainfo list'
        )

    def _found(self, record: Record, rung: str, info: Info) -> Torrent:
        record.info, record.rung = info, rung
        return Torrent(info, record.pinned, rung)

    async def _from_outside(
        self, rung: str, pinned: PinnedObject, wish: Wish, meter: Meter, progress: Progress
    ) -> Info | None:
        """Return verified metainfo of a rung, None where there is none to be had."""
        if rung == "checksums":
            info = await self._from_checksums(pinned, wish, meter)
        else:
            ask = self._ask_origin if rung == "origin" else self._read_sidecar
            data = await ask(pinned, meter)
            info = None if data is None else parse_torrent(data).info
        if info is None:
            return None
        if wish.private and not info.private:
            raise MetainfoError("it is not private, the configuration says private = true")
        if wish.piece_length not in (None, info.layout.piece_length):
            raise MetainfoError(
                f"its pieces are {info.layout.piece_length} bytes, the configuration says "
                f"piece_length = {wish.piece_length}"
            )
        await self._verify(pinned, info, wish, meter, progress)
        return info

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

    async def _from_checksums(self, pinned: PinnedObject, wish: Wish, meter: Meter) -> Info | None:
        """Return the info whose piece hashes are S3's checksums of the parts.

        Where all of the object would be one piece, `build` comes before it: checking that piece
        reads the object as well, and a build cuts it finer.
        """
        builds = "build" in wish.metainfo
        if not pinned.size or (builds and pinned.size <= SMALLEST_PART_LENGTH):
            return None
        found = await self._parts.find(pinned, wish.piece_length, meter)
        if found is None:
            return None
        layout, pieces = found
        if builds and layout.piece_count == 1:
            _LOG.info("%s: its checksum is of all of it, hence of no use before build", pinned.ref)
            return None
        return _make_info(pinned, layout, pieces, wish)

    async def _from_file(self, path: Path) -> Info:
        try:
            data = await trio.Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: can't be read: {error.strerror}") from error
        return parse_torrent(data).info

    # -- belief

    async def _verify(
        self, pinned: PinnedObject, info: Info, wish: Wish, meter: Meter, progress: Progress
    ) -> None:
        """Check metainfo against the object; MetainfoError says how they differ."""
        layout = info.layout
        if layout.size != pinned.size:
            raise MetainfoError(f"it says {layout.size} bytes, the object has {pinned.size}")
        if not info.name_is_safe:
            raise MetainfoError(f"its file name is unsafe: {info.name!r:.80}")
        if wish.verify == "all":
            hasher = Hasher(self._origin, self._sink, meter, pinned, layout)
            pieces = await hasher.run(self.journal_path(pinned.ref), progress)
            if pieces != info.pieces:
                raise MetainfoError("its hashes are not those of the object")
            return
        name = cache_id(pinned, layout.piece_length)
        for index in self._sample(layout):
            piece = await self._origin.read_range(
                pinned, layout.piece_range(index), meter, "metainfo"
            )
            digest = await trio.to_thread.run_sync(_sha1, piece)
            if digest != info.piece_hash(index):
                raise MetainfoError(f"the hash of its piece {index} is not the object's")
            await self._sink.keep(name, index, piece)

    def _sample(self, layout: Layout) -> list[int]:
        count = layout.piece_count
        ends = dict.fromkeys((count - 1, 0)) if count else {}
        middle = range(1, count - 1)
        return [*ends, *self._rng.sample(middle, min(SAMPLE, len(middle)))]

    # -- build

    async def _build(
        self, pinned: PinnedObject, wish: Wish, meter: Meter, progress: Progress
    ) -> Info:
        layout = Layout(pinned.size, wish.piece_length or default_piece_length(pinned.size))
        hasher = Hasher(self._origin, self._sink, meter, pinned, layout)
        pieces = await hasher.run(self.journal_path(pinned.ref), progress)
        return _make_info(pinned, layout, pieces, wish)

    async def _build_bundle(
        self,
        record: Record,
        bundle: PinnedBundle,
        wish: Wish,
        meter: Meter,
        progress: Progress,
    ) -> Torrent:
        """Hash what isn't known from an earlier state, whose useless pieces leave the cache.

        ObjectChanged where an object isn't any more what the listing said. Thousands of objects
        take a while to look at, so threads do that.
        """
        plan = await trio.to_thread.run_sync(BundlePlan.of, bundle, record.earlier, wish)
        for name in plan.useless:
            self._sink.discard(name)
        hasher = await trio.to_thread.run_sync(
            Hasher, self._origin, self._sink, meter, bundle, plan.layout
        )
        try:
            pieces = await hasher.run(self.journal_path(bundle.ref), progress, plan.known)
        except (ObjectChanged, ObjectMissing) as error:
            raise ObjectChanged(f"{error}; {label(bundle.ref)} is listed again") from error
        torrent = await trio.to_thread.run_sync(plan.torrent, pieces)
        record.info, record.rung = torrent.info, torrent.rung
        return torrent


def _make_info(pinned: PinnedObject, layout: Layout, pieces: bytes, wish: Wish) -> Info:
    name = safe_name(pinned.ref.key)
    return parse_info(build_info(name=name, layout=layout, pieces=pieces, private=wish.private))


def _sha1(piece: bytearray) -> bytes:
    return hashlib.sha1(piece, usedforsecurity=False).digest()
