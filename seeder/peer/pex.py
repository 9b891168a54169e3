"""Peer exchange (BEP 11): each peer hears of others that are connected to us.

Messages only say what is certain: peers whose handshake is done and whose listen port is known.
What peers send us of this kind is not read: a seeder dials nobody.

No I/O.
"""

from collections.abc import Callable, Hashable, Iterator
from math import inf

from seeder.net.addresses import is_v6
from seeder.torrent import bencode

SECONDS_BETWEEN = 60.0
"""From one message to a peer to the next (BEP 11)."""
MOST_CHANGES = 50
"""Peers added, and peers dropped, in one message; both families together."""
MOST_TOLD = 100
"""Peers that one peer knows from us at a time: enough to join the swarm, and little to remember."""


class Roster:
    """The peers of one torrent that others may hear of; none of a private torrent (BEP 27)."""

    def __init__(self, *, private: bool) -> None:
        self.version = 0
        """Changes whenever an endpoint comes or goes."""
        self._private = private
        self._endpoints: dict[bytes, set[Hashable]] = {}
        """Endpoint -> sessions connected under it."""
        self._of: dict[Hashable, bytes] = {}
        """Session -> its endpoint."""

    def __contains__(self, endpoint: bytes) -> bool:
        return endpoint in self._endpoints

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._endpoints)

    def join(self, session: Hashable, endpoint: bytes) -> None:
        """List a peer that is handshaken and whose listen port is known; again if that changes.

        Two sessions may share an endpoint: it stays until both have left.
        """
        if self._private or self._of.get(session) == endpoint:
            return
        self.leave(session)
        self._of[session] = endpoint
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = set()
            self.version += 1
        self._endpoints[endpoint].add(session)

    def leave(self, session: Hashable) -> None:
        """Take a session's endpoint off the list; nothing if it has none."""
        endpoint = self._of.pop(session, None)
        if endpoint is None:
            return
        sessions = self._endpoints[endpoint]
        sessions.discard(session)
        if not sessions:
            del self._endpoints[endpoint]
            self.version += 1


class ToldPeers:
    """Which endpoints one peer was told of, and when."""

    __slots__ = ("_seen", "_sent_at", "_told")

    def __init__(self) -> None:
        self._told: tuple[bytes, ...] = ()
        self._sent_at = -inf
        self._seen = -1

    def message(
        self, roster: Roster, own: bytes | None, now: float, chance: Callable[[], float]
    ) -> bytes | None:
        """Return the payload of the `ut_pex` message that is due, None for none.

        `own` is the peer's own endpoint, if known. `chance` returns a float from 0 up to 1.
        """
        if roster.version == self._seen or now - self._sent_at < SECONDS_BETWEEN:
            return None
        gone = [endpoint for endpoint in self._told if endpoint not in roster]
        dropped = gone[:MOST_CHANGES]
        known = {*self._told, own}
        room = min(MOST_CHANGES, MOST_TOLD - (len(self._told) - len(dropped)))
        others = [endpoint for endpoint in roster if endpoint not in known] if room else []
        added = _some(others, room, chance)
        # What found no place this time is looked at again, whether or not the roster changes.
        rest = len(gone) > len(dropped) or len(others) > len(added)
        self._seen = -1 if rest else roster.version
        if not added and not dropped:
            return None
        kept = set(dropped)
        self._told = (*(endpoint for endpoint in self._told if endpoint not in kept), *added)
        self._sent_at = now
        return _encode(added, dropped)


class RosterEntry:
    """One peer in a torrent's roster: what others hear of it, and what it hears of them."""

    __slots__ = ("_endpoint", "_roster", "_session", "_told")

    def __init__(self, roster: Roster, session: Hashable) -> None:
        self._roster = roster
        self._session = session
        self._endpoint: bytes | None = None
        self._told = ToldPeers()

    def takes_connections_at(self, endpoint: bytes) -> None:
        """Let others hear of the peer: its compact endpoint, with the port that it named."""
        self._endpoint = endpoint
        self._roster.join(self._session, endpoint)

    def message(self, now: float, chance: Callable[[], float]) -> bytes | None:
        """Return the payload of the `ut_pex` message that is due, None for none."""
        return self._told.message(self._roster, self._endpoint, now, chance)

    def leave(self) -> None:
        """Take the peer out of the roster."""
        self._roster.leave(self._session)


def _some(endpoints: list[bytes], most: int, chance: Callable[[], float]) -> list[bytes]:
    """Return up to `most` of the endpoints, those from a random place on."""
    if len(endpoints) <= most:
        return endpoints
    start = int(chance() * len(endpoints))
    return (endpoints[start : start + most] + endpoints[:start])[:most]


def _encode(added: list[bytes], dropped: list[bytes]) -> bytes:
    added4, added6 = _by_family(added)
    dropped4, dropped6 = _by_family(dropped)
    # No flags: seeds are let go (BEP 21), and whether a peer can be reached (0x10) is not known,
    # for we dial nobody.
    fields: dict[bytes, bencode.Value] = {
        b"added": b"".join(added4),
        b"added.f": bytes(len(added4)),
        b"added6": b"".join(added6),
        b"added6.f": bytes(len(added6)),
        b"dropped": b"".join(dropped4),
        b"dropped6": b"".join(dropped6),
    }
    return bencode.encode({name: value for name, value in fields.items() if value})


def _by_family(endpoints: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    v4 = [endpoint for endpoint in endpoints if not is_v6(endpoint)]
    return v4, [endpoint for endpoint in endpoints if is_v6(endpoint)]
