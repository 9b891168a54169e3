"""Files that must be whole after a crash, and directories that one process uses at a time.

A file is replaced by writing a temporary one and renaming it, so that a process that dies at any
moment leaves the old content or the new one, never a part. A power cut is worse: a file system may
have stored the new name before the bytes, unless it was told to sync them first. A sync takes some
milliseconds, so each caller says whether its file has to be `durable`.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seeder.errors import StorageError

PARTIAL_SUFFIX = ".partial"
"""The suffix of a temporary file, instead of that of the file that it will become."""
LOCK_NAME = "lock"
"""An empty file; the process that holds its flock is the one that may use the directory."""


@contextmanager
def storage_errors(path: str | Path, done: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError: `path` can't be `done` (such as "read")."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: can't be {done}: {error.strerror}") from error


def replace_file(
    path: str | Path,
    data: bytes | bytearray,
    *,
    durable: bool,
    temporary: str | None = None,
    mode: int = 0o666,
    directory_mode: int = 0o777,
) -> None:
    """Give the file `path` the content `data` in one step; OSError leaves the file as it was.

    Once this has returned, the content of a `durable` file outlives a power cut; any other may be
    found empty or torn after one. Missing directories are made, the last one with `directory_mode`.
    `temporary` is on the same file system, and by default `path` with another suffix; a failure
    removes it. A process that dies may leave it behind: the next call overwrites it.
    """
    target = os.fspath(path)
    directory = os.path.dirname(target) or "."
    if temporary is None:
        temporary = os.path.splitext(target)[0] + PARTIAL_SUFFIX
    try:
        _make_directory(directory, directory_mode, durable=durable)
        _write(temporary, data, mode, durable=durable)
        os.replace(temporary, target)
        if durable:
            _sync_directory(directory)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _make_directory(path: str, mode: int, *, durable: bool) -> None:
    """Make a directory and those above it; nothing if it is there."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path) or "."
    _make_directory(above, 0o777, durable=durable)
    with suppress(FileExistsError):
        os.mkdir(path, mode)
    if durable:
        _sync_directory(above)


def _write(path: str, data: bytes | bytearray, mode: int, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: str) -> None:
    """Sync the names in a directory to the disk: a rename is durable only after that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, such as CIFS, can't sync a directory, and say so.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def lock_directory(root: str) -> int:
    """Return a descriptor that holds the directory's lock until it is closed or the process ends.

    BlockingIOError if another descriptor holds it; OSError.
    """
    descriptor = os.open(f"{root}/{LOCK_NAME}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
