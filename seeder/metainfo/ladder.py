"""The metainfo ladder: from an object to an info dictionary that is true of it.

Rungs are tried in the configured order: `origin` asks S3 (GetObjectTorrent), `sidecar` reads
KEY.torrent beside the object, `checksums` takes S3's SHA-1 of each part for that of a piece, and
`build` hashes the object itself. What comes from outside is checked by `seeder.metainfo.verify`;
where it fails, the next rung is tried, and the log says why.
"""

import logging
import random
import re
from functools import partial
from pathlib import Path

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.sections import ObjectSettings
from seeder.errors import (
    AccessDenied,
    MetainfoError,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SeederError,
    StorageError,
    TorrentUnsupported,
)
from seeder.metainfo.bundles import BundlePlan
from seeder.metainfo.checksums import SMALLEST_PART_LENGTH, PartReader
from seeder.metainfo.hashing import Hasher, LastTorrent, OnProgress
from seeder.metainfo.journal import Builds
from seeder.metainfo.records import Record
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.metainfo.verify import Verifier
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.answers import label
from seeder.s3.client import S3Origin
from seeder.s3.remarks import Remarks
from seeder.s3.support import Support
from seeder.torrent.catalog import Torrent
from seeder.torrent.info import Info, Metainfo, build_info, parse_info, parse_torrent, safe_name
from seeder.torrent.layout import (
    MOST_HYBRID_PIECES,
    MOST_PIECES,
    Layout,
    check_piece_count,
    default_piece_length,
)
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import Meter, ObjectRef, PinnedBundle, PinnedObject
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

_OF_ONE_OBJECT = re.compile(r"'[^']*'|\d+")
"""What differs from object to object in what is wrong with their torrents."""
LARGEST_TORRENT_FILE = 10 * MIB
"""Bytes of a sidecar. Clients take hardly more: libtorrent 10^7 bytes."""
LONGEST_QUESTION = 60.0
"""Seconds that all requests of a rung may take, before its metainfo is checked."""


def describe_wanted(settings: ObjectSettings) -> str:
    """Return a text that changes when the section asks for other metainfo."""
    parts: list[object] = [*settings.metainfo]
    parts += (settings.torrent_file, settings.piece_length, settings.private)
    # Nothing is added for the defaults, so that records of earlier releases stay good.
    if settings.bundle:
        parts.append("bundle")
    if settings.format != "v1":
        parts.append(settings.format)
    return " ".join(map(str, parts))


class Ladder:
    """Gets metainfo for the objects of one origin; what is under way is noted below `builds`."""

    def __init__(
        self, origin: S3Origin, cache: PieceCache[Torrent], builds: Path, rng: random.Random
    ) -> None:
        self._origin = origin
        self._cache = cache
        self.builds = Builds(builds)
        self._etags = EtagMeaning()
        self._verifier = Verifier(origin, cache, self.builds, self._etags, rng)
        self._supports = {rung: Support() for rung in ("origin", "sidecar", "checksums")}
        self._remarks = Remarks(_LOG)
        self._parts = PartReader(origin, self._remarks)

    async def climb(
        self,
        record: Record,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
        former: LastTorrent | None = None,
    ) -> Torrent:
        """Return a verified torrent of the object and note it in `record`.

        A build has its hashes compared with those of the `former` state.
        OriginError when S3 fails on the way; MetainfoError when no rung is left, or when the
        operator's own `torrent_file` doesn't fit.
        """
        pinned = record.pinned
        if isinstance(pinned, PinnedBundle):
            return await self._build_bundle(
                record, pinned, settings, meter, progress, former=former
            )
        if settings.torrent_file is not None:
            try:
                metainfo = await self._from_file(settings.torrent_file)
                tree = await self._verifier.verify(pinned, metainfo, settings, meter, progress)
            except MetainfoError as error:
                raise MetainfoError(
                    f"{pinned.ref}: torrent_file {settings.torrent_file} doesn't fit: {error}"
                ) from error
            return self._found(record, "torrent_file", metainfo.info, tree)
        left: dict[str, OriginUnreachable | ObjectChanged | ObjectMissing] = {}
        for rung in settings.metainfo:
            if rung in record.refused:
                continue
            if rung == "build":
                info, tree = await self._build(pinned, settings, meter, progress, former)
                return self._found(record, rung, info, tree)
            try:
                asked = await self._ask(rung, pinned, settings, meter)
            except (OriginUnreachable, ObjectChanged, ObjectMissing) as error:
                # Reading the object will show whether that is true of it.
                left[rung] = error
                self._remarks.say(
                    logging.WARNING,
                    f"left {rung} {type(error).__name__}",
                    pinned.ref,
                    f"{pinned.ref}: left metainfo from {rung}: {error}",
                    _advice(rung),
                )
                continue
            except (MetainfoError, OriginError) as error:
                self._refuse(record, rung, error)
                continue
            if asked is None:
                continue
            try:
                tree = await self._check(pinned, asked, settings, meter, progress)
            except (MetainfoError, OriginFault, AccessDenied) as error:
                self._refuse(record, rung, error)
            else:
                return self._found(record, rung, asked.info, tree)
        if left:
            # It may have metainfo all the same: the next round asks again.
            missed, why_left = left.popitem()
            text = f"{why_left}; metainfo from {missed} is needed here"
            raise type(why_left)(text) from why_left
        why = "; ".join(f"{rung}: {reason}" for rung, reason in record.refused.items())
        raise MetainfoError(
            f"{pinned.ref}: no metainfo from {', '.join(settings.metainfo)}"
            f'{f" ({why})" if why else ""}; add "build" to its metainfo list'
        )

    def _found(self, record: Record, rung: str, info: Info, tree: TreeFile | None) -> Torrent:
        record.info, record.rung, record.tree = info, rung, tree
        return Torrent(info, record.pinned, rung, tree)

    def _refuse(self, record: Record, rung: str, error: SeederError) -> None:
        ref = record.pinned.ref
        reason = record.refused[rung] = str(error).removeprefix(f"{label(ref)}: ")
        # What a sidecar has is its publisher's; all else is S3's, of all objects alike.
        whose = ref.key if rung == "sidecar" and isinstance(error, MetainfoError) else ""
        self._remarks.say(
            logging.WARNING,
            f"refused {rung} {whose} {_OF_ONE_OBJECT.sub('', reason)}",
            ref,
            f"{ref}: metainfo from {rung} refused: {reason}",
            _advice(rung),
        )

    def _say(self, kind: str, ref: ObjectRef, text: str, advice: str = "") -> None:
        self._remarks.say(logging.INFO, kind, ref, text, advice)

    async def _ask(
        self, rung: str, pinned: PinnedObject, settings: ObjectSettings, meter: Meter
    ) -> Metainfo | None:
        """Return the metainfo of a rung as it came; None where it has none.

        OriginError, MetainfoError; OriginUnreachable also when it takes too long, or took too long
        for other objects of late.
        """
        support = self._supports[rung]
        if support.hangs(trio.current_time()):
            raise OriginUnreachable(
                f"{label(pinned.ref)}: S3 hasn't answered in time for other objects"
            )
        with trio.move_on_after(LONGEST_QUESTION):
            if rung == "checksums":
                made = await self._from_checksums(pinned, settings, meter)
                found = None if made is None else Metainfo(made)
            else:
                ask = self._ask_origin if rung == "origin" else self._read_sidecar
                data = await ask(pinned, meter)
                found = None if data is None else parse_torrent(data)
            support.came()
            return found
        if not self._origin.hopes():  # else all of S3 is away, which says nothing of the question
            support.hung(trio.current_time())
        raise OriginUnreachable(
            f"{label(pinned.ref)}: S3 hasn't answered within {LONGEST_QUESTION:.0f} s"
        )

    async def _check(
        self,
        pinned: PinnedObject,
        metainfo: Metainfo,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
    ) -> TreeFile | None:
        """Check metainfo from outside; return as `Verifier.verify`. MetainfoError, OriginError."""
        info = metainfo.info
        if settings.private and not info.private:
            raise MetainfoError("it is not private, the configuration says private = true")
        if settings.piece_length not in (None, info.layout.piece_length):
            raise MetainfoError(
                f"its pieces are {info.layout.piece_length} bytes, the configuration says "
                f"piece_length = {settings.piece_length}"
            )
        return await self._verifier.verify(pinned, metainfo, settings, meter, progress)

    async def _ask_origin(self, pinned: PinnedObject, meter: Meter) -> bytes | None:
        support = self._supports["origin"]
        if support.absent:
            return None
        try:
            data = await self._origin.get_torrent(pinned, meter)
        except TorrentUnsupported as error:
            support.refused(error.for_every_key)
            self._say("no torrents", pinned.ref, str(error), _advice("origin"))
            return None
        support.answered()
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

    async def _from_checksums(
        self, pinned: PinnedObject, settings: ObjectSettings, meter: Meter
    ) -> Info | None:
        """Return the info whose piece hashes are S3's checksums of the parts.

        None where all of the object would be one piece and `build` is allowed: checking that piece
        would read the whole object as well, and a build cuts it finer.
        """
        if settings.format == "hybrid":
            text = f"{pinned.ref}: its checksums are not asked for: they can't make a hybrid"
            self._say("hybrids", pinned.ref, text)
            return None
        builds = "build" in settings.metainfo
        if not pinned.size or (builds and pinned.size <= SMALLEST_PART_LENGTH):
            return None
        found = await self._parts.find(pinned, settings.piece_length, meter)
        if found is None:
            return None
        layout, pieces = found
        if builds and layout.piece_count == 1:
            text = f"{pinned.ref}: its checksum is of all of it, hence of no use before build"
            self._say("whole checksums", pinned.ref, text)
            return None
        return _make_info(pinned, layout, pieces, settings)

    async def _from_file(self, path: Path) -> Metainfo:
        try:
            data = await trio.Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: can't be read: {error.strerror}") from error
        return parse_torrent(data)

    # -- build

    async def _build(
        self,
        pinned: PinnedObject,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
        former: LastTorrent | None,
    ) -> tuple[Info, TreeFile | None]:
        hybrid = settings.format == "hybrid"
        most = MOST_HYBRID_PIECES if hybrid else MOST_PIECES
        length = settings.piece_length or default_piece_length(pinned.size, most)
        layout = Layout(pinned.size, length)
        try:
            check_piece_count(layout, hybrid=hybrid)
        except MetainfoError as error:
            raise MetainfoError(f"{label(pinned.ref)}: {error}") from error
        builder = TreeBuilder(self.builds.tree(pinned.ref), Shape(layout)) if hybrid else None
        hasher = Hasher(
            self._origin,
            self._cache,
            meter,
            pinned,
            layout,
            etags=self._etags,
            tree=builder,
            former=former,
        )
        pieces = await hasher.run(self.builds.journal(pinned.ref), progress)
        tree = await trio.to_thread.run_sync(builder.finish) if builder else None
        return _make_info(pinned, layout, pieces, settings, tree), tree

    async def _build_bundle(
        self,
        record: Record,
        bundle: PinnedBundle,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
        *,
        former: LastTorrent | None,
    ) -> Torrent:
        """Hash what an earlier state doesn't tell, and discard that state's useless pieces.

        ObjectChanged if an object is no longer what the listing said. Work that goes through
        thousands of objects runs in threads.
        """
        plan = await trio.to_thread.run_sync(BundlePlan.of, bundle, record, settings)
        for name in plan.useless - (former.cache_ids if former is not None else frozenset()):
            self._cache.discard(name)
        make = partial(Hasher, self._origin, self._cache, meter, bundle, plan.layout)
        hasher = await trio.to_thread.run_sync(partial(make, etags=self._etags, former=former))
        try:
            pieces = await hasher.run(self.builds.journal(bundle.ref), progress, plan.known)
        except (ObjectChanged, ObjectMissing) as error:
            raise ObjectChanged(f"{error}; {label(bundle.ref)} is listed again") from error
        torrent = await trio.to_thread.run_sync(plan.torrent, pieces)
        record.info, record.rung = torrent.info, torrent.rung
        return torrent


def _advice(rung: str) -> str:
    return f'leave "{rung}" out of metainfo'


def _make_info(
    pinned: PinnedObject,
    layout: Layout,
    pieces: bytes,
    settings: ObjectSettings,
    tree: TreeFile | None = None,
) -> Info:
    raw = build_info(
        name=safe_name(pinned.ref.key),
        layout=layout,
        pieces=pieces,
        private=settings.private,
        root=tree.root if tree else None,
    )
    return parse_info(raw)
