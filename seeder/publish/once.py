"""Metainfo that is made by one node of a cluster, and taken by the others.

An object's owners make it: whoever of them comes first. What it reads for that goes to its cache,
from which it then seeds. The others wait, and ask S3 for nothing.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable

import trio

from seeder.cluster.workshop import Workshop
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore, file_stem
from seeder.torrent.objects import ObjectRef, PinnedObject, same_state

PLACES = 16
"""Objects for which leases are held at a time: those that are made, and the next ones."""
_STEM = 32
"""Characters at the start of a name that say which object it is of."""


class MadeOnce:
    """Has metainfo made here, or waits for that of another node.

    `may_make` tells whether it is ours to make that of an object, as things stand.
    """

    def __init__(
        self, workshop: Workshop, store: MetainfoStore, may_make: Callable[[ObjectRef], bool]
    ) -> None:
        self._workshop = workshop
        self._store = store
        self._may_make = may_make
        self._places = trio.CapacityLimiter(PLACES)
        workshop.export = self._export

    async def obtain(
        self, record: Record, make: Callable[[], Awaitable[None]], wait: Callable[[], None]
    ) -> None:
        """Have a record's metainfo noted in it, by `make` or by another node.

        `wait` is called when it is another one that makes it. What `make` raises; StorageError.
        """
        ref, name = record.pinned.ref, _name_of(record.pinned, record.wanted)
        # What has turned out wrong may be what the others have.
        anew = bool(record.doubted or record.refused)

        def may_make() -> bool:
            return self._may_make(ref)

        while True:
            found: bytes | bool = False
            if not anew or not may_make():
                found = await self._workshop.claim(name, may_make=False)
            if isinstance(found, bytes):
                if await self._take(record, found):
                    return
                anew = True
            if may_make():
                async with self._places:
                    if anew or await self._workshop.claim(name, may_make=True) is True:
                        async with self._workshop.holding(name):
                            await make()
                            await self._give(name)
                        return
            wait()
            await self._workshop.wait(name, may_make)

    async def _take(self, record: Record, exported: bytes) -> bool:
        """Take over what another node made; False if it is of no use."""
        store, pinned = self._store, record.pinned
        taken = await trio.to_thread.run_sync(store.take, pinned.ref, exported)
        if (
            taken is None
            or taken.info is None
            or taken.wanted != record.wanted
            or not same_state(taken.pinned, pinned)
        ):
            return False
        record.info, record.outline, record.rung = taken.info, taken.outline, taken.rung
        record.tree, record.refused = taken.tree, taken.refused
        record.published, record.similar = taken.published, taken.similar
        record.earlier, record.doubted = None, frozenset()
        return True

    async def _give(self, name: str) -> None:
        """Hand what was made to the other nodes."""
        made = await self._export(name)
        if made is not None:
            await self._workshop.put(name, made)

    async def _export(self, name: str) -> bytes | None:
        """Return what has a name, if it is on our disk."""
        found = await trio.to_thread.run_sync(self._store.export, name[:_STEM])
        if found is None:
            return None
        record, exported = found
        return exported if _name_of(record.pinned, record.wanted) == name else None


def _name_of(pinned: PinnedObject, wanted: str) -> str:
    """Return the name of the metainfo of an object in one state, cut as an entry wants it."""
    state = json.dumps([pinned.tag, pinned.size, pinned.version_id, wanted])
    return file_stem(pinned.ref) + hashlib.sha256(state.encode()).hexdigest()[:_STEM]
