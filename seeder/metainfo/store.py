"""What is known of objects, on disk, so that a restart reads nothing of them from S3 again.

Each object has a file, its record; a hybrid has its tree beside it. A record that is damaged, or
that can't be read while its directory takes another one in its place, counts as missing: the log
says so, and it is made anew.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from seeder.errors import StorageError
from seeder.files import (
    PARTIAL_SUFFIX,
    NotAFile,
    make_directory,
    make_way,
    read_file,
    remove_file,
    replace_file,
    storage_errors,
    try_writing,
)
from seeder.metainfo.records import (
    DAMAGE,
    LARGEST_RECORD,
    Record,
    described,
    history_of,
    line_of,
    parse_parts,
    parse_record,
    read_parts,
    ref_of,
)
from seeder.metainfo.trees import TreeFile
from seeder.plain_json import dump_json
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

LARGEST_TREE = 512 * MIB
"""Bytes of a tree that is handed to other nodes."""


def file_stem(ref: ObjectRef) -> str:
    """Return 32 hex digits that name an object (not its state) in file names."""
    text = json.dumps([ref.origin, ref.bucket, ref.key, ref.version_id])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class MetainfoStore:
    """Records below `directory`: a line of JSON, then the info dictionary as found.

    The line holds the outline of the info, so that a start recalls thousands of objects without
    reading their infos. The tree of a hybrid lies beside its record.

    `clock` is Unix time in seconds.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._told: set[Path] = set()
        """Records whose damage was logged, and that weren't written since: they are looked for more
        than once while they are made anew."""

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
            parts = read_parts(path, whole=whole)
            if parts is None:
                return None
            record = parse_record(ref, parts, whole=whole)
            if self._finds_tree(record):
                return record
            why = "its tree is missing, or another one"
        except DAMAGE as error:
            why = f"it is damaged ({str(error) or repr(error)})"
        except OSError as error:
            if not self._takes_another(path, error):
                raise StorageError(f"{path}: can't be read: {error.strerror}") from error
            why = f"it can't be read: {error.strerror}"
        if path not in self._told:
            self._told.add(path)
            _LOG.warning("%s: %s; the metainfo of %s is made anew", path, why, ref)
        return None

    def _takes_another(self, path: Path, error: OSError) -> bool:
        """Tell whether an error is of one record alone: another could be written in its place."""
        if isinstance(error, NotAFile):
            return True
        try:
            make_way(self._directory)
            self._directory.mkdir(exist_ok=True)
            try_writing(path.with_suffix(PARTIAL_SUFFIX))
        except OSError:
            return False
        return True

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
        record.published, record.similar = history_of(record, self._path(ref), int(self._clock()))
        line = line_of(record)
        with storage_errors(self._directory, "used"):
            make_way(self._directory)
        if record.tree is not None:
            record.tree.move(self._tree_path(ref))
        data = line + b"\n" + (record.info.raw if record.info else b"")
        path, tree_path = self._path(ref), self._tree_path(ref)
        self._told.discard(path)
        with storage_errors(path, "written"):
            # Durable: without it the object has to be read from S3 once more.
            replace_file(path, data, durable=True)
        if record.tree is None:
            with storage_errors(tree_path, "removed"):
                remove_file(tree_path)

    def export(self, stem: str) -> tuple[Record, bytes] | None:
        """Return a record by its `file_stem`, and all of it for `take` of another node's store.

        None if it is missing, damaged or without an info. StorageError.
        """
        path = self._directory / f"{stem}.info"
        with storage_errors(path, "read"):
            data = read_file(path, LARGEST_RECORD)
        try:
            parts = None if data is None else parse_parts(data)
            if data is None or parts is None or not parts.raw:
                return None
            record = parse_record(ref_of(parts), parts, whole=True)
        except DAMAGE:
            return None  # it is said, and mended, by who wants the metainfo of it
        if not self._finds_tree(record):
            return None
        tree = b""
        if record.tree is not None:
            with storage_errors(record.tree.path, "read"):
                tree = read_file(record.tree.path, LARGEST_TREE) or b""
        return record, len(data).to_bytes(8, "big") + data + tree

    def take(self, ref: ObjectRef, exported: bytes) -> Record | None:
        """Keep what another node's store exported as an object's record, and return it.

        None if it isn't one. StorageError.
        """
        length = int.from_bytes(exported[:8], "big")
        data, tree = exported[8 : 8 + length], exported[8 + length :]
        try:
            parts = parse_parts(data)
            parse_record(ref, parts, whole=True)
        except DAMAGE:
            return None
        path, tree_path = self._path(ref), self._tree_path(ref)
        with storage_errors(path, "written"):
            make_way(self._directory)
            make_directory(self._directory)
            if tree:
                replace_file(tree_path, tree, durable=True)
            replace_file(path, data, durable=True)
            self._told.discard(path)
        return self.load(ref)

    def describe(self, pinned: PinnedObject) -> None:
        """Have an object's record tell what S3 tells of it now beside its bytes.

        StorageError; nothing is written where there is no record of this state.
        """
        path = self._path(pinned.ref)
        try:
            parts = read_parts(path, whole=True)
            if parts is None or (parts.told["etag"], parts.told["size"]) != (
                pinned.etag,
                pinned.size,
            ):
                return
        except (OSError, *DAMAGE):
            # It is said, and mended, by who wants the metainfo of it.
            return
        told = parts.told | described(pinned)
        told.pop("crc32", None)  # of the line as it was
        line = dump_json(told)
        with storage_errors(path, "written"):
            replace_file(path, line + b"\n" + parts.raw, durable=False)
