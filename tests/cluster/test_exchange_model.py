"""Whatever is announced at whichever node, and whatever becomes of what they tell each other: once
all is heard, each node has the swarm that one plain tracker would have, and all is counted once."""

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.owed import LONGEST_PAUSE
from seeder.tracker.policy import SwarmPolicy
from tests.cluster.lab import LabNode, Wire
from tests.tracker.plain import PlainSwarm

NAMES = ("a", "b", "c")
SIZES = {InfoHash(b"1" * 20): 1000, InfoHash(b"2" * 20): 4000}
ROOMY = SwarmPolicy(interval=1800)
TIGHT = SwarmPolicy(interval=1800, peers_per_address=2, peers_per_swarm=5, peers=8)
CLIENTS = range(8)
STEP = 0.05
"""Seconds of true time between two announces: more than the clocks of nodes differ by."""
FATES = ("lost", "unanswered", "doubled", "late", "well")
EVENTS = (
    AnnounceEvent.NONE,
    AnnounceEvent.NONE,
    AnnounceEvent.STARTED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.PAUSED,
)
nodes = st.integers(0, len(NAMES) - 1)
hashes = st.sampled_from(sorted(SIZES))


class Cluster(RuleBasedStateMachine):
    """Three nodes over one Redis, and a plain tracker that is told the same."""

    def __init__(self, wires: list[Wire]) -> None:
        super().__init__()
        self.wires = wires
        wires[0].ask("FLUSHALL")
        self.now = 10_000.0
        self.untold = False
        """Whether a node has stopped that hadn't told all yet: who is there is told again then, and
        not that somebody completed."""

    @initialize(skews=st.lists(st.sampled_from([-400.0, -7.0, 0.0, 90.0, 5000.0]), min_size=3),
                small=st.booleans())  # fmt: skip
    def start(self, skews: list[float], small: bool) -> None:
        """One of the nodes may have less room than the others, and then the plain tracker."""
        self.plain = {info_hash: PlainSwarm(size, ROOMY) for info_hash, size in SIZES.items()}
        self.small = small
        policies = (ROOMY, ROOMY, TIGHT if small else ROOMY)
        self.nodes = [
            LabNode(name, NAMES, policy, wire, SIZES, skew)
            for name, policy, wire, skew in zip(NAMES, policies, self.wires, skews, strict=False)
        ]
        for node in self.nodes:
            node.at(self.now)
            node.open()
        for node in self.nodes:
            node.hear_time()
        self.settle()

    def node(self, number: int) -> LabNode:
        node = self.nodes[number]
        node.at(self.now)
        return node

    # -- clients

    @rule(
        number=nodes,
        info_hash=hashes,
        client=st.sampled_from(CLIENTS),
        run=st.integers(0, 1),
        event=st.sampled_from(EVENTS),
        left=st.sampled_from([0, 1]),
        downloaded=st.sampled_from([0, 300, 1000, 4000]),
    )
    def announce(self, **fields: Any) -> None:
        self._announce(**fields)

    @rule(
        numbers=st.permutations(range(len(NAMES))),
        info_hash=hashes,
        client=st.sampled_from(CLIENTS),
        moments=st.lists(st.sampled_from([300, 700, 1000, 2500, 4000]), min_size=1, max_size=3),
    )
    def download(
        self, numbers: list[int], info_hash: InfoHash, client: int, moments: list[int]
    ) -> None:
        """A client starts at one node and completes at another, telling each how far it is."""
        size = SIZES[info_hash]
        done = [0, *(min(each, size) for each in sorted(moments)), size]
        for turn, downloaded in enumerate(done):
            event = AnnounceEvent.NONE
            if turn in (0, len(done) - 1):
                event = AnnounceEvent.COMPLETED if turn else AnnounceEvent.STARTED
            self._announce(
                number=numbers[turn % len(numbers)],
                info_hash=info_hash,
                client=client,
                run=0,
                event=event,
                left=size - downloaded,
                downloaded=downloaded,
            )
            if turn == 0:
                self._deliver_all()

    def _announce(
        self,
        *,
        number: int,
        info_hash: InfoHash,
        client: int,
        run: int,
        event: AnnounceEvent,
        left: int,
        downloaded: int,
    ) -> None:
        self.now += STEP
        if event is AnnounceEvent.COMPLETED:
            left, downloaded = 0, max(downloaded, SIZES[info_hash])
        source = bytes((10, 0, client, 1))
        request = AnnounceRequest(
            info_hash,
            b"-TT0000-%d%011d" % (run, client),
            7000,
            downloaded=downloaded,
            left=left,
            event=event,
            key=b"key%d" % run,
        )
        self.node(number).announce(request, source)
        plain = self.plain[info_hash]
        plain.enter(request, compact_endpoint(source, 7000), self.now, by_alias=False)

    @precondition(lambda self: any(swarm.peers for swarm in self.plain.values()))
    @rule(number=nodes, which=st.integers(0, 99))
    def stop(self, number: int, which: int) -> None:
        """A client stops, perhaps at a node that hasn't heard of it yet."""
        listed = [(h, e, p) for h, swarm in self.plain.items() for e, p in swarm.peers.items()]
        info_hash, endpoint, peer = listed[which % len(listed)]
        self.now += STEP
        peer_id, key = peer.client
        high = self.plain[info_hash].clients[peer.client].high
        request = AnnounceRequest(
            info_hash,
            peer_id,
            7000,
            downloaded=high,
            left=0 if peer.complete else 1,
            event=AnnounceEvent.STOPPED,
            key=key,
        )
        self.node(number).announce(request, endpoint[:-2])
        self.plain[info_hash].stop(endpoint, request, endpoint, self.now)

    # -- what nodes tell each other, and what becomes of it

    @rule(number=nodes, what=st.sampled_from(["tell", "hear", "read"]))
    def step(self, number: int, what: str) -> None:
        getattr(self.node(number), what)()

    @rule(number=nodes, fate=st.lists(st.sampled_from(FATES), min_size=1, max_size=5))
    def trouble(self, number: int, fate: list[str]) -> None:
        self.nodes[number].store.fate[:] = fate

    @rule(number=nodes)
    def arrive(self, number: int) -> None:
        """What was late arrives."""
        self.nodes[number].store.deliver()

    @rule()
    def lose(self) -> None:
        """Redis loses all that it holds."""
        for node in self.nodes:
            node.store.late.clear()
        self.wires[0].ask("FLUSHALL")
        for node in self.nodes:
            node.exchange._begin_anew()

    @rule()
    def trim(self) -> None:
        """Redis drops what of the stream is old, before everybody has read it."""
        self.wires[0].ask("XTRIM", "seeder:news", "MAXLEN", 1)
        for node in self.nodes:
            node.exchange._unsure = True

    # -- time

    @rule(later=st.sampled_from([10.0, 400.0, 2000.0, ROOMY.expiry + 1]))
    def expire(self, later: float) -> None:
        if later > ROOMY.interval:
            # What isn't told for so long is lost, and was said to be: who was heard of so is gone.
            self._deliver_all()
        self._let_pass(later)

    def _let_pass(self, later: float) -> None:
        self.now += later
        for number in range(len(NAMES)):
            node = self.node(number)
            list(node.swarms.expire(node.clock.now))
        for swarm in self.plain.values():
            swarm.expire(self.now - ROOMY.expiry)

    @rule(number=nodes, down=st.sampled_from([0.0, 5.0, 300.0]), step=st.sampled_from([0.0, -99.0]))
    def restart(self, number: int, down: float, step: float) -> None:
        """A node stops and starts again; its own clock begins anew, minutes off."""
        node = self.node(number)
        node.tell()
        self.untold = self.untold or node.exchange.untold > 0
        self.now += down
        node.restart(down, step)

    # -- in the end

    def _deliver_all(self) -> None:
        """Have everybody hear of everything."""
        for node in self.nodes:
            node.store.fate.clear()
        for _ in range(3):
            for number in range(len(NAMES)):
                self.node(number).tell()
            for node in self.nodes:
                node.store.deliver()
            for number in range(len(NAMES)):
                for _ in range(2):
                    self.node(number).hear()
                    self.node(number).read()

    @rule()
    def settle(self) -> None:
        self._deliver_all()
        # What was lost that somebody completed is told again within that time.
        self._let_pass(LONGEST_PAUSE)
        self._deliver_all()
        self._compare()
        if not self.small:
            self._compare_newcomer()

    def _compare_newcomer(self) -> None:
        """A node that comes has nothing but what Redis has."""
        node = LabNode("new", NAMES, ROOMY, self.wires[0], SIZES, 33.0)
        node.at(self.now)
        node.hear_time()
        node.open()
        node.hear()
        node.read()
        assert node.exchange.statistics.reloads > 0
        assert node.listed() == {
            info_hash: set(each.peers) for info_hash, each in self.plain.items()
        }

    def teardown(self) -> None:
        if hasattr(self, "nodes"):
            self.settle()

    def _compare(self) -> None:
        wanted = {info_hash: set(swarm.peers) for info_hash, swarm in self.plain.items()}
        for node in self.nodes:
            listed = node.listed()
            if node.policy is ROOMY and not self.small:
                assert listed == wanted, node.name
            else:
                assert all(listed[each] <= wanted[each] for each in SIZES), node.name
            assert node.exchange.untold == 0
            assert node.exchange.statistics.damaged == 0
        if self.small:
            return
        for info_hash, swarm in self.plain.items():
            scraped = {node.swarms.counts(info_hash) for node in self.nodes}
            assert len(scraped) == 1
            [counts] = scraped
            completions = sum(node.counts[info_hash].completions for node in self.nodes)
            assert completions <= swarm.completions.most
            assert completions >= swarm.completions.sure or self.untold, (
                completions,
                swarm.completions.sure,
                [n.counts[info_hash] for n in self.nodes],
            )
            assert counts.downloaded == completions

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for info_hash, swarm in self.plain.items() if hasattr(self, "plain") else ():
            claimed = sum(node.counts[info_hash].claimed for node in self.nodes)
            assert claimed <= swarm.bytes.most * swarm.size + 0.5
            completions = sum(node.counts[info_hash].completions for node in self.nodes)
            assert completions <= swarm.completions.most

    @invariant()
    def nothing_is_above_its_cap(self) -> None:
        for node in self.nodes if hasattr(self, "nodes") else ():
            listed = node.listed()
            assert sum(map(len, listed.values())) <= node.policy.peers
            assert max(map(len, listed.values())) <= node.policy.peers_per_swarm


@pytest.mark.timeout(300)
def test_all_nodes_have_the_swarm_of_one_plain_tracker(wires: list[Wire]) -> None:
    run_state_machine_as_test(
        partial(Cluster, wires),  # type: ignore[arg-type]
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def announce(node: LabNode, now: float, event: AnnounceEvent) -> None:
    node.at(now)
    info_hash = min(SIZES)
    request = AnnounceRequest(info_hash, b"-TT0000-000000000001", 7000, event=event, key=b"k")
    node.announce(request, bytes((10, 0, 0, 1)))


def hear(node: LabNode) -> None:
    """Have a node hear what there is, some seconds later."""
    node.at(node.true + 5.0)
    node.hear()
    node.read()


def lab(wires: list[Wire], skews: tuple[float, float]) -> tuple[LabNode, LabNode]:
    one, other = (
        LabNode(name, ("a", "b"), ROOMY, wire, SIZES, skew)
        for name, wire, skew in zip(("a", "b"), wires, skews, strict=False)
    )
    for node in (one, other):
        node.at(1000.0)
        node.open()
        node.hear_time()
        node.hear()
        node.read()
    return one, other


def test_a_stop_that_redis_lost_before_all_heard_it_holds(wires: list[Wire]) -> None:
    one, other = lab(wires, (0.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    one.tell()
    hear(other)
    announce(one, 1002.0, AnnounceEvent.STOPPED)
    one.tell()
    wires[0].ask("FLUSHALL")
    for node in (other, one):
        node.exchange._begin_anew()
        node.tell()
    for node in (other, one):
        hear(node)
        assert not any(node.listed().values())


def test_a_word_that_comes_late_undoes_nothing_in_redis(wires: list[Wire]) -> None:
    one, other = lab(wires, (-300.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    one.tell()
    hear(other)
    announce(one, 1008.0, AnnounceEvent.COMPLETED)
    one.store.fate[:] = ["late"]
    one.tell()
    announce(other, 1009.0, AnnounceEvent.STOPPED)
    other.tell()
    one.store.deliver()
    hear(one)
    assert not any(one.listed().values())
    third = LabNode("c", ("a", "b", "c"), ROOMY, wires[2], SIZES, 0.0)
    third.at(1020.0)
    third.open()
    third.hear_time()
    wires[0].ask("XTRIM", "seeder:news", "MAXLEN", 0)
    hear(third)
    assert third.exchange.statistics.reloads == 1
    assert not any(third.listed().values())


def test_who_stopped_while_redis_was_away_is_gone_after_a_start(wires: list[Wire]) -> None:
    one, other = lab(wires, (0.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    one.tell()
    hear(other)
    announce(one, 1002.0, AnnounceEvent.STOPPED)
    one.store.fate[:] = ["lost"]
    one.tell()
    one.restart(60.0, step=-5000.0)
    hear(one)
    one.tell()
    hear(other)
    for node in (one, other):
        assert not any(node.listed().values())


def test_no_announce_asks_redis(wires: list[Wire]) -> None:
    """However slow it is, an announce can't wait for what it doesn't ask."""
    one, _ = lab(wires, (0.0, 0.0))
    before = one.store.asked
    for number, event in enumerate(AnnounceEvent):
        announce(one, 1001.0 + number, event)
    assert one.store.asked == before
    one.tell()
    assert one.store.asked == before + 1


def test_nothing_is_told_before_the_store_has_told_its_time(wires: list[Wire]) -> None:
    node = LabNode("a", ("a", "b"), ROOMY, wires[0], SIZES, 300.0)
    node.at(1000.0)
    node.open()
    announce(node, 1001.0, AnnounceEvent.STARTED)
    node.tell()
    assert (node.store.asked, node.exchange.untold) == (0, 1)
    node.hear_time()
    node.tell()
    assert (node.store.asked > 0, node.exchange.untold) == (True, 0)
