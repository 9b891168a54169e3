"""The last listing of each prefix, on disk: a start knows the objects before S3 has answered."""

import json
from collections.abc import Mapping
from pathlib import Path

from seeder.files import replace_file, storage_errors
from seeder.metainfo.store import file_stem
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef


class ListingStore:
    """Listings below `directory`, a JSON document each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, prefix: ObjectRef) -> Path:
        return self._directory / f"{file_stem(prefix)}.json"

    def load(self, prefix: ObjectRef) -> dict[str, Listed] | None:
        """Return the objects below a prefix by key; None if the listing is missing or damaged."""
        path = self._path(prefix)
        with storage_errors(path, "read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            told = json.loads(data)
            if told["prefix"] != [prefix.origin, prefix.bucket, prefix.key]:
                return None
            return {str(key): Listed(str(etag), int(size)) for key, etag, size in told["objects"]}
        except (ValueError, KeyError, TypeError):
            return None

    def save(self, prefix: ObjectRef, objects: Mapping[str, Listed]) -> None:
        """Write a listing in one step; StorageError when the disk won't take it."""
        rows = [(key, listed.etag, listed.size) for key, listed in objects.items()]
        document = {"prefix": [prefix.origin, prefix.bucket, prefix.key], "objects": rows}
        path = self._path(prefix)
        with storage_errors(path, "written"):
            # Durable: without it a start waits for S3 to list the prefix.
            replace_file(path, json.dumps(document).encode(), durable=True)
