"""The record of an object: what a line of JSON and an info dictionary in a file say of it.

Whatever lies in the place of a record is told apart from one by what reading it raises: `DAMAGE`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seeder.errors import MetainfoError
from seeder.files import open_regular
from seeder.metainfo.trees import TreeFile
from seeder.plain_json import dump_json, parse_json
from seeder.torrent.bundle import bundle_layout, parse_bundle_info
from seeder.torrent.info import Info, InfoHash, InfoV2, Outline, parse_info
from seeder.torrent.layout import SHA1_LENGTH, Layout
from seeder.torrent.merkle import NODE_LENGTH
from seeder.torrent.objects import (
    Description,
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    member_dates,
)
from seeder.units import MIB

LARGEST_RECORD = 64 * MIB
"""Bytes of a record: no torrent that we make or take is that large."""
_LATEST = 253402300799
"""Unix seconds at the end of the year 9999; headers can't name a later date."""
_MOST_SIMILAR = 8
"""Earlier torrents of a bundle that are kept in mind: clients may have left out some."""
_LINE = 4096
"""Bytes read at first: most lines are shorter."""
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, MetainfoError)
"""Raised where a file isn't a record, or is one of another object."""


@dataclass(slots=True)
class Record:
    """What is known of an object: the state it was in, its info, and which rungs were wrong."""

    pinned: PinnedObject
    info: Info | None = None
    outline: Outline | None = None
    """The outline of the info, known even where `recall` left the info on disk."""
    rung: str = ""
    wanted: str = ""
    """What the configuration asked for (`describe_wanted`); a change makes the record stale."""
    refused: dict[str, str] = field(default_factory=dict)
    """Rungs whose metainfo turned out wrong for this state of the object, and why."""
    earlier: "Record | None" = None
    """The record of a bundle's earlier state; its hashes still hold for objects that haven't
    changed."""
    doubted: frozenset[PinnedObject] = frozenset()
    """The objects in it whose bytes aren't what they were; not saved."""
    tree: TreeFile | None = None
    """A hybrid's Merkle tree; without it the torrent is served as v1 only."""
    published: int | None = field(default=None, compare=False)
    """Unix seconds at which a record of this info hash was saved first; `save` sets it."""
    similar: tuple[InfoHash, ...] = field(default=(), compare=False)
    """The info hashes that a bundle had before, the last one first; `save` sets them."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("there is something else in the place of a text")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("there is something else in the place of a number")
    return value


def _hash(value: object) -> bytes:
    found = bytes.fromhex(_text(value))
    if len(found) != NODE_LENGTH:
        raise ValueError("a hash in it is too long or too short")
    return found


def _description(told: dict[str, Any]) -> Description | None:
    """Return what a record's line tells of the object beside its state; older lines say nothing."""
    if told.get("headers") is None:
        return None
    modified, headers = told.get("modified"), told["headers"]
    return Description(
        None if modified is None else min(_count(modified), _LATEST),
        tuple((_text(name), _line(value)) for name, value in headers.items()),
        None if told.get("sha256") is None else _hash(told["sha256"]).hex(),
    )


def _similar(told: Mapping[str, Any]) -> tuple[InfoHash, ...]:
    found = told.get("similar", [])
    if not isinstance(found, list):
        raise TypeError("there is something else in the place of a list")
    return tuple(InfoHash.from_hex(_text(each)) for each in found[:_MOST_SIMILAR])


def _line(value: object) -> str:
    text = _text(value)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a header in it is no line of ASCII")
    return text


def _pinned(ref: ObjectRef, told: dict[str, Any]) -> PinnedObject:
    """Return the state that a record's line tells of; ValueError, KeyError or TypeError."""
    if told.get("members") is None:
        version = told["version_id"]
        return PinnedObject(
            ref,
            _text(told["etag"]),
            _count(told["size"]),
            None if version is None else _text(version),
            _description(told),
        )
    # Older lines don't say when they changed.
    dates = told.get("members_modified") or [None] * len(told["members"])
    members = [
        PinnedObject(
            replace(ref, key=_text(key)),
            _text(etag),
            _count(size),
            description=None if date is None else Description(min(_count(date), _LATEST)),
        )
        for (key, etag, size), date in zip(told["members"], dates, strict=True)
    ]
    bundle = PinnedBundle.of(ref, members)
    if bundle.etag != told["etag"]:
        raise ValueError("its objects are not those that its ETag was made of")
    return bundle


def _parse(pinned: PinnedObject, raw: bytes) -> Info:
    """Return the info of a record; MetainfoError if it isn't one of an object, or of a bundle."""
    if not isinstance(pinned, PinnedBundle):
        return parse_info(raw)
    return parse_bundle_info(raw)[0]


def _could_be(pinned: PinnedObject, outline: Outline) -> bool:
    """Tell whether a bundle's outline is as long as its objects make it."""
    if not isinstance(pinned, PinnedBundle):
        return True
    sizes = [member.size for member in pinned.members]
    return outline.layout == bundle_layout(sizes, outline.layout.piece_length)


@dataclass(frozen=True, slots=True)
class Parts:
    """What was read of a record's file, and not checked yet."""

    told: dict[str, Any]
    """The line."""
    outline: Outline | None
    """As the line has it; None without an info, or if the line was written without an outline."""
    raw: bytes
    """The info, if it was read."""
    raw_length: int
    """Bytes of the info, read or not."""


def read_parts(path: Path, *, whole: bool) -> Parts | None:
    """Return the parts of a record, with its info if `whole` or needed; None without a file.

    NotAFile; OSError; ValueError, KeyError or TypeError where the line is damaged.
    """
    # A start reads thousands: an io.BufferedReader for each would cost more than the reading.
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        if size > LARGEST_RECORD:
            raise ValueError(f"it has {size} bytes")
        head = os.read(descriptor, size if whole else _LINE)
        if b"\n" not in head:
            head += os.read(descriptor, size)
        line, _, raw = head.partition(b"\n")
        told = parse_json(line)
        if not isinstance(told, dict):
            raise TypeError("its line is no object")
        # Older lines don't say it. The file was written then, or later.
        told.setdefault("published", max(0, int(status.st_mtime)))
        outline = _outline(told)
        left = size - len(line) - 1
        if not whole and (left <= 0 or outline is not None):
            return Parts(told, outline, b"", left)
        return Parts(told, outline, raw + os.read(descriptor, size), left)
    finally:
        os.close(descriptor)


def parse_parts(data: bytes) -> Parts:
    """Return the parts of a record that is at hand as a whole; raise one of DAMAGE if none."""
    line, _, raw = data.partition(b"\n")
    told = parse_json(line)
    if not isinstance(told, dict):
        raise TypeError("its line is no object")
    told.setdefault("published", 0)
    return Parts(told, _outline(told), raw, len(raw))


def ref_of(parts: Parts) -> ObjectRef:
    """Return the object that the parts of a record say they are of; raise one of DAMAGE."""
    origin, bucket, key, version = parts.told["object"]
    return ObjectRef(
        _text(origin), _text(bucket), _text(key), None if version is None else _text(version)
    )


def parse_record(ref: ObjectRef, parts: Parts, *, whole: bool) -> Record:
    """Return the record that the parts make up, without its tree; raise one of DAMAGE if none."""
    told = parts.told
    if told["object"] != [ref.origin, ref.bucket, ref.key, ref.version_id]:
        raise ValueError("it is of another object")
    if parts.raw_length != told.get("info_length", parts.raw_length):
        raise ValueError("its info is longer or shorter than its line says")
    pinned = _pinned(ref, told)
    info = _parse(pinned, parts.raw) if parts.raw else None
    outline = parts.outline
    if info is not None:
        # The outline of a hybrid that is served as v1 has no v2 part.
        known = info.outline if told.get("v2_hash") else replace(info.outline, v2=None)
        if outline not in (None, known):
            raise ValueError("its info is another one than its line says")
        outline = known
    if outline is not None and outline.layout.piece_count * SHA1_LENGTH > parts.raw_length:
        raise ValueError("its info is too short for its pieces")
    if outline is not None and not _could_be(pinned, outline):
        raise ValueError("its info is not as long as its objects")
    return Record(
        pinned=pinned,
        info=info if whole else None,
        outline=outline,
        rung=_text(told["rung"]),
        wanted=_text(told["wanted"]),
        refused={rung: _text(reason) for rung, reason in told["refused"].items()},
        published=None if outline is None else min(_count(told["published"]), _LATEST),
        similar=_similar(told),
    )


def line_of(record: Record) -> bytes:
    """Return the line of a record's file."""
    pinned = record.pinned
    ref = pinned.ref
    members = pinned.members if isinstance(pinned, PinnedBundle) else None
    return dump_json(
        {
            "object": [ref.origin, ref.bucket, ref.key, ref.version_id],
            "etag": pinned.etag,
            "size": pinned.size,
            "version_id": pinned.version_id,
            **described(pinned),
            "rung": record.rung,
            "wanted": record.wanted,
            "refused": record.refused,
            "members": members and [(each.ref.key, each.etag, each.size) for each in members],
            **({} if record.info is None else _told(record.info, record.tree)),
            **({} if record.published is None else {"published": record.published}),
            **({"similar": [str(each) for each in record.similar]} if record.similar else {}),
        }
    )


def history_of(record: Record, path: Path, now: int) -> tuple[int | None, tuple[InfoHash, ...]]:
    """Return since when there has been a torrent of a record's info hash, and those before it.

    Only those of a bundle are kept: of another state of one object, clients keep no file.
    """
    if record.info is None:
        return None, ()
    info_hash = record.info.info_hash
    try:
        parts = read_parts(path, whole=False)
        if parts is None:
            return now, ()
        similar = _similar(parts.told)
        if parts.told.get("info_hash") == str(info_hash):
            return min(_count(parts.told["published"]), _LATEST), similar
        if not isinstance(record.pinned, PinnedBundle) or not parts.told.get("members"):
            return now, ()
        last = InfoHash.from_hex(_text(parts.told["info_hash"]))
    except (OSError, *DAMAGE):
        # It is about to be replaced.
        return now, ()
    others = (each for each in similar if each != info_hash)
    return now, (last, *others)[:_MOST_SIMILAR]


def described(pinned: PinnedObject) -> dict[str, object]:
    """Return what a record's line says of what S3 tells beside the bytes."""
    if isinstance(pinned, PinnedBundle):
        return {"members_modified": member_dates(pinned)}
    description = pinned.description
    if description is None:
        return {}
    return {
        "modified": description.modified,
        "headers": dict(description.headers),
        "sha256": description.sha256,
    }


def _told(info: Info, tree: TreeFile | None) -> dict[str, object]:
    """Return what a record's line says of its info."""
    v2 = info.v2 if tree is not None else None
    return {
        "info_hash": info.info_hash.hex(),
        "info_length": len(info.raw),
        "length": info.layout.size,
        "piece_length": info.layout.piece_length,
        "private": info.private,
        "v2_hash": v2.info_hash.hex() if v2 else None,
        "v2_root": v2.root.hex() if v2 else None,
    }


def _outline(told: Mapping[str, Any]) -> Outline | None:
    """Return the outline in a record's line; None where the line has none, or there is no info."""
    if "info_hash" not in told:
        return None
    layout = Layout(_count(told["length"]), _count(told["piece_length"]))
    v2 = None
    if told.get("v2_hash") is not None:  # older lines of v1 torrents have no such key
        v2 = InfoV2(_hash(told["v2_hash"]), _hash(told["v2_root"]))
    return Outline(InfoHash.from_hex(_text(told["info_hash"])), layout, bool(told["private"]), v2)
