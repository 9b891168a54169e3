"""How far each object has been hashed, on disk: a restart goes on where the last run ended."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from seeder.files import (
    make_directory,
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

_CHECKSUM = 4
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
    """The hashes known so far: a header, then a number, a digest and a checksum for each, as they
    came.

    The number of a piece has `width` bytes: see `hashing.journal_numbers`. A digest is the piece's
    SHA-1; for a hybrid, the piece's root in the Merkle tree follows it. `name` tells what is
    hashed, and how it is cut into pieces. The checksum is the CRC-32 of the header, the number and
    the digest.

    What is appended is not synced: it survives the death of the process, but not always a power
    cut. A record that is torn, zeroed or damaged is left out, and its piece is read again.
    """

    def __init__(
        self, path: Path, name: str, width: int = 4, digest_length: int = SHA1_LENGTH
    ) -> None:
        self._path = path
        self._width = width
        self._length = width + digest_length
        self._header = _header(2, name)
        self._old_header = _header(1, name)
        """Of earlier releases: without checksums."""
        self._seed = crc32(self._header)
        self._wrong: str | None = None
        """With what was loaded."""

    def load(self) -> dict[int, bytes]:
        """Return the digests by number, none of a journal of another name.

        One that can't be read counts as empty. The log tells of what is wrong with it once `start`
        has mended that: before, a retry would tell of it again.
        """
        try:
            data = read_file(self._path, LARGEST_JOURNAL)
        except OSError as error:
            self._wrong = f"can't be read: {error.strerror}; hashing begins anew"
            return {}
        if data is not None and data.startswith(self._old_header):
            # What is left of the power cut of an earlier release can't be told from zeros.
            records = self._cut(data[len(self._old_header) :], self._length)
            return {number: digest for number, digest in records if any(digest)}
        if data is None or not data.startswith(self._header):
            return {}
        length = self._length + _CHECKSUM
        known: dict[int, bytes] = {}
        damaged = int(len(data[len(self._header) :]) % length > 0)
        for number, record in self._cut(data[len(self._header) :], length):
            digest, told = record[:-_CHECKSUM], record[-_CHECKSUM:]
            if told == self._checksum(number.to_bytes(self._width, "big") + digest):
                known[number] = digest
            else:
                damaged += 1
        if damaged:
            self._wrong = f"{damaged} of its records are damaged; their pieces are read again"
        return known

    def _cut(self, records: bytes, length: int) -> Iterator[tuple[int, bytes]]:
        """Yield the number of each whole record, and what follows it."""
        width = self._width
        for at in range(0, len(records) - length + 1, length):
            number = int.from_bytes(records[at : at + width], "big")
            yield number, records[at + width : at + length]

    def start(self, known: dict[int, bytes]) -> None:
        """Write the journal anew with what is known, and so without a torn tail. StorageError."""
        data = self._header + self._records(known.items())
        with storage_errors(self._path, "written"):
            make_way(self._path.parent)
            make_directory(self._path.parent)
            # Durable as soon as there is something to lose: what is known was paid for.
            replace_file(self._path, data, durable=bool(known))
        if self._wrong is not None:
            _LOG.warning("%s: %s", self._path, self._wrong)
            self._wrong = None

    def append(self, first: int, hashes: list[bytes]) -> None:
        """Add the digests of pieces with consecutive numbers from `first` on. StorageError."""
        with storage_errors(self._path, "written"):
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with open(descriptor, "ab") as file:
                file.write(self._records(enumerate(hashes, first)))

    def _records(self, hashes: Iterable[tuple[int, bytes]]) -> bytes:
        records = (number.to_bytes(self._width, "big") + digest for number, digest in hashes)
        return b"".join(record + self._checksum(record) for record in records)

    def _checksum(self, record: bytes) -> bytes:
        return crc32(record, self._seed).to_bytes(_CHECKSUM, "big")


def _header(version: int, name: str) -> bytes:
    return json.dumps({"journal": version, "of": name}).encode() + b"\n"
