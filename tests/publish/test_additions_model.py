"""Whatever is added, changed, removed and reloaded at once: what is told is what is served.

Steps come in handfuls that run at the same time. After each, file, entries, publications and live
torrents have to be one another's, and what was answered has to add up.
"""

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from seeder.config.added import (
    ADDED,
    AddedFile,
    EntryName,
    WrittenEntry,
    check_entry,
    in_force,
    name_of,
)
from seeder.config.fields import SourceFile
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.errors import ConfigError, EntryConflict
from seeder.publish.additions import Additions
from seeder.publish.entries import Entries
from seeder.s3.client import S3Origin
from seeder.s3.notifications import News
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.publish.support import World, make_world
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import QUICK

KEYS = ("a", "d/a", "d/b", "d/x/a", "d/x/b")
SOURCE = SourceFile(Path("/"), frozenset({"default"}))
PATIENCE = 60.0

places: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        *({"key": key} for key in KEYS),
        *({"prefix": prefix} for prefix in ("", "d/", "d/x/")),
        *({"prefix": prefix, "bundle": True} for prefix in ("d/", "d/x/")),
    ]
)
patches = st.sampled_from(
    [
        *({"refresh": "1h"}, {"refresh": None}, {"public": False}, {"piece_length": "32 KiB"}),
        *({"publish_at": "2999-01-01T00:00:00Z"}, {"publish_at": "2001-01-01T00:00:00Z"}),
    ]
)


def entry_of(place: dict[str, Any], patch: dict[str, Any]) -> WrittenEntry:
    known = {key: value for key, value in patch.items() if value is not None}
    return {"bucket": "bucket", "metainfo": ["build"], **place, **known}


entries = st.builds(entry_of, places, patches)
names = places.map(lambda place: name_of(check_entry(entry_of(place, {}), SOURCE)))
steps = st.one_of(
    st.tuples(st.just("add"), entries),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("change"), st.tuples(names, patches)),
    st.tuples(st.just("configure"), st.lists(entries, max_size=2, unique_by=str)),
    st.tuples(st.just("refresh"), names),
    st.tuples(st.just("rehash"), names),
    st.tuples(st.just("hear"), st.sampled_from(KEYS)),
)


async def _prepare(_: object) -> None:
    """Nothing needs a passkey here."""


class Site:
    """A publisher with added entries in a loop of its own thread, and its S3 server."""

    def __init__(self, path: Path, objects: dict[str, bytes]) -> None:
        self.path, self.server = path, ObjectsServer(objects=objects)
        self.configured: list[ObjectSettings] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    async def _main(self) -> None:
        self._stop, self._token = trio.Event(), trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            faults = FaultServer(default=self.server.serve)
            await nursery.start(faults.run)

            async def make(**more: Any) -> S3Origin:
                wanted = OriginSettings(endpoint=faults.url, path_style=True)
                origin = S3Origin(wanted, rng=random.Random(7), policy=QUICK)
                await nursery.start(origin.run)
                return origin

            async with make_world(self.server, make, self.path) as self.world:
                self.additions = Additions(
                    AddedFile(self.path / ADDED),
                    SOURCE,
                    self.world.publisher,
                    prepare=_prepare,
                    clock=lambda: time.time_ns() // 1000,
                    configured_in="the file",
                )
                await nursery.start(self.additions.run, self.configured)
                self._ready.set()
                await self._stop.wait()
            nursery.cancel_scope.cancel()

    def call(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def stop(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()


class AdditionsMachine(RuleBasedStateMachine):
    """What is said to be there is what is there, and nothing else is."""

    @initialize()
    def start(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.objects = {key: key.encode() * 40_000 for key in KEYS}
        self.there: Counter[EntryName] = Counter()
        self.configured: list[ObjectSettings] = []
        self.site = Site(self.path, self.objects)

    def teardown(self) -> None:
        if hasattr(self, "site"):
            self.site.stop()
            shutil.rmtree(self.path)

    @rule(handful=st.lists(steps, min_size=1, max_size=8))
    def at_once(self, handful: list[tuple[str, Any]]) -> None:
        self.site.call(self._at_once, handful)

    @rule(key=st.sampled_from(KEYS), size=st.integers(1, 3))
    def replace(self, key: str, size: int) -> None:
        # Of each its own: two of one name and content would be duplicates.
        self.objects[key] = random.Random(f"{key} {size}").randbytes(10_000 * size)
        self.site.call(self._at_once, [("hear", key)])

    @precondition(lambda self: hasattr(self, "site"))
    @rule()
    def restart(self) -> None:
        self.site.stop()
        self.site = Site(self.path, self.objects)
        self.configured = []
        self.site.call(self._agree)

    async def _at_once(self, handful: Iterable[tuple[str, Any]]) -> None:
        async with trio.open_nursery() as nursery:
            for kind, about in handful:
                nursery.start_soon(partial(getattr(self, f"_{kind}"), about))
        await self._agree()

    async def _add(self, entry: WrittenEntry) -> None:
        try:
            name, is_new = await self.site.additions.add(entry)
        except EntryConflict:
            return
        self.there[name] += is_new

    async def _remove(self, name: EntryName) -> None:
        was_there = await self.site.additions.remove(name)
        self.there[name] -= was_there

    async def _change(self, what: tuple[EntryName, WrittenEntry]) -> None:
        with suppress(EntryConflict, ConfigError):
            assert await self.site.additions.change(*what) == what[0]

    async def _configure(self, wanted: list[WrittenEntry]) -> None:
        found = {name_of(each): each for each in (check_entry(one, SOURCE) for one in wanted)}
        await self.site.additions.apply(found.values())
        self.configured = [*found.values()]

    async def _refresh(self, name: EntryName) -> None:
        await trio.lowlevel.checkpoint()
        self.site.world.publisher.refresh(name)

    async def _rehash(self, name: EntryName) -> None:
        await trio.lowlevel.checkpoint()
        self.site.world.publisher.rehashing.ask(name.ref)

    async def _hear(self, key: str) -> None:
        await trio.lowlevel.checkpoint()
        self.site.world.publisher.news.hear("default", News("bucket", key))

    async def _agree(self) -> None:
        """Check that all is as what was answered says, as soon as nothing is under way."""
        additions, world = self.site.additions, self.site.world
        living = {name for name, each in additions._found.items() if each.entry is not None}
        assert Counter(living) == +self.there == self.there
        assert additions._living == len(living)
        found = AddedFile(self.path / ADDED).read(SOURCE)
        assert {name for name, each in found.items() if each.entry is not None} == living
        wanted = Entries(in_force(self.configured, found))
        with trio.move_on_after(PATIENCE):
            while _differs(world, wanted, self.objects):  # noqa: ASYNC110  (it has no event for tests)
                await trio.sleep(0.005)
        assert _differs(world, wanted, self.objects) is None


def _differs(world: World, entries: Entries, keys: Iterable[str]) -> str | None:
    """Return in what the publisher isn't as the entries say, if it isn't."""
    wanted = dict(entries.objects)
    for key in keys:
        ref = ObjectRef("default", "bucket", key)
        if (prefix := entries.prefix_of(ref)) is not None:
            wanted[ref] = entries.prefixes[prefix]
    published = {each.ref: world.publisher.settings_of(each.ref) for each in world.catalog}
    if published != wanted:
        return f"published: {published.keys() ^ wanted.keys() or 'by other settings'}"
    live = {each.info_hash for each in world.catalog._live.values()}
    shown = {each.torrent.info_hash for each in world.catalog if each.torrent is not None}
    if live != shown:
        return f"live: {live ^ shown}"
    for each in world.catalog:
        state = State.EMBARGOED if each.hidden else State.SERVING
        if each.state is not state or each.hidden != (
            wanted[each.ref].publish_at == 32_472_144_000
        ):
            return f"{each.ref}: {each.state}, {each.reason}"
    return None


TestAdditions = AdditionsMachine.TestCase
TestAdditions.settings = settings(max_examples=6, stateful_step_count=8, deadline=None)
