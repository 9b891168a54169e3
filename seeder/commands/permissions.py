"""What an origin's credentials are allowed, asked action by action in each bucket."""

from collections.abc import Awaitable, Callable, Mapping, Set
from functools import partial

from seeder.config.sections import Config
from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    OriginError,
    Unsupported,
)
from seeder.ledger.counters import Tally
from seeder.metainfo.workers import do_all
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.s3.transport import Exchange
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange

WORKERS = 4
"""Buckets that are asked at a time."""
_LARGEST_ANSWER = 64 * 1024
_WITHOUT = {
    "s3:GetObject": "without it nothing is served",
    "s3:ListBucket": "without it no prefix, and a key that isn't there looks refused",
    "s3:GetObjectTorrent": 'leave "origin" out of metainfo',
    "s3:GetObjectAttributes": "without it parts are asked for one by one, or the object is read",
}


async def tell_permissions(
    config: Config,
    origins: Origins,
    known: Mapping[tuple[str, str], ObjectRef],
    unasked: Set[str | tuple[str, str]],
    tell: Callable[[str], None],
) -> None:
    """Tell a line for each bucket: each action, and if it works there.

    Origins, and buckets by origin and name, that are `unasked` are left alone.
    They are tried on an object of those `known` to be there: without one, listing alone is.
    """
    buckets = dict.fromkeys(
        place
        for each in config.objects
        if each.origin not in unasked and (place := (each.origin, each.bucket)) not in unasked
    )
    lines: dict[tuple[str, str], str] = {}

    async def ask(place: tuple[str, str]) -> None:
        origin, ref = origins[place[0]], known.get(place)
        found: dict[str, str] = {}
        pinned: PinnedObject | None = None

        async def get() -> None:
            nonlocal pinned
            assert ref is not None
            seen = await origin.head(ref, Tally())
            if seen.size:
                await origin.read_range(seen, ByteRange(0, 1), Tally(), "metainfo")
            pinned = seen

        if ref is not None:
            found["s3:GetObject"] = await _outcome("s3:GetObject", get)
        found["s3:ListBucket"] = await _outcome("s3:ListBucket", partial(_list, origin, place, ref))
        if pinned is not None:
            for action, asked in (
                ("s3:GetObjectTorrent", partial(origin.get_torrent, pinned, Tally())),
                ("s3:GetObjectAttributes", partial(_attributes, origin, pinned)),
            ):
                found[action] = await _outcome(action, asked)
        lines[place] = f"{place_text(place)}: {', '.join(map(' '.join, found.items()))}"

    await do_all(iter(buckets), ask, workers=WORKERS)
    for place in buckets:
        tell(lines[place])


def place_text(place: tuple[str, str]) -> str:
    """Return a bucket, with its origin unless that is the default one."""
    origin, bucket = place
    return bucket if origin == "default" else f"{origin}:{bucket}"


async def _outcome(action: str, ask: Callable[[], Awaitable[object]]) -> str:
    try:
        await ask()
    except AccessDenied:
        return f"refused ({_WITHOUT[action]})"
    except Unsupported as error:
        return "not known there" if error.for_every_key else "gives nothing of the object tried"
    except OriginError:
        # An answer that is wrong is one all the same: what was asked for isn't forbidden.
        return "answered, but wrongly"
    return "allowed"


async def _list(origin: S3Origin, place: tuple[str, str], ref: ObjectRef | None) -> None:
    prefix = ObjectRef(*place, "" if ref is None else ref.key)
    await origin.list_page(prefix, None, Tally())


async def _attributes(origin: S3Origin, pinned: PinnedObject) -> None:
    async def take(exchange: Exchange) -> None:
        body = await exchange.read(_LARGEST_ANSWER, first=b"<")
        if not body.startswith(b"<"):  # such a server answers with the object
            raise AttributesUnsupported("GetObjectAttributes is not known", for_every_key=True)

    headers = {"x-amz-object-attributes": "ObjectSize"}
    about = (("attributes", None),)
    await origin.ask_about("GET", pinned, about, headers, Tally(), size=_LARGEST_ANSWER, take=take)
