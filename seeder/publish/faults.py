"""Reports of torrents that can't be served as they are."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from seeder.errors import SeederError
from seeder.torrent.catalog import Torrent

_LOG = logging.getLogger(__name__)

FaultHandler: TypeAlias = Callable[[Torrent, SeederError], None]


class Faults:
    """Passes what the cache and the library find wrong with torrents to one handler, at once.

    The handler uses the cache and so is made after it; this is made before both. While there is no
    handler, faults are logged.
    """

    def __init__(self) -> None:
        self._handle: FaultHandler = _log

    def report(self, torrent: Torrent, error: SeederError) -> None:
        """Report that S3 gave no piece of a torrent (OriginError), or the disk no metainfo of it.

        Called in the task that met the fault; when it returns, the torrent may have been retired.
        """
        self._handle(torrent, error)

    @contextmanager
    def handled_by(self, handle: FaultHandler) -> Iterator[None]:
        """Pass faults on to `handle` for the length of the block."""
        self._handle = handle
        try:
            yield
        finally:
            self._handle = _log


def _log(_: Torrent, error: SeederError) -> None:
    _LOG.warning("%s", error)
