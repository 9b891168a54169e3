"""Bundles: all the objects below a prefix, as S3 lists them."""

from dataclasses import replace

import trio

from seeder.errors import ObjectMissing, TooManyObjects
from seeder.origin.answers import label
from seeder.origin.s3 import Meter, S3Origin
from seeder.settings import ObjectSettings
from seeder.torrent.catalog import ObjectRef, PinnedBundle, PinnedObject


async def list_bundle(origin: S3Origin, settings: ObjectSettings, meter: Meter) -> PinnedBundle:
    """Return the present state of the section's bundle; what only marks a directory isn't in it.

    OriginError (ObjectMissing: there is nothing below the prefix); TooManyObjects.
    """
    members = await _list_members(origin, settings.ref, settings.max_objects, meter)
    return await trio.to_thread.run_sync(PinnedBundle.of, settings.ref, members)


async def _list_members(
    origin: S3Origin, prefix: ObjectRef, most: int, meter: Meter
) -> list[PinnedObject]:
    members: dict[str, PinnedObject] = {}
    token: str | None = None
    while True:
        page = await origin.list_page(prefix, token, meter)
        for key, listed in page.objects:
            if listed.size or not key.endswith("/"):
                members[key] = PinnedObject(replace(prefix, key=key), listed.etag, listed.size)
        if len(members) > most:
            raise TooManyObjects(
                f"{label(prefix)}: has more than {most} objects below it; raise max_objects, or"
                " publish prefixes further down"
            )
        token = page.next_token
        if token is None:
            break
    if not members:
        raise ObjectMissing(f"{label(prefix)}: there is no object below it; check the prefix")
    return list(members.values())
