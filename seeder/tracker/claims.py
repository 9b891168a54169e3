"""What the peers of one swarm claim to have received, each byte counted once.

No more of it is counted than `seeder.tracker.belief` admits.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from operator import sub
from typing import Protocol

from seeder.net.addresses import Networks, is_v6, network_of, networks_of
from seeder.net.shares import Shares
from seeder.tracker.announce import (
    LARGEST_COUNT,
    PEER_ID_LENGTH,
    AnnounceEvent,
    AnnounceRequest,
)
from seeder.tracker.belief import Belief
from seeder.tracker.journal import SharedPeer
from seeder.tracker.saved import Counted, SavedSession

CLOCKS_DIFFER = 1.0
"""Seconds by which what another node heard must be later to be the beginning of another download:
the clocks of two nodes don't agree to the millisecond."""
_COMPLETIONS, _BYTES = range(2)
_KEYED, _KEYLESS = b"k", b"@"


class ClaimCounter(Protocol):
    """Counts what peers claim; the ledger's account of an object does."""

    def delivered_claimed(self, count: int) -> None:
        """Add `count` bytes that a peer says it received."""

    def completed(self) -> None:
        """Add one peer that says it has everything."""


class ClaimsOfGroup(Protocol):
    """Counts what the peers of a group of addresses claim; the ledger does."""

    def claimed(self, *, downloaded: int = 0, uploaded: int = 0) -> None:
        """Add bytes that a peer says it has received, and sent."""


class GroupCounter(Protocol):
    """Gives where claims are counted by group."""

    def at(self, address: bytes) -> ClaimsOfGroup | None:
        """Return where those of a packed address are; None: nowhere."""


@dataclass(slots=True, eq=False)
class ClientSession:
    """One run of one client, whatever addresses it announces from.

    Its name is its peer id and its key. A client without a key is known by its peer id at its
    address alone: peer ids are no secret.
    """

    name: bytes
    downloaded: int
    """The highest `downloaded` seen in this download, in bytes."""
    seen: float
    claimed: int = 0
    """Bytes of this download that were looked at, whether they were believed or not."""
    completed: bool = False
    unsure: bool = False
    """Whether an earlier run may have counted more of it: in this one it hasn't announced, or only
    as a seed."""
    listed: int = 0
    """Its peers that are listed."""
    endpoint: bytes = b""
    """Where it last announced from by IPv4, as a compact endpoint; empty if it didn't."""
    endpoint6: bytes = b""
    """The same by IPv6."""
    uploaded: int = -1
    """The last `uploaded` seen, in bytes; -1 before there is one, or if nobody asks for it."""

    @property
    def peer_id(self) -> bytes:
        return self.name[:PEER_ID_LENGTH]

    @property
    def key(self) -> bytes:
        """The client's secret, empty if it has none."""
        name = self.name
        return name[PEER_ID_LENGTH + 1 :] if name[PEER_ID_LENGTH:].startswith(_KEYED) else b""

    def note_endpoint(self, endpoint: bytes) -> None:
        """Remember where the client announced from, by address family."""
        if is_v6(endpoint):
            self.endpoint6 = endpoint
        else:
            self.endpoint = endpoint

    def former_endpoint(self, endpoint: bytes) -> bytes:
        """Return where the client last announced from by the family of `endpoint`, or b""."""
        return self.endpoint6 if is_v6(endpoint) else self.endpoint


def session_name(peer_id: bytes, key: bytes, endpoint: bytes) -> bytes:
    """Return the name of the session of a client that announces from a compact endpoint."""
    if key:
        return peer_id + _KEYED + key
    return peer_id + _KEYLESS + network_of(endpoint[:-2])


class PastRoom:
    """Room for the sessions of all swarms whose peers aren't listed any more, by network."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shares: Shares[tuple[Claims, ClientSession]] = Shares(_networks_of_past)

    def __len__(self) -> int:
        return len(self._shares)

    def take(self, claims: "Claims", session: ClientSession) -> bool:
        """Take a place, that of another in the largest network if need be; False if none is to be
        had."""
        newcomer = (claims, session)
        if len(self._shares) >= self._limit:
            rivals = self._shares.rivals(_networks_of_past(newcomer))
            if not rivals:
                return False
            other, oldest = next(iter(rivals))
            other.forget(oldest)
        self._shares.add(newcomer)
        return True

    def give_back(self, claims: "Claims", session: ClientSession) -> None:
        """Free a place that was taken."""
        self._shares.remove((claims, session))


def _networks_of_past(past: "tuple[Claims, ClientSession]") -> Networks:
    session = past[1]
    address = (session.endpoint or session.endpoint6)[:-2]
    # What an earlier run didn't tell the address of is one network.
    return networks_of(address) if address else (b"", b"")


class Claims:
    """The sessions of a swarm, by name.

    `downloaded` is the client's own running total. Only its growth is counted, not what it was at
    first sight, and in one download no more than the object's size. A client that announces by
    IPv4 and by IPv6 is one session if it has a key, and a client that stops and starts again goes
    on with its session as long as there is room for those that have stopped.
    """

    def __init__(
        self,
        size: int,
        account: ClaimCounter,
        *,
        belief: Belief,
        memory: float,
        room: PastRoom,
        counted: Counted,
        counts: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Begin without sessions; `room` is all swarms'.

        In a cluster `counts` says whether this node counts what a session claims, by its name.

        `counted` is what `account` was told in earlier runs; `memory` is how many seconds a session
        is kept.
        """
        self.size = size
        self.account = account
        self.by_group: GroupCounter | None = None
        """Counts by group; None where there are no groups. May be replaced."""
        self._uploads_left = 0
        """How much more was counted by group as downloaded than as uploaded."""
        self._belief = belief
        self._memory = memory
        self._room = room
        self._counts = counts
        self._owed = [0, 0]
        """Completions and bytes that the account has beyond what the adopted sessions know of."""
        self._told = [counted.completed, counted.claimed or 0]
        """What the account has been told in all."""
        self._sessions: dict[bytes, ClientSession] = {}
        self._past: dict[bytes, ClientSession] = {}
        """Those without a listed peer, in the order in which they lost the last."""
        self._lost_at = -inf
        """When a session was last seen that was forgotten for lack of room."""

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def counted(self) -> Counted:
        """What the account has been told of the sessions as they are now, and of earlier ones."""
        completed, claimed = map(sub, self._told, self._owed)
        return Counted(completed, claimed)

    def rebook(self, account: ClaimCounter, counted: Counted) -> None:
        """Tell another account from now on, which was told `counted` before."""
        self.account = account
        self._owed = [0, 0]
        self._told = [counted.completed, counted.claimed or 0]

    def find(self, request: AnnounceRequest, endpoint: bytes) -> ClientSession | None:
        """Return the session that an announce from `endpoint` belongs to."""
        return self._sessions.get(session_name(request.peer_id, request.key, endpoint))

    def note(
        self, request: AnnounceRequest, endpoint: bytes, now: float
    ) -> tuple[ClientSession, bool]:
        """Count what is new in an announce; return its session and whether it just completed."""
        key = request.key
        if key:
            # As `session_name` has it; a call is dear here.
            name = request.peer_id + _KEYED + key
        else:
            name = session_name(request.peer_id, key, endpoint)
        session = self._sessions.get(name)
        if session is None:
            session = ClientSession(name, request.downloaded, now, unsure=True)
            # If one was lost that could be known still, this may be that one.
            session.completed = request.downloaded > 0 and now - self._lost_at < self._memory
            self._sessions[name] = session
        session.seen = now
        if request.downloaded != session.downloaded:
            self._count(session, request, endpoint, now)
        if self.by_group is not None and request.uploaded != session.uploaded:
            self._count_upload(session, request, self.by_group.at(endpoint[:-2]))
        unsure = session.unsure
        if request.left or request.event is AnnounceEvent.COMPLETED:
            # Who lacks something hasn't completed before; a seed may have, in an earlier run.
            session.unsure = False
        if request.event is not AnnounceEvent.COMPLETED or session.completed:
            return session, False
        return session, self._complete(session, request, endpoint, now, unsure)

    def _complete(
        self,
        session: ClientSession,
        request: AnnounceRequest,
        endpoint: bytes,
        now: float,
        unsure: bool,
    ) -> bool:
        """Count that a session says it has completed; return whether that is counted now."""
        if self._counts is not None and not self._counts(session.name):
            return False
        if unsure and self._take_owed(_COMPLETIONS, 1):
            session.completed = True
            return False
        downloaded = request.left == 0 and (request.downloaded > 0 or not self.size)
        if downloaded and self._belief.admit_completion(endpoint[:-2], now):
            session.completed = True
            self._told[_COMPLETIONS] += 1
            self.account.completed()
        return session.completed

    def hear(self, session: ClientSession, told: SharedPeer, now: float, *, fresh: bool) -> bool:
        """Take in what another node was told of a session; return whether it completed just now.

        Of what isn't `fresh`, nothing is counted.
        """
        request, later = told.request(), told.seen > session.seen + CLOCKS_DIFFER
        session.seen = max(session.seen, told.seen)
        session.completed |= told.counted
        if not fresh:
            session.downloaded = max(session.downloaded, told.downloaded)
            return False
        if told.downloaded > session.downloaded or (later and told.downloaded < session.downloaded):
            self._count(session, request, told.endpoint, now)
        if not told.completes or session.completed:
            return False
        unsure, session.unsure = session.unsure, False
        return self._complete(session, request, told.endpoint, now, unsure)

    def _count(
        self, session: ClientSession, request: AnnounceRequest, endpoint: bytes, now: float
    ) -> None:
        growth = request.downloaded - session.downloaded
        if growth > 0:
            session.downloaded = request.downloaded
            counted = min(growth, self.size - session.claimed)
            if counted > 0:
                session.claimed += counted
                if session.unsure:
                    counted -= self._take_owed(_BYTES, counted)
                if self._counts is not None and not self._counts(session.name):
                    return
                copies = counted / self.size
                if counted and self._belief.admit_copies(endpoint[:-2], copies, now):
                    self._told[_BYTES] += counted
                    self.account.delivered_claimed(counted)
                    self._count_by_group(endpoint[:-2], counted)
        elif growth < 0 and request.event is AnnounceEvent.STARTED:
            session.downloaded = request.downloaded
            session.claimed = 0

    def _count_by_group(self, address: bytes, downloaded: int) -> None:
        counts = None if self.by_group is None else self.by_group.at(address)
        if counts is not None:
            counts.claimed(downloaded=downloaded)
            self._uploads_left += downloaded

    def _count_upload(
        self, session: ClientSession, request: AnnounceRequest, counts: ClaimsOfGroup | None
    ) -> None:
        """Count by group what a client says that it sent since its last announce.

        Whatever was sent was received, too: all together can have sent no more than what they say
        that they received, and what each may have received since it announced.
        """
        before, session.uploaded = session.uploaded, request.uploaded
        growth = request.uploaded - before
        if before < 0 or growth <= 0 or counts is None:
            return
        most = self._uploads_left + self.size * len(self._sessions)
        counted = min(growth, most)
        if counted > 0:
            self._uploads_left -= counted
            counts.claimed(uploaded=counted)

    def _take_owed(self, kind: int, amount: int) -> int:
        """Return how much of an amount an earlier run may have counted; that is owed no longer."""
        owed = min(amount, self._owed[kind])
        self._owed[kind] -= owed
        return owed

    def attach(self, session: ClientSession, endpoint: bytes) -> None:
        """Note that a peer of the session is listed."""
        if not session.listed and self._past.pop(session.name, None) is not None:
            self._room.give_back(self, session)
        session.listed += 1
        session.note_endpoint(endpoint)

    def detach(self, session: ClientSession, now: float) -> None:
        """Note that a peer of the session isn't listed any more; with the last it is past."""
        session.listed -= 1
        if session.listed:
            return
        session.seen = now
        if self._room.take(self, session):
            self._past[session.name] = session
        else:
            self._lose(session)

    def drop(self, session: ClientSession) -> None:
        """Note that a peer has been silent for too long; with the last the session is, too."""
        session.listed -= 1
        if not session.listed:
            del self._sessions[session.name]

    def forget(self, session: ClientSession) -> None:
        """Give up the place of a past session to another one."""
        del self._past[session.name]
        self._room.give_back(self, session)
        self._lose(session)

    def _lose(self, session: ClientSession) -> None:
        del self._sessions[session.name]
        self._lost_at = max(self._lost_at, session.seen)

    def expire(self, oldest: float) -> None:
        """Forget the past sessions last seen before `oldest`."""
        gone = []
        for session in self._past.values():
            if session.seen >= oldest:
                break
            gone.append(session)
        for session in gone:
            del self._past[session.name]
            del self._sessions[session.name]
            self._room.give_back(self, session)

    def clear(self) -> None:
        """Forget every session."""
        for session in self._past.values():
            self._room.give_back(self, session)
        self._past.clear()
        self._sessions.clear()

    def export(self) -> Iterator[SavedSession]:
        """Yield every session that there is at the first one."""
        for session in tuple(self._sessions.values()):
            yield SavedSession(
                session.peer_id,
                session.key,
                session.downloaded,
                session.claimed,
                session.completed,
                session.endpoint or session.endpoint6,
                session.seen,
            )

    def adopt(self, saved: Iterable[SavedSession], counted: Counted) -> None:
        """Take back sessions of an earlier run into an empty swarm; nothing is counted.

        `counted` is what the account had been told when they were saved. A run that died may have
        counted more since; as much of what these sessions claim first isn't counted again.

        Those without a listed peer are past; `settle` is called when all peers are listed.
        """
        claimed = self._told[_BYTES] if counted.claimed is None else counted.claimed
        then = counted.completed, claimed
        self._owed = [max(0, now - told) for now, told in zip(self._told, then, strict=True)]
        # A ledger may have lost what was counted last.
        self._told = list(map(max, self._told, then))
        for entry in saved:
            name = session_name(entry.peer_id, entry.key, entry.endpoint)
            if name in self._sessions or not (entry.key or entry.endpoint):
                continue
            session = ClientSession(
                name, entry.downloaded, entry.seen, entry.claimed, entry.completed, unsure=True
            )
            if entry.endpoint:
                session.note_endpoint(entry.endpoint)
            self._sessions[name] = session

    def adopt_peer(self, peer_id: bytes, key: bytes, endpoint: bytes, seen: float) -> ClientSession:
        """Return the session of a peer of an earlier run; nothing it claimed then counts now."""
        name = session_name(peer_id, key, endpoint)
        session = self._sessions.get(name)
        if session is None:
            session = ClientSession(name, LARGEST_COUNT, seen, completed=True)
            self._sessions[name] = session
        return session

    def settle(self) -> None:
        """Make the adopted sessions past that have no peer, longest unseen first."""
        alone = [session for session in self._sessions.values() if not session.listed]
        for session in sorted(alone, key=_seen):
            if self._room.take(self, session):
                self._past[session.name] = session
            else:
                self._lose(session)


def _seen(session: ClientSession) -> float:
    return session.seen
