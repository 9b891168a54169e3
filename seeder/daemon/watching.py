"""Looking whether the configuration's file has changed, where it says `watch = true`."""

import os
from pathlib import Path

WATCH_EVERY = 2.0
"""Seconds between two looks."""


class FileWatch:
    """A file as it was when it was read last, and as it was at the last look.

    A link is followed: Kubernetes replaces the files of a volume by turning one.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._read = self._last = self._look()

    def reading(self) -> None:
        """Note how the file is now, just before it is read."""
        self._read = self._last = self._look()

    def has_changed(self) -> bool:
        """Tell whether the file was written since it was read, and not since the last look.

        Who writes it may be half-way; each state of it is told once.
        """
        now = self._look()
        rests = now == self._last
        self._last = now
        if not rests or now == self._read:
            return False
        self._read = now
        return True

    def _look(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
