"""What S3 may be asked for metainfo before an object is read: optional, each of them.

`origin` is GetObjectTorrent, `sidecar` reads KEY.torrent beside the object, `checksums` takes S3's
SHA-1 of each part for that of a piece. A question that got no answer is asked again while the
object is read, as long as there is much left to read: see `ladder`.
"""

import logging

import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import (
    AccessDenied,
    ObjectMissing,
    OriginUnreachable,
    TorrentUnsupported,
)
from seeder.metainfo.checksums import SMALLEST_PART_LENGTH, PartReader
from seeder.metainfo.trees import TreeFile
from seeder.s3.answers import label
from seeder.s3.client import S3Origin
from seeder.s3.remarks import Remarks
from seeder.s3.support import Support
from seeder.torrent.info import (
    LARGEST_TORRENT_FILE,
    Info,
    Metainfo,
    build_info,
    parse_info,
    parse_torrent,
    safe_name,
)
from seeder.torrent.layout import Layout
from seeder.torrent.objects import Meter, ObjectRef, PinnedObject

LONGEST_QUESTION = 60.0
"""Seconds that all requests of a rung may take, before its metainfo is checked."""


class Questions:
    """Asks one origin, and knows which of the questions it doesn't understand."""

    def __init__(self, origin: S3Origin, remarks: Remarks) -> None:
        self._origin = origin
        self._supports = {rung: Support() for rung in ("origin", "sidecar", "checksums")}
        self._remarks = remarks
        self._parts = PartReader(origin, remarks)

    async def ask(
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

    def _say(self, kind: str, ref: ObjectRef, text: str, advice: str = "") -> None:
        self._remarks.say(logging.INFO, kind, ref, text, advice)

    async def _ask_origin(self, pinned: PinnedObject, meter: Meter) -> bytes | None:
        support = self._supports["origin"]
        if support.absent:
            return None
        try:
            data = await self._origin.get_torrent(pinned, meter)
        except TorrentUnsupported as error:
            support.refused(error.for_every_key)
            self._say("no torrents", pinned.ref, str(error), advice_on("origin"))
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
        return make_info(pinned, layout, pieces, settings)


def advice_on(rung: str) -> str:
    """Return what spares asking for metainfo from a rung, for the log."""
    return f'leave "{rung}" out of metainfo'


def make_info(
    pinned: PinnedObject,
    layout: Layout,
    pieces: bytes,
    settings: ObjectSettings,
    tree: TreeFile | None = None,
) -> Info:
    """Return the info of an object with these hashes, 20 bytes a piece."""
    raw = build_info(
        name=safe_name(pinned.ref.key),
        layout=layout,
        pieces=pieces,
        private=settings.private,
        root=tree.root if tree else None,
    )
    return parse_info(raw)
