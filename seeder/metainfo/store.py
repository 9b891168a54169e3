"""What is known of objects, on disk, so that a restart reads nothing of them from S3 again.

Each object has a file, its record; a hybrid has its tree beside it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seeder.errors import MetainfoError
from seeder.files import replace_file, storage_errors
from seeder.metainfo.trees import TreeFile
from seeder.torrent.bundle import bundle_layout, parse_bundle_info
from seeder.torrent.info import Info, InfoHash, InfoV2, Outline, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject

_LINE = 4096
"""Bytes read at first: most lines are shorter."""
_DAMAGE = (ValueError, KeyError, TypeError, MetainfoError)
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
    tree: TreeFile | None = None
    """A hybrid's Merkle tree; without it the torrent is served as v1 only."""


def file_stem(ref: ObjectRef) -> str:
    """Return 32 hex digits that name an object (not its state) in file names."""
    text = json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _pinned(ref: ObjectRef, told: dict[str, Any]) -> PinnedObject:
    """Return the state that a record's line tells of; ValueError, KeyError or TypeError."""
    if told.get("members") is None:
        return PinnedObject(ref, str(told["etag"]), int(told["size"]), told["version_id"])
    members = [
        PinnedObject(replace(ref, key=str(key)), str(etag), int(size))
        for key, etag, size in told["members"]
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
class _Parts:
    """What was read of a record's file, and not checked yet."""

    told: dict[str, Any]
    """The line."""
    outline: Outline | None
    """As the line has it; None without an info, or if the line was written without an outline."""
    raw: bytes
    """The info, if it was read."""
    raw_length: int
    """Bytes of the info, read or not."""


def _read_parts(path: Path, *, whole: bool) -> _Parts | None:
    """Return the parts of a record, with its info if `whole` or needed; None without a file.

    OSError; ValueError, KeyError or TypeError where the line is damaged.
    """
    # A start reads thousands: an io.BufferedReader for each would cost more than the reading.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        head = os.read(descriptor, size if whole else _LINE)
        if b"\n" not in head:
            head += os.read(descriptor, size)
        line, _, raw = head.partition(b"\n")
        told = json.loads(line)
        outline = _outline(told)
        left = size - len(line) - 1
        if not whole and (left <= 0 or outline is not None):
            return _Parts(told, outline, b"", left)
        return _Parts(told, outline, raw + os.read(descriptor, size), left)
    finally:
        os.close(descriptor)


def _record(ref: ObjectRef, parts: _Parts, *, whole: bool) -> Record:
    """Return the record that the parts make up, without its tree; raise one of _DAMAGE if none."""
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
    if outline is not None and not _could_be(pinned, outline):
        raise ValueError("its info is not as long as its objects")
    return Record(
        pinned=pinned,
        info=info if whole else None,
        outline=outline,
        rung=str(told["rung"]),
        wanted=str(told["wanted"]),
        refused=dict(told["refused"]),
    )


class MetainfoStore:
    """Records below `directory`: a line of JSON, then the info dictionary as found.

    The line holds the outline of the info, so that a start recalls thousands of objects without
    reading their infos. The tree of a hybrid lies beside its record.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, ref: ObjectRef) -> Path:
        return self._directory / f"{file_stem(ref)}.info"

    def _tree_path(self, ref: ObjectRef) -> Path:
        return self._directory / f"{file_stem(ref)}.tree"

    def load(self, ref: ObjectRef) -> Record | None:
        """Return an object's record; None if it is missing or damaged, and has to be made again.

        StorageError.
        """
        return self._read(ref, whole=True)

    def recall(self, ref: ObjectRef) -> Record | None:
        """Return an object's record as `load` does, but with only the outline of its info.

        Whether the info on disk is undamaged shows when it is loaded.
        """
        return self._read(ref, whole=False)

    def _read(self, ref: ObjectRef, *, whole: bool) -> Record | None:
        path = self._path(ref)
        try:
            with storage_errors(path, "read"):
                parts = _read_parts(path, whole=whole)
            if parts is None:
                return None
            record = _record(ref, parts, whole=whole)
            return record if self._finds_tree(record) else None
        except _DAMAGE:
            return None

    def _finds_tree(self, record: Record) -> bool:
        """Open the tree of a hybrid's record; False if none is on disk, or one of another file."""
        outline = record.outline
        if outline is None or outline.v2 is None:
            return True
        path = self._tree_path(record.pinned.ref)
        record.tree = TreeFile.open(path, Shape(outline.layout), outline.v2.root)
        return record.tree is not None

    def save(self, record: Record) -> None:
        """Write an object's record in one step; StorageError when the disk won't take it.

        A hybrid's tree is moved to its place first.
        """
        pinned = record.pinned
        ref = pinned.ref
        members = pinned.members if isinstance(pinned, PinnedBundle) else None
        line = json.dumps(
            {
                "object": [ref.origin, ref.bucket, ref.key, ref.version_id],
                "etag": pinned.etag,
                "size": pinned.size,
                "version_id": pinned.version_id,
                "rung": record.rung,
                "wanted": record.wanted,
                "refused": record.refused,
                "members": members and [(each.ref.key, each.etag, each.size) for each in members],
                **({} if record.info is None else _told(record.info, record.tree)),
            }
        )
        if record.tree is not None:
            record.tree.move(self._tree_path(ref))
        data = line.encode() + b"\n" + (record.info.raw if record.info else b"")
        path, tree_path = self._path(ref), self._tree_path(ref)
        with storage_errors(path, "written"):
            # Durable: without it the object has to be read from S3 once more.
            replace_file(path, data, durable=True)
        if record.tree is None:
            with storage_errors(tree_path, "removed"):
                tree_path.unlink(missing_ok=True)


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
    layout = Layout(int(told["length"]), int(told["piece_length"]))
    v2 = None
    if told.get("v2_hash") is not None:  # older lines of v1 torrents have no such key
        v2 = InfoV2(bytes.fromhex(told["v2_hash"]), bytes.fromhex(told["v2_root"]))
    return Outline(InfoHash.from_hex(told["info_hash"]), layout, bool(told["private"]), v2)
