"""Files that must be whole after a crash, and directories that one process uses."""

import fcntl
import os

_LOCK = "lock"


def lock_directory(root: str) -> int:
    """Return a descriptor that holds the lock until it is closed; BlockingIOError if it's taken."""
    descriptor = os.open(f"{root}/{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
