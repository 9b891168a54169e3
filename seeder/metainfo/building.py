"""The last rung of the ladder: the object, or a bundle's objects, read and hashed.

What an earlier state of the object tells is used: the way in which its torrent is cut, what it has
in a bundle, and its info dictionary where the hashes turn out to be the same.
"""

from functools import partial

import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.errors import MetainfoError, ObjectChanged, ObjectMissing
from seeder.metainfo.bundles import BundlePlan
from seeder.metainfo.hashing import Hasher, LastTorrent, OnProgress
from seeder.metainfo.journal import Builds
from seeder.metainfo.questions import make_info
from seeder.metainfo.records import Record
from seeder.metainfo.trees import TreeBuilder, TreeFile
from seeder.metainfo.whole import EtagMeaning
from seeder.s3.answers import label
from seeder.s3.client import S3Origin
from seeder.torrent.info import Info
from seeder.torrent.layout import (
    MOST_HYBRID_PIECES,
    MOST_PIECES,
    Layout,
    check_piece_count,
    default_piece_length,
)
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import Meter, PinnedBundle, PinnedObject, cache_id
from seeder.torrent.torrent import Torrent


class BuildRung:
    """Builds metainfo for the objects of one origin; what is under way is noted below `builds`.

    `former` is always the torrent of the object's last state, if there is one.
    """

    def __init__(
        self, origin: S3Origin, cache: PieceCache[Torrent], builds: Builds, etags: EtagMeaning
    ) -> None:
        self._origin = origin
        self._cache = cache
        self._builds = builds
        self._etags = etags

    async def build(
        self,
        pinned: PinnedObject,
        settings: ObjectSettings,
        meter: Meter,
        progress: OnProgress,
        former: LastTorrent | None,
    ) -> tuple[Info, TreeFile | None]:
        """Return an object's info, and the tree of a hybrid. MetainfoError, OriginError.

        Cancelled, it goes on where it was the next time.
        """
        layout, hybrid = _layout(pinned, settings, former), _is_hybrid(settings, former)
        try:
            check_piece_count(layout, hybrid=hybrid)
        except MetainfoError as error:
            raise MetainfoError(f"{label(pinned.ref)}: {error}") from error
        builder = TreeBuilder(self._builds.tree(pinned.ref), Shape(layout)) if hybrid else None
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
        pieces = await hasher.run(self._builds.journal(pinned.ref), progress)
        tree = await trio.to_thread.run_sync(builder.finish) if builder else None
        info = None if former is None else await _info_of(former, layout, pieces, tree)
        if info is None:
            info = make_info(pinned, layout, pieces, settings, tree)
        return info, tree

    def discard(
        self,
        pinned: PinnedObject,
        settings: ObjectSettings,
        found: Torrent,
        former: LastTorrent | None,
    ) -> None:
        """Forget the pieces that a build has read, unless the torrent `found` instead has them."""
        name = cache_id(pinned, _layout(pinned, settings, former).piece_length)
        if name != found.cache_id and name not in _cache_ids(former):
            self._cache.discard(name)

    async def build_bundle(
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
        for name in plan.useless - _cache_ids(former):
            self._cache.discard(name)
        make = partial(Hasher, self._origin, self._cache, meter, bundle, plan.layout)
        hasher = await trio.to_thread.run_sync(partial(make, etags=self._etags, former=former))
        try:
            pieces = await hasher.run(self._builds.journal(bundle.ref), progress, plan.known)
        except (ObjectChanged, ObjectMissing) as error:
            raise ObjectChanged(f"{error}; {label(bundle.ref)} is listed again") from error
        return await trio.to_thread.run_sync(plan.torrent, pieces)


def _layout(pinned: PinnedObject, settings: ObjectSettings, former: LastTorrent | None) -> Layout:
    """Return how a build cuts the object: as its torrent is cut, if there is one."""
    size = pinned.size
    if settings.piece_length is not None:
        return Layout(size, settings.piece_length)
    if former is not None and former.layout.size == size:
        return former.layout
    most = MOST_HYBRID_PIECES if _is_hybrid(settings, former) else MOST_PIECES
    return Layout(size, default_piece_length(size, most))


def _is_hybrid(settings: ObjectSettings, former: LastTorrent | None) -> bool:
    return settings.format == "hybrid" or (former is not None and former.hybrid)


def _cache_ids(former: LastTorrent | None) -> frozenset[str]:
    return frozenset() if former is None else former.cache_ids


async def _info_of(
    former: LastTorrent, layout: Layout, pieces: bytes, tree: TreeFile | None
) -> Info | None:
    """Return the info of an object's last torrent, if that has these hashes as well."""
    info = await former.fetch_info()
    if info is None or info.layout != layout or info.pieces != pieces:
        return None
    if tree is not None and (info.v2 is None or info.v2.root != tree.root):
        return None
    return info
