"""Metainfo that somebody wants made anew: of one object, or of all below a prefix, a few at a time.

A prefix may have a hundred thousand objects. Their keys wait as they are; only those whose turn it
is have a task.
"""

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import replace

import trio

from seeder.net.guards import sparing_others
from seeder.publish.keepers import Keepers
from seeder.publish.makers import CLIMBS
from seeder.torrent.objects import ObjectRef

_LOG = logging.getLogger(__name__)

REHASHED_AT_ONCE = 2 * CLIMBS
"""Objects that are looked at for it: while some are read, others ask S3 how they stand."""

PATIENCE = 10.0
"""Seconds for which one that fails is waited for: while S3 is away, the others had better wait."""


class Rehashing:
    """Has `keepers` make metainfo anew, in a task of its own."""

    def __init__(self, keepers: Keepers) -> None:
        self._keepers = keepers
        self._alone: OrderedDict[ObjectRef, None] = OrderedDict()
        self._below: dict[ObjectRef, deque[str]] = {}
        """The keys that wait, by prefix."""
        self._under_way: Counter[ObjectRef] = Counter()
        """How many are looked at, by prefix."""
        self._something = trio.Event()

    def ask(self, ref: ObjectRef) -> bool:
        """Have one object's made anew, before those of prefixes; False if it isn't published."""
        rounds = self._keepers.rounds_of(ref)
        if rounds is None:
            return False
        rounds.note_asked()
        self._alone[ref] = None
        self._something.set()
        return True

    def ask_below(self, prefix: ObjectRef, keys: Iterable[str]) -> None:
        """Have those of a prefix's objects made anew, by key."""
        self._below[prefix] = deque(keys)
        self._something.set()

    def left(self, prefix: ObjectRef) -> int:
        """Return how many objects of a prefix wait for it, or are looked at."""
        return len(self._below.get(prefix, ())) + self._under_way[prefix]

    async def run(self) -> None:
        """Work until cancelled."""
        slots = trio.Semaphore(REHASHED_AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                await slots.acquire()
                while (found := self._next()) is None:
                    self._something = trio.Event()
                    await self._something.wait()
                ref, prefix = found
                if prefix is not None:
                    self._under_way[prefix] += 1
                nursery.start_soon(self._make, ref, prefix, slots)

    def _next(self) -> tuple[ObjectRef, ObjectRef | None] | None:
        """Return whose turn it is, and the prefix for which it is."""
        if self._alone:
            return self._alone.popitem(last=False)[0], None
        for prefix, keys in tuple(self._below.items()):
            if keys:
                return replace(prefix, key=keys.popleft()), prefix
            del self._below[prefix]
        return None

    async def _make(self, ref: ObjectRef, prefix: ObjectRef | None, slots: trio.Semaphore) -> None:
        """Have one made anew; one that can't be for a while makes room, and tries on by itself."""
        with sparing_others(_LOG, "%s", ref):
            rounds = self._keepers.rehash(ref)
            if rounds is not None:
                await rounds.wait_look()
                with trio.move_on_after(PATIENCE):
                    while rounds.looked.fault is not None and await rounds.wait_look():
                        pass
        slots.release()
        if prefix is not None:
            self._under_way[prefix] -= 1
            self._under_way += Counter()  # without those that are 0
