"""Files that must be whole after a crash, and directories that one process uses at a time.

A file is replaced by writing a temporary one and renaming it, so that a process that dies at any
moment leaves the old content or the new one, never a part. A power cut is worse: a file system may
have stored the new name before the bytes, unless it was told to sync them first. A sync takes some
milliseconds, so each caller says whether its file has to be `durable`.

What lies in a directory of ours may be anything: left by an older version, a dying disk, a person.
Files are read without following a link or waiting for a pipe, and no further than they may be long.
Whatever else has the name of a file that we write is set aside: renamed, never deleted.
"""

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from seeder.errors import StorageError

_LOG = logging.getLogger(__name__)

PARTIAL_SUFFIX = ".partial"
"""The suffix of a temporary file, instead of that of the file that it will become."""
LOCK_NAME = "lock"
"""An empty file; the process that holds its flock is the one that may use the directory."""


_OTHERS = 0o027
"""Bits of a mode with which a file is no secret: others may read it, or the group write."""
_NO_WRITING = (errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EROFS)
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
}


class NotAFile(OSError):
    """Something else has the name of a file; `strerror` says what."""


@contextmanager
def storage_errors(path: str | Path, done: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError: `path` can't be `done` (such as "read")."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: can't be {done}: {error.strerror}") from error


def open_regular(path: str | Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Return a descriptor of a regular file; NotAFile if `path` is anything else; OSError.

    It follows no link, and never waits for the other end of a pipe.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise _not_a_file(path, found.st_mode) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _not_a_file(path, found.st_mode)
    return descriptor


def _not_a_file(path: str | Path, mode: int) -> NotAFile:
    return NotAFile(errno.EINVAL, _what_it_is(mode), os.fspath(path))


def _what_it_is(mode: int) -> str:
    return f"it is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file"


def read_file(path: str | Path, most: int) -> bytes | None:
    """Return the content of a regular file of at most `most` bytes; None if there is none.

    NotAFile if something else is there; OSError.
    """
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, more than {most}", os.fspath(path))
        parts = []
        while size > 0 and (part := os.read(descriptor, size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_named(path: Path, most: int, *, secret: bool = False) -> bytes:
    """Return the first `most` bytes of a file that a setting names, if need be through links.

    ValueError says why they can't be had, and shows none of them: also where others can read or
    change what is to be `secret`.
    """
    try:
        # Without O_NONBLOCK we'd wait for the writer of a pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            mode = os.fstat(f.fileno()).st_mode
            data = f.read(most) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no file")
    if secret and mode & _OTHERS:
        raise ValueError(f"others can read or change {path}; chmod 600 {path}, or 640")
    return data


def set_aside(path: str | Path, why: str, *, level: int = logging.WARNING) -> str:
    """Rename what is at `path`, say so in the log, and return its new name; OSError."""
    path = os.fspath(path)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = next(
        name
        for number in count()
        if not os.path.lexists(name := f"{path}.aside-{moment}{f'-{number}' if number else ''}")
    )
    os.rename(path, aside)
    _LOG.log(level, "%s: %s; set aside as %s", path, why, os.path.basename(aside))
    return aside


def make_way(directory: str | Path) -> None:
    """Set aside whatever has the name of a directory of ours and is none; OSError."""
    if os.path.lexists(directory) and not os.path.isdir(directory):
        set_aside(directory, "it is not a directory")


def move_file(source: str | Path, target: str | Path) -> None:
    """Rename a file; a file that has its new name is replaced, anything else set aside. OSError."""
    with suppress(FileNotFoundError):
        found = os.lstat(target)
        if not stat.S_ISREG(found.st_mode):
            set_aside(target, _what_it_is(found.st_mode))
    os.replace(source, target)


def remove_file(path: str | Path) -> None:
    """Unlink a file, if there is one; a directory that has its name is left alone. OSError."""
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        os.unlink(path)


def give_to_owner(path: str | Path, directory: str | Path) -> None:
    """Have a file that root made belong to whom the directory belongs to; OSError.

    Else the service, which runs as somebody else, couldn't read what was made for it by hand.
    """
    if os.geteuid() == 0:
        found = os.stat(directory)
        os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


def try_writing(path: str | Path, mode: int = 0o666) -> None:
    """Create an empty file and unlink it; OSError if its directory takes no file."""
    os.close(_create(os.fspath(path), mode))
    os.unlink(path)


def replace_file(
    path: str | Path,
    data: bytes | bytearray | Sequence[bytes],
    *,
    durable: bool,
    temporary: str | None = None,
    mode: int = 0o666,
    directory_mode: int = 0o777,
) -> None:
    """Give the file `path` the content `data` in one step; OSError leaves the file as it was.

    `data` may come in parts. Once this has returned, the content of a `durable` file outlives a
    power cut; any other may be found empty or torn after one. Missing directories are made, the
    last one with `directory_mode`.
    `temporary` is on the same file system, and by default `path` with another suffix; a failure
    removes it. A process that dies may leave it behind: the next call removes it. What is no file
    and has one of the two names is set aside.
    """
    target = os.fspath(path)
    directory = os.path.dirname(target) or "."
    if temporary is None:
        temporary = os.path.splitext(target)[0] + PARTIAL_SUFFIX
    try:
        _make_directory(directory, directory_mode, durable=durable)
        _write(temporary, data, mode, durable=durable)
        move_file(temporary, target)
        if durable:
            _sync_directory(directory)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def make_directory(path: str | Path, mode: int = 0o777) -> None:
    """Make a directory whose name outlives a power cut, and those above it; OSError."""
    _make_directory(os.fspath(path), mode, durable=True)


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


def _create(path: str, mode: int) -> int:
    """Return a descriptor of a new file; a leftover that has its name goes, anything else aside."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        # Unlinked, not truncated: it may be another name of a file that isn't ours.
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            os.unlink(path)
        else:
            set_aside(path, _what_it_is(found.st_mode))
        return os.open(path, flags, mode)


def _write(
    path: str, data: bytes | bytearray | Sequence[bytes], mode: int, *, durable: bool
) -> None:
    descriptor = _create(path, mode)
    try:
        for part in (data,) if isinstance(data, bytes | bytearray) else data:
            rest = memoryview(part)
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


class DirectoryLock:
    """The lock of a directory, held until it is closed or the process ends."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    def close(self) -> None:
        """Let others lock the directory."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def lock_directory(root: str) -> DirectoryLock:
    """Lock a directory; BlockingIOError if somebody holds its lock, OSError.

    Both the directory and a file in it are locked, and either will do: not every file system locks
    directories, and the file may be removed, or be another user's.
    """
    held = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        refused = _lock(held[0])
        file = _open_lock(root)
        if file is not None:
            held.append(file)
            refused = _lock(file) and refused
        if refused is not None:
            raise refused
    except BaseException:
        DirectoryLock(held).close()
        raise
    return DirectoryLock(held)


def _lock(descriptor: int) -> OSError | None:
    """Take a lock, or return why there is none; BlockingIOError if another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        return error  # NFS, for one, locks no directories, and no file that is only read
    return None


def _open_lock(root: str) -> int | None:
    """Open the lock file, made if it is missing; None where there can't be one; OSError."""
    path = f"{root}/{LOCK_NAME}"
    try:
        return open_regular(path, os.O_RDWR | os.O_CREAT, 0o600)
    except NotAFile as error:
        # Nobody holds the lock of what isn't a file.
        try:
            set_aside(path, error.strerror or str(error))
            return open_regular(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return None
    except OSError as error:
        if error.errno not in _NO_WRITING:
            raise
    # What can't be written can be locked all the same; what can't be read is another user's.
    with suppress(FileNotFoundError, PermissionError):
        return open_regular(path) if os.path.lexists(path) else None
    return None
