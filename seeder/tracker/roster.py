"""Who is listed in one swarm, within the caps of it and of all, and whom an asker hears of.

No I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import inf

from seeder.net.addresses import Networks, is_told_to, networks_of
from seeder.net.groups import Groups
from seeder.tracker.announce import PEER_ID_LENGTH
from seeder.tracker.claims import Claims
from seeder.tracker.crowd import RandomFloats
from seeder.tracker.handout import (
    Choice,
    Handout,
    OwnPlace,
    Stand,
    Stands,
    Trust,
    add,
    endpoints_of,
    size_of,
)
from seeder.tracker.journal import Remembered
from seeder.tracker.listed import COMPLETE, SAID, WANTS_NOTHING, ListedPeers
from seeder.tracker.locality import GroupedStands
from seeder.tracker.neighbours import Neighbours
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.rooms import Room
from seeder.tracker.saved import SavedPeer
from seeder.tracker.sessions import key_of

STIRRED = 4
"""Of so many peers that announce again, one is put elsewhere in its crowd."""
MOST_LOOKED_AT = 400
"""Strangers of its own network that are looked at for one asker."""
# To find a member of an enum takes long in Python 3.11.
_ALWAYS, _ALL = OwnPlace.ALWAYS, Trust.ALL


class SwarmRoster:
    """The listed peers of a swarm by their numbers, the same in `peers` and in the claims.

    A number is good until the next peer is taken off: then the last one may have its number.
    """

    __slots__ = (
        "_claims",
        "_oldest",
        "_policy",
        "_rng",
        "_room",
        "_turn",
        "neighbours",
        "peers",
        "seeds",
        "stands",
    )

    def __init__(
        self,
        policy: SwarmPolicy,
        rng: RandomFloats,
        *,
        room: Room,
        claims: Claims,
        groups: Groups | None,
    ) -> None:
        """Begin with nobody; `room` is that of all swarms, None for `groups` is no groups."""
        self.peers = ListedPeers()
        self.seeds = 0
        """Those with left=0."""
        self._policy = policy
        self._rng = rng
        self._room = room
        self._claims = claims
        self.stands = self._new_stands(groups)
        self.neighbours = Neighbours(self.peers, self.stands, policy.strangers)
        self._turn = 0
        """Counts those that announce again until one is put elsewhere."""
        self._oldest = inf
        """Nobody was seen last before that: an announce makes nobody older."""

    def __len__(self) -> int:
        return len(self.peers)

    def _new_stands(self, groups: Groups | None) -> Stands | GroupedStands:
        places = self.peers.places
        if groups is None:
            return Stands(self._rng, places)
        return GroupedStands(self._rng, groups, places)

    def regroup(self, groups: Groups | None) -> None:
        """Hand the peers out by other groups from now on, or by none."""
        self.stands = self._new_stands(groups)
        self.neighbours.move_to(self.stands)

    def remembered(self, number: int) -> Remembered | None:
        """Return when a peer announced last, and as what; None of nobody (-1)."""
        if number < 0:
            return None
        return Remembered(self.peers.seen[number], self.peers.flags[number] & COMPLETE > 0)

    def is_crowded(self, networks: Networks) -> bool:
        """Tell whether as many are listed at an address as may be."""
        return self.neighbours.has_many_at(networks, self._policy.peers_per_address)

    def take_place(self, networks: Networks, now: float) -> bool:
        """Make sure that there is room for a newcomer; False when it isn't to be had.

        Where there is none, the largest network makes some: in this swarm if that is full, else in
        whichever swarm one network has most.
        """
        full = len(self.peers.flags) >= self._policy.peers_per_swarm
        if not full and not self._room.is_full:
            return True
        if not full and self.neighbours.share(networks) + 1 < self._room.largest:
            self._room.make_room(now)
            return True
        rival = self.neighbours.rival(networks)
        if rival < 0:
            return False
        self.lose(rival, now)
        return True

    def make_room(self, now: float) -> None:
        """Drop a peer of the largest network for one in another swarm; there is one at least."""
        self.lose(self.neighbours.of_most(), now)

    def enter(
        self,
        endpoint: bytes,
        networks: Networks,
        session: int,
        seen: float,
        said: int,
    ) -> int:
        """List a newcomer, whose place was taken, with the flags that it tells of itself.

        Return its number.
        """
        crowd = self.stands.crowd(endpoint, said > 0, Stand.FRONT)
        neighbours = self.neighbours
        before = neighbours.largest
        number = neighbours.enter(endpoint, networks, seen, said, crowd)
        self._claims.attach(session, number, endpoint)
        self.seeds += said & COMPLETE
        self._oldest = min(self._oldest, seen)
        after = neighbours.largest
        if before == after:
            self._room.used += 1
        else:
            self._room.change(self, 1, before, after)
        return number

    def refresh(self, number: int, endpoint: bytes, seen: float, said: int) -> None:
        """Take in the flags that a listed peer tells of itself now."""
        peers = self.peers
        peers.seen[number] = seen
        oldest = self._oldest
        self._oldest = oldest if oldest < seen else seen
        flags = peers.flags[number]
        if flags & SAID == said and not self.stands.are_deep:
            turn = self._turn = (self._turn + 1) % STIRRED
            if not turn:
                peers.crowds[number].stir(number, endpoint)
            return
        if said & COMPLETE != flags & COMPLETE:
            if not said & COMPLETE:
                # The client has learned what it lacks: by the metadata (aria2 with a magnet link),
                # or by a check.
                peers.answered[number] = peers.answered_by_alias[number] = -inf
            self.seeds += 1 if said & COMPLETE else -1
        peers.flags[number] = flags & ~SAID | said
        if self.stands.are_deep or (flags & WANTS_NOTHING) != said & WANTS_NOTHING:
            self.neighbours.stand(number, endpoint)
        else:
            peers.crowds[number].stir(number, endpoint)

    def lose(self, number: int, now: float) -> None:
        """Drop a peer whose client may come back."""
        endpoint = self.peers.endpoint(number)
        self._claims.detach(number, now)
        self._take_off(number, endpoint)

    def drop(self, number: int) -> None:
        """Drop a peer that won't be heard of again."""
        endpoint = self.peers.endpoint(number)
        self._claims.drop(number)
        self._take_off(number, endpoint)

    def _take_off(self, number: int, endpoint: bytes) -> None:
        neighbours = self.neighbours
        self.seeds -= self.peers.flags[number] & COMPLETE
        before = neighbours.largest
        neighbours.remove(number, endpoint)
        self._room.change(self, -1, before, neighbours.largest)

    def expire(self, oldest: float, most: int) -> int:
        """Drop up to `most` peers last seen before `oldest`; return how many."""
        if self._oldest >= oldest:
            return 0
        seen, gone = self.peers.seen, 0
        # From the last on: what takes the number of one that goes is looked at already.
        for number in range(len(seen) - 1, -1, -1):
            if seen[number] < oldest:
                if gone == most:
                    return gone
                self.drop(number)
                gone += 1
        self._oldest = min(seen, default=inf)
        return gone

    def leave(self) -> None:
        """Give back the room of all peers, before they are let go at once."""
        self._room.change(self, -len(self.peers), self.neighbours.largest, 0)

    def expel(self, admits: Callable[[bytes], bool]) -> int:
        """Drop the peers whose addresses (packed) aren't let in any more; return how many."""
        gone = 0
        for number in reversed(range(len(self.peers))):
            if not admits(self.peers.endpoint(number)[:-2]):
                self.drop(number)
                gone += 1
        return gone

    # -- what survives a restart

    def export(self) -> Iterator[SavedPeer]:
        """Yield every peer that there is at the first one, as it is then."""
        peers, sessions = self.peers, self._claims.sessions.copy()
        flags, seen = bytes(peers.flags), peers.seen[:]
        for number, endpoint in enumerate(peers.endpoints()):
            name, flag = sessions.name(sessions.of_peer[number]), flags[number]
            yield SavedPeer(
                endpoint,
                name[:PEER_ID_LENGTH],
                key_of(name),
                flag & COMPLETE > 0,
                flag & WANTS_NOTHING > 0,
                seen[number],
            )

    def adopt(self, saved: Iterable[SavedPeer]) -> None:
        """List the peers of an earlier run where nobody is listed, as far as the caps allow."""
        for entry in saved:
            endpoint = entry.endpoint
            networks = networks_of(endpoint[:-2])
            if (
                self.peers.find(endpoint) >= 0
                or self.is_crowded(networks)
                or len(self) >= self._policy.peers_per_swarm
                or self._room.is_full
            ):
                continue
            session = self._claims.adopt_peer(entry.peer_id, entry.key, endpoint, entry.seen)
            self.enter(
                endpoint,
                networks,
                session,
                entry.seen,
                SAID if entry.complete else WANTS_NOTHING * entry.wants_nothing,
            )

    # -- whom an asker hears of

    def handout(
        self,
        asker: bytes,
        number: int,
        count: int,
        own: Sequence[bytes],
        place: OwnPlace,
        *,
        wants_nothing: bool,
    ) -> Handout:
        """Return the peers that the asker hears of; with SPARE or ALONE, our seeder comes last.

        `number` is who is listed at the asker's endpoint; -1 is nobody.
        """
        stands = self.stands
        deep = stands.are_deep
        trust = self.neighbours.trust(asker) if deep else _ALL
        chosen = stands.choose(
            asker, count, own, place, wants_nothing=wants_nothing, trust=trust, number=number
        )
        if deep and trust is not _ALL:
            self._add_strangers(chosen, asker, wants_nothing, count)
        if place is not _ALWAYS:
            alone = not any(map(any, chosen))
            if place is OwnPlace.SPARE or alone:
                places = count - size_of(chosen) - stands.left_out
                add(chosen, own[: max(0, places)])
        v4, v6 = chosen
        return b"".join(v4), b"".join(v6) if v6 else b""

    def _add_strangers(self, chosen: Choice, asker: bytes, wants_nothing: bool, count: int) -> None:
        """Add strangers to an answer that isn't full if the asker is one of them."""
        peers = self.peers
        missing = count - size_of(chosen)
        if missing <= 0:
            return
        known = set(endpoints_of(chosen))
        known.add(asker)
        some = (
            endpoint
            for endpoint in islice(self.neighbours.strangers_alone(asker), MOST_LOOKED_AT)
            if not (wants_nothing and peers.flags[peers.find(endpoint)] & WANTS_NOTHING)
            and endpoint not in known
            and is_told_to(asker[:-2], endpoint[:-2])
        )
        add(chosen, islice(some, missing))
