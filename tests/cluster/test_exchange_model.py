"""Whatever is announced at whichever node, and whatever becomes of what they tell each other: once
all is heard, each node has the swarm that one plain tracker would have, and all is counted once."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from seeder.net.addresses import compact_endpoint
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import AnnounceEvent, AnnounceRequest
from seeder.tracker.owed import CLOCKS_DIFFER, RETOLD_AT_LATEST
from seeder.tracker.policy import SwarmPolicy
from tests.cluster.lab import LabNode, Wire
from tests.tracker.announcing import Ledger
from tests.tracker.machine import NODES, SIZES, SwarmMachine, nodes
from tests.tracker.plain import ClientName, PlainSwarm

NAMES = ("a", "b", "c")
ROOMY = SwarmPolicy(interval=1800)
TIGHT = SwarmPolicy(interval=1800, peers_per_address=2, peers_per_swarm=5, peers=8)
STEP = 0.05
"""Seconds of true time between two announces: more than the clocks of nodes differ by."""
FATES = ("lost", "unanswered", "doubled", "late", "well")


class Sure:
    """Which of the bytes that the clients of one torrent claim have to be counted, in copies.

    They are what a client has said since all nodes knew how much it had. A client that begins anew
    may take back what nobody has heard, and one that claims more than its address is believed,
    everything.
    """

    def __init__(self) -> None:
        self._known: set[ClientName] = set()
        self._anew: set[ClientName] = set()
        self._never: set[ClientName] = set()
        """Of whose new beginning the word was lost."""
        self._copies: Counter[bytes] = Counter()
        self._unheard: defaultdict[ClientName, Counter[bytes]] = defaultdict(Counter)
        self._doubted: set[bytes] = set()

    def announced(self, client: ClientName, *, is_new: bool, goes_back: bool) -> None:
        """Note an announce, before what it claims."""
        if goes_back:
            # What it had before may be new to a node that knows it only since then.
            (self._anew if client in self._known else self._never).add(client)
            self._copies -= self._unheard.pop(client, Counter())
        if is_new or goes_back:
            self._known.discard(client)

    def claimed(self, client: ClientName, address: bytes, copies: float, believed: float) -> None:
        """Note what it claims, and what of that one plain tracker believes."""
        if copies - believed > 1e-9:
            self._doubted.add(address)
        elif client in self._known:
            self._copies[address] += copies  # type: ignore[assignment]
            self._unheard[client][address] += copies  # type: ignore[assignment]

    def lost(self) -> None:
        """What isn't heard yet may be lost."""
        self._never |= self._anew

    def heard(self, clients: Iterable[ClientName], listed: Iterable[ClientName]) -> None:
        """All nodes know all who are listed, but one alone who came and went meanwhile."""
        self._anew.clear()
        self._unheard.clear()
        self._known = (self._known & set(clients) | set(listed)) - self._never

    @property
    def copies(self) -> float:
        return sum(each for address, each in self._copies.items() if address not in self._doubted)


class ClusterMachine(SwarmMachine):
    """Three nodes over one Redis, and what becomes of the commands between them."""

    # A node to which a client is new can't tell what it had elsewhere, and would count it again.
    only_starts_go_back = True

    def __init__(self, wires: list[Wire]) -> None:
        super().__init__()
        self.wires = wires
        wires[0].ask("FLUSHALL")
        self.now = 10_000.0

    @initialize(skews=st.lists(st.sampled_from([-400.0, -7.0, 0.0, 90.0, 5000.0]),
                               min_size=NODES, max_size=NODES),
                small=st.booleans())  # fmt: skip
    def start(self, skews: list[float], small: bool) -> None:
        """One of the nodes may have less room than the others, and then the plain tracker."""
        self.plain = {info_hash: PlainSwarm(size, ROOMY) for info_hash, size in SIZES.items()}
        self.sure = {info_hash: Sure() for info_hash in SIZES}
        self.small = small
        policies = (ROOMY, ROOMY, TIGHT if small else ROOMY)
        self.nodes = [
            LabNode(name, NAMES, policy, wire, SIZES, skew)
            for name, policy, wire, skew in zip(NAMES, policies, self.wires, skews, strict=True)
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

    def tell(self, request: AnnounceRequest, source: bytes, number: int) -> None:
        plain, sure = self.plain[request.info_hash], self.sure[request.info_hash]
        endpoint = compact_endpoint(source, request.port)
        name = plain.name_of(request, endpoint)
        client = plain.clients.get(name)
        goes_back = client is not None and request.downloaded < client.high
        if goes_back and request.event.starts:
            self.now += CLOCKS_DIFFER  # no client begins anew sooner
        self.now += STEP
        self.node(number).announce(request, source)
        sure.announced(name, is_new=client is None, goes_back=goes_back)
        most, believed = plain.bytes.most, plain.bytes.sure
        if request.event is AnnounceEvent.STOPPED:
            plain.stop(endpoint, request, endpoint, self.now)
        else:
            plain.enter(request, endpoint, self.now, by_alias=False)
        sure.claimed(name, source, plain.bytes.most - most, plain.bytes.sure - believed)

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        for number in range(NODES):
            node = self.node(number)
            list(node.swarms.expire(node.clock.now))
        for swarm in self.plain.values():
            swarm.expire(self.now - ROOMY.expiry)

    def policies(self) -> Iterable[tuple[SwarmPolicy, dict[InfoHash, set[bytes]]]]:
        return ((node.policy, node.listed()) for node in self.nodes)

    def accounts(self, info_hash: InfoHash) -> Iterable[Ledger]:
        return (node.counts[info_hash] for node in self.nodes)

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
        self._lose_words()
        for node in self.nodes:
            node.store.late.clear()
        self.wires[0].ask("FLUSHALL")
        for node in self.nodes:
            node.exchange._begin_anew()

    @rule()
    def trim(self) -> None:
        """Redis drops what of the stream is old, before everybody has read it."""
        self._lose_words()
        self.wires[0].ask("XTRIM", "seeder:news", "MAXLEN", 1)
        for node in self.nodes:
            node.exchange._unsure = True

    @rule(number=nodes, down=st.sampled_from([0.0, 5.0, 300.0]), step=st.sampled_from([0.0, -99.0]))
    def restart(self, number: int, down: float, step: float) -> None:
        """A node stops and starts again; its own clock begins anew, minutes off."""
        self._lose_words()
        node = self.node(number)
        node.tell()
        self.now += down
        node.restart(down, step)

    def _lose_words(self) -> None:
        for sure in self.sure.values():
            sure.lost()

    # -- in the end

    def hear_all(self) -> None:
        self._exchange()
        # What was lost of what another node is to count is told again within that time.
        self.let_pass(RETOLD_AT_LATEST)
        self._exchange()
        for info_hash, sure in self.sure.items():
            plain = self.plain[info_hash]
            sure.heard(plain.clients, (peer.client for peer in plain.peers.values()))

    def _exchange(self) -> None:
        for node in self.nodes:
            node.store.fate.clear()
        for _ in range(3):
            for number in range(NODES):
                self.node(number).tell()
            for node in self.nodes:
                node.store.deliver()
            for number in range(NODES):
                for _ in range(2):
                    self.node(number).hear()
                    self.node(number).read()

    @rule()
    def settle(self) -> None:
        self.hear_all()
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
            assert completions >= swarm.completions.sure, (
                completions,
                swarm.completions.sure,
                [n.counts[info_hash] for n in self.nodes],
            )
            assert counts.downloaded == completions
            claimed = sum(node.counts[info_hash].delivered for node in self.nodes)
            assert claimed >= self.sure[info_hash].copies * SIZES[info_hash] - 0.5


@pytest.mark.timeout(300)
def test_all_nodes_have_the_swarm_of_one_plain_tracker(wires: list[Wire]) -> None:
    run_state_machine_as_test(
        partial(ClusterMachine, wires),  # type: ignore[arg-type]
        settings=settings(
            max_examples=25,
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


def test_a_stop_of_whom_nobody_there_knew_holds_too(wires: list[Wire]) -> None:
    one, other = lab(wires, (0.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    announce(other, 1002.0, AnnounceEvent.STOPPED)
    other.tell()
    other.restart(5.0, 0.0)
    other.store.fate[:] = ["unanswered"]
    other.tell()
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


def test_whoever_was_at_an_endpoint_before_one_that_went_unknown_isnt_listed_again(
    wires: list[Wire],
) -> None:
    one, other = lab(wires, (0.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    one.tell()
    hear(other)
    # Another client there comes to one node and stops at the other, which doesn't know it yet.
    for node, now, event in (
        (one, 1010.0, AnnounceEvent.STARTED),
        (other, 1011.0, AnnounceEvent.STOPPED),
    ):
        node.at(now)
        request = AnnounceRequest(
            min(SIZES), b"-TT0000-000000000002", 7000, event=event, key=b"other"
        )
        node.announce(request, bytes((10, 0, 0, 1)))
    other.tell()
    hear(one)
    other.exchange._journal.everything = True
    other.tell()
    hear(one)
    one.tell()
    hear(other)
    for node in (one, other):
        assert not any(node.listed().values())


def test_who_took_the_endpoint_of_one_that_went_elsewhere_is_listed_by_all(
    wires: list[Wire],
) -> None:
    one, other = lab(wires, (0.0, 300.0))
    announce(one, 1001.0, AnnounceEvent.STARTED)
    one.tell()
    hear(other)
    announce(other, 1010.0, AnnounceEvent.STOPPED)
    # It doesn't say that it has started: to the node it looks as if nothing had changed there.
    one.at(1011.0)
    request = AnnounceRequest(min(SIZES), b"-TT0000-000000000002", 7000, key=b"other")
    one.announce(request, bytes((10, 0, 0, 1)))
    for node in (other, one):
        node.tell()
    for node in (one, other):
        hear(node)
        assert node.listed()[min(SIZES)]
