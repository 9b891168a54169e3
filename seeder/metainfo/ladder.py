"""The metainfo ladder: from an object to an info dictionary that is true of it.

Rungs are tried in the configured order: `origin` asks S3 (GetObjectTorrent), `sidecar` reads
KEY.torrent beside the object, `checksums` takes S3's SHA-1 of each part for that of a piece, and
`build` hashes the object (`seeder.metainfo.building`). What comes from outside is checked by
`seeder.metainfo.verify`; where it fails, the next rung is tried, and the log says why. A rung that
got no answer is left, and asked again while the object is read.
"""

import logging
import random
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings, Rung, TorrentFormat
from seeder.errors import (
    AccessDenied,
    BudgetSpent,
    MetainfoError,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SeederError,
    StorageError,
)
from seeder.metainfo.building import BuildRung
from seeder.metainfo.hashing import LastTorrent, OnProgress
from seeder.metainfo.journal import Builds
from seeder.metainfo.questions import Questions, advice_on
from seeder.metainfo.records import Record
from seeder.metainfo.trees import TreeFile
from seeder.metainfo.verify import Verifier
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.answers import label
from seeder.s3.client import S3Origin
from seeder.s3.remarks import Remarks
from seeder.torrent.info import Info, Metainfo, parse_torrent
from seeder.torrent.objects import Meter, PinnedBundle, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import MIB, rounded_size

_LOG = logging.getLogger(__name__)

_OF_ONE_OBJECT = re.compile(r"'[^']*'|\d+")
"""What differs from object to object in what is wrong with their torrents."""
AGAIN_AFTER = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds until what got no answer is asked again, each time."""
WORTH_ASKING = 64 * MIB
"""Bytes that are still to be read, below which an answer hardly saves anything."""


def describe_wanted(settings: ObjectSettings) -> str:
    """Return a text that changes when the section asks for other metainfo."""
    return _describe_wanted(
        settings.metainfo,
        settings.torrent_file,
        settings.piece_length,
        private=settings.private,
        bundle=settings.bundle,
        format=settings.format,
    )


@lru_cache(maxsize=64)
def _describe_wanted(
    rungs: tuple[Rung, ...],
    torrent_file: Path | None,
    piece_length: int | None,
    *,
    private: bool,
    bundle: bool,
    format: TorrentFormat,
) -> str:
    # Most of a hundred thousand sections ask for the same.
    parts: list[object] = [*rungs, torrent_file, piece_length, private]
    # Nothing is added for the defaults, so that records of earlier releases stay good.
    if bundle:
        parts.append("bundle")
    if format != "v1":
        parts.append(format)
    return " ".join(map(str, parts))


@dataclass(slots=True)
class _Climb:
    """One object's way up."""

    record: Record
    settings: ObjectSettings
    meter: Meter
    progress: OnProgress
    former: LastTorrent | None
    unread: int
    """Bytes that a build has still to read."""
    left: dict[str, OriginUnreachable | ObjectChanged | ObjectMissing] = field(default_factory=dict)
    """The rungs without an answer, or with one about another state; reading will show."""

    @property
    def pinned(self) -> PinnedObject:
        return self.record.pinned

    def tell(self, done: int, size: int) -> None:
        """Take note of how far a build is, and pass it on."""
        self.unread = size - done
        self.progress(done, size)


def _give_up(climb: _Climb) -> NoReturn:
    """Raise why no rung has led to metainfo: one that got no answer, or all that were refused."""
    ref, settings = climb.pinned.ref, climb.settings
    if climb.left:
        # It may have metainfo all the same: the next round asks again.
        missed, why_left = climb.left.popitem()
        text = f"{why_left}; metainfo from {missed} is needed here"
        raise type(why_left)(text) from why_left
    why = "; ".join(f"{rung}: {reason}" for rung, reason in climb.record.refused.items())
    raise MetainfoError(
        f"{ref}: no metainfo from {', '.join(settings.metainfo)}"
        f'{f" ({why})" if why else ""}; add "build" to its metainfo list'
    )


class Ladder:
    """Gets metainfo for the objects of one origin; what is under way is noted below `builds`."""

    def __init__(
        self, origin: S3Origin, cache: PieceCache[Torrent], builds: Path, rng: random.Random
    ) -> None:
        self.builds = Builds(builds)
        etags = EtagMeaning()
        self._verifier = Verifier(origin, cache, self.builds, etags, rng)
        self._last = BuildRung(origin, cache, self.builds, etags)
        self._remarks = Remarks(_LOG)
        self._questions = Questions(origin, self._remarks)

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
            torrent = await self._last.build_bundle(
                record, pinned, settings, meter, progress, former=former
            )
            record.info, record.rung = torrent.info, torrent.rung
            return torrent
        climb = _Climb(record, settings, meter, progress, former, pinned.size)
        if settings.torrent_file is not None:
            return await self._take_file(climb, settings.torrent_file)
        for rung in settings.metainfo:
            if rung in record.refused:
                continue
            if rung == "build":
                return await self._build_and_ask(climb)
            asked = await self._ask(climb, rung)
            found = None if asked is None else await self._take(climb, rung, asked)
            if found is not None:
                return found
        _give_up(climb)

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
            advice_on(rung),
        )

    # -- what comes from outside

    async def _ask(self, climb: _Climb, rung: str) -> Metainfo | None:
        """Return what a rung has, still to be checked; note why it is left, or refused."""
        ref = climb.pinned.ref
        try:
            asked = await self._questions.ask(rung, climb.pinned, climb.settings, climb.meter)
        except (OriginUnreachable, ObjectChanged, ObjectMissing) as error:
            if rung not in climb.left:
                self._remarks.say(
                    logging.WARNING,
                    f"left {rung} {type(error).__name__}",
                    ref,
                    f"{ref}: left metainfo from {rung}: {error}",
                    advice_on(rung),
                )
            climb.left[rung] = error
            return None
        except (MetainfoError, OriginError) as error:
            self._refuse(climb.record, rung, error)
            asked = None
        climb.left.pop(rung, None)
        return asked

    async def _take(self, climb: _Climb, rung: str, asked: Metainfo) -> Torrent | None:
        """Return a torrent of what a rung has, None if it is refused or left to the build."""
        try:
            if rung == "checksums" and climb.former is not None:
                kept = await self._compare(climb, climb.former, asked)
                if kept is None:
                    return None
                asked = kept
            tree = await self._check(climb, asked)
        except (MetainfoError, OriginFault, AccessDenied) as error:
            self._refuse(climb.record, rung, error)
            return None
        return self._found(climb.record, rung, asked.info, tree)

    async def _compare(
        self, climb: _Climb, former: LastTorrent, asked: Metainfo
    ) -> Metainfo | None:
        """Return what the checksums make of an object that has a torrent, or that torrent's info.

        None where they can't tell whether it has the bytes of that torrent, and probably it has:
        a build does, and keeps the torrent's info hash. OriginError.
        """
        builds = "build" in climb.settings.metainfo
        known = None if former.hybrid else await former.fetch_info()
        if known is not None and known.layout == asked.info.layout:
            return Metainfo(known) if known.pieces == asked.info.pieces else asked
        if not builds or (known is None and not former.hybrid):
            return asked
        if known is not None and climb.settings.verify != "all":
            try:
                await self._check(climb, Metainfo(known))
            except MetainfoError:
                return asked
        _LOG.info(
            "%s: its checksums are of other pieces than its torrent has; it is read, so that its"
            " info hash stays",
            climb.pinned.ref,
        )
        return None

    async def _check(self, climb: _Climb, metainfo: Metainfo) -> TreeFile | None:
        """Check metainfo from outside; return as `Verifier.verify`. MetainfoError, OriginError."""
        info, settings = metainfo.info, climb.settings
        if settings.private and not info.private:
            raise MetainfoError("it is not private, the configuration says private = true")
        if settings.piece_length not in (None, info.layout.piece_length):
            raise MetainfoError(
                f"its pieces are {info.layout.piece_length} bytes, the configuration says "
                f"piece_length = {settings.piece_length}"
            )
        return await self._verifier.verify(
            climb.pinned, metainfo, settings, climb.meter, climb.progress
        )

    async def _take_file(self, climb: _Climb, path: Path) -> Torrent:
        """Return a torrent of the operator's own file; MetainfoError, StorageError, OriginError."""
        pinned = climb.pinned
        try:
            metainfo = await self._from_file(path)
            tree = await self._verifier.verify(
                pinned, metainfo, climb.settings, climb.meter, climb.progress
            )
        except MetainfoError as error:
            raise MetainfoError(
                f"{pinned.ref}: torrent_file {path} doesn't fit: {error}"
            ) from error
        return self._found(climb.record, "torrent_file", metainfo.info, tree)

    async def _from_file(self, path: Path) -> Metainfo:
        try:
            data = await trio.Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: can't be read: {error.strerror}") from error
        return parse_torrent(data)

    # -- build

    async def _build_and_ask(self, climb: _Climb) -> Torrent:
        """Read the object; meanwhile ask again what got no answer, if that may spare the rest."""
        while climb.left and climb.settings.verify != "all":
            came: list[tuple[str, Metainfo]] = []
            built: list[Torrent] = []
            failed: list[SeederError] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask_again, climb, came, nursery.cancel_scope)
                try:
                    built.append(await self._build(climb))
                except SeederError as error:
                    failed.append(error)
                nursery.cancel_scope.cancel()
            if failed:
                raise failed.pop()  # else it would be kept by its own traceback
            if built:
                return built[0]
            # What was read stays in the journal, should this be wrong.
            for rung, asked in came:
                unread = climb.unread
                found = await self._take(climb, rung, asked)
                if found is not None:
                    _LOG.info(
                        "%s: metainfo from %s has come after all; %s of it needn't be read",
                        climb.pinned.ref,
                        rung,
                        rounded_size(unread),
                    )
                    self._last.discard(climb.pinned, climb.settings, found, climb.former)
                    return found
        return await self._build(climb)

    async def _ask_again(
        self, climb: _Climb, came: list[tuple[str, Metainfo]], build: trio.CancelScope
    ) -> None:
        """Ask the rungs that were left a few times more; end the build when one has something."""
        for pause in AGAIN_AFTER:
            await trio.sleep(pause)
            for rung in tuple(climb.left):
                if climb.unread < WORTH_ASKING:
                    return
                try:
                    asked = await self._ask(climb, rung)
                except BudgetSpent:
                    return  # the build says so
                if asked is not None:
                    came.append((rung, asked))
                    build.cancel()
                    return

    async def _build(self, climb: _Climb) -> Torrent:
        info, tree = await self._last.build(
            climb.pinned, climb.settings, climb.meter, climb.tell, climb.former
        )
        return self._found(climb.record, "build", info, tree)
