"""What is published beside the configuration: entries that were added at run time.

The file's entries and the added ones are published together; where both name the same object or
prefix, the file's counts, and the other one comes back when that goes.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import trio

from seeder.cluster.entries import SharedEntries
from seeder.config.added import (
    MOST_ADDED,
    AddedFile,
    Addition,
    EntryName,
    WrittenEntry,
    added_in_force,
    check_entry,
    name_of,
)
from seeder.config.bundled import explain_entry, explain_given_away
from seeder.config.fields import SourceFile
from seeder.config.objects import ObjectSettings
from seeder.errors import ConfigError, EntryConflict, StorageError
from seeder.net.guards import Lapses
from seeder.publish.publisher import Publisher
from seeder.units import counted

_LOG = logging.getLogger(__name__)

EntrySource: TypeAlias = Literal["file", "added", "prefix"]
_FIXED = ("origin", "bucket", "key", "prefix", "version_id")
"""The keys of an entry that no change may name."""
_MOST_SAID = 20
_RETRY = 10.0
"""Seconds until what the disk didn't take is tried again."""
_STOP_SECONDS = 2.0
"""For the last try of it, at the end."""


class Additions:
    """The added entries of a node: kept in `file`, and published with those of the configuration.

    What is checked is checked against `source`. `prepare` is awaited with entries before they are
    published, `clock` returns Unix microseconds, `configured_in` is what the configuration is
    called. In a cluster the clock is its own, and what is added at one node is `shared` with all.
    """

    def __init__(
        self,
        file: AddedFile,
        source: SourceFile,
        publisher: Publisher,
        *,
        prepare: Callable[[Sequence[ObjectSettings]], Awaitable[None]],
        clock: Callable[[], int],
        configured_in: str,
        shared: SharedEntries | None = None,
    ) -> None:
        self._file = file
        self._source = source
        self._publisher = publisher
        self._prepare = prepare
        self._clock = clock
        self.configured_in = configured_in
        self._shared = shared
        self._found: dict[EntryName, Addition] = {}
        self._living = 0
        self._unfit: dict[EntryName, Addition] = {}
        self._configured: Mapping[EntryName, ObjectSettings] = {}
        self._lock = trio.Lock()
        self._lags = False
        """Whether the disk doesn't take what another node added."""
        self._owed: list[Addition] = []
        """Removals that the disk hasn't taken yet."""
        self._owes = trio.Event()
        self.unwritten: str | None = None
        """Why removals aren't on disk yet, if some aren't."""

    async def apply(self, objects: Iterable[ObjectSettings]) -> None:
        """Publish exactly these entries of the configuration, and what was added."""
        async with self._lock:
            wanted = await trio.to_thread.run_sync(self._merge, tuple(objects))
            await self._prepare(wanted)
            await self._publisher.apply(wanted)

    async def run(
        self,
        objects: Iterable[ObjectSettings],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Publish these entries of the configuration, and what was added in earlier runs; then
        follow what is added at other nodes of the cluster, until cancelled.

        It has started when what is known is served.
        """
        await self._load()
        await self.apply(objects)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_owed)
            task_status.started()
            if self._shared is not None:
                self._shared.share(self._found)
                nursery.start_soon(self._follow, self._shared)

    async def _write_owed(self) -> None:
        """Write removals that the disk didn't take, until cancelled."""
        lapses = Lapses(_LOG, "what was removed")
        try:
            while True:
                await self._owes.wait()
                await trio.sleep(_RETRY)
                async with lapses.spared():
                    await self._try_to_write()
        finally:
            if self._owed:
                with trio.move_on_after(_STOP_SECONDS, shield=True):
                    async with lapses.spared():
                        await self._try_to_write()

    async def _try_to_write(self) -> None:
        async with self._lock:
            try:
                await trio.to_thread.run_sync(self._file.append, self._owed, self._found)
            except StorageError as error:
                self.unwritten = str(error)
            else:
                self._owed.clear()
                self._owes, self.unwritten = trio.Event(), None
                _LOG.info("what was removed is written")

    def _owe(self, removals: Sequence[Addition], error: StorageError) -> None:
        if self.unwritten is None:
            _LOG.error("%s; what is removed ends, and is written as soon as that works", error)
        self._owed += removals
        self.unwritten = str(error)
        self._owes.set()

    async def _follow(self, shared: SharedEntries) -> None:
        lapses = Lapses(_LOG, "what other nodes added")
        while True:
            told = await shared.wait_news()
            async with lapses.spared():
                await self._hear(shared, told)

    async def _hear(self, shared: SharedEntries, told: Sequence[Addition]) -> None:
        async with self._lock:
            news = [each for each in told if each.is_newer(self._found.get(each.name))]
            if not news:
                return
            try:
                await self._put([each for each in news if each.entry is None])
                await self._put([each for each in news if each.entry is not None])
            except StorageError as error:
                if not self._lags:
                    _LOG.error("%s; what another node added is not published here yet", error)
                self._lags = True
                shared.share(self._found)  # it is heard of again
                await trio.sleep(_RETRY)
                return
            self._lags = False
        for each in news:
            if each.fault is not None:
                _LOG.error(
                    "%s, which another node added, is not published here: %s",
                    each.name.ref,
                    each.fault,
                )

    async def _load(self) -> None:
        """Read what was added in earlier runs; what can't be read is said, and left as it is."""
        try:
            await trio.to_thread.run_sync(self._read)
        except StorageError as error:
            _LOG.error("%s; what was added is not published", error)
        bad = [*self._unfit.values()]
        for each in bad[:_MOST_SAID]:
            _LOG.error("%s, which was added, is not published: %s", each.name.ref, each.fault)
        if len(bad) > _MOST_SAID:
            more = counted(len(bad) - _MOST_SAID, "added entry is", "added entries are")
            _LOG.error("%s not published either; `seeder check` says why", more)

    def _read(self) -> None:
        """Read the file; of a million lines that takes a minute."""
        self._found = found = self._file.load(self._source)
        self._unfit = {name: each for name, each in found.items() if each.fault is not None}
        self._living = sum(each.entry is not None for each in found.values())

    def _merge(self, objects: Sequence[ObjectSettings]) -> list[ObjectSettings]:
        """Return all entries that are in force; of a million that takes a second."""
        self._configured = {name_of(each): each for each in objects}
        added = [*added_in_force(self._configured, self._found)]
        for line in explain_given_away(objects, added):
            _LOG.warning("%s", line)
        return [*objects, *added]

    # -- what there is

    def source_of(self, name: EntryName) -> EntrySource:
        """Return where the entry by which something is published comes from."""
        if name in self._configured:
            return "file"
        return "added" if self.find(name) is not None else "prefix"

    def configuration_of(self, name: EntryName) -> str | None:
        """Return what the configuration is called that has an entry; None if it hasn't."""
        return self.configured_in if name in self._configured else None

    def find(self, name: EntryName) -> Addition | None:
        """Return what was added by a name, if it wasn't removed since; it may have a fault."""
        found = self._found.get(name)
        return None if found is None or found.entry is None else found

    def is_shadowed(self, name: EntryName) -> bool:
        """Tell whether there is an added entry, and one of the configuration in its place."""
        return name in self._configured and self.find(name) is not None

    def settings_of(self, name: EntryName) -> ObjectSettings | None:
        """Return the section by which something is published, if it has one of its own."""
        configured, found = self._configured.get(name), self.find(name)
        return configured or (None if found is None else found.settings)

    async def warnings_of(self, name: EntryName) -> Sequence[str]:
        """Return a line for all that is legal of an entry in force, and hardly meant."""
        async with self._lock:
            return await self._warnings_of(name)

    async def _warnings_of(self, name: EntryName) -> Sequence[str]:
        settings = self.settings_of(name)
        if settings is None:
            return ()
        entries = self._publisher.prefixes.entries
        bundles = [entries.objects[ref] for ref in entries.bundles]

        def explain() -> Sequence[str]:  # a bundle is compared with up to a million entries
            return [*explain_entry(settings, bundles, self._in_force)]

        return await trio.to_thread.run_sync(explain) if settings.bundle else explain()

    def _in_force(self) -> Iterator[ObjectSettings]:
        yield from self._configured.values()
        yield from added_in_force(self._configured, self._found)

    def unfit(self) -> Iterator[Addition]:
        """Yield what was added and is not published, since it is wrong by now."""
        yield from self._unfit.values()

    # -- changes

    async def add(self, entry: WrittenEntry) -> tuple[EntryName, bool]:
        """Add an entry and publish by it; return its name, and False if it was there already.

        ConfigError, EntryConflict, StorageError.
        """
        settings = check_entry(entry, self._source)
        name = name_of(settings)
        async with self._lock:
            before = self.find(name)
            if name in self._configured:
                raise EntryConflict(f"{name.ref}: is in {self.configured_in}; change it there")
            if before is not None and before.settings == settings:
                return name, False
            if before is not None:
                raise EntryConflict(
                    f"{name.ref}: was added already, with other settings; change those"
                    " (seeder set), or remove it first"
                )
            if self._living >= MOST_ADDED:
                raise EntryConflict(f"there are {MOST_ADDED} added entries already: remove some")
            await self._say([self._said(name, entry, settings)])
        return name, True

    async def change(self, name: EntryName, patch: WrittenEntry) -> EntryName:
        """Change the keys that `patch` has, None for the default; return the entry's name then.

        ConfigError, EntryConflict, StorageError.
        """
        problems = [f"{key}: can't be changed; add another entry" for key in _FIXED if key in patch]
        if problems:
            raise ConfigError(problems)
        async with self._lock:
            before = self.find(name)
            if before is None or before.entry is None or name in self._configured:
                raise EntryConflict(f"{name.ref}: is no added entry; change it where it is written")
            values = {**before.entry, **patch}
            # What is no key at all is refused, whatever it is to be.
            wrong = patch.keys() - before.entry.keys() - ObjectSettings.model_fields.keys()
            entry = {k: value for k, value in values.items() if value is not None or k in wrong}
            settings = check_entry(entry, self._source)
            after = name_of(settings)
            if after != name and (after in self._configured or self.find(after) is not None):
                raise EntryConflict(f"{after.ref}: there is an entry for that already")
            if settings == before.settings:
                return name
            said = [self._said(after, entry, settings)]
            if after != name:
                said.insert(0, self._said(name, None, None))
            await self._say(said)
        return after

    async def remove(self, name: EntryName) -> bool:
        """Remove an added entry, and end what is published by it; False if there is none.

        It ends at once, and is written as soon as the disk takes it.
        """
        async with self._lock:
            if self.find(name) is None:
                return False
            await self._say([self._said(name, None, None)])
        return True

    def _said(
        self, name: EntryName, entry: WrittenEntry | None, settings: ObjectSettings | None
    ) -> Addition:
        before = self._found.get(name)
        at = self._clock() if before is None else max(self._clock(), before.at + 1)
        return Addition(name, at, entry, settings)

    async def _say(self, said: Sequence[Addition]) -> None:
        """Keep what is new, publish by it, and tell the cluster; StorageError."""
        await self._put(said)
        if self._shared is not None:
            self._shared.tell(said)

    async def _put(self, said: Sequence[Addition]) -> None:
        """Keep what is new, then publish by it; StorageError, and nothing has changed.

        Removals alone change all in any case, and are kept later if need be: what is removed may
        have to go at once, while an addition isn't promised that a restart would forget.
        """
        if not said:
            return
        # What is on disk is published, whoever asked and went.
        with trio.CancelScope(shield=True):
            before = {each.name: self._found.get(each.name) for each in said}
            self._found.update((each.name, each) for each in said)
            try:
                await trio.to_thread.run_sync(self._file.append, said, self._found)
            except StorageError as error:
                if any(each.entry is not None for each in said):
                    self._take_back(before)
                    raise
                self._owe(said, error)
            faults: list[Exception] = []
            for each in said:
                was = before[each.name]
                was_there = was is not None and was.entry is not None
                self._living += (each.entry is not None) - was_there
                self._unfit.pop(each.name, None)
                if each.fault is not None:
                    self._unfit[each.name] = each
                try:
                    await self._publish(each, was)
                except Exception as error:  # of ours; the others are published all the same
                    faults.append(error)
            if faults:
                faults[1:] = []
                raise faults.pop()  # else it would be kept by its own traceback

    def _take_back(self, before: Mapping[EntryName, Addition | None]) -> None:
        for name, each in before.items():
            if each is None:
                del self._found[name]
            else:
                self._found[name] = each

    async def _publish(self, addition: Addition, before: Addition | None) -> None:
        name, settings = addition.name, addition.settings
        if name in self._configured:
            return
        if settings is not None:
            if settings.private and not settings.is_public:
                await self._prepare([settings])
            await self._publisher.put(settings)
            for line in await self._warnings_of(name):
                _LOG.warning("%s", line)
        elif before is not None and before.settings is not None:
            await self._publisher.drop(name)
