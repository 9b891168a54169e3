"""Messages that can't be read, kept for a person to look at, within bounds."""

import hashlib
from pathlib import Path

import trio

from seeder.errors import StorageError
from seeder.files import make_directory, replace_file, storage_errors

MOST_FILES = 100
LARGEST = 256 * 1024
"""Bytes that are kept of one."""


class Aside:
    """A directory for them: a file each, named by its hash."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, body: bytes | str) -> str:
        """Keep a message; return half a line that says where, or why not."""
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        try:
            return await trio.to_thread.run_sync(self._put, raw)
        except StorageError as error:
            return f"it is dropped: {error}"

    def _put(self, raw: bytes) -> str:
        path = self._directory / f"{hashlib.sha256(raw).hexdigest()[:32]}.message"
        with storage_errors(path, "written"):
            make_directory(self._directory)
            if path.exists():
                return f"it is kept in {path}"
            if sum(1 for _ in self._directory.iterdir()) >= MOST_FILES:
                return f"it is dropped: there are {MOST_FILES} in {self._directory}"
            replace_file(path, raw[:LARGEST], durable=False, mode=0o600)
        return f"it is kept in {path}"
