"""What the peers of one swarm claim to have received, each byte counted once.

No more of it is counted than `seeder.tracker.belief` admits.

No I/O.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import inf
from operator import sub

from seeder.tracker.announce import LARGEST_COUNT, PEER_ID_LENGTH, AnnounceRequest
from seeder.tracker.belief import Belief
from seeder.tracker.counters import ClaimCounter, GroupCounter
from seeder.tracker.group_claims import GroupClaims
from seeder.tracker.past import PastRoom
from seeder.tracker.saved import Counted, SavedSession
from seeder.tracker.sessions import (
    COMPLETED,
    UNSURE,
    UNTOLD,
    Sessions,
    key_of,
    session_name,
)

_COMPLETIONS, _BYTES = range(2)


class Claims:
    """The sessions of a swarm; see `seeder.tracker.sessions` for their numbers.

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
    ) -> None:
        """Begin without sessions; `room` is all swarms'.

        `counted` is what `account` was told in earlier runs; `memory` is how many seconds a session
        is kept.
        """
        self.size = size
        self.account = account
        self._by_group: GroupClaims | None = None
        """None where there are no groups."""
        self._belief = belief
        self._memory = memory
        self._room = room
        self._owed = [0, 0]
        """Completions and bytes that the account has beyond what the adopted sessions know of."""
        self._told = [counted.completed, counted.claimed or 0]
        """What the account has been told in all."""
        self._sessions: Sessions | None = None
        """None if there are none: most torrents have no client at a time."""
        self._past: dict[bytes, None] = {}
        """The names of those without a listed peer, in the order in which they lost the last."""
        self._lost_at = -inf
        """When a session was last seen that was forgotten for lack of room."""

    def __len__(self) -> int:
        return 0 if self._sessions is None else len(self._sessions)

    @property
    def sessions(self) -> Sessions:
        """The sessions; made if there are none yet."""
        if self._sessions is None:
            self._sessions = Sessions()
        return self._sessions

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

    def count_by_group(self, counter: GroupCounter | None) -> None:
        """Count by group, too, from now on; None where there are no groups."""
        if counter is None:
            self._by_group = None
        elif self._by_group is None:
            self._by_group = GroupClaims(counter)
        else:
            self._by_group.counter = counter

    def find(self, request: AnnounceRequest, endpoint: bytes) -> int:
        """Return the session that an announce from `endpoint` belongs to; -1 if it is unknown."""
        if self._sessions is None:
            return -1
        return self._sessions.find(session_name(request.peer_id, request.key, endpoint))

    def last_endpoint(self, name: bytes) -> bytes:
        """Return where the session of a name was listed last; b"" if that is unknown."""
        return self.sessions.last_endpoint(self.sessions.find(name))

    def renew(self, request: AnnounceRequest, endpoint: bytes, now: float, peer: int) -> bool:
        """Do all that `note` does for a client that goes on as the `peer` that is listed there.

        False, and nothing is done, where its announce may have anything to count: most of a swarm's
        announces have nothing, and this costs them half as much.
        """
        sessions = self._sessions
        if sessions is None or self._by_group is not None:
            return False
        number = sessions.of_peer[peer]
        if (
            request.downloaded != sessions.downloaded[number]
            or request.event.completes
            or (sessions.flags[number] & UNSURE and request.left)
        ):
            return False
        return sessions.renew(number, request.peer_id, request.key, endpoint, now)

    def note(
        self, request: AnnounceRequest, endpoint: bytes, now: float, peer: int = -1
    ) -> tuple[int, bool]:
        """Count what is new in an announce; return its session and whether it just completed.

        `peer` is who is listed at the endpoint, if anybody is.
        """
        sessions = self._sessions
        if sessions is None:
            sessions = self.sessions
        name = session_name(request.peer_id, request.key, endpoint)
        number = sessions.of_peer[peer] if peer >= 0 else -1
        downloaded = request.downloaded
        if number < 0 or not sessions.is_named(number, name):
            number = sessions.find_or_add(name, min(downloaded, LARGEST_COUNT), now)
        if number < 0:
            number = len(sessions.flags) - 1
            # If one was lost that could be known still, this may be that one.
            if downloaded > 0 and now - self._lost_at < self._memory:
                sessions.flags[number] |= COMPLETED
        else:
            sessions.seen[number] = now
            if downloaded != sessions.downloaded[number] or request.event.starts:
                self._count(number, request, endpoint, now)
        if self._by_group is not None and request.uploaded != sessions.uploaded[number]:
            uploaded, before = min(request.uploaded, LARGEST_COUNT), sessions.uploaded[number]
            sessions.uploaded[number] = uploaded
            if before != UNTOLD and uploaded > before:
                most = self.size * len(sessions)
                self._by_group.uploaded(endpoint[:-2], uploaded - before, most)
        flags, event = sessions.flags[number], request.event
        unsure = flags & UNSURE > 0
        if unsure and (request.left or event.completes):
            # Who lacks something hasn't completed before; a seed may have, in an earlier run.
            sessions.flags[number] = flags & ~UNSURE
        if not event.completes or flags & COMPLETED:
            return number, False
        return number, self._complete(number, request, endpoint, now, unsure)

    def _complete(
        self, number: int, request: AnnounceRequest, endpoint: bytes, now: float, unsure: bool
    ) -> bool:
        """Count that a session says it has completed; return whether that is counted now."""
        sessions = self.sessions
        if not self._is_ours(number):
            return False
        if unsure and self._take_owed(_COMPLETIONS, 1):
            sessions.flags[number] |= COMPLETED
            return False
        if self._is_whole(request) and self._belief.admit_completion(endpoint[:-2], now):
            sessions.flags[number] |= COMPLETED
            self._told[_COMPLETIONS] += 1
            self.account.completed()
            return True
        return False

    def _is_ours(self, number: int) -> bool:
        """Tell whether this node counts what a session claims."""
        return True

    def is_owed(self, number: int, request: AnnounceRequest) -> bool:
        """Tell whether another node of a cluster is to count that a session has completed."""
        return False

    def _is_whole(self, request: AnnounceRequest) -> bool:
        return request.left == 0 and (request.downloaded > 0 or not self.size)

    def set_unsure(self, number: int, unsure: bool) -> None:
        """Set whether an earlier run may have counted more of a session."""
        flags = self.sessions.flags
        flags[number] = (flags[number] & ~UNSURE) + UNSURE * unsure

    def _count(self, number: int, request: AnnounceRequest, endpoint: bytes, now: float) -> None:
        counted = self._look(number, request)
        if counted:
            self._book(number, counted, endpoint, now)

    def _look(self, number: int, request: AnnounceRequest) -> int:
        """Take in what is new of `downloaded`; return how much of that is to be counted."""
        sessions, downloaded = self.sessions, min(request.downloaded, LARGEST_COUNT)
        growth = downloaded - sessions.downloaded[number]
        if growth > 0:
            sessions.downloaded[number] = downloaded
            counted = max(0, min(growth, self.size - sessions.claimed[number]))
            sessions.claimed[number] += counted
            return counted
        if growth < 0 and request.event.starts:
            sessions.downloaded[number] = downloaded
            sessions.claimed[number] = 0
        return 0

    def _book(self, number: int, counted: int, endpoint: bytes, now: float) -> None:
        """Count bytes that were looked at, as far as they are believed and weren't counted yet."""
        if self.sessions.flags[number] & UNSURE:
            counted -= self._take_owed(_BYTES, counted)
        copies = counted / self.size
        if counted and self._belief.admit_copies(endpoint[:-2], copies, now):
            self._told[_BYTES] += counted
            self.account.delivered_claimed(counted)
            if self._by_group is not None:
                self._by_group.downloaded(endpoint[:-2], counted)

    def _take_owed(self, kind: int, amount: int) -> int:
        """Return how much of an amount an earlier run may have counted; that is owed no longer."""
        owed = min(amount, self._owed[kind])
        self._owed[kind] -= owed
        return owed

    # -- whose peers are listed

    def attach(self, number: int, peer: int, endpoint: bytes) -> None:
        """Note that a peer of a session is listed, by its number."""
        sessions = self._sessions
        assert sessions is not None
        if self._past and not sessions.is_listed(number):
            name = sessions.name(number)
            if name in self._past:
                del self._past[name]
                self._room.give_back(self, name)
        sessions.attach(number, peer, endpoint)

    def move(self, peer: int, number: int, endpoint: bytes, now: float) -> None:
        """Note that a listed peer is another session's from now on.

        The former one is past if that was its last; numbers of sessions may be others then.
        """
        sessions = self.sessions
        former = sessions.detach(peer)
        self.attach(number, peer, endpoint)
        if not sessions.is_listed(former):
            sessions.seen[former] = now
            self._retire(sessions.name(former))

    def detach(self, peer: int, now: float) -> None:
        """Note that a peer is taken off the list; with the last one its session is past."""
        sessions = self.sessions
        number = sessions.detach(peer)
        sessions.renumber_last_peer(peer)
        if not sessions.is_listed(number):
            sessions.seen[number] = now
            self._retire(sessions.name(number))

    def drop(self, peer: int) -> None:
        """Note that a peer has been silent for too long; with the last the session is, too."""
        sessions = self.sessions
        number = sessions.detach(peer)
        sessions.renumber_last_peer(peer)
        if not sessions.is_listed(number):
            self._forget(number)

    def _retire(self, name: bytes) -> None:
        """Keep a session without listed peers if there is room."""
        if self._room.take(self, name):
            self._past[name] = None
        else:
            self._lose(name)

    def forget(self, name: bytes) -> None:
        """Give up the place of a past session to another one."""
        del self._past[name]
        self._room.give_back(self, name)
        self._lose(name)

    def _lose(self, name: bytes) -> None:
        sessions = self.sessions
        number = sessions.find(name)
        self._lost_at = max(self._lost_at, sessions.seen[number])
        self._forget(number)

    def _forget(self, number: int) -> None:
        self.sessions.remove(number)

    def expire(self, oldest: float, most: int) -> int:
        """Forget the past sessions last seen before `oldest`, `most` of them; return how many."""
        if self._sessions is None:
            return 0
        sessions = self._sessions
        gone: list[bytes] = []
        for name in self._past:
            if len(gone) >= most or sessions.seen[sessions.find(name)] >= oldest:
                break
            gone.append(name)
        for name in gone:
            del self._past[name]
            self._room.give_back(self, name)
            self._forget(sessions.find(name))
        if not len(sessions):
            self._sessions = None
        return len(gone)

    def let_go(self, most: int) -> int:
        """Give back the room of up to `most` past sessions of a closed swarm; return how many.

        When there are no more, the others are forgotten, too.
        """
        gone = tuple(islice(self._past, most))
        for name in gone:
            del self._past[name]
            self._room.give_back(self, name)
        if not self._past:
            self._sessions = None
        return len(gone)

    # -- what survives a restart

    def export(self) -> Iterator[SavedSession]:
        """Yield every session that there is at the first one, as it is then."""
        if self._sessions is None:
            return
        sessions = self._sessions.copy()
        for number in range(len(sessions)):
            name = sessions.name(number)
            yield SavedSession(
                name[:PEER_ID_LENGTH],
                key_of(name),
                sessions.downloaded[number],
                sessions.claimed[number],
                sessions.flags[number] & COMPLETED > 0,
                sessions.last_endpoint(number),
                sessions.seen[number],
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
        sessions = self.sessions
        for entry in saved:
            name = session_name(entry.peer_id, entry.key, entry.endpoint)
            if not (entry.key or entry.endpoint):
                continue
            if sessions.find_or_add(name, entry.downloaded, entry.seen) >= 0:
                continue
            number = len(sessions) - 1
            sessions.claimed[number] = entry.claimed
            if entry.completed:
                sessions.flags[number] |= COMPLETED
            if entry.endpoint:
                sessions.note_endpoint(number, entry.endpoint)

    def adopt_peer(self, peer_id: bytes, key: bytes, endpoint: bytes, seen: float) -> int:
        """Return the session of a peer of an earlier run; nothing it claimed then counts now."""
        sessions, name = self.sessions, session_name(peer_id, key, endpoint)
        number = sessions.find_or_add(name, LARGEST_COUNT, seen)
        if number < 0:
            number = len(sessions) - 1
            sessions.flags[number] = COMPLETED
        return number

    def settle(self) -> None:
        """Make the adopted sessions past that have no peer, longest unseen first."""
        sessions = self.sessions
        numbers = (number for number in range(len(sessions)) if not sessions.is_listed(number))
        alone = sorted((sessions.seen[number], sessions.name(number)) for number in numbers)
        for _, name in alone:
            self._retire(name)
        if not len(sessions):
            self._sessions = None
