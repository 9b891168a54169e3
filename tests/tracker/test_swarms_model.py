"""Whatever comes to the tracker, in whatever order: all swarms through their door, against a plain
tracker. How they keep their peers inside is nothing to it."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from seeder.errors import AnnounceError
from seeder.net.addresses import compact_endpoint, network_of
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts
from seeder.tracker.handout import OwnPlace
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.saved import Counted
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarm import HANDOUT_GAP
from seeder.tracker.swarms import Swarms, SwarmStatistics
from tests.tracker import machine
from tests.tracker.announcing import LOCAL, OWN, OWN_PORT, Ledger, packed
from tests.tracker.machine import SwarmMachine
from tests.tracker.plain import ClientName, PlainSwarm, widest

ROOMY = SwarmPolicy(interval=100, default_numwant=4, most_numwant=20)
TIGHT = SwarmPolicy(
    interval=100,
    default_numwant=4,
    most_numwant=20,
    peers_per_address=2,
    peers_per_swarm=6,
    peers=9,
)
SIZES = {**machine.SIZES, InfoHash(b"c" * 20): 0}
ALIAS, HYBRID = InfoHash(b"2" * 20), InfoHash(b"b" * 20)
STRANGE = InfoHash(b"x" * 20)
HASHES = [*SIZES, ALIAS]
ADDRESSES = [
    "192.0.2.1",
    "192.0.2.1",
    "192.0.2.2",
    "198.51.100.1",
    "203.0.113.1",
    "10.0.0.1",
    "10.1.0.1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "2001:db8:1::1",
    "fd00::1",
]
CLIENTS = [(bytes([65 + n]) * 20, key) for n, key in enumerate([b"", b"", b"k", b"k", b"l"])]
EVENTS = [*AnnounceEvent, AnnounceEvent.NONE, AnnounceEvent.STARTED, AnnounceEvent.COMPLETED]
FIELDS = st.fixed_dictionaries(
    {
        "left": st.sampled_from([None, 0, 0, 1, 1024, 2**63 - 1]),
        "event": st.sampled_from(EVENTS),
        "downloaded": st.sampled_from([0, 128, 512, 1024, 3 * 4096, 2**64 - 1]),
        "numwant": st.sampled_from([None, 0, 1, 3, 100]),
    }
)
LATER = st.sampled_from([0.0, 1.0, HANDOUT_GAP, 60.0])


class TrackerMachine(SwarmMachine):
    """One node in memory, and what only one can be compared in."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.rng = random.Random(0)
        self.ledgers = {info_hash: Ledger() for info_hash in SIZES}
        self.shut: dict[InfoHash, str] = {}
        self.resting: dict[InfoHash, str] = {}
        self.aliased = False
        """Whether the hybrid was opened in this run."""

    @initialize(policy=st.sampled_from([ROOMY, TIGHT]))
    def start(self, policy: SwarmPolicy) -> None:
        self.policy = policy
        self.swarms = self._new()
        self.plain = {info_hash: PlainSwarm(size, policy) for info_hash, size in SIZES.items()}
        for info_hash in SIZES:
            self._open(info_hash)

    def _new(self) -> Swarms:
        return Swarms(self.policy, OwnSeeder(OWN_PORT), rng=self.rng)

    def _open(self, info_hash: InfoHash) -> None:
        ledger = self.ledgers[info_hash]
        counted = Counted(ledger.completions, ledger.delivered)
        alias = ALIAS if info_hash == HYBRID else None
        self.aliased = self.aliased or alias is not None
        size = SIZES[info_hash]
        self.swarms.open(info_hash, size=size, claims=ledger, counted=counted, alias=alias)
        self.shut.pop(info_hash, None)
        self.resting.pop(info_hash, None)

    def _listed(self) -> dict[InfoHash, set[bytes]]:
        listed: dict[InfoHash, set[bytes]] = {info_hash: set() for info_hash in SIZES}
        for row in self.swarms.export(self.now):
            endpoints = [bytes.fromhex(str(peer[0])) for peer in row["peers"]]
            listed[InfoHash.from_hex(row["info_hash"])].update(endpoints)
        return listed

    def tell(self, request: AnnounceRequest, source: bytes, number: int) -> None:
        # The number of the node, of which there is one, names the torrent by its other hash.
        if number and request.info_hash == HYBRID:
            request = request._replace(info_hash=ALIAS)
        self._announce(request, source, 0.05)

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        oldest = self.now - self.policy.expiry
        gone = sum(swarm.expire(oldest) for swarm in self.plain.values())
        assert sum(self.swarms.expire(self.now)) == gone

    def policies(self) -> Iterable[tuple[SwarmPolicy, dict[InfoHash, set[bytes]]]]:
        return [(self.policy, self._listed())]

    def accounts(self, info_hash: InfoHash) -> Iterable[Ledger]:
        return [self.ledgers[info_hash]]

    # -- announces

    @rule(
        info_hash=st.sampled_from([*HASHES, HYBRID, STRANGE]),
        client=st.sampled_from(CLIENTS),
        address=st.sampled_from(ADDRESSES),
        port=st.integers(1, 4),
        fields=FIELDS,
        later=LATER,
    )
    def somebody(
        self,
        *,
        info_hash: InfoHash,
        client: tuple[bytes, bytes],
        address: str,
        port: int,
        fields: dict[str, Any],
        later: float,
    ) -> None:
        peer_id, key = client
        request = AnnounceRequest(info_hash, peer_id, port, key=key, **fields)
        self._announce(request, packed(address), later)

    @precondition(lambda self: self._known())
    @rule(
        which=st.integers(0, 99),
        fields=FIELDS,
        later=LATER,
        moves=st.sampled_from(
            [{}, {}, {}, {"port": 0}, {"port": 5}, {"key": b"k"}, {"peer_id": b"E" * 20}]
        ),
        address=st.sampled_from([None, None, *ADDRESSES]),
        by_alias=st.booleans(),
    )
    def somebody_known(
        self,
        *,
        which: int,
        fields: dict[str, Any],
        later: float,
        moves: dict[str, Any],
        address: str | None,
        by_alias: bool,
    ) -> None:
        """Announce again, perhaps from elsewhere, with another port, or in the name of another."""
        known = self._known()
        info_hash, endpoint, (peer_id, key) = known[which % len(known)]
        if info_hash == HYBRID and by_alias:
            info_hash = ALIAS
        request = AnnounceRequest(
            info_hash,
            peer_id,
            int.from_bytes(endpoint[-2:], "big"),
            key=b"" if key.startswith(b"@") else key,
            **fields,
        )._replace(**moves)
        if not request.port:
            request = request._replace(event=AnnounceEvent.STOPPED)
        source = endpoint[:-2] if address is None else packed(address)
        self._announce(request, source, later)

    @precondition(lambda self: self._known())
    @rule(which=st.integers(0, 99), client=st.sampled_from(CLIENTS), fields=FIELDS)
    def somebody_else(
        self, *, which: int, client: tuple[bytes, bytes], fields: dict[str, Any]
    ) -> None:
        """Another client comes to a known endpoint, to stop it or to take it over."""
        known = self._known()
        info_hash, endpoint, _ = known[which % len(known)]
        port = int.from_bytes(endpoint[-2:], "big")
        for event in (AnnounceEvent.STOPPED, AnnounceEvent.NONE):
            request = AnnounceRequest(info_hash, client[0], port, key=client[1], **fields)
            self._announce(request._replace(event=event), endpoint[:-2], 0.0)

    def _known(self) -> list[tuple[InfoHash, bytes, ClientName]]:
        return [
            (info_hash, endpoint, peer.client)
            for info_hash, swarm in self.plain.items()
            for endpoint, peer in swarm.peers.items()
        ]

    @rule(
        info_hash=st.sampled_from(HASHES),
        network=st.sampled_from(["192.0.2.{}", "198.51.100.{}", "2001:db8:7:{}::1"]),
        first=st.integers(1, 4),
        many=st.integers(2, 9),
        fields=FIELDS,
    )
    def many(
        self, *, info_hash: InfoHash, network: str, first: int, many: int, fields: dict[str, Any]
    ) -> None:
        """A network sends as many peers as it likes."""
        for number in range(first, first + many):
            request = AnnounceRequest(info_hash, bytes([number]) * 20, 7, **fields)
            self._announce(request, packed(network.format(number)), 0.0)

    def _announce(self, request: AnnounceRequest, source: bytes, later: float) -> None:
        self._note_past()
        self.now += later
        endpoint = compact_endpoint(source, request.port)
        info_hash = HYBRID if request.info_hash == ALIAS else request.info_hash
        stops = request.event is AnnounceEvent.STOPPED
        before = self._listed()
        reason = self._refusal(info_hash, stops)
        if reason is not None:
            with pytest.raises(AnnounceError) as refused:
                self.swarms.announce(request, source, LOCAL, self.now)
            if self.aliased or request.info_hash != ALIAS:
                assert refused.value.reason == reason
            assert before == self._listed()
            return
        reply = self.swarms.announce(request, source, LOCAL, self.now)
        assert reply.source == source
        handed = list(reply.endpoints())
        swarm = self.plain[info_hash]
        if stops:
            assert not handed
            self._stop(swarm, request, endpoint, self._listed()[info_hash])
            return
        count = swarm.wanted(request)
        if self._make_room(info_hash, request, endpoint, before):
            by_alias = request.info_hash == ALIAS
            if not swarm.enter(request, endpoint, self.now, by_alias=by_alias):
                count = 0
        self._check_handout(swarm, request, endpoint, handed, count)
        self._check_reply(reply, info_hash)

    def _note_past(self) -> None:
        # Within an announce there may be one more, whose place the announcer takes.
        past = sum(swarm.past for swarm in self.plain.values())
        self.is_forgetful = self.is_forgetful or past >= self.policy.peers

    def _refusal(self, info_hash: InfoHash, stops: bool) -> str | None:
        if info_hash not in SIZES:
            return "torrent not registered with this tracker"
        if info_hash in self.resting:
            return None if stops else self.resting[info_hash]
        return self.shut.get(info_hash)

    def _stop(
        self, swarm: PlainSwarm, request: AnnounceRequest, endpoint: bytes, listed: set[bytes]
    ) -> None:
        place = swarm.stopped_by(request, endpoint)
        if self.is_forgetful and place not in (None, endpoint) and place in listed:
            place = None
        if place is not None:
            swarm.stop(place, request, endpoint, self.now)

    def _make_room(
        self,
        info_hash: InfoHash,
        request: AnnounceRequest,
        endpoint: bytes,
        before: dict[InfoHash, set[bytes]],
    ) -> bool:
        """Have those go who had to, as the tracker chose; tell whether the announcer is listed."""
        swarm, after = self.plain[info_hash], self._listed()
        gone = {(each, e) for each in SIZES for e in before[each] - after[each]}
        came = endpoint in after[info_hash]
        if endpoint in before[info_hash]:
            assert came
            assert not gone
            return True
        network = network_of(endpoint[:-2])
        beside = [e for e in before[info_hash] if network_of(e[:-2]) == network]
        if len(beside) >= self.policy.peers_per_address:
            former = swarm.former_place(request, endpoint)
            assert gone <= {(info_hash, former)}
            assert came == bool(gone)
            assert came or former is None or self.is_forgetful
        elif self._is_full(info_hash, before):
            self._check_victim(info_hash, endpoint, before, gone, came)
        else:
            assert came
            assert not gone
        for each, victim in gone:
            self.plain[each].leave(victim, self.now)
        return came

    def _is_full(self, info_hash: InfoHash, listed: dict[InfoHash, set[bytes]]) -> bool:
        everywhere = sum(map(len, listed.values()))
        here = len(listed[info_hash])
        return here >= self.policy.peers_per_swarm or everywhere >= self.policy.peers

    def _check_victim(
        self,
        info_hash: InfoHash,
        endpoint: bytes,
        before: dict[InfoHash, set[bytes]],
        gone: set[tuple[InfoHash, bytes]],
        came: bool,
    ) -> None:
        """Whoever has most makes room: a newcomer from a small network always has a place."""
        shares = {each: Counter(map(widest, before[each])) for each in SIZES}
        mine = shares[info_hash][widest(endpoint)] + 1
        inside = len(before[info_hash]) >= self.policy.peers_per_swarm
        others = [shares[info_hash]] if inside else list(shares.values())
        largest = max(share for each in others for share in each.values())
        assert came or largest <= mine
        assert came == bool(gone)
        for each, victim in gone:
            assert len(gone) == 1
            assert each == info_hash or not inside
            share = shares[each][widest(victim)]
            assert share == largest > mine or (
                each == info_hash and (widest(victim) == widest(endpoint) or share > mine)
            )
            peers = self.plain[each].peers
            neighbours = [e for e in peers if network_of(e[:-2]) == network_of(victim[:-2])]
            assert peers[victim].seen == min(peers[e].seen for e in neighbours)

    def _check_handout(
        self,
        swarm: PlainSwarm,
        request: AnnounceRequest,
        endpoint: bytes,
        handed: list[bytes],
        count: int,
    ) -> None:
        assert len(handed) == len(set(handed)) <= count
        others, useful = set(handed) - {OWN}, swarm.useful(request, endpoint)
        assert others <= useful
        ours = OWN in handed
        if swarm.is_plain():
            assert len(others) == min(count - (ours and self.place is OwnPlace.ALWAYS), len(useful))
        if request.left != 0 and request.event is not AnnounceEvent.PAUSED and count:
            named = {
                OwnPlace.ALWAYS: True,
                OwnPlace.SPARE: len(others) < count,
                OwnPlace.ALONE: not others,
            }
            assert ours == named[self.place]

    def _check_reply(self, reply: AnnounceReply, info_hash: InfoHash) -> None:
        counts = ScrapeCounts(reply.complete, reply.downloaded, reply.incomplete)
        assert counts == self.swarms.counts(info_hash)
        assert reply.min_interval <= reply.interval

    # -- what the publisher and our own seeder tell

    @property
    def place(self) -> OwnPlace:
        return self.swarms.own_place

    @rule(place=st.sampled_from(OwnPlace))
    def hold_back(self, place: OwnPlace) -> None:
        self.swarms.own_place = place

    @rule(
        info_hash=st.sampled_from(HASHES),
        address=st.sampled_from(ADDRESSES),
        at_once=st.integers(1, 3),
    )
    def visit(self, info_hash: InfoHash, address: str, at_once: int) -> None:
        self.swarms.visited(info_hash, packed(address), at_once, self.now)

    @rule(info_hash=st.sampled_from(list(SIZES)), way=st.sampled_from(["close", "rest", "rest"]))
    def unpublish(self, info_hash: InfoHash, way: str) -> None:
        if way == "close":
            self.swarms.close(info_hash, "it is gone")
            self.shut[info_hash] = "it is gone"
            self.resting.pop(info_hash, None)
            self.plain[info_hash].forget()
        else:
            self.swarms.rest(info_hash, "it was deleted")
            if info_hash not in self.shut:
                self.resting[info_hash] = "it was deleted"

    @precondition(lambda self: self.shut or self.resting)
    @rule()
    def publish(self) -> None:
        for info_hash in (*self.shut, *self.resting):
            self._open(info_hash)

    # -- time

    @rule(
        down=st.sampled_from([0.0, 60.0, ROOMY.expiry / 2, ROOMY.expiry + 1]),
        clock=st.sampled_from([0.0, 1e6]),
    )
    def restart(self, down: float, clock: float) -> None:
        place = self.place
        rows = json.loads(json.dumps(list(self.swarms.export(self.now))))
        self.swarms = self._new()
        self.swarms.own_place = place
        self.swarms.restore(rows, clock, elapsed=down)
        for info_hash in sorted(SIZES.keys() - self.shut.keys(), key=lambda _: self.rng.random()):
            self._open(info_hash)
        self.aliased = HYBRID not in self.shut
        for info_hash in self.shut:
            self.shut[info_hash] = "torrent not registered with this tracker"
        later, self.now = clock - self.now, clock
        for swarm in self.plain.values():
            for peer in swarm.peers.values():
                peer.seen += later - down
                peer.answered.clear()
            for client in swarm.clients.values():
                client.seen += later - down
                # Of a client that isn't listed, one address is saved.
                client.last = dict(sorted(client.last.items())[:1])
            for endpoint, peer in swarm.peers.items():
                swarm.clients[peer.client].last[len(endpoint) == 18] = endpoint
            if down:
                swarm.expire(clock - self.policy.expiry)

    # -- what always holds

    @invariant()
    def the_same_peers_are_listed(self) -> None:
        assert self._listed() == {each: set(swarm.peers) for each, swarm in self.plain.items()}

    @invariant()
    def no_address_has_too_many(self) -> None:
        for peers in self._listed().values():
            addresses = Counter(network_of(e[:-2]) for e in peers)
            assert max(addresses.values(), default=0) <= self.policy.peers_per_address

    @invariant()
    def counts_are_those_of_the_peers(self) -> None:
        for info_hash, swarm in self.plain.items():
            completed = self.ledgers[info_hash].completions
            seeds = sum(peer.complete for peer in swarm.peers.values())
            counts = ScrapeCounts(seeds + 1, completed, len(swarm.peers) - seeds)
            status = SwarmStatistics(len(swarm.peers), seeds, completed)
            if info_hash in self.shut or info_hash in self.resting:
                counts, status = ScrapeCounts(), SwarmStatistics(0, 0, 0)
            assert self.swarms.scrape([info_hash, STRANGE]) == {
                info_hash: counts,
                STRANGE: ScrapeCounts(),
            }
            assert self.swarms.statistics(info_hash) == status
        assert self.swarms.counts(ALIAS) == self.swarms.counts(HYBRID)

    @invariant()
    def all_that_is_believed_is_counted(self) -> None:
        self._note_past()
        for info_hash, swarm in self.plain.items() if not self.is_forgetful else ():
            ledger, size = self.ledgers[info_hash], swarm.size
            assert swarm.bytes.sure * size <= ledger.delivered
            assert swarm.completions.sure <= ledger.completions


TestTracker = TrackerMachine.TestCase
TestTracker.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
