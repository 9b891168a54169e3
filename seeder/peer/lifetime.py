"""The life of one session: how long it may last, and what the log tells of it.

No peer may stay silent for ever, take nothing for ever, or hold a place without using it.
"""

import errno
import logging

import trio

from seeder.errors import MetainfoError, StorageError, WireError
from seeder.net.addresses import SocketAddress
from seeder.peer.connection import PeerConnection
from seeder.peer.output import Output
from seeder.peer.protocol import Phase
from seeder.torrent.objects import ObjectRef

HANDSHAKE_DEADLINE = 15.0
"""Seconds, like all constants below."""
IDLE_DEADLINE = 180.0
WRITE_DEADLINE = 60.0
KEEP_ALIVE_EVERY = 100.0
STRANGER_PATIENCE = 5.0
IDLE_PATIENCE = 60.0
"""Grace before a peer that hasn't said who it is, or wants nothing, makes room when all places
are taken."""
PIN_DEADLINE = 2.0
"""Once the socket has taken nothing for so long, the batch is queued again: it holds whole pieces
in memory."""

_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH}


class Deadlines:
    """The deadlines of one connection, opened at `now`."""

    __slots__ = ("_opened_at", "_output", "_wire", "received_at", "served_at")

    def __init__(self, wire: PeerConnection, output: Output, now: float) -> None:
        self.received_at = now
        """When anything came from the peer last."""
        self.served_at = now
        """When the socket took a block last."""
        self._opened_at = now
        self._wire = wire
        self._output = output

    @property
    def is_stranger(self) -> bool:
        """Whether the peer's id has yet to come."""
        return self._wire.phase in (Phase.HANDSHAKE, Phase.PEER_ID)

    def outstays(self, now: float) -> float:
        """Return for how many seconds too long a peer has held a place without using it, or 0."""
        wire = self._wire
        if self.is_stranger:
            return max(0.0, now - self._opened_at - STRANGER_PATIENCE)
        if self._output.draining or wire.wanted_count or (wire.choking and wire.interested):
            return 0.0
        return max(0.0, now - self.served_at - IDLE_PATIENCE)

    def is_late(self, now: float) -> bool:
        """Tell whether the handshake is overdue, if the peer is still a stranger."""
        return now - self._opened_at > HANDSHAKE_DEADLINE

    def keep(self, now: float) -> str | None:
        """Return why the session must end, if it must; else let go of pieces or keep it alive."""
        output = self._output
        if output.draining:
            if now - output.sent_at > WRITE_DEADLINE:
                return "write-timeout"
            if now - output.sent_at > PIN_DEADLINE:
                output.let_go()
        elif now - self.received_at > IDLE_DEADLINE:
            return "idle"
        elif now - output.sent_at > KEEP_ALIVE_EVERY:
            self._wire.keep_alive()
        return None


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
