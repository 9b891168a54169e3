"""What the log and the counts say of one peer's session: that it opened, and why it closed."""

import errno
import logging
from collections import Counter

import trio

from seeder.errors import MetainfoError, StorageError, WireError
from seeder.net.sockets import Address
from seeder.torrent.catalog import ObjectRef

_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH}


class Journal:
    """One session's entries in `log`, and in `closes` by reason."""

    __slots__ = ("_address", "_closes", "_log", "is_news", "reason")

    def __init__(self, log: logging.Logger, address: Address, closes: Counter[str]) -> None:
        self.reason: str | None = None
        """Why the session ends; the first one told counts."""
        self.is_news = False
        """Whether the log tells of it: a seed dials us again as often as we hang up."""
        self._log = log
        self._address = address
        self._closes = closes

    def note(self, reason: str, detail: str = "") -> None:
        """Take down why the session ends."""
        if self.reason is None:
            self.reason = reason
            if detail:
                self._log.debug("peer %s:%d: %s", *self._address, detail)

    def fail(self, error: Exception) -> None:
        """Take down the error that ends the session."""
        match error:
            case WireError(reason=reason):
                self.note(reason, str(error))
            case MetainfoError() | StorageError():
                self.note("metainfo-lost", str(error))
            case trio.ClosedResourceError():
                self.note("closed")
            case OSError(errno=number):
                self.note("connection-lost" if number in _GONE else "socket-error", str(error))
            case _:
                # A fault of ours in one session: the others must not pay for it.
                self.note("internal-error")
                self._log.error("peer %s:%d: internal error", *self._address, exc_info=error)

    def opened(self, ref: ObjectRef) -> None:
        """Tell that the peer wants something of an object."""
        self.is_news = True
        self._log.info("peer %s:%d opened: %s", *self._address, ref)

    def closed(self, client: str, uploaded: int, gained: int, lasted: float) -> None:
        """Count the end, and tell of it: bytes that the peer had from us and gained, seconds."""
        reason = self.reason or "closed"
        self._closes[reason] += 1
        level = logging.INFO if self.is_news else logging.DEBUG
        self._log.log(
            level,
            'peer %s:%d closed: %s, client "%s", uploaded %d bytes, it gained %d bytes in %.1f s',
            *self._address,
            reason,
            client,
            uploaded,
            gained,
            lasted,
        )
