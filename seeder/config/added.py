"""Entries that were added at run time: in the file's spelling, checked as the file's are.

They are kept in the state directory, in a file of lines: each is a JSON object with its checksum,
and says of one object or prefix what its entry is now, or that it has none any more. A change is a
line at the end, so that one of a million costs no more than the first; of two lines on one name the
later one counts, by the time that stands in them. Now and then the file is written anew, without
what is out of date. A removal stays for 90 days, so that a node of a cluster that was away so long
hears of it. Blocks.
"""

import json
import logging
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import ValidationError

from seeder.config.fields import SourceFile
from seeder.config.mistakes import nameless_entry, problem_line, problem_of
from seeder.config.objects import ObjectSettings
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.sections import Config
from seeder.errors import ConfigError, StorageError
from seeder.files import NotAFile, open_regular, read_file, replace_file, set_aside, storage_errors
from seeder.plain_json import dump_json, parse_json
from seeder.torrent.objects import ObjectRef
from seeder.units import MIB, counted

_LOG = logging.getLogger(__name__)

ADDED = "added.jsonl"
"""Below the state directory."""
MOST_ADDED = 1_000_000
MOST_REMOVALS = 100_000
"""That are remembered; nearly twice as many until they are looked through."""
_LARGEST = 1024 * MIB
_MOST_SAID = 20
REMOVALS_KEPT = 90 * 86_400 * 1_000_000
"""Microseconds."""
_SPARE_LINES = 1000
"""Lines that may be out of date before the file is written anew; or as many as there are others."""
_WANT_MOMENT = 'want a date and a time with its offset, such as "2027-01-15T18:00:00Z"'
_WANT_ABSOLUTE = "want an absolute path: what is added belongs to no file's directory"

_CLASH = "stands in the file, too, and that counts; `seeder rm` ends what was added"

WrittenEntry: TypeAlias = Mapping[str, object]
"""As it is written: what TOML has, but for dates, which are texts."""


class EntryName(NamedTuple):
    """What an entry is of: no two that are in force have the same."""

    ref: ObjectRef
    is_followed: bool
    """Whether each object below the prefix has a torrent; a bundle is one object."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What was said last of a name, at `at` (Unix microseconds, by the clock of the cluster)."""

    name: EntryName
    at: int
    entry: WrittenEntry | None
    """None where the entry was removed."""
    settings: ObjectSettings | None = None
    fault: str | None = None
    """Why the entry is in force nowhere, if that is so."""

    def line(self) -> bytes:
        """Return it as a line of the file."""
        if self.entry is None:
            return dump_json({"at": self.at, "removed": _written_name(self.name)})
        return dump_json({"at": self.at, "entry": self.entry})

    def is_newer(self, other: "Addition | None") -> bool:
        """Tell whether it counts and not the other one; of the same time, a removal does."""
        return other is None or self._rank() > other._rank()

    def _rank(self) -> tuple[int, bool, str]:
        return self.at, self.entry is None, json.dumps(self.entry, sort_keys=True)


def name_of(settings: ObjectSettings) -> EntryName:
    """Return what an entry is of."""
    return EntryName(settings.ref, settings.key is None and not settings.bundle)


def _written_name(name: EntryName) -> WrittenEntry:
    ref, is_followed = name
    found: dict[str, object] = {"origin": ref.origin, "bucket": ref.bucket}
    found["prefix" if is_followed else "key"] = ref.key
    return found if ref.version_id is None else found | {"version_id": ref.version_id}


def read_name(entry: WrittenEntry) -> EntryName:
    """Return what an entry is of, whatever else is wrong with it; ValueError."""
    origin, bucket = entry.get("origin", DEFAULT_ORIGIN), entry.get("bucket")
    version, key = entry.get("version_id"), entry.get("key", entry.get("prefix"))
    if not (isinstance(origin, str) and isinstance(bucket, str) and isinstance(key, str)):
        raise ValueError("it names no object")
    if not isinstance(version, str | None):
        raise ValueError("its version_id is no text")
    is_followed = "key" not in entry and entry.get("bundle") is not True
    return EntryName(ObjectRef(origin, bucket, key, version), is_followed)


def source_of_added(config: Config) -> SourceFile:
    """Return what entries are checked against."""
    return SourceFile(Path("/"), frozenset(config.origins))


def check_entry(entry: WrittenEntry, source: SourceFile, index: int = 0) -> ObjectSettings:
    """Return the section that an entry stands for; ConfigError, as if it stood in the file."""
    problems = [*nameless_entry(entry, index)]
    values = dict(entry)
    moment = values.get("publish_at")
    if moment is not None:
        values["publish_at"] = _moment(moment)
        if values["publish_at"] is None:
            problems.append(problem_line(("objects", index, "publish_at"), moment, _WANT_MOMENT))
    path = values.get("torrent_file")
    if isinstance(path, str) and not os.path.isabs(path):
        problems.append(problem_line(("objects", index, "torrent_file"), path, _WANT_ABSOLUTE))
        del values["torrent_file"]
    settings = None
    try:
        settings = ObjectSettings.model_validate(values, context=source)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            each["loc"] = ("objects", index, *each["loc"])
            problems.append(problem_of(each))
    if problems or settings is None:
        raise ConfigError(problems)
    return settings


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        return None
    return None if found.tzinfo is None else found


def read_addition(document: object, source: SourceFile) -> Addition:
    """Return what a line says; a bad entry has its `fault`. ValueError if the line says nothing."""
    at = document.get("at") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(at, int) or at < 0:
        raise ValueError("it says nothing of an entry")
    removed, entry = document.get("removed"), document.get("entry")
    if isinstance(removed, dict):
        return Addition(read_name(removed), at, None)
    if not isinstance(entry, dict):
        raise ValueError("it says nothing of an entry")
    name = read_name(entry)
    try:
        return Addition(name, at, entry, check_entry(entry, source))
    except ConfigError as error:
        return Addition(name, at, entry, None, "; ".join(error.problems))


@dataclass(slots=True)
class AddedFile:
    """The file in a state directory, for one who calls at a time."""

    path: Path
    damaged: list[str] = field(default_factory=list)
    """What can't be read of it, a line each."""
    _length: int = 0
    """Bytes of it that are right."""
    _lines: int = 0
    _left: tuple[int, ...] | None = None
    """Which file it was when we left it, and how long; None if there was none."""
    _unread: str | None = "it wasn't read"
    """Why it can't be changed: nobody knows what it has."""

    def load(self, source: SourceFile) -> dict[EntryName, Addition]:
        """Return what was said last of each name, removals too; StorageError.

        What is damaged is set aside with the whole file, and the rest goes on.
        """
        found = self.read(source)
        if self.damaged:
            for each in self.damaged[:_MOST_SAID]:
                _LOG.error("%s: %s; it is left out", self.path, each)
            with storage_errors(self.path, "set aside"):
                if os.path.lexists(self.path):
                    why = f"{counted(len(self.damaged), 'line is', 'lines are')} damaged"
                    set_aside(self.path, why, level=logging.ERROR)
        if self.damaged or self._is_wordy(found):
            self._rewrite(found)
        return found

    def read(self, source: SourceFile) -> dict[EntryName, Addition]:
        """Return the same, and change nothing; StorageError."""
        self.damaged.clear()
        self._length = self._lines = 0
        found: dict[EntryName, Addition] = {}
        data = b""
        try:
            with storage_errors(self.path, "read"):
                data = read_file(self.path, _LARGEST) or b""
        except StorageError as error:
            if not isinstance(error.__cause__, NotAFile):
                self._unread = str(error)
                raise
            self.damaged.append(str(error.__cause__.strerror))
        self._unread = None
        # What follows the last end of a line was never confirmed to anybody.
        self._length = data.rfind(b"\n") + 1
        self._left = _look(self.path)
        for number, line in enumerate(data[: self._length].splitlines(), 1):
            self._lines = number
            try:
                addition = read_addition(parse_json(line), source)
            except ValueError as error:
                self.damaged.append(f"line {number}: {error}")
                continue
            if addition.is_newer(found.get(addition.name)):
                found[addition.name] = addition
        for name in outdated(found):
            del found[name]
        return found

    def append(self, added: Iterable[Addition], found: Mapping[EntryName, Addition]) -> None:
        """Add lines; `found` is what the file says then of all names. StorageError: it doesn't.

        If somebody has changed the file since, or removed it, all of it is written anew, and what
        is there is set aside: it counts at a start alone.
        """
        if self._unread is not None:
            raise StorageError(f"{self.path}: nothing can be added: {self._unread}")
        lines = [each.line() for each in added]
        self._lines += len(lines)
        is_foreign = _look(self.path) != self._left
        if is_foreign:
            self._put_aside()
        if is_foreign or self._is_wordy(found):
            self._rewrite(found)
            return
        data = b"".join(line + b"\n" for line in lines)
        try:
            with storage_errors(self.path, "written"):
                if not self._length:
                    replace_file(self.path, data, durable=True, mode=0o600)
                else:
                    self._extend(data)
        finally:
            self._left = _look(self.path)
        self._length += len(data)

    def _put_aside(self) -> None:
        """Keep what somebody has made of the file while we ran; StorageError."""
        with storage_errors(self.path, "set aside"):
            if os.path.lexists(self.path):
                set_aside(self.path, "somebody changed it while the seeder ran; written anew")
            else:
                _LOG.warning(
                    "%s: somebody removed it while the seeder ran; written anew", self.path
                )

    def _extend(self, data: bytes) -> None:
        descriptor = open_regular(self.path, os.O_WRONLY)
        try:
            # A part of a line may be left of what failed before.
            os.ftruncate(descriptor, self._length)
            os.lseek(descriptor, self._length, os.SEEK_SET)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _is_wordy(self, found: Mapping[EntryName, Addition]) -> bool:
        return self._lines > 2 * len(found) + _SPARE_LINES

    def _rewrite(self, found: Mapping[EntryName, Addition]) -> None:
        kept = [each.line() + b"\n" for each in found.values()]
        with storage_errors(self.path, "written"):
            replace_file(self.path, kept, durable=True, mode=0o600)
        self._length, self._lines = sum(map(len, kept)), len(kept)
        self._left = _look(self.path)


def _look(path: Path) -> tuple[int, ...] | None:
    """Return which file there is, and how long; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def outdated(found: Mapping[EntryName, Addition]) -> list[EntryName]:
    """Return the names of removals that nobody has to know of any more: the old ones, and the
    oldest where there are very many."""
    latest = max((each.at for each in found.values()), default=0)
    gone = [each for each in found.values() if each.entry is None]
    gone.sort(key=lambda each: each.at, reverse=True)
    return [
        each.name
        for number, each in enumerate(gone)
        if number >= MOST_REMOVALS or latest - each.at >= REMOVALS_KEPT
    ]


def in_force(
    objects: Iterable[ObjectSettings], found: Mapping[EntryName, Addition]
) -> Iterator[ObjectSettings]:
    """Yield the file's entries, and the added ones of names that the file doesn't have."""
    named = set()
    for each in objects:
        named.add(name_of(each))
        yield each
    yield from added_in_force(named, found)


def added_in_force(
    named: Container[EntryName], found: Mapping[EntryName, Addition]
) -> Iterator[ObjectSettings]:
    """Yield the added entries of names that aren't in the file, which has those `named`."""
    for addition in found.values():
        if addition.settings is not None and addition.name not in named:
            yield addition.settings


def with_added(config: Config) -> Config:
    """Return a configuration with what was added to it at run time, as commands see it.

    StorageError.
    """
    found = AddedFile(config.state_directory / ADDED).read(source_of_added(config))
    return config.model_copy(update={"objects": (*in_force(config.objects, found),)})


def explain_added(config: Config) -> Iterator[str]:
    """Yield what is told of the added entries beside a configuration, mistakes first.

    StorageError.
    """
    file = AddedFile(config.state_directory / ADDED)
    found = file.read(source_of_added(config))
    named = {name_of(each) for each in config.objects}
    living = [each for each in found.values() if each.entry is not None]
    yield from (f"{file.path}: {each}" for each in file.damaged)
    odd = [
        f"added: {each.name.ref}: " + (_CLASH if each.fault is None else f"unfit: {each.fault}")
        for each in living
        if each.fault is not None or each.name in named
    ]
    yield from odd[:_MOST_SAID]
    if len(odd) > _MOST_SAID:
        yield f"added: and {len(odd) - _MOST_SAID} more like these"
    if living:
        yield f"added at run time: {counted(len(living), 'entry', 'entries')}"
