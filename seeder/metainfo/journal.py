"""How far each object has been hashed, on disk: a restart goes on where the last run ended."""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from seeder.files import (
    make_way,
    open_regular,
    read_file,
    remove_file,
    replace_file,
    storage_errors,
)
from seeder.metainfo.store import file_stem
from seeder.torrent.layout import SHA1_LENGTH
from seeder.torrent.objects import ObjectRef
from seeder.units import MIB

_LOG = logging.getLogger(__name__)

LARGEST_JOURNAL = 256 * MIB
"""Bytes that are read of a journal: more than the hashes of any torrent that we make."""


class Builds:
    """Where the files of builds under way are: below `directory`, by object."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def journal(self, ref: ObjectRef) -> Path:
        """Return where the hashes of an object's pieces are noted."""
        return self._directory / f"{file_stem(ref)}.journal"

    def tree(self, ref: ObjectRef) -> Path:
        """Return where the Merkle tree of a hybrid is built."""
        return self._directory / f"{file_stem(ref)}.tree"

    def clear(self, ref: ObjectRef) -> None:
        """Remove the files of an object's build; what can't be removed is left to the next one."""
        for path in (self.journal(ref), self.tree(ref)):
            try:
                remove_file(path)
            except OSError as error:
                _LOG.warning("%s: can't be removed: %s", path, error.strerror)


class HashJournal:
    """The hashes known so far: a header, then a number and a digest for each, as they came.

    The number of a piece has `width` bytes: see `hashing.journal_numbers`. A digest is the piece's
    SHA-1; for a hybrid, the piece's root in the Merkle tree follows it. `name` tells what is
    hashed, and how it is cut into pieces.

    What is appended is not synced: it survives the death of the process, but not always a power
    cut, after which a torn tail is dropped and its pieces are read again.
    """

    def __init__(
        self, path: Path, name: str, width: int = 4, digest_length: int = SHA1_LENGTH
    ) -> None:
        self._path = path
        self._width = width
        self._length = width + digest_length
        self._header = json.dumps({"journal": 1, "of": name}).encode() + b"\n"

    def load(self) -> dict[int, bytes]:
        """Return the digests by number, none of a journal of another name.

        One that can't be read counts as empty, and the log says so.
        """
        try:
            data = read_file(self._path, LARGEST_JOURNAL)
        except OSError as error:
            _LOG.warning("%s: can't be read: %s; hashing begins anew", self._path, error.strerror)
            return {}
        if data is None or not data.startswith(self._header):
            return {}
        records = data[len(self._header) :]
        width, length = self._width, self._length
        whole = len(records) // length * length
        return {
            int.from_bytes(records[at : at + width], "big"): records[at + width : at + length]
            for at in range(0, whole, length)
        }

    def start(self, known: dict[int, bytes]) -> None:
        """Write the journal anew with what is known, and so without a torn tail. StorageError."""
        data = self._header + self._records(known.items())
        with storage_errors(self._path, "written"):
            make_way(self._path.parent)
            # Durable as soon as there is something to lose: what is known was paid for.
            replace_file(self._path, data, durable=bool(known))

    def append(self, first: int, hashes: list[bytes]) -> None:
        """Add the digests of pieces with consecutive numbers from `first` on. StorageError."""
        with storage_errors(self._path, "written"):
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with open(descriptor, "ab") as file:
                file.write(self._records(enumerate(hashes, first)))

    def _records(self, hashes: Iterable[tuple[int, bytes]]) -> bytes:
        return b"".join(number.to_bytes(self._width, "big") + digest for number, digest in hashes)
