"""The swarms against a model that keeps lists where they keep indexes."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seeder.net.addresses import Networks, compact_endpoint, is_v6, network_of, networks_of
from seeder.net.buckets import AddressLimiter
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.belief import BELIEVED
from seeder.tracker.handout import PEERS_FOR_ONE_OTHER, OwnPlace, Stand
from seeder.tracker.neighbours import StrangerLimits
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import Counted
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarm import HANDOUT_GAP
from seeder.tracker.swarms import Swarms, SwarmStatistics
from seeder.units import DAY
from tests.tracker.announcing import HASH, LOCAL, OWN, OWN_PORT, SIZE, Ledger, cut, packed

LIMITS = StrangerLimits(in_front=2, at_address=2, in_middle=4)
POLICY = SwarmPolicy(
    interval=100,
    default_numwant=4,
    most_numwant=20,
    peers_per_address=3,
    peers_per_swarm=9,
    peers=100,
    strangers=LIMITS,
)
ADDRESSES = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "2001:db8:0:101::1",
    "2001:db8:1::1",
]
CLIENTS = [(bytes([65 + n]) * 20, key) for n, key in enumerate([b"", b"", b"k", b"l"])]
Client: TypeAlias = tuple[bytes, bytes, bytes]
"""A peer id and a key, and without a key the address."""


@dataclass
class ModelPeer:
    client: Client
    complete: bool
    satisfied: bool
    seen: float
    known: bool = False
    answered: float = -1e9


@dataclass
class ModelSession:
    high: int
    seen: float
    claimed: int = 0
    completed: bool = False
    last: dict[bool, bytes] = field(default_factory=dict)
    """Where it was last seen, by family."""


@dataclass
class ModelVisit:
    since: float
    at_once: int = 0
    peers: int = 0
    completed: int = 0
    copies: float = 0


class ModelBelief:
    def __init__(self) -> None:
        most = POLICY.peers_per_address
        self.visitors = AddressLimiter(most / DAY, most)
        self.others = AddressLimiter(BELIEVED / DAY, BELIEVED)

    def believes(self, address: bytes, amount: float, visitors: float, now: float) -> str | None:
        if amount <= visitors and self.visitors.admit(address, now, amount):
            return "visitor"
        return "other" if self.others.admit(address, now, amount) else None


def widest(endpoint: bytes) -> bytes:
    return networks_of(endpoint[:-2])[-1]


class SwarmMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.rng = random.Random(0)
        self.place = OwnPlace.ALWAYS
        self.swarms = self._open()
        self.now = 0.0
        self.peers: dict[bytes, ModelPeer] = {}
        """Longest unseen first."""
        self.stands: dict[bytes, Stand] = {}
        """Of the strangers of each network that isn't small."""
        self.sessions: dict[Client, ModelSession] = {}
        self.visits: dict[bytes, ModelVisit] = {}
        self.beliefs = ModelBelief(), ModelBelief()
        self.delivered = self.completions = 0

    def _open(self) -> Swarms:
        swarms = Swarms(POLICY, OwnSeeder(OWN_PORT), rng=self.rng)
        swarms.open(HASH, size=SIZE, claims=self.ledger)
        return swarms

    @rule(
        client=st.sampled_from(CLIENTS),
        address=st.sampled_from(ADDRESSES),
        port=st.integers(1, 4),
        left=st.sampled_from([None, 0, 0, 1, SIZE]),
        event=st.sampled_from(
            [
                AnnounceEvent.NONE,
                AnnounceEvent.STARTED,
                AnnounceEvent.COMPLETED,
                AnnounceEvent.PAUSED,
                AnnounceEvent.STOPPED,
            ]
        ),
        downloaded=st.sampled_from([0, 100, 600, SIZE, 3 * SIZE]),
        numwant=st.sampled_from([None, 0, 1, 3, 100]),
        later=st.sampled_from([0.0, 1.0, HANDOUT_GAP, 60.0]),
    )
    def announce(
        self,
        *,
        client: tuple[bytes, bytes],
        address: str,
        port: int,
        left: int | None,
        event: AnnounceEvent,
        downloaded: int,
        numwant: int | None,
        later: float,
    ) -> None:
        self.now += later
        request = AnnounceRequest(
            HASH,
            client[0],
            port,
            downloaded=downloaded,
            left=left,
            event=event,
            numwant=numwant,
            key=client[1],
        )
        endpoint = compact_endpoint(packed(address), port)
        reply = self.swarms.announce(request, packed(address), LOCAL, self.now)
        name = (*client, b"" if client[1] else network_of(packed(address)))
        if event is AnnounceEvent.STOPPED:
            self._stop(name, endpoint, request)
            assert not list(reply.endpoints())
            return
        satisfied = left == 0 or event is AnnounceEvent.PAUSED
        listed = self._admit(name, endpoint)
        count = min(4 if numwant is None else numwant, 20)
        if listed:
            self._claim(name, endpoint, request)
            known = self.peers.pop(endpoint, None)
            answered = -1e9
            if known and known.client == name and (left == 0 or not known.complete):
                answered = known.answered
            started = event is AnnounceEvent.STARTED
            if count and self.now - answered < HANDOUT_GAP and not started:
                count = 0
            elif count:
                answered = self.now
            peer = ModelPeer(name, left == 0, satisfied, self.now, answered=answered)
            self.peers[endpoint] = peer
            self.sessions[name].last[is_v6(endpoint)] = endpoint
            if known is None:
                self._come(endpoint)
            else:
                peer.known = known.known
                self._leave_session(known.client)
        ended = event in (AnnounceEvent.COMPLETED, AnnounceEvent.PAUSED)
        may_lack_metadata = left == downloaded == 0 and not ended
        told_of_us = not satisfied or may_lack_metadata
        if listed and self._stand(endpoint) is not Stand.FRONT:
            told_of_us = True
        self._check_handout(reply, endpoint, satisfied, told_of_us, count)

    # -- who is listed

    def _admit(self, name: Client, endpoint: bytes) -> bool:
        """Have somebody dropped for a newcomer, as the swarm chose; tell whether it was listed."""
        if endpoint in self.peers:
            return True
        beside = [e for e in self.peers if network_of(e[:-2]) == network_of(endpoint[:-2])]
        if len(beside) >= POLICY.peers_per_address:
            session = self.sessions.get(name)
            former = session.last.get(is_v6(endpoint)) if session else None
            if former not in beside:
                return False
            self._leave(former)
        if len(self.peers) < POLICY.peers_per_swarm:
            return True
        rivals = self._rivals(networks_of(endpoint[:-2]))
        listed = self._listed()
        gone = [e for e in self.peers if e not in listed]
        assert (endpoint in listed) == bool(rivals)
        if not rivals:
            assert not gone
            return False
        [victim] = gone
        assert victim in rivals
        beside = [e for e in self.peers if network_of(e[:-2]) == network_of(victim[:-2])]
        assert self.peers[victim].seen == min(self.peers[e].seen for e in beside)
        self._leave(victim)
        return True

    def _listed(self) -> set[bytes]:
        [row] = self.swarms.export(self.now)
        return {bytes.fromhex(str(peer[0])) for peer in row["peers"]}

    def _rivals(self, newcomer: Networks) -> set[bytes]:
        """Return the peers of whom one may have to go."""
        scope = list(self.peers)
        for depth, network in enumerate(reversed(newcomer), 1):
            sizes = Counter(networks_of(e[:-2])[-depth] for e in scope)
            if sizes and sizes[network] + 1 < max(sizes.values()):
                return self._of_most(scope, depth)
            scope = [e for e in scope if networks_of(e[:-2])[-depth] == network]
        return set()

    def _of_most(self, scope: list[bytes], depth: int) -> set[bytes]:
        """Return the peers of the largest address of the largest network; of equals, any."""
        if depth > len(networks_of(scope[0][:-2])):
            return set(scope)
        inside: dict[bytes, list[bytes]] = {}
        for endpoint in scope:
            inside.setdefault(networks_of(endpoint[:-2])[-depth], []).append(endpoint)
        most = max(map(len, inside.values()))
        largest = [each for each in inside.values() if len(each) == most]
        return set().union(*(self._of_most(each, depth + 1) for each in largest))

    def _come(self, endpoint: bytes) -> None:
        """Note where the strangers stand beside a newcomer."""
        network = widest(endpoint)
        inside = [e for e in self.peers if widest(e) == network]
        if len(inside) > LIMITS.in_front:
            strangers = [e for e in inside if not self.peers[e].known]
            at_address = [e for e in strangers if networks_of(e[:-2]) == networks_of(endpoint[:-2])]
            stand = Stand.FRONT
            if len(strangers) > LIMITS.in_middle or len(at_address) > LIMITS.at_address:
                stand = Stand.BEHIND
            elif len(strangers) > LIMITS.in_front:
                stand = Stand.MIDDLE
            self.stands[network] = max(stand, self.stands.get(network, Stand.FRONT))
        visit = self._visit(endpoint[:-2])
        if visit is not None:
            self._recognise(endpoint[:-2], visit.at_once)

    def _leave(self, endpoint: bytes, *, for_good: bool = False) -> None:
        peer = self.peers.pop(endpoint)
        self._review(widest(endpoint))
        self._leave_session(peer.client, for_good=for_good)

    def _review(self, network: bytes) -> None:
        inside = [e for e in self.peers if widest(e) == network]
        if sum(not self.peers[e].known for e in inside) <= LIMITS.in_front:
            self.stands.pop(network, None)

    def _leave_session(self, name: Client, *, for_good: bool = False) -> None:
        if not any(peer.client == name for peer in self.peers.values()):
            if for_good:
                del self.sessions[name]
            else:
                self.sessions[name].seen = self.now

    def _stop(self, name: Client, endpoint: bytes, request: AnnounceRequest) -> None:
        found = endpoint if endpoint in self.peers else None
        session = self.sessions.get(name)
        if found is None and session is not None:
            former = session.last.get(is_v6(endpoint), b"")
            if former in self.peers and (name[1] or former[:-2] == endpoint[:-2]):
                found = former
        if found is None:
            return
        peer_id, key, _ = self.peers[found].client
        if peer_id == name[0] or (name[1] and key == name[1]):
            if session is not None:
                self._claim(name, endpoint, request)
            self._leave(found)

    # -- who is known

    @rule(
        address=st.sampled_from(ADDRESSES),
        at_once=st.integers(1, 3),
        later=st.sampled_from([0.0, 60.0]),
    )
    def visit(self, address: str, at_once: int, later: float) -> None:
        self.now += later
        self.swarms.visited(HASH, packed(address), at_once, self.now)
        visit = self._visit(packed(address))
        if visit is None:
            visit = self.visits[network_of(packed(address))] = ModelVisit(self.now)
        visit.peers += 1
        visit.at_once = max(visit.at_once, at_once)
        self._recognise(packed(address), at_once)

    def _visit(self, address: bytes) -> ModelVisit | None:
        visit = self.visits.get(network_of(address))
        return visit if visit is not None and self.now - visit.since <= DAY else None

    def _recognise(self, address: bytes, at_once: int) -> None:
        network = network_of(address)
        here = [e for e in self._by_age if network_of(e[:-2]) == network]
        missing = at_once - sum(self.peers[e].known for e in here)
        for endpoint in [e for e in here if not self.peers[e].known][::-1][: max(0, missing)]:
            self.peers[endpoint].known = True
        self._review(networks_of(address)[-1])

    @property
    def _by_age(self) -> list[bytes]:
        """Return the peers in the order in which they were listed."""
        roster = self.swarms._swarms[HASH]._list()
        order = [
            endpoint
            for network in {networks_of(e[:-2]) for e in self.peers}
            for endpoint in roster.neighbours.at(network)
        ]
        assert set(order) == set(self.peers)
        return order

    def _stand(self, endpoint: bytes) -> Stand:
        if self.peers[endpoint].known:
            return Stand.FRONT
        return self.stands.get(widest(endpoint), Stand.FRONT)

    # -- what is claimed

    def _claim(self, name: Client, endpoint: bytes, request: AnnounceRequest) -> None:
        session = self.sessions.setdefault(name, ModelSession(request.downloaded, self.now))
        session.seen = self.now
        address, visit = endpoint[:-2], self._visit(endpoint[:-2])
        if request.downloaded < session.high and request.event is AnnounceEvent.STARTED:
            session.high, session.claimed = request.downloaded, 0
        growth = max(0, request.downloaded - session.high)
        session.high += growth
        counted = min(growth, SIZE - session.claimed)
        session.claimed += counted
        if counted:
            copies = counted / SIZE
            visitors = visit.peers - visit.copies if visit else 0.0
            believed = self.beliefs[0].believes(address, copies, visitors, self.now)
            self.delivered += counted if believed else 0
            if visit and believed == "visitor":
                visit.copies += copies
        done = request.event is AnnounceEvent.COMPLETED and request.left == 0
        if done and request.downloaded and not session.completed:
            visitors = visit.peers - visit.completed if visit else 0
            believed = self.beliefs[1].believes(address, 1, visitors, self.now)
            if visit and believed == "visitor":
                visit.completed += 1
            session.completed = bool(believed)
            self.completions += session.completed

    # -- who is handed out

    def _check_handout(
        self, reply: AnnounceReply, asker: bytes, satisfied: bool, ours: bool, count: int
    ) -> None:
        handed = list(reply.endpoints())
        assert len(set(handed)) == len(handed)
        useful = {
            e for e, peer in self.peers.items() if e != asker and not (satisfied and peer.satisfied)
        }
        rows = [{e for e in useful if self._stand(e) is stand} for stand in Stand]
        in_front = int(ours and count > 0 and self.place is OwnPlace.ALWAYS)
        expected = self._expected(rows, asker, count - in_front, in_front)
        others = [e for e in handed if e != OWN]
        for row, least in zip(rows, expected, strict=True):
            assert len(row & set(others)) >= least
        # The asker's own neighbours fill what is missing.
        mates = self._mates(asker, useful)
        missing = count - in_front - sum(expected)
        extra = len(others) - sum(expected)
        assert 0 <= extra <= (missing if mates else 0)
        assert extra == missing or mates <= set(others)
        assert set(others) <= useful
        if self.place is OwnPlace.ALWAYS:
            assert (OWN in handed) == bool(in_front)
            order = cut(reply.peers)
            for e in order:
                if e != OWN and e not in mates and self.peers[e].satisfied and OWN in order:
                    assert order.index(e) < order.index(OWN)
        elif self.place is OwnPlace.SPARE:
            assert (OWN in handed) == (ours and len(others) < count)
        else:
            assert (OWN in handed) == (ours and count > 0 and not others)
        if self.place is not OwnPlace.ALWAYS:
            assert OWN not in cut(reply.peers)[:-1]

    def _expected(self, rows: list[set[bytes]], asker: bytes, count: int, ours: int) -> list[int]:
        """Return how many come from each row, the asker's own neighbours left out."""
        alone = all(widest(e) == widest(asker) for e in self.peers)
        known = any(peer.known for peer in self.peers.values())
        trusted = 3 if alone else 1 if known else 2
        expected: list[int] = []
        for number, row in enumerate(rows):
            missing = count - sum(expected)
            if number >= trusted:
                missing = min(missing, (sum(expected) + ours) // PEERS_FOR_ONE_OTHER)
            expected.append(min(missing, len(row)))
        return expected

    def _mates(self, asker: bytes, useful: set[bytes]) -> set[bytes]:
        """Return those in the asker's network, if they are many and all of them strangers."""
        inside = [e for e in self.peers if widest(e) == widest(asker)]
        if len(inside) <= LIMITS.in_front or any(self.peers[e].known for e in inside):
            return set()
        return useful & set(inside)

    @rule(place=st.sampled_from(OwnPlace))
    def hold_back(self, place: OwnPlace) -> None:
        self.place = self.swarms.own_place = place

    # -- time

    @rule(later=st.sampled_from([10.0, 200.0, POLICY.expiry, POLICY.expiry + 1]))
    def expire(self, later: float) -> None:
        self.now += later
        oldest = self.now - POLICY.expiry
        gone = [e for e, peer in self.peers.items() if peer.seen < oldest]
        for endpoint in gone:
            self._leave(endpoint, for_good=True)
        listed = {peer.client for peer in self.peers.values()}
        for name in [n for n, s in self.sessions.items() if n not in listed and s.seen < oldest]:
            del self.sessions[name]
        assert sum(self.swarms.expire(self.now)) == len(gone)

    @rule(clock=st.sampled_from([0.0, 1e6]))
    def restart(self, clock: float) -> None:
        rows = json.loads(json.dumps(list(self.swarms.export(self.now))))
        self.swarms = Swarms(POLICY, OwnSeeder(OWN_PORT), rng=self.rng)
        self.swarms.own_place = self.place
        self.swarms.restore(rows, clock)
        self.swarms.open(HASH, size=SIZE, claims=self.ledger)
        later, self.now = clock - self.now, clock
        for session in self.sessions.values():
            session.seen += later
            # Of a client that isn't listed, one address is saved.
            session.last = dict(sorted(session.last.items())[:1])
        self.visits.clear()
        self.stands.clear()
        self.beliefs = ModelBelief(), ModelBelief()
        before, self.peers = self.peers, {}
        for endpoint, peer in before.items():
            self.peers[endpoint] = ModelPeer(
                peer.client, peer.complete, peer.satisfied, peer.seen + later
            )
            self.sessions[peer.client].last[is_v6(endpoint)] = endpoint
            self._come(endpoint)

    @rule()
    def close_and_open(self) -> None:
        self.swarms.close(HASH, "gone")
        self.swarms.open(
            HASH, size=SIZE, claims=self.ledger, counted=Counted(completed=self.completions)
        )
        self.peers.clear()
        self.stands.clear()
        self.sessions.clear()
        self.beliefs = ModelBelief(), ModelBelief()

    @rule()
    def rest_and_open(self) -> None:
        self.swarms.rest(HASH, "it was deleted")
        self.swarms.open(
            HASH, size=SIZE, claims=self.ledger, counted=Counted(completed=self.completions)
        )

    # -- what always holds

    @invariant()
    def counts_agree(self) -> None:
        seeds = sum(peer.complete for peer in self.peers.values())
        assert self.swarms.statistics(HASH) == SwarmStatistics(
            len(self.peers), seeds, self.completions
        )
        assert self.swarms.scrape([HASH])[HASH] == ScrapeCounts(
            seeds + 1, self.completions, len(self.peers) - seeds
        )

    @invariant()
    def claims_agree(self) -> None:
        assert (self.ledger.delivered, self.ledger.completions) == (
            self.delivered,
            self.completions,
        )

    @invariant()
    def room_is_what_is_used(self) -> None:
        listed = {peer.client for peer in self.peers.values()}
        assert self.swarms._room.used == len(self.peers)
        assert len(self.swarms._past) == len(self.sessions.keys() - listed)
        networks = Counter(map(widest, self.peers))
        assert self.swarms._room.largest == max(networks.values(), default=0)

    @invariant()
    def everybody_stands_where_he_belongs(self) -> None:
        roster = self.swarms._swarms[HASH]._list()
        assert set(roster.peers.endpoints()) == set(self.peers)
        for endpoint, peer in self.peers.items():
            stand = self._stand(endpoint)
            crowd, number = (
                roster.stands.crowd(endpoint, peer.satisfied, stand),
                roster.peers.find(endpoint),
            )
            assert crowd.has(number, endpoint)
            assert roster.peers.crowds[number] is crowd


TestSwarm = SwarmMachine.TestCase
TestSwarm.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
