"""Metainfo on disk, one file an object: a restart reads nothing from S3 again."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from seeder.errors import MetainfoError, StorageError
from seeder.origin.trees import TreeFile
from seeder.torrent.catalog import ObjectRef, PinnedObject
from seeder.torrent.merkle import Shape
from seeder.torrent.metainfo import Info, parse_info


@dataclass(slots=True)
class Record:
    """What is known of an object: the state it was in, its info, and which rungs lied."""

    pinned: PinnedObject
    info: Info | None = None
    rung: str = ""
    wanted: str = ""
    """What the configuration asked of the metainfo; another wish makes the record stale."""
    refused: dict[str, str] = field(default_factory=dict)
    """Rungs whose metainfo turned out wrong for this state of the object, and why."""
    tree: TreeFile | None = None
    """A hybrid's Merkle tree; without it the torrent is served as v1 only."""


def file_stem(ref: ObjectRef) -> str:
    """Return 32 hex digits that name an object (not its state) in file names."""
    text = json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class MetainfoStore:
    """Records below `directory`: a JSON line, then the info dictionary as found.

    The tree of a hybrid lies beside its record.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, ref: ObjectRef) -> Path:
        return self._directory / f"{file_stem(ref)}.info"

    def _tree_path(self, ref: ObjectRef) -> Path:
        return self._directory / f"{file_stem(ref)}.tree"

    def load(self, ref: ObjectRef) -> Record | None:
        """Return an object's record; a missing or damaged one is None: it is made again."""
        try:
            line, _, raw = self._path(ref).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path(ref)}: can't be read: {error.strerror}") from error
        try:
            told = json.loads(line)
            if told["object"] != [ref.origin, ref.bucket, ref.key, ref.version_id]:
                return None
            record = Record(
                pinned=PinnedObject(ref, str(told["etag"]), int(told["size"]), told["version_id"]),
                info=parse_info(raw) if raw else None,
                rung=str(told["rung"]),
                wanted=str(told["wanted"]),
                refused=dict(told["refused"]),
            )
            # Records of v1 torrents needn't say that they are.
            if told.get("v2_hash") is not None and record.info is not None:
                record.tree = self._find_tree(ref, record.info)
                return record if record.tree is not None else None
        except (ValueError, KeyError, TypeError, MetainfoError):
            return None
        return record

    def _find_tree(self, ref: ObjectRef, info: Info) -> TreeFile | None:
        if info.v2 is None:
            return None
        return TreeFile.open(self._tree_path(ref), Shape(info.layout), info.v2.root)

    def save(self, record: Record) -> None:
        """Write an object's record in one step; StorageError when the disk won't take it.

        Its tree moves to its place first.
        """
        pinned = record.pinned
        v2 = record.info.v2 if record.info and record.tree else None
        ref = pinned.ref
        line = json.dumps(
            {
                "object": [ref.origin, ref.bucket, ref.key, ref.version_id],
                "etag": pinned.etag,
                "size": pinned.size,
                "version_id": pinned.version_id,
                "rung": record.rung,
                "wanted": record.wanted,
                "refused": record.refused,
                "v2_hash": v2.info_hash.hex() if v2 else None,
            }
        )
        if record.tree is not None:
            record.tree.move(self._tree_path(ref))
        path = self._path(ref)
        partial = path.with_suffix(".partial")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(line.encode() + b"\n" + (record.info.raw if record.info else b""))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            if record.tree is None:
                self._tree_path(ref).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: can't be written: {error.strerror}") from error
