"""`seeder check --online`: asks S3 for every configured object."""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from seeder.commands.waiting import FOR_A_QUESTION, Patience
from seeder.config.sections import Config, ObjectSettings
from seeder.daemon.foundation import make_origins
from seeder.daemon.tasks import running
from seeder.errors import OriginError, SeederError
from seeder.ledger.counters import Ledger, Tally
from seeder.metainfo.bundles import list_objects, look
from seeder.publish.entries import Entries
from seeder.s3.answers import printable
from seeder.s3.client import S3Origin
from seeder.torrent.objects import PinnedBundle, PinnedObject


async def check_online(config: Config, tell: Callable[[str], None]) -> None:
    """Ask S3 for every object and tell how it stands, a line each; OriginError if any failed."""
    failed = 0
    origins = make_origins(config, random.Random(), Ledger())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(origins.run))
        patience = {name: Patience(origin) for name, origin in origins.items()}
        for each in patience.values():
            await stack.enter_async_context(running(each.run))
        entries = Entries(config.objects)
        for settings in config.objects:
            check = partial(_check, origins[settings.origin], settings, entries)
            try:
                found = await patience[settings.origin].wait(
                    str(settings.ref), FOR_A_QUESTION, check
                )
            except SeederError as error:
                failed += 1
                name, text = str(settings.ref), str(error)
                tell(text if name in text else f"{name}: {text}")
            else:
                tell(f"{settings.ref}: {found}")
    if failed:
        raise OriginError(f"{failed} of {len(config.objects)} objects can't be published")


async def _check(origin: S3Origin, settings: ObjectSettings, entries: Entries) -> str:
    """Return how an entry stands; OriginError, TooManyObjects."""
    if settings.key is None and not settings.bundle:
        return await _check_prefix(origin, settings, entries)
    pinned = await look(origin, settings.ref, settings, Tally())
    return f"ok, {_contents(pinned)}, ETag {pinned.etag}"


def _contents(pinned: PinnedObject) -> str:
    size = f"{pinned.size} bytes"
    if not isinstance(pinned, PinnedBundle):
        return size
    count = len(pinned.members)
    return f"{count} file{'' if count == 1 else 's'}, {size}"


async def _check_prefix(origin: S3Origin, settings: ObjectSettings, entries: Entries) -> str:
    """Return how a prefix stands; OriginError, TooManyObjects."""
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
    return f"ok, {count} below it, {sum(listed.size for listed in objects.values())} bytes"
