"""`seeder check --online`: asks S3 for every configured object."""

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from seeder.commands.dialling import dial
from seeder.commands.event_sources import tell_queues
from seeder.commands.findings import Findings
from seeder.commands.permissions import place_text, tell_permissions
from seeder.commands.waiting import FOR_A_QUESTION, Patience
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon.foundation import make_origins
from seeder.daemon.tasks import running
from seeder.errors import (
    AccessDenied,
    BucketMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SeederError,
    SignerRefused,
)
from seeder.ledger.counters import Ledger, Tally
from seeder.metainfo.bundles import list_objects, look
from seeder.metainfo.workers import do_all
from seeder.publish.entries import Entries
from seeder.s3.answers import printable
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.units import counted

WORKERS = 8
"""Entries that are asked about at a time."""
_GLOBAL = (SignerRefused, OriginUnreachable)
"""What is wrong with all of an origin, not with one object."""
_COMMON = (AccessDenied, OriginFault, OriginUnreachable)
"""What is likely wrong with several objects for one reason."""


async def check_online(config: Config, findings: Findings) -> None:
    """Ask S3 for every object and tell how it stands; OriginError if any can't be published
    or no events can come.

    A line an entry, in the file's order; one for all of an origin that refuses whoever signs, or
    gives no answer, and of a bucket that isn't there. What is wrong with several entries is told of
    the first one. Then a line for each bucket: which actions are allowed there. Then whether each
    queue of events can be read, and what answers at the addresses that clients are told.
    """
    origins = make_origins(config, random.Random(), Ledger())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(origins.run))
        patience = {name: Patience(origin) for name, origin in origins.items()}
        for each in patience.values():
            await stack.enter_async_context(running(each.run))
        online = _Online(config, origins, patience, findings)
        await do_all(iter(range(len(config.objects))), online.look, workers=WORKERS)
        failed = online.summarise()
        unasked: set[str | tuple[str, str]] = {*online.down, *online.missing}
        await tell_permissions(config, origins, online.known, unasked, findings.note)
        unread = await tell_queues(config, findings)
        await dial(config, findings)
    problems = []
    if failed:
        problems.append(f"{failed} of {len(config.objects)} entries can't be published")
    if unread:
        problems.append(f"{counted(unread, 'queue', 'queues')} of events can't be read")
    if problems:
        raise OriginError(", ".join(problems))


class _Online:
    """How the entries stand: several are asked about at a time, and told in their order."""

    def __init__(
        self,
        config: Config,
        origins: Origins,
        patience: Mapping[str, Patience],
        findings: Findings,
    ) -> None:
        self.down: dict[str, SeederError] = {}
        """Why an origin isn't asked any more, by its name."""
        self.missing: dict[tuple[str, str], str] = {}
        """Why a bucket isn't asked about any more, by its origin and name."""
        self.known: dict[tuple[str, str], ObjectRef] = {}
        """An object that is there, of each origin and bucket."""
        self._objects = config.objects
        self._entries = Entries(config.objects)
        self._origins = origins
        self._patience = patience
        self._findings = findings
        self._lines: dict[int, str] = {}
        self._next = 0
        self._failed: set[int] = set()
        self._unasked: Counter[str | tuple[str, str]] = Counter()
        self._faults: dict[int, str] = {}
        """What is wrong with an entry, without its name, until it is told."""
        self._said: dict[str, str] = {}
        """The entry of which it was told first, by what is wrong."""

    async def look(self, number: int) -> None:
        """Ask how an entry stands."""
        settings = self._objects[number]
        self._lines[number] = await self._line(settings, number)
        while self._next in self._lines:
            if line := self._lines.pop(self._next):
                is_fault = self._next in self._failed
                tell = self._findings.fault if is_fault else self._findings.note
                tell(self._once(line, self._next))
            self._next += 1

    def _once(self, line: str, number: int) -> str:
        """Return a line, or which entry has had the same fault."""
        fault = self._faults.pop(number, None)
        if fault is None:
            return line
        name = str(self._objects[number].ref)
        first = self._said.setdefault(fault, name)
        return line if first == name else f"{name}: the same as {first}"

    def summarise(self) -> int:
        """Tell what is wrong with all of an origin; return how many entries failed."""
        for name, error in self.down.items():
            what = counted(self._unasked[name], "entry", "entries")
            why = str(error).removeprefix(f"origin {name}: ")
            self._findings.fault(f"origin {name}: {what} can't be asked about: {why}")
        for place, fault in self.missing.items():
            what = counted(self._unasked[place], "entry", "entries")
            self._findings.fault(f"{place_text(place)}: {what} can't be published: {fault}")
        return len(self._failed) + self._unasked.total()

    async def _line(self, settings: ObjectSettings, number: int) -> str:
        """Return what is told of an entry; "" if that is told of all of its origin or bucket."""
        origin, name = settings.origin, str(settings.ref)
        place = origin, settings.bucket
        if origin in self.down or place in self.missing:
            self._unasked[origin if origin in self.down else place] += 1
            return ""
        check = partial(self._check, self._origins[origin], settings)
        try:
            return f"{name}: {await self._patience[origin].wait(name, FOR_A_QUESTION, check)}"
        except _GLOBAL as error:
            if isinstance(error, SignerRefused) or not self._answers(origin):
                self.down.setdefault(origin, error)
                self._unasked[origin] += 1
                return ""
            found: SeederError = error
        except BucketMissing as error:
            self.missing.setdefault(place, str(error).removeprefix(f"{name}: "))
            self._unasked[place] += 1
            return ""
        except SeederError as error:
            found = error
        self._failed.add(number)
        text = str(found)
        if isinstance(found, _COMMON):
            self._faults[number] = text.replace(name, "")
        return text if name in text else f"{name}: {text}"

    def _answers(self, origin: str) -> bool:
        return any(name == origin for name, _ in self.known)

    def _know(self, ref: ObjectRef) -> None:
        self.known.setdefault((ref.origin, ref.bucket), ref)

    async def _check(self, origin: S3Origin, settings: ObjectSettings) -> str:
        """Return how an entry stands; OriginError, TooManyObjects."""
        if settings.key is None and not settings.bundle:
            key, found = await _check_prefix(origin, settings, self._entries)
            self._know(ObjectRef(settings.origin, settings.bucket, key))
            return found
        pinned = await look(origin, settings.ref, settings, Tally())
        if not isinstance(pinned, PinnedBundle):
            self._know(settings.ref)
        return f"ok, {_contents(pinned)}, ETag {pinned.etag}"


def _contents(pinned: PinnedObject) -> str:
    size = f"{pinned.size} bytes"
    if not isinstance(pinned, PinnedBundle):
        return size
    count = len(pinned.members)
    return f"{count} file{'' if count == 1 else 's'}, {size}"


async def _check_prefix(
    origin: S3Origin, settings: ObjectSettings, entries: Entries
) -> tuple[str, str]:
    """Return a key below a prefix, and how that stands; OriginError, TooManyObjects."""
    found = await list_objects(origin, settings, entries.belongs(settings.ref), Tally())
    objects, without = found.objects, found.left_out
    if not objects and not without:
        raise OriginError(f"{settings.ref}: there is no object below it; check prefix and bucket")
    if without:
        key = min(without)
        count = f"{len(without)} of {len(objects) + len(without)} objects"
        raise OriginError(
            f"{settings.ref}: {count} can't be published, such as {printable(key)}: {without[key]}"
        )
    count = f"{len(objects)} object{'' if len(objects) == 1 else 's'}"
    return min(
        objects
    ), f"ok, {count} below it, {sum(listed.size for listed in objects.values())} bytes"
