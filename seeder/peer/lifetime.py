"""How long a session may last.

No peer may stay silent for ever, take nothing for ever, or hold a place without using it.
"""

from seeder.peer.guest import PeerGuest
from seeder.peer.output import Output

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
LEAVE_DEADLINE = 10.0
"""For a batch under way when the torrent goes."""


class Deadlines:
    """The deadlines of one peer's session, opened at `now`."""

    __slots__ = ("_guest", "_leave_by", "_output", "farewell", "received_at")

    def __init__(self, guest: PeerGuest, output: Output, now: float) -> None:
        self.received_at = now
        """When anything came from the peer last."""
        self.farewell: str | None = None
        """Why to close at the next tick: the peer needs nothing (BEP 21), or the torrent goes.

        Not at once: what a peer announces in its last moments counts as delivered.
        """
        self._leave_by = 0.0
        """Until when a batch under way may delay that (s)."""
        self._guest = guest
        self._output = output

    def outstays(self, now: float) -> float:
        """Return for how many seconds too long a peer has held a place without using it, or 0."""
        guest, wire = self._guest, self._guest.wire
        if guest.is_stranger:
            return max(0.0, now - guest.opened_at - STRANGER_PATIENCE)
        if self._output.draining or wire.wanted_count or (wire.choking and wire.interested):
            return 0.0
        return max(0.0, now - self._output.served_at - IDLE_PATIENCE)

    def retire(self, reason: str, now: float) -> None:
        """Have the session end for `reason`, as soon as the batch under way is out."""
        self.farewell, self._leave_by = reason, now + LEAVE_DEADLINE

    def keep(self, now: float) -> str | None:
        """Return why the session must end, if it must; else let go of pieces or keep it alive."""
        guest, output = self._guest, self._output
        if guest.is_stranger:
            return "handshake-timeout" if now - guest.opened_at > HANDSHAKE_DEADLINE else None
        if self.farewell is not None and not (output.draining and now < self._leave_by):
            return self.farewell
        if output.draining:
            if now - output.sent_at > WRITE_DEADLINE:
                return "write-timeout"
            if now - output.sent_at > PIN_DEADLINE:
                output.let_go()
        elif now - self.received_at > IDLE_DEADLINE:
            return "idle"
        elif now - output.sent_at > KEEP_ALIVE_EVERY:
            guest.wire.keep_alive()
        return None
