"""Reports of torrents that can't be served as they are."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from seeder.errors import SeederError
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)

FaultHandler: TypeAlias = Callable[[Torrent, SeederError], None]
RecoveryHandler: TypeAlias = Callable[[Torrent, int], None]


class Faults:
    """Passes what the cache and the library find wrong with torrents to a handler, at once.

    A second one hears of pieces that came wrong and come right by now. The handlers use the cache
    and so are made after it; this is made before both. While there are none, faults are logged.
    """

    def __init__(self) -> None:
        self._handle: FaultHandler = _log
        self._recover: RecoveryHandler = _ignore

    def report(self, torrent: Torrent, error: SeederError) -> None:
        """Report that S3 gave no piece of a torrent (OriginError), or the disk no metainfo of it.

        Called in the task that met the fault; when it returns, the torrent may have been retired.
        """
        self._handle(torrent, error)

    def report_recovery(self, torrent: Torrent, index: int) -> None:
        """Report that a piece of which a fault was reported has come right; called as `report`."""
        self._recover(torrent, index)

    @contextmanager
    def handled_by(self, handle: FaultHandler, recover: RecoveryHandler) -> Iterator[None]:
        """Pass faults on to `handle`, recoveries to `recover`, for the length of the block."""
        self._handle, self._recover = handle, recover
        try:
            yield
        finally:
            self._handle, self._recover = _log, _ignore


def _log(_: Torrent, error: SeederError) -> None:
    _LOG.warning("%s", error)


def _ignore(_: Torrent, __: int) -> None:
    pass
