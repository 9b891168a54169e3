"""What the peers of one swarm claim to have received, each byte counted once. No I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from seeder.net.addresses import is_v6
from seeder.tracker.announce import PEER_ID_LENGTH, AnnounceEvent, AnnounceRequest
from seeder.tracker.crowd import Room
from seeder.tracker.saved import SavedSession


class ClaimCounter(Protocol):
    """Counts what peers claim; the ledger's account of an object does."""

    def delivered_claimed(self, count: int) -> None:
        """Add `count` bytes that a peer says it received."""

    def completed(self) -> None:
        """Add one peer that says it has everything."""


@dataclass(slots=True)
class ClientSession:
    """One run of one client: a peer id and a key, whatever addresses it announces from."""

    downloaded: int
    """The highest `downloaded` seen in this download, in bytes."""
    seen: float
    claimed: int = 0
    """Bytes of this download that were counted."""
    completed: bool = False
    endpoint: bytes = b""
    """Where it last announced from by IPv4, as a compact endpoint; empty if it didn't."""
    endpoint6: bytes = b""
    """The same by IPv6."""

    def note_endpoint(self, endpoint: bytes) -> None:
        """Remember where the client announced from, by address family."""
        if is_v6(endpoint):
            self.endpoint6 = endpoint
        else:
            self.endpoint = endpoint

    def former_endpoint(self, endpoint: bytes) -> bytes:
        """Return where the client last announced from by the family of `endpoint`, or b""."""
        return self.endpoint6 if is_v6(endpoint) else self.endpoint


class Claims:
    """The sessions of a swarm, in the order in which they were last seen.

    `downloaded` is the client's own running total. Only its growth is counted, not what it was at
    first sight, and in one download no more than the object's size. A client that announces by
    IPv4 and by IPv6 is one session, and a client that stops and starts again goes on with its
    session.
    """

    def __init__(self, size: int, account: ClaimCounter, room: Room) -> None:
        self.size = size
        self.account = account
        self._room = room
        self._sessions: dict[bytes, ClientSession] = {}

    def find(self, request: AnnounceRequest) -> ClientSession | None:
        """Return the session that an announce belongs to."""
        return self._sessions.get(request.peer_id + request.key)

    def note(self, request: AnnounceRequest, now: float) -> tuple[ClientSession | None, bool]:
        """Count what is new in an announce; return its session and whether it just completed.

        Without room for another session nothing is counted and the session is None.
        """
        name = request.peer_id + request.key
        session = self._sessions.pop(name, None)
        if session is None:
            if not self._room.take():
                return None, False
            session = ClientSession(request.downloaded, now)
        # Popped above and put back, so that the sessions stay in the order of `seen`.
        self._sessions[name] = session
        session.seen = now
        self._count(session, request)
        if request.event is not AnnounceEvent.COMPLETED or request.left != 0 or session.completed:
            return session, False
        session.completed = True
        self.account.completed()
        return session, True

    def _count(self, session: ClientSession, request: AnnounceRequest) -> None:
        growth = request.downloaded - session.downloaded
        if growth > 0:
            session.downloaded = request.downloaded
            counted = min(growth, self.size - session.claimed)
            if counted > 0:
                session.claimed += counted
                self.account.delivered_claimed(counted)
        elif growth < 0 and request.event is AnnounceEvent.STARTED:
            session.downloaded = request.downloaded
            session.claimed = 0

    def expire(self, oldest: float) -> None:
        """Forget the sessions last seen before `oldest`."""
        gone = []
        for name, session in self._sessions.items():
            if session.seen >= oldest:
                break
            gone.append(name)
        for name in gone:
            del self._sessions[name]
        self._room.give_back(len(gone))

    def clear(self) -> None:
        """Forget every session."""
        self._room.give_back(len(self._sessions))
        self._sessions.clear()

    def export(self) -> Iterator[SavedSession]:
        """Yield every session, longest unseen first."""
        for name, session in self._sessions.items():
            peer_id, key = name[:PEER_ID_LENGTH], name[PEER_ID_LENGTH:]
            yield SavedSession(
                peer_id, key, session.downloaded, session.claimed, session.completed, session.seen
            )

    def adopt(self, saved: Iterable[SavedSession]) -> None:
        """Take back sessions of an earlier run into an empty swarm; nothing is counted."""
        for entry in saved:
            name = entry.peer_id + entry.key
            if name not in self._sessions and self._room.take():
                self._sessions[name] = ClientSession(
                    entry.downloaded, entry.seen, entry.claimed, entry.completed
                )
