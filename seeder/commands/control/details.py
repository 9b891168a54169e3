"""All that a node tells of one object or prefix, a line for each."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence

from seeder.commands.control.object_table import Row, name_of, share, without_name
from seeder.commands.texts import printable
from seeder.units import UNKNOWN, counted, rounded_size, show_moment


def aligned(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each name and text, the texts below each other."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        yield f"{name.ljust(width)}  {text}".rstrip()


def object_lines(found: Row, node: str | None = None) -> Iterator[str]:
    """Yield what is known of an object, by which of several nodes."""
    pairs = [*_of_object(found), ("told by", "" if node is None else f"node {node}")]
    return aligned([(name, printable(text)) for name, text in pairs if text])


def _of_object(found: Row) -> Iterator[tuple[str, str]]:
    yield "object", name_of(found)
    yield "state", _state(found)
    yield "from", _source(found)
    yield "added", _moment(found.get("added_at"))
    yield "published at", _moment(found.get("publish_at"))
    size, pieces = found.get("size"), found.get("pieces")
    if size is not None:
        yield "size", f"{rounded_size(size)} ({size:,} bytes, {counted(pieces or 0, 'piece')})"
    yield "info hash", found.get("info_hash") or ""
    yield "info hash v2", found.get("info_hash_v2") or ""
    yield "torrent", found.get("torrent_url") or ""
    yield "magnet", found.get("magnet") or ""
    yield "private", "yes" if found.get("private") else ""
    cached, warming = found.get("cached_bytes"), found.get("warming")
    yield "cached", UNKNOWN if cached is None else f"{rounded_size(cached)}, {share(cached, size)}"
    if warming:
        done, total = warming["done_bytes"], warming["total_bytes"]
        yield "warming", f"{rounded_size(done)} of {rounded_size(total)}, {share(done, total)}"
    yield "peers", f"{found.get('peers') or 0:,} leeching, {found.get('seeds') or 0:,} seeding"
    yield from _counted(found)
    yield from _settings(found.get("settings") or {})


def _counted(found: Row) -> Iterator[tuple[str, str]]:
    if "origin_bytes" not in found:
        return
    requests = found.get("origin_requests") or 0
    yield "from S3", f"{rounded_size(found['origin_bytes'])} in {counted(requests, 'request')}"
    yield "uploaded", rounded_size(found["uploaded_bytes"])
    yield (
        "delivered",
        f"{rounded_size(found['delivered_verified_bytes'])} verified,"
        f" {rounded_size(found['delivered_claimed_bytes'])} claimed",
    )
    yield "completed", f"{counted(found['completed'], 'download')}, as claimed"


def prefix_lines(found: Row) -> Iterator[str]:
    """Yield what is known of a prefix."""
    listed, objects = found.get("listed_at"), found.get("objects")
    pairs = [
        ("prefix", name_of(found)),
        ("from", _source(found)),
        ("added", _moment(found.get("added_at"))),
        ("objects", UNKNOWN if objects is None else f"{objects:,}"),
        ("listed", "not yet" if listed is None else _moment(listed)),
        ("reason", without_name(found, found.get("reason"))),
        *_settings(found.get("settings") or {}),
    ]
    return aligned([(name, printable(text)) for name, text in pairs if text])


def _source(found: Row) -> str:
    match found["source"]:
        case "file":
            return str(found["configured_in"])
        case "added":
            return "added at run time"
        case _:
            return f"below {found['prefix']}"


def _state(found: Row) -> str:
    reason = without_name(found, found.get("reason"))
    shadowed = "; the file's entry of the same name counts" if found.get("shadowed") else ""
    return f"{found['state']}{f': {reason}' if reason else ''}{shadowed}"


def _settings(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for place, (key, value) in enumerate(sorted(settings.items())):
        yield ("" if place else "settings"), f"{key} = {json.dumps(value)}"


def _moment(at: float | None) -> str:
    if at is None:
        return ""
    left = at - time.time()
    return show_moment(at) if left < 0 else f"{show_moment(at)}, which is to come"
