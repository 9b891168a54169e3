"""The swarms against a model that keeps lists where they keep indexes."""

import json
import random
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seeder.net.addresses import compact_endpoint, is_v6, network_of
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.swarm import HANDOUT_GAP, OwnPlace, SwarmPolicy
from seeder.tracker.swarms import OwnSeeder, Swarms, SwarmStatistics
from tests.tracker.announcing import HASH, LOCAL, OWN, OWN_PORT, SIZE, Ledger, cut, packed

POLICY = SwarmPolicy(
    interval=100, default_numwant=4, most_numwant=6, peers_per_address=2, peers_per_swarm=6, peers=6
)
ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
CLIENTS = [(bytes([65 + n]) * 20, key) for n, key in enumerate([b"", b"", b"k", b"l"])]


@dataclass
class ModelPeer:
    client: tuple[bytes, bytes]
    complete: bool
    satisfied: bool
    seen: float
    answered: float = -1e9


@dataclass
class ModelSession:
    high: int
    seen: float
    claimed: int = 0
    completed: bool = False


class SwarmMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.rng = random.Random(0)
        self.place = OwnPlace.ALWAYS
        self.swarms = self._open()
        self.now = 0.0
        self.peers: dict[bytes, ModelPeer] = {}
        self.sessions: dict[tuple[bytes, bytes], ModelSession] = {}
        # Where each client was last seen, by family; this much a restart forgets.
        self.last: dict[tuple[tuple[bytes, bytes], bool], bytes] = {}
        self.delivered = self.completions = 0

    def _open(self) -> Swarms:
        swarms = Swarms(POLICY, OwnSeeder(OWN_PORT), rng=self.rng)
        swarms.open(HASH, size=SIZE, claims=self.ledger)
        return swarms

    @rule(
        client=st.sampled_from(CLIENTS),
        address=st.sampled_from(ADDRESSES),
        port=st.integers(1, 3),
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
        if event is AnnounceEvent.STOPPED:
            self._stop(client, endpoint, request)
            assert not list(reply.endpoints())
            return
        satisfied = left == 0 or event is AnnounceEvent.PAUSED
        listed = self._admit(client, endpoint)
        count = min(4 if numwant is None else numwant, 6)
        if listed:
            known = self.peers.get(endpoint)
            answered = -1e9
            if known and known.client[0] == client[0] and (left == 0 or not known.complete):
                answered = known.answered
            if count and self.now - answered < HANDOUT_GAP:
                count = 0
            elif count:
                answered = self.now
            self.peers[endpoint] = ModelPeer(client, left == 0, satisfied, self.now, answered)
            self._claim(client, request)
            if client in self.sessions:
                self.last[client, is_v6(endpoint)] = endpoint
        may_lack_metadata = event is AnnounceEvent.STARTED and left == downloaded == 0
        self._check_handout(reply, endpoint, satisfied, not satisfied or may_lack_metadata, count)

    def _admit(self, client: tuple[bytes, bytes], endpoint: bytes) -> bool:
        if endpoint in self.peers:
            return True
        beside = [e for e in self.peers if network_of(e[:-2]) == network_of(endpoint[:-2])]
        if len(beside) >= POLICY.peers_per_address:
            former = self.last.get((client, is_v6(endpoint)))
            if client not in self.sessions or former not in beside:
                return False
            del self.peers[former]
        return len(self.peers) < POLICY.peers_per_swarm

    def _stop(self, client: tuple[bytes, bytes], endpoint: bytes, request: AnnounceRequest) -> None:
        found = endpoint if endpoint in self.peers else None
        if found is None and client in self.sessions:
            former = self.last.get((client, is_v6(endpoint)), b"")
            if former in self.peers and (client[1] or former[:-2] == endpoint[:-2]):
                found = former
        if found is None:
            return
        peer_id, key = self.peers[found].client
        if peer_id == client[0] or (client[1] and key == client[1]):
            if client in self.sessions:
                self._claim(client, request)
            del self.peers[found]

    def _claim(self, client: tuple[bytes, bytes], request: AnnounceRequest) -> None:
        session = self.sessions.setdefault(client, ModelSession(request.downloaded, self.now))
        session.seen = self.now
        if request.downloaded < session.high and request.event is AnnounceEvent.STARTED:
            session.high, session.claimed = request.downloaded, 0
        growth = max(0, request.downloaded - session.high)
        session.high += growth
        counted = min(growth, SIZE - session.claimed)
        session.claimed += counted
        self.delivered += counted
        if request.event is AnnounceEvent.COMPLETED and request.left == 0 and not session.completed:
            session.completed = True
            self.completions += 1

    def _check_handout(
        self, reply: AnnounceReply, asker: bytes, satisfied: bool, ours: bool, count: int
    ) -> None:
        handed = list(reply.endpoints())
        assert len(set(handed)) == len(handed)
        others = {e: peer for e, peer in self.peers.items() if e != asker}
        useful = {e for e, peer in others.items() if not (satisfied and peer.satisfied)}
        if self.place is OwnPlace.ALONE and useful:
            ours = False
        allowed = useful | {OWN} if ours else useful
        assert set(handed) <= allowed
        assert len(handed) == min(count, len(allowed))
        if self.place is not OwnPlace.ALWAYS:
            assert (OWN in handed) == (ours and len(useful) < count)
            assert OWN not in cut(reply.peers)[:-1]
        elif handed and not satisfied:
            assert OWN in handed
            complete = [e for e in cut(reply.peers) if e != OWN and self.peers[e].satisfied]
            order = cut(reply.peers)
            assert all(order.index(e) < order.index(OWN) for e in complete)

    @rule(place=st.sampled_from(OwnPlace))
    def hold_back(self, place: OwnPlace) -> None:
        self.place = self.swarms.own_place = place

    @rule(later=st.sampled_from([10.0, 200.0, POLICY.expiry, POLICY.expiry + 1]))
    def expire(self, later: float) -> None:
        self.now += later
        oldest = self.now - POLICY.expiry
        before = len(self.peers)
        self.peers = {e: peer for e, peer in self.peers.items() if peer.seen >= oldest}
        self.sessions = {c: s for c, s in self.sessions.items() if s.seen >= oldest}
        self.last = {at: e for at, e in self.last.items() if at[0] in self.sessions}
        assert self.swarms.expire(self.now) == before - len(self.peers)

    @rule(clock=st.sampled_from([0.0, 1e6]))
    def restart(self, clock: float) -> None:
        rows = json.loads(json.dumps(list(self.swarms.export(self.now))))
        self.swarms = Swarms(POLICY, OwnSeeder(OWN_PORT), rng=self.rng)
        self.swarms.own_place = self.place
        self.swarms.restore(rows, clock)
        self.swarms.open(HASH, size=SIZE, claims=self.ledger)
        for session in self.sessions.values():
            session.seen += clock - self.now
        for peer in self.peers.values():
            peer.seen += clock - self.now
            peer.answered = -1e9
        self.last.clear()
        self.now = clock

    @rule()
    def close_and_open(self) -> None:
        self.swarms.close(HASH, "gone")
        self.swarms.open(HASH, size=SIZE, claims=self.ledger, completed=self.completions)
        self.peers.clear()
        self.sessions.clear()
        self.last.clear()

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
        assert self.swarms._peers.used == len(self.peers)
        assert self.swarms._sessions.used == len(self.sessions)


TestSwarm = SwarmMachine.TestCase
TestSwarm.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
