"""Whether the cache's disk works, and when it is worth another try. No I/O."""

import logging
from collections.abc import Callable

DISK_RETRY_AFTER = 60.0
"""Seconds between a failure of the disk and the next try."""

_log = logging.getLogger(__name__)


class DiskHealth:
    """What the disk refused last; `clock` returns seconds, `root` names the directory in the log.

    The log gets one warning when the disk begins to fail, and one line when it works again.
    """

    def __init__(self, root: str, clock: Callable[[], float]) -> None:
        self.reads_from = float("-inf")
        """When reading is worth a try, by the clock."""
        self._writes_from = float("-inf")
        self._root = root
        self._clock = clock
        self._missing_from = float("-inf")
        """When the log may have another line of files that are missing."""
        self._broken: set[str] = set()
        """What failed since it last worked: "open", "read", "write"."""

    @property
    def works(self) -> bool:
        """Whether nothing has failed since it last worked."""
        return not self._broken

    @property
    def may_write(self) -> bool:
        return self._clock() >= self._writes_from

    def read_failed(self, error: OSError) -> None:
        """Leave the disk alone for a while, in reading and in writing."""
        self._failed("read", error)
        self.reads_from = self._writes_from

    def open_failed(self, error: OSError) -> None:
        """Do without the directory, until it was opened."""
        self._failed("open", error)

    def open_worked(self) -> None:
        """Take note that the directory was opened, and written to unless that failed."""
        if "write" not in self._broken:
            self._writes_from = float("-inf")
        self._worked({"open"})

    def write_failed(self, error: OSError) -> None:
        """Write nothing for a while; a full or read-only disk can still be read."""
        self._failed("write", error)

    def read_worked(self) -> None:
        """Take note that a file was read."""
        self._worked({"read"})

    def write_worked(self) -> None:
        """Take note that a file was written, which proves more than a read."""
        self._worked({"write", "read"})

    def found_missing(self, path: str) -> None:
        """Say that files are gone, once a while: mostly it isn't one, and S3 is read for them."""
        now = self._clock()
        if now >= self._missing_from:
            _log.warning("%s is gone, and maybe others: read again from S3", path)
        self._missing_from = now + DISK_RETRY_AFTER

    def _failed(self, what: str, error: OSError) -> None:
        if not self._broken:
            _log.warning(
                "cache.directory %s: can't %s%s: %s; going on with memory and S3,"
                " next try in %.0f s",
                self._root,
                what,
                f" {error.filename}" if what == "open" and error.filename else "",
                error.strerror or error,
                DISK_RETRY_AFTER,
            )
        self._broken.add(what)
        self._writes_from = self._clock() + DISK_RETRY_AFTER

    def _worked(self, what: set[str]) -> None:
        if self._broken:
            self._broken -= what
            if not self._broken:
                _log.info("cache.directory %s: works again", self._root)
