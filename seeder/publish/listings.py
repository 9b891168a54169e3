"""The last listing of each prefix, on disk: a start knows the objects before S3 has answered."""

import logging
from collections.abc import Mapping
from pathlib import Path

from seeder.files import make_way, read_file, replace_file, storage_errors
from seeder.metainfo.store import file_stem
from seeder.plain_json import dump_json, parse_json
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef
from seeder.units import KIB

_LOG = logging.getLogger(__name__)

_LARGEST_ROW = 8 * KIB
"""Bytes of an object in it: a key has 1024 bytes at most, and may be written six times as long."""


class ListingStore:
    """Listings below `directory`, a JSON document each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, prefix: ObjectRef) -> Path:
        return self._directory / f"{file_stem(prefix)}.json"

    def load(self, prefix: ObjectRef, most: int) -> dict[str, Listed] | None:
        """Return the objects below a prefix by key; None if the listing is missing or unfit.

        A file that is too long for `most` objects isn't read: all of it would be in memory.
        The log says so where it is unfit; S3 is asked in any case.
        """
        path = self._path(prefix)
        try:
            data = read_file(path, (most + 1) * _LARGEST_ROW)
            if data is None:
                return None
            told = parse_json(data)
            if told["prefix"] != [prefix.origin, prefix.bucket, prefix.key]:
                raise ValueError("it is of another prefix")
            return {
                _text(key): Listed(_text(etag), _size(size)) for key, etag, size in told["objects"]
            }
        except OSError as error:
            why = f"it can't be read: {error.strerror}"
        except (ValueError, KeyError, TypeError) as error:
            why = f"it is damaged ({str(error) or repr(error)})"
        _LOG.warning("%s: %s; %s has to be listed first", path, why, prefix)
        return None

    def save(self, prefix: ObjectRef, objects: Mapping[str, Listed]) -> None:
        """Write a listing in one step; StorageError when the disk won't take it."""
        rows = [(key, listed.etag, listed.size) for key, listed in objects.items()]
        document = {"prefix": [prefix.origin, prefix.bucket, prefix.key], "objects": rows}
        path = self._path(prefix)
        with storage_errors(path, "written"):
            make_way(self._directory)
            # Durable: without it a start waits for S3 to list the prefix.
            replace_file(path, dump_json(document), durable=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("there is something else in the place of a text")
    return value


def _size(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("there is something else in the place of a size")
    return value
