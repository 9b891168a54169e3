"""News of objects: what is asked of S3 because of them, and how much of that.

They only hurry. What an object is like, HEAD says, or the listing of its prefix; so news may be
late, twice, in any order or forged, and each costs at most one HEAD. Many at a time below one
prefix cost a listing instead.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

import trio

from seeder.errors import SeederError
from seeder.net.guards import Lapses
from seeder.publish.keepers import Keepers
from seeder.publish.prefixes import Prefixes
from seeder.s3.listing import SIDECAR
from seeder.s3.notifications import News
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef, PinnedObject, opaque
from seeder.torrent.publications import State

_LOG = logging.getLogger(__name__)

ASKED_AT_ONCE = 8
RATE, BURST = 5.0, 200.0
"""HEADs a second that news may cost in the long run, and at once."""
CROWD = 100
"""News of one prefix that wait: with more, it is listed instead."""
LIST_EVERY = 30.0
"""Seconds between two listings of one prefix, or of one bundle, because of news."""
_UNSETTLED = (State.WAITING, State.BUILDING)


@dataclass(slots=True)
class _Listing:
    """When a prefix or a bundle was listed last because of news (trio's clock), and who waits."""

    at: float = -inf
    due: bool = False


class NewsDesk:
    """Hears the news of all origins, in a task of its own."""

    def __init__(self, catalog: Catalog, keepers: Keepers, prefixes: Prefixes) -> None:
        self._catalog = catalog
        self._keepers = keepers
        self._prefixes = prefixes
        self._waiting: OrderedDict[ObjectRef, ObjectRef | None] = OrderedDict()
        """Objects that S3 is to be asked about, each with its prefix."""
        self._crowds: dict[ObjectRef, int] = {}
        """How many of them are below each prefix."""
        self._asked: set[ObjectRef] = set()
        self._listings: dict[ObjectRef, _Listing] = {}
        self._something = trio.Event()
        self._credit = BURST
        self._credit_at = trio.current_time()

    def hear(self, origin: str, news: News) -> Literal["asked", "known", "ignored", "crowded"]:
        """Take note of news, and say what becomes of them."""
        heard: list[Literal["asked", "known", "crowded"]] = []
        ref = ObjectRef(origin, news.bucket, news.key)
        for each in {ref, ObjectRef(origin, news.bucket, news.key, news.version_id)}:
            settings = self._prefixes.entries.objects.get(each)
            if settings is not None and not settings.bundle:
                publication = self._catalog.publications.get(each)
                known = None if publication is None else publication.pinned
                is_known = _tells(news, known) and not self._is_put_off(each)
                heard.append("known" if is_known else self._line_up(each, None))
        prefix = self._prefixes.entries.prefix_of(ref)
        if prefix is not None:
            heard += self._hear_below(prefix, ref, news)
        for bundle in self._prefixes.entries.bundles_of(ref):
            self._list_soon(bundle)
            heard.append("crowded")
        # What costs most says what became of them.
        return next((each for each in ("asked", "crowded", "known") if each in heard), "ignored")

    def _hear_below(
        self, prefix: ObjectRef, ref: ObjectRef, news: News
    ) -> Iterator[Literal["asked", "known", "crowded"]]:
        objects = self._prefixes.objects_below(prefix)
        if ref.key.endswith(SIDECAR):
            of = ref.key.removesuffix(SIDECAR)
            if of in objects or replace(ref, key=of) in self._prefixes.entries.objects:
                return
        listed = objects.get(ref.key)
        state = None if listed is None else PinnedObject(ref, listed.etag, listed.size)
        is_known = _tells(news, state) or (news.removed and listed is None)
        is_known = is_known and not self._is_put_off(ref)
        yield "known" if is_known else self._line_up(ref, prefix)

    def _is_put_off(self, ref: ObjectRef) -> bool:
        """Tell whether S3 refused an object that is published: it may give it now."""
        rounds = self._keepers.rounds_of(ref)
        return rounds is not None and rounds.is_put_off

    def is_busy_with(self, origin: str, news: News) -> bool:
        """Tell whether an object isn't settled yet: asked about, waiting, or hashed."""
        ref = ObjectRef(origin, news.bucket, news.key)
        if ref in self._waiting or ref in self._asked:
            return True
        publication = self._catalog.publications.get(ref)
        return publication is not None and publication.state in _UNSETTLED

    def ask(self, ref: ObjectRef, prefix: ObjectRef) -> None:
        """Have S3 asked about an object below a prefix, as after news of it."""
        self._line_up(ref, prefix)

    def _line_up(self, ref: ObjectRef, prefix: ObjectRef | None) -> Literal["asked", "crowded"]:
        if ref in self._waiting:
            return "asked"
        if prefix is not None:
            listing = self._listings.get(prefix)
            if listing is not None and listing.due:
                return "crowded"
            crowd = self._crowds[prefix] = self._crowds.get(prefix, 0) + 1
            if crowd > CROWD:
                self._list_soon(prefix)
                return "crowded"
        self._waiting[ref] = prefix
        self._something.set()
        return "asked"

    def _list_soon(self, ref: ObjectRef) -> None:
        """Have a prefix or a bundle listed, and nothing below it asked about."""
        listing = self._listings.setdefault(ref, _Listing())
        if listing.due:
            return  # nothing has lined up since
        listing.due = True
        for each in [each for each, prefix in self._waiting.items() if prefix == ref]:
            del self._waiting[each]
        self._crowds.pop(ref, None)
        self._something.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        slots = trio.Semaphore(ASKED_AT_ONCE)
        async with trio.open_nursery() as nursery:
            lapses = Lapses(_LOG, "what S3 tells of its own accord")
            while True:
                async with lapses.spared():
                    await self._go_on(nursery, slots)

    async def _go_on(self, nursery: trio.Nursery, slots: trio.Semaphore) -> None:
        """Begin with what comes next, or wait for it."""
        pause = min(self._begin_listings(), self._wait_for_turn())
        if pause > 0:
            with trio.move_on_after(pause):
                await self._something.wait()
            self._something = trio.Event()
            return
        await slots.acquire()
        if not self._waiting:
            slots.release()
            return
        ref, prefix = self._waiting.popitem(last=False)
        self._credit -= 1
        self._asked.add(ref)
        nursery.start_soon(self._ask, ref, prefix, slots)

    def _begin_listings(self) -> float:
        """Begin the listings whose time has come; return the seconds until the next one."""
        now, pause = trio.current_time(), inf
        for ref, listing in tuple(self._listings.items()):
            wait = listing.at + LIST_EVERY - now
            if listing.due and wait <= 0:
                listing.at, listing.due = now, False
                rounds = self._keepers.rounds_of(ref) or self._prefixes.rounds_of(ref)
                if rounds is not None:
                    rounds.wake()
            elif listing.due:
                pause = min(pause, wait)
            elif wait <= 0:
                del self._listings[ref]
        return pause

    def _wait_for_turn(self) -> float:
        """Return the seconds until the next object may be asked about; inf if there is none."""
        now = trio.current_time()
        self._credit = min(BURST, self._credit + (now - self._credit_at) * RATE)
        self._credit_at = now
        return max(0.0, 1 - self._credit) / RATE if self._waiting else inf

    async def _ask(self, ref: ObjectRef, prefix: ObjectRef | None, slots: trio.Semaphore) -> None:
        try:
            if prefix is not None:
                await self._prefixes.ask(prefix, ref.key)
            elif (rounds := self._keepers.rounds_of(ref)) is not None:
                rounds.wake()
        except SeederError as error:
            _LOG.debug("%s: %s; its prefix is listed instead", ref, error)
            if prefix is not None:
                self._list_soon(prefix)
        except Exception:
            _LOG.exception("%s: internal error", ref)
        finally:
            slots.release()
            self._asked.discard(ref)
            if prefix is not None:
                self._leave_crowd(prefix)

    def _leave_crowd(self, prefix: ObjectRef) -> None:
        left = self._crowds.get(prefix, 0) - 1
        if left > 0:
            self._crowds[prefix] = left
        else:
            self._crowds.pop(prefix, None)


def _tells(news: News, known: PinnedObject | None) -> bool:
    """Tell whether news say of an object what is known of it."""
    if known is None or news.removed or news.etag is None:
        return False
    return news.etag == opaque(known.etag) and news.size in (None, known.size)
