"""What every client of the tests can do, whichever program it is."""

import abc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from tests.support.closing import Closing
from tests.support.ports import free_port
from tests.support.processes import POLL_SECONDS, HarnessError, missing_programs

Encryption = Literal["plain", "any", "rc4"]
"""Refuses encryption; takes what the other side wants; refuses everything but RC4."""

_OWN_FILES = (".aria2", ".meta", ".torrent")  # what aria2 and rtorrent put beside a download


class Leecher(Closing):
    """One client that downloads one torrent, by file or by magnet link.

    Make it in the main thread; `wait` may run in another one of the same network.
    """

    program: ClassVar[str | None] = None
    """What has to be on the PATH."""
    dials_loopback: ClassVar[bool] = True
    """Whether it connects to peers on 127.0.0.0/8."""

    @classmethod
    def why_missing(cls) -> str | None:
        """Return why this client can't be run here; None where it can."""
        if cls.program is not None and missing_programs(cls.program):
            return f"{cls.program} is not installed"
        return None

    def __init__(self, address: str, directory: Path, *, encryption: Encryption = "any") -> None:
        self.address = address
        self.directory = directory
        self.downloads = directory / "downloads"
        self.encryption = encryption
        self.downloads.mkdir(parents=True)
        self.port = free_port(address)

    @abc.abstractmethod
    def add(self, source: Path | str) -> None:
        """Begin the download of a torrent file or a magnet link."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> Path:
        """Wait until the download is complete and return the file; HarnessError otherwise."""

    def download(self, source: Path | str, *, timeout: float) -> Path:
        """Download a torrent file or a magnet link within `timeout` seconds."""
        self.add(source)
        return self.wait(timeout)

    def downloaded_file(self) -> Path:
        """Return the file that is there, or the directory that a torrent of several files makes.

        Its name may be unknown with a magnet link.
        """
        tops = [path for path in self.downloads.iterdir() if path.suffix not in _OWN_FILES]
        if len(tops) == 1 and tops[0].is_dir():
            return tops[0]
        files = [
            path
            for path in self.downloads.rglob("*")
            if path.is_file() and path.suffix not in _OWN_FILES
        ]
        if len(files) != 1:
            raise HarnessError(f"{type(self).__name__} has {[path.name for path in files]}")
        return files[0]


def wait_for_all(leechers: Sequence[Leecher], *, timeout: float) -> list[Path]:
    """Wait for downloads that run side by side; `timeout` is for all of them together."""
    deadline = time.monotonic() + timeout
    return [leecher.wait(max(deadline - time.monotonic(), POLL_SECONDS)) for leecher in leechers]
