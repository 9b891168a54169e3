"""Sockets of this machine alone: UNIX sockets at paths, which may be longer than sun_path is."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seeder.errors import StateUnusable, StorageError
from seeder.net.sockets import BACKLOG

LONGEST = 107
"""Bytes of a path that an address of a UNIX socket has room for (unix(7))."""


@contextmanager
def local_address(path: Path) -> Iterator[str]:
    """Yield what connects and binds to a path, which is good within the block; OSError."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class LocalListener:
    """A socket that listens at a path."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self.socket = listener
        self._path = path
        self._identity = _identity(path)

    @property
    def is_there(self) -> bool:
        """Whether it is found at its path; somebody may have removed it, or put another there."""
        return self._identity is not None and _identity(self._path) == self._identity


@contextmanager
def listening_at(path: Path, key: str) -> Iterator[LocalListener]:
    """Listen at a path for the length of the block; nobody but our user can connect.

    What a process left there that ended is replaced. StateUnusable if somebody listens there,
    StorageError; both name the path and its `key`.
    """
    try:
        with local_address(path) as address:
            listener = _bound(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StateUnusable(f"{key}: another process listens at {path}") from error
        why = error.strerror or str(error)
        raise StorageError(f"{key}: can't listen at {path}: {why}") from error
    local = LocalListener(listener, path)
    try:
        yield local
    finally:
        # Another seeder may have taken the path meanwhile, if somebody removed ours.
        if local.is_there:
            with suppress(OSError):
                os.unlink(path)
        listener.close()


def _bound(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        # The file has the mode of the socket (unix(7)): nobody ever sees it with another one, and
        # the umask, which is all threads', is left alone.
        os.fchmod(listener.fileno(), 0o600)
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _clear(address)
            listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _clear(address: str) -> None:
    """Remove a socket that nobody listens at; OSError."""
    if not stat.S_ISSOCK(os.lstat(address).st_mode):
        raise OSError(errno.EEXIST, "something else than a socket is there; move it away")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(address)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise OSError(errno.EADDRINUSE, "it is in use")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that takes its name later; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
