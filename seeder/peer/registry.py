"""The connected peers: all sessions, each torrent's by peer id, and what these share."""

import logging
from collections.abc import Callable, Collection
from typing import TypeAlias
from weakref import WeakValueDictionary

import trio

from seeder.net.guards import sparing_others
from seeder.net.sockets import packed_address
from seeder.peer.doorkeeper import Doorkeeper
from seeder.peer.pex import Roster
from seeder.peer.session import Session
from seeder.torrent.torrent import Torrent
from seeder.upload.plans import Viewer
from seeder.upload.thrift import Availability
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

CLEARED_SHARE = 0.02
"""Share of the places that is cleared per tick, least useful peers first, while none is free."""
_Identity: TypeAlias = tuple[bytes, str]
"""A peer id and the IP address that it came from."""


class Registry:
    """The `Host` of the sessions; a roster or availability lives as long as a session holds it."""

    def __init__(
        self,
        uploads: Uploads,
        visited: Callable[[bytes, bytes, int], None],
        membership: Doorkeeper | None,
    ) -> None:
        """For `visited` and `membership` see `Hub`."""
        self.sessions: set[Session] = set()
        self._membership = membership
        self._uploads = uploads
        self._visited = visited
        self._by_torrent: dict[bytes, dict[_Identity, Session]] = {}
        """Info hash -> who it is -> session."""
        self._rosters: WeakValueDictionary[bytes, Roster] = WeakValueDictionary()
        self._availabilities: WeakValueDictionary[bytes, Availability[Viewer]] = (
            WeakValueDictionary()
        )

    def add(self, session: Session) -> None:
        """Take in a session that has just begun: its peer's id has yet to come."""
        self.sessions.add(session)
        self._uploads.connections.add_peer(session.guest)

    def remove(self, session: Session) -> None:
        """Forget a session that has ended."""
        self.sessions.discard(session)
        self._uploads.connections.remove(session.guest)
        if session.guest.torrent is None:
            return
        info_hash = session.guest.torrent.info_hash
        peers = self._by_torrent.get(info_hash)
        identity = _identity_of(session)
        if peers is not None and peers.get(identity) is session:
            del peers[identity]
            if not peers:
                del self._by_torrent[info_hash]

    def admit(self, session: Session) -> str | None:
        """Register a session whose peer id has come, or return why not.

        Of two sessions with one peer id and address the newer one stays: a peer that comes back
        knows better than we do what became of its old connection. Peer ids are no secret, so one
        that comes from another address is another peer; a client that comes by IPv4 and by IPv6
        has two places.
        """
        assert session.guest.torrent is not None
        info_hash, connections = session.guest.torrent.info_hash, self._uploads.connections
        peers = self._by_torrent.get(info_hash, {})
        older = peers.get(_identity_of(session))
        if session.guest.torrent.private and not self._is_member(session, older):
            return "not-a-member"
        if older is not None:
            older.end("replaced")
            connections.remove(older.guest)
        refused = connections.name_peer(session.guest, info_hash)
        # A peer that finds no place has been here all the same.
        at_once = max(1, connections.peers_at(session.guest.networks, info_hash))
        self._visited(info_hash, packed_address(session.guest.address[0]), at_once)
        if refused is not None:
            return refused
        self._by_torrent.setdefault(info_hash, peers)[_identity_of(session)] = session
        return None

    def _is_member(self, session: Session, older: Session | None) -> bool:
        """Find the member that a peer of a private torrent is; tell whether it may stay."""
        guest, membership = session.guest, self._membership
        assert guest.torrent is not None
        info_hash = guest.torrent.info_hash
        if membership is None or not membership.is_private(info_hash):
            return True
        others = self._by_torrent.get(info_hash, {}).values()
        taken = {
            each.guest.member
            for each in others
            if each is not older and each.guest.member is not None and each.reason is None
        }
        guest.belong_to(membership.find(info_hash, guest.networks, guest.peer_id, taken))
        return guest.member is not None

    def knows_port(self, session: Session, port: int) -> None:
        """Take note of where a peer says that it listens: that tells members apart."""
        guest, membership = session.guest, self._membership
        if guest.member is None or guest.torrent is None or membership is None:
            return
        info_hash = guest.torrent.info_hash
        found = membership.at_port(info_hash, guest.networks, port)
        if found is None or found is guest.member or guest.member.peer_id == guest.peer_id:
            return
        for each in self._by_torrent.get(info_hash, {}).values():
            if each.guest.member is found:
                each.guest.belong_to(guest.member)
        guest.belong_to(found)

    def roster(self, torrent: Torrent) -> Roster:
        """Return the torrent's peers that others may hear of."""
        roster = self._rosters.get(torrent.info_hash)
        if roster is None:
            roster = Roster(private=torrent.private)
            self._rosters[torrent.info_hash] = roster
        return roster

    def availability(self, torrent: Torrent) -> Availability[Viewer] | None:
        """Return which of its pieces the torrent's peers have; None unless we are thrifty."""
        if not self._uploads.settings.thrifty:
            return None
        known = self._availabilities.get(torrent.info_hash)
        if known is None:
            known = Availability(torrent.layout.piece_count)
            self._availabilities[torrent.info_hash] = known
        return known

    def of(self, torrent: Torrent) -> Collection[Session]:
        """Return the sessions of a torrent whose peer ids have come."""
        return self._by_torrent.get(torrent.info_hash, {}).values()

    def lose(self, torrent: Torrent, index: int) -> None:
        """Take a piece that can't be had for a while back from all peers of the torrent."""
        now = trio.current_time()
        for session in tuple(self.of(torrent)):
            session.guest.lose(index, now)

    def tick(self, now: float) -> None:
        """Have all deadlines kept, and make room; called about once a second."""
        for session in tuple(self.sessions):
            with sparing_others(_LOG, "peer %s:%d", *session.guest.address):
                if session.guest.torrent is not None and session.guest.torrent.private:
                    self._keep_to_members(session)
                session.tick(now)
        with sparing_others(_LOG, "room for peers"):
            self.make_room(now)

    def _keep_to_members(self, session: Session) -> None:
        """Let a peer of a private torrent go once its passkey is good no more."""
        guest, membership = session.guest, self._membership
        assert guest.torrent is not None
        if membership is None or guest.is_stranger or session.reason is not None:
            return
        if guest.member is not None:
            if not membership.is_good(guest.member):
                session.end("not-a-member")
        elif not self._is_member(session, session):
            # Its torrent has become one for members alone.
            session.end("not-a-member")

    def make_room(self, now: float) -> None:
        """Where all places are taken, end a few useless sessions to let others in."""
        settings = self._uploads.settings
        _clear(self.sessions, settings.connections, now)
        for peers in self._by_torrent.values():
            _clear(peers.values(), settings.connections_per_torrent, now)


def _identity_of(session: Session) -> _Identity:
    return session.guest.peer_id, session.guest.address[0]


def _clear(sessions: Collection[Session], places: int, now: float) -> None:
    """End a few of the least useful sessions, if all `places` are taken."""
    if len(sessions) < places:
        return
    useless = {session: session.outstays(now) for session in sessions}
    ranked = sorted((each for each in useless if useless[each] > 0), key=useless.__getitem__)
    for session in ranked[-max(1, int(places * CLEARED_SHARE)) :]:
        session.end("made-room")
