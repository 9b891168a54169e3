"""`seeder check --online`: asks S3 for every configured object."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from seeder.commands.dialling import dial
from seeder.commands.permissions import tell_permissions
from seeder.commands.waiting import FOR_A_QUESTION, Patience
from seeder.config.sections import Config, ObjectSettings
from seeder.daemon.foundation import make_origins
from seeder.daemon.tasks import running
from seeder.errors import OriginError, OriginUnreachable, SeederError, SignerRefused
from seeder.ledger.counters import Ledger, Tally
from seeder.metainfo.bundles import list_objects, look
from seeder.metainfo.workers import do_all
from seeder.publish.entries import Entries
from seeder.s3.answers import printable
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject

WORKERS = 8
"""Entries that are asked about at a time."""
_GLOBAL = (SignerRefused, OriginUnreachable)
"""What is wrong with all of an origin, not with one object."""


async def check_online(config: Config, tell: Callable[[str], None]) -> None:
    """Ask S3 for every object and tell how it stands; OriginError if any can't be published.

    A line an entry, in the file's order; one for all of an origin that refuses whoever signs, or
    gives no answer. Then a line for each bucket: which actions are allowed there. Then what answers
    at the addresses that clients are told.
    """
    origins = make_origins(config, random.Random(), Ledger())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(origins.run))
        patience = {name: Patience(origin) for name, origin in origins.items()}
        for each in patience.values():
            await stack.enter_async_context(running(each.run))
        online = _Online(config, origins, patience, tell)
        await do_all(iter(range(len(config.objects))), online.look, workers=WORKERS)
        failed = online.summarise()
        await tell_permissions(config, origins, online.known, online.down, tell)
        await dial(config, tell)
    if failed:
        raise OriginError(f"{failed} of {len(config.objects)} objects can't be published")


class _Online:
    """How the entries stand: several are asked about at a time, and told in their order."""

    def __init__(
        self,
        config: Config,
        origins: Origins,
        patience: Mapping[str, Patience],
        tell: Callable[[str], None],
    ) -> None:
        self.down: dict[str, SeederError] = {}
        """Why an origin isn't asked any more, by its name."""
        self.known: dict[tuple[str, str], ObjectRef] = {}
        """An object that is there, of each origin and bucket."""
        self._objects = config.objects
        self._entries = Entries(config.objects)
        self._origins = origins
        self._patience = patience
        self._tell = tell
        self._lines: dict[int, str] = {}
        self._next = 0
        self._failed = 0
        self._unasked: Counter[str] = Counter()

    async def look(self, number: int) -> None:
        """Ask how an entry stands."""
        settings = self._objects[number]
        line = await self._line(settings)
        self._lines[number] = line
        while self._next in self._lines:
            if line := self._lines.pop(self._next):
                self._tell(line)
            self._next += 1

    def summarise(self) -> int:
        """Tell what is wrong with all of an origin; return how many entries failed."""
        for name, error in self.down.items():
            count = self._unasked[name]
            what = "1 entry" if count == 1 else f"{count} entries"
            self._tell(f"origin {name}: {what} can't be asked about: {error}")
        return self._failed + self._unasked.total()

    async def _line(self, settings: ObjectSettings) -> str:
        origin, name = settings.origin, str(settings.ref)
        if origin in self.down:
            self._unasked[origin] += 1
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
        except SeederError as error:
            found = error
        self._failed += 1
        text = str(found)
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
