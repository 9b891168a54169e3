"""Why one session ends, and what the log tells of it."""

import errno
import logging

import trio

from seeder.errors import MetainfoError, StorageError, WireError
from seeder.net.addresses import SocketAddress
from seeder.torrent.objects import ObjectRef

_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH}


class SessionLog:
    """One session's entries in `log`, and why it ends."""

    __slots__ = ("_address", "_log", "_ref", "reason")

    def __init__(self, log: logging.Logger, address: SocketAddress) -> None:
        self.reason: str | None = None
        """Why the session ends; the first one told counts."""
        self._ref: ObjectRef | None = None
        self._log = log
        self._address = address

    @property
    def is_news(self) -> bool:
        """Whether the end of the session is logged at INFO."""
        return self._ref is not None

    def note(self, reason: str, detail: str = "") -> None:
        """Note why the session ends, unless a reason is noted already."""
        if self.reason is None:
            self.reason = reason
            if detail:
                self._log.debug("peer %s:%d: %s", *self._address, detail)

    def fail(self, error: Exception) -> None:
        """Note the error that ends the session."""
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
        """Note that the peer is here for an object: its end is then logged at INFO.

        Seeds are never noted: they dial again when we hang up.
        """
        self._ref = ref
        self._log.debug("peer %s:%d opened: %s", *self._address, ref)

    def closed(self, client: str, uploaded: int, gained: int, lasted: float) -> None:
        """Log the end: bytes that we sent the peer, bytes that it gained, and seconds."""
        level = logging.INFO if self.is_news else logging.DEBUG
        self._log.log(
            level,
            'peer %s:%d closed: %s, client "%s", uploaded %d bytes, it gained %d bytes in %.1f s%s',
            *self._address,
            self.reason or "closed",
            client,
            uploaded,
            gained,
            lasted,
            "" if self._ref is None else f" of {self._ref}",
        )
