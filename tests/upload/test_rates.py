import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seeder.units import KIB, MIB
from seeder.upload import rates as limits
from seeder.upload.rates import (
    GRAIN,
    LARGEST_QUANTUM,
    MOST_SHARED,
    SLACK,
    Chain,
    RateBucket,
    RateLimits,
    Rates,
)

A, B = b"a" * 20, b"b" * 20


def chain_of(
    node: RateLimits[str], torrent: bytes = A, now: float = 0, slow: bytes | None = None
) -> Chain:
    chain = node.chain(torrent, now, slow=slow)
    assert chain is not None
    return chain


# -- one chain


def test_no_limit_is_no_chain() -> None:
    node: RateLimits[str] = RateLimits(Rates())
    assert node.chain(A, 0) is None
    assert node.chain(A, 0, slow=b"1") is not None


@pytest.mark.parametrize("rate", [0, -1, inf, float("nan")])
def test_a_rate_is_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        RateBucket(rate)


def test_a_full_bucket_holds_one_grain_and_an_eighth_of_a_second() -> None:
    chain = chain_of(RateLimits(Rates(total=8 * GRAIN)))
    assert chain.grant(MIB, 1000) == 2 * GRAIN
    assert chain.grant(MIB, 1000) == 0


def test_less_than_a_grain_is_granted_only_to_who_asks_for_less() -> None:
    chain = chain_of(RateLimits(Rates(total=8 * GRAIN)))
    chain.grant(2 * GRAIN, 0)
    soon = 0.5 * GRAIN / (8 * GRAIN)
    assert chain.grant(GRAIN, soon) == 0
    assert chain.grant(1000, soon) == 1000


def delay(chain: Chain, now: float) -> float:
    """Return the seconds until a grain is there, if nobody else takes any."""
    paid_at = max(bucket.paid_at + GRAIN * bucket.cost for bucket in chain._buckets)
    return max(0.0, paid_at - now)


def test_a_grain_is_there_after_the_delay_and_not_before() -> None:
    chain = chain_of(RateLimits(Rates(total=100 * KIB, peer=50 * KIB)), now=1e6)
    while chain.grant(MIB, 1e6):
        pass
    seconds = delay(chain, 1e6)
    assert 0 < seconds <= GRAIN / (50 * KIB)
    assert chain.grant(MIB, 1e6 + seconds - 0.01) == 0
    assert chain.grant(MIB, 1e6 + seconds) == GRAIN
    assert delay(chain, 1e9) == 0


def test_what_was_not_used_can_be_granted_again() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=8 * GRAIN))
    one, other = chain_of(node), chain_of(node)
    assert one.grant(2 * GRAIN, 0) == 2 * GRAIN
    one.give_back(GRAIN)
    assert other.grant(MIB, 0) == GRAIN


def test_a_block_larger_than_the_grant_is_owed() -> None:
    chain = chain_of(RateLimits(Rates(total=8 * GRAIN)))
    chain.grant(2 * GRAIN, 0)
    chain.give_back(2 * GRAIN - 8 * GRAIN)
    assert delay(chain, 0) == pytest.approx(7 / 8)


def test_the_dryest_bucket_decides_and_the_others_are_not_charged_for_it() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=64 * GRAIN, torrent=8 * GRAIN))
    first = chain_of(node, A)
    assert first.grant(MIB, 0) == 2 * GRAIN
    assert chain_of(node, A).grant(MIB, 0) == 0
    assert chain_of(node, B).grant(MIB, 0) == 2 * GRAIN
    assert chain_of(node, b"c" * 20).grant(4 * GRAIN, 0) == 2 * GRAIN


def test_connections_of_one_slow_address_share_its_rate_and_a_new_one_brings_nothing() -> None:
    node: RateLimits[str] = RateLimits(Rates(slow=GRAIN))
    one = chain_of(node, A, 100, slow=b"1")
    assert one.grant(GRAIN, 100) == 0
    other = chain_of(node, A, 100.5, slow=b"1")
    assert other.grant(GRAIN, 101) == GRAIN
    assert one.grant(GRAIN, 101) == 0
    del one, other
    assert chain_of(node, A, 101, slow=b"1").grant(GRAIN, 101) == 0


def test_a_new_rate_counts_from_now_on() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chain = chain_of(node)
    chain.grant(GRAIN, 0)
    chain.give_back(-9 * GRAIN)  # ten grains owed: ten seconds
    node.change(Rates(total=10 * GRAIN), 1.0)
    assert delay(chain_of(node), 1.0) == pytest.approx((9 - 0.125 - 1 + 1) / 10)
    node.change(Rates(torrent=GRAIN), 1.0)
    assert chain_of(node).grant(GRAIN, 1.0) == GRAIN
    node.change(Rates(), 1.0)
    assert node.chain(A, 1.0) is None


# -- the line


def drained(node: RateLimits[str], *names: str) -> dict[str, Chain]:
    """Return chains of a limit of one grain a second, after what it held was taken."""
    chains = {name: chain_of(node) for name in names}
    chain_of(node).grant(GRAIN, 0)
    chain_of(node).grant(GRAIN // 8, 0)
    return chains


def test_those_in_line_are_woken_in_the_order_they_came() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chains = drained(node, *"abc")
    for name in "bca":
        node.waiting.add(name, chains[name], MIB, 0)
    assert len(node.waiting._guests) == 3
    assert [list(node.waiting.due(second)) for second in (0.5, 1.0, 2.5, 3.0)] == [
        [],
        ["b"],
        ["c"],
        ["a"],
    ]
    assert node.waiting.next_at == inf
    assert all(chain.grant(MIB, 3.0) == GRAIN for chain in chains.values())


def test_nobody_is_served_before_those_whose_time_has_come() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chains = drained(node, *"ab")
    node.waiting.add("a", chains["a"], MIB, 0)
    # The timer is late: tokens enough for both are there by now.
    assert chains["b"].grant(MIB, 5.0) == 0
    node.waiting.add("b", chains["b"], MIB, 5.0)
    assert list(node.waiting.due(5.0)) == ["a", "b"]


def test_being_in_line_twice_changes_nothing() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chain = drained(node, "a")["a"]
    node.waiting.add("a", chain, MIB, 0)
    node.waiting.add("a", chain, MIB, 0)
    assert chain.grant(MIB, 0.5) == 0
    assert list(node.waiting.due(10.0)) == ["a"]
    assert chain.grant(MIB, 10.0) == GRAIN


def test_who_leaves_the_line_gives_its_booking_back() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chains = drained(node, *"ab")
    node.waiting.add("a", chains["a"], MIB, 0)
    node.waiting.discard(chains["a"])
    assert len(node.waiting._guests) == 0
    assert node.waiting.next_at == inf
    assert list(node.waiting.due(100.0)) == []
    node.waiting.add("b", chains["b"], MIB, 0)
    assert node.waiting.next_at == 1.0
    # So does who was woken and never asked.
    assert list(node.waiting.due(1.0)) == ["b"]
    node.waiting.discard(chains["b"])
    assert chains["a"].grant(GRAIN, 1.0) == GRAIN


def test_who_left_delays_nobody_behind() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chains = drained(node, *"ab")
    for name in "ab":
        node.waiting.add(name, chains[name], MIB, 0)
    node.waiting.discard(chains["b"])
    assert list(node.waiting.due(1.0)) == ["a"]
    assert node.waiting.next_at == inf


def test_who_needs_less_than_was_booked_leaves_the_rest() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chain, other = drained(node, *"ab").values()
    node.waiting.add("a", chain, MIB, 0)
    assert list(node.waiting.due(1.0)) == ["a"]
    assert chain.grant(1000, 1.0) == 1000
    assert other.grant(GRAIN - 1000, 1.0) == GRAIN - 1000


def test_who_was_woken_and_gets_in_line_again_has_one_booking() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chain = drained(node, "a")["a"]
    for second in (1.0, 1.5, 2.0):
        node.waiting.add("a", chain, MIB, second)
        assert list(node.waiting.due(second)) == ["a"]
    assert chain.grant(MIB, 2.0) == GRAIN
    assert chain.grant(GRAIN // 8, 2.0) == GRAIN // 8


def test_a_change_of_rates_hands_out_who_was_in_line() -> None:
    node: RateLimits[str] = RateLimits(Rates(total=GRAIN))
    chains = drained(node, *"abc")
    for name in "cab":
        node.waiting.add(name, chains[name], MIB, 0)
    node.waiting.discard(chains["a"])
    assert node.change(Rates(total=MIB), 1.0) == ["c", "b"]
    assert len(node.waiting._guests) == 0
    assert delay(chain_of(node), 1.0) <= GRAIN / MIB


def test_above_64_mib_a_second_those_in_line_get_more_at_a_time() -> None:
    for rate, quantum in ((64 * MIB, GRAIN), (128 * MIB, 2 * GRAIN), (2**40, LARGEST_QUANTUM)):
        node: RateLimits[str] = RateLimits(Rates(total=rate))
        chain = chain_of(node)
        chain.grant(2**50, 0)
        node.waiting.add("a", chain, 2**50, 0)
        assert list(node.waiting.due(node.waiting.next_at)) == ["a"]
        assert chain.grant(2**50, node.waiting.next_at) == quantum


def test_they_come_in_the_order_in_which_they_were_due() -> None:
    node: RateLimits[str] = RateLimits(Rates(slow=GRAIN))
    for name, owed in (("a", 3), ("b", 1), ("c", 2)):
        chain = chain_of(node, slow=name.encode())
        chain.give_back(-owed * GRAIN)
        node.waiting.add(name, chain, MIB, 0)
    assert node.change(Rates(slow=2 * GRAIN), 0) == ["b", "c", "a"]


def test_slow_addresses_follow_a_change_and_are_forgotten_with_their_connections() -> None:
    node: RateLimits[str] = RateLimits(Rates(slow=GRAIN))
    chain = chain_of(node, slow=b"1")
    node.change(Rates(slow=4 * GRAIN), 0)
    assert delay(chain, 0) == 0.25
    assert len(node._slow) == 1
    del chain
    assert len(node._slow) == 0


# -- rates and shares


@dataclass
class Simulation:
    """Peers that always want more, woken by a timer that is late."""

    node: RateLimits[str]
    chains: dict[str, Chain]
    lateness: Callable[[], float] = lambda: 0.0
    lazy: str = ""
    """Who takes a grain and asks for more only when the test says so."""
    now: float = 0.0
    log: list[tuple[float, str, int]] = field(default_factory=list)

    def send(self, name: str) -> None:
        chain = self.chains[name]
        most = GRAIN if name == self.lazy else MIB
        while granted := chain.grant(most, self.now):
            self.log.append((self.now, name, granted))
            if name == self.lazy:
                return
        self.node.waiting.add(name, chain, most, self.now)

    def run(self, seconds: float) -> None:
        for name in self.chains:
            if name != self.lazy:
                self.send(name)
        while self.now < seconds:
            self.now = max(self.now, self.node.waiting.next_at + self.lateness())
            for name in self.node.waiting.due(self.now):
                self.send(name)

    def sent(self, start: float, stop: float, *names: str) -> int:
        return sum(
            size
            for at, name, size in self.log
            if start <= at < stop and (not names or name in names)
        )

    def shares(self, start: float, stop: float) -> list[int]:
        shares = dict.fromkeys(self.chains, 0)
        for at, name, size in self.log:
            if start <= at < stop:
                shares[name] += size
        return list(shares.values())


def simulation(rates: Rates, peers: int, late: float) -> Simulation:
    node: RateLimits[str] = RateLimits(rates)
    rng = random.Random(peers)
    chains = {str(number): chain_of(node) for number in range(peers)}
    return Simulation(node, chains, lambda: rng.uniform(0, late))


@pytest.mark.parametrize("late", [0.0, 0.03])
@pytest.mark.parametrize("rate", [64 * KIB, MIB, 20 * MIB, 300 * MIB])
@pytest.mark.parametrize("peers", [1, 2, 7, 50])
def test_peers_share_a_limit_evenly_and_to_within_five_percent(
    peers: int, rate: int, late: float
) -> None:
    run = simulation(Rates(total=rate), peers, late)
    run.run(14)
    for start in range(4):
        assert run.sent(start, start + 10) == pytest.approx(10 * rate, rel=0.05)
    # The first one finds the bucket full; from then on they go by turns.
    shares = run.shares(1, 14)
    assert max(shares) - min(shares) <= 2 * max(GRAIN, rate / limits.WAKES)


@pytest.mark.parametrize("late", [0.0, 0.03])
def test_limits_in_total_by_torrent_and_by_peer_hold_together(late: float) -> None:
    rates = Rates(total=1500 * KIB, torrent=1000 * KIB, peer=400 * KIB)
    run = simulation(rates, 0, late)
    crowd, pair = [f"a{number}" for number in range(8)], ["b0", "b1"]
    for name in (*crowd, *pair):
        run.chains[name] = chain_of(run.node, A if name in crowd else B)
    run.run(12)
    assert run.sent(1, 11) == pytest.approx(10 * 1500 * KIB, rel=0.05)
    assert run.sent(1, 11, *crowd) <= 10 * 1000 * KIB * 1.05
    shares = run.shares(1, 11)
    assert max(shares) <= 10 * 400 * KIB * 1.05
    assert max(shares[:8]) - min(shares[:8]) <= 2 * GRAIN


def test_peers_that_a_limit_of_their_own_slows_down_hold_up_nobody() -> None:
    run = simulation(Rates(total=8 * MIB, slow=KIB), 0, 0.005)
    for number in range(400):
        run.chains[f"slow{number}"] = chain_of(run.node, A, slow=b"%d" % number)
    run.chains["fast"] = chain_of(run.node)
    run.run(34)
    for second in range(1, 34):
        assert run.sent(second, second + 1, "fast") >= 0.9 * (8 * MIB - 400 * GRAIN)
    assert run.sent(1, 33, "slow7") == 2 * GRAIN
    assert run.sent(1, 33) == pytest.approx(32 * 8 * MIB, rel=0.05)


def test_a_peer_that_reads_slowly_leaves_its_share_to_the_others() -> None:
    run = simulation(Rates(total=MIB), 6, 0.002)
    run.lazy = "0"
    for quarter in range(44):
        run.run(quarter / 4)
        run.send("0")
    assert run.sent(1, 11) == pytest.approx(10 * MIB, rel=0.05)
    assert run.sent(1, 11, "0") == pytest.approx(40 * GRAIN, abs=2 * GRAIN)


# -- the state machine: virtual time against exact tokens


@dataclass
class Tokens:
    """A bucket as it is usually drawn: what is in it, refilled as time goes by."""

    rate: int
    level: Fraction
    at: Fraction

    @property
    def depth(self) -> Fraction:
        return GRAIN + Fraction(SLACK) * self.rate

    def settle(self, now: Fraction) -> None:
        self.level = min(self.depth, self.level + (now - self.at) * self.rate)
        self.at = now

    def change(self, rate: int, now: Fraction) -> None:
        self.settle(now)
        self.rate = rate


def full(rate: int, now: Fraction) -> Tokens:
    tokens = Tokens(rate, Fraction(0), now)
    tokens.level = tokens.depth
    return tokens


@dataclass
class Booking:
    """A place in line: what is booked, in how many buckets, and when that is paid."""

    size: int
    number: int
    stage: int = 0
    due: Fraction = Fraction(0)


@dataclass
class Peer:
    """One session beside its model: its buckets, its place in line, what it may send unasked."""

    chain: Chain
    buckets: list[Tokens]
    booking: Booking | None = None
    woken: int = 0


# Powers of two, so that the code's floats are exact and can be compared with fractions.
RATES = st.sampled_from([2**14, 2**16, 2**20, 2**27, 2**28])
TICKS = st.integers(0, 300) | st.integers(0, 20_000)
SIZES = st.integers(1, 3 * GRAIN) | st.sampled_from([GRAIN, MIB])
NAMES = ("a1", "a2", "a3", "b1", "b2")
PICKS = st.sampled_from(NAMES)
ALLOWED = st.fixed_dictionaries({"total": RATES, "torrent": RATES, "peer": RATES})


class LimitsMachine(RuleBasedStateMachine):
    """Sessions of two torrents ask, wait, leave; limits change; the timer comes when it likes."""

    @initialize(rates=ALLOWED)
    def start(self, rates: dict[str, int]) -> None:
        self.now = Fraction(1)
        self.node: RateLimits[str] = RateLimits(Rates(**rates))
        self.rates = rates
        self.total = full(rates["total"], self.now)
        self.torrents = {name: full(rates["torrent"], self.now) for name in "ab"}
        self.peers: dict[str, Peer] = {}
        self.tickets = 0
        self.granted: dict[str, int] = defaultdict(int)
        for name in NAMES:
            self.connect(name)

    def connect(self, name: str) -> None:
        own = full(self.rates["peer"], self.now)
        chain = chain_of(self.node, A if name[0] == "a" else B, float(self.now))
        self.peers[name] = Peer(chain, [own, self.torrents[name[0]], self.total])

    def in_line(self) -> list[tuple[Fraction, int, str]]:
        return sorted(
            (peer.booking.due, peer.booking.number, name)
            for name, peer in self.peers.items()
            if peer.booking
        )

    # -- the model

    def model_grant(self, peer: Peer, most: int) -> int:
        if peer.booking:
            return 0
        if peer.woken:
            booked, peer.woken = peer.woken, 0
            self.charge(peer.buckets, -max(0, booked - most))
            return min(most, booked)
        if any(due <= self.now for due, _, _ in self.in_line()):
            return 0
        for bucket in peer.buckets:
            bucket.settle(self.now)
        room = min(bucket.level for bucket in peer.buckets) + limits._ROUNDING
        granted = most if room >= most else max(0, int(room) // GRAIN * GRAIN)
        self.charge(peer.buckets, granted)
        return granted

    def charge(self, buckets: list[Tokens], size: int) -> None:
        for bucket in buckets:
            bucket.level -= size

    def model_book(self, peer: Peer, booking: Booking) -> None:
        while booking.stage < len(peer.buckets):
            bucket = peer.buckets[booking.stage]
            bucket.settle(self.now)
            bucket.level -= booking.size
            booking.due = self.now - bucket.level / bucket.rate
            booking.stage += 1
            if booking.due > self.now:
                break

    def model_add(self, peer: Peer, most: int) -> None:
        quantum = max(GRAIN, min(bucket.rate for bucket in peer.buckets) // limits.WAKES)
        self.tickets += 1
        peer.booking = Booking(min(most, quantum), self.tickets)
        self.model_book(peer, peer.booking)

    def model_due(self) -> Iterator[str]:
        while (line := self.in_line()) and line[0][0] <= self.now:
            peer = self.peers[line[0][2]]
            assert peer.booking
            if peer.booking.stage < len(peer.buckets):
                self.model_book(peer, peer.booking)
                continue
            peer.woken, peer.booking = peer.booking.size, None
            yield line[0][2]

    def model_leave(self, peer: Peer) -> None:
        if peer.booking:
            self.charge(peer.buckets[: peer.booking.stage], -peer.booking.size)
        self.charge(peer.buckets, -peer.woken)
        peer.booking, peer.woken = None, 0

    # -- the rules

    @rule(ticks=TICKS)
    def wait(self, ticks: int) -> None:
        self.now += Fraction(ticks, 1024)

    def ask(self, name: str, most: int, unused: int) -> None:
        peer = self.peers[name]
        was_in_line = peer.booking is not None
        granted = peer.chain.grant(most, float(self.now))
        assert granted == self.model_grant(peer, most) <= most
        if granted:
            unused = min(unused, granted)
            peer.chain.give_back(unused)
            self.charge(peer.buckets, -unused)
        else:
            self.node.waiting.add(name, peer.chain, most, float(self.now))
            if not was_in_line:
                self.model_add(peer, most)

    @rule(name=PICKS, most=SIZES, unused=st.integers(-7 * GRAIN, GRAIN) | st.just(0))
    def ask_and_use(self, name: str, most: int, unused: int) -> None:
        self.ask(name, most, unused)

    @precondition(lambda self: self.in_line())
    @rule(data=st.data(), late=st.integers(0, 40))
    def wake(self, data: Any, late: int) -> None:
        """The timer rings, and some of the woken have more to send."""
        first = max(self.now, self.in_line()[0][0])
        assert self.node.waiting.next_at == self.in_line()[0][0]
        self.now = Fraction(-(-first * 1024 // 1)) / 1024 + Fraction(late, 1024)
        expected = self.model_due()
        for turn, name in enumerate(self.node.waiting.due(float(self.now))):
            assert name == next(expected)
            if turn < 30 and data.draw(st.booleans()):
                self.ask(name, MIB, 0)
                self.ask(name, MIB, 0)
        assert next(expected, None) is None

    @rule(name=PICKS)
    def leave_and_come_again(self, name: str) -> None:
        peer = self.peers[name]
        self.node.waiting.discard(peer.chain)
        self.model_leave(peer)
        self.connect(name)

    @rule(rates=ALLOWED)
    def change(self, rates: dict[str, int]) -> None:
        line = [name for _, _, name in self.in_line()]
        for peer in self.peers.values():
            if peer.woken:
                self.node.waiting.discard(peer.chain)
            self.model_leave(peer)
        assert self.node.change(Rates(**rates), float(self.now)) == line
        self.rates = rates
        self.total.change(rates["total"], self.now)
        for bucket in self.torrents.values():
            bucket.change(rates["torrent"], self.now)
        for name in NAMES:
            self.connect(name)

    # -- what holds

    @invariant()
    def the_same_is_in_every_bucket(self) -> None:
        if not hasattr(self, "peers"):
            return
        for peer in self.peers.values():
            for bucket, tokens in zip(peer.chain._buckets, peer.buckets, strict=True):
                held = (self.now - Fraction(max(bucket.paid_at, -1000.0))) * int(bucket.rate)
                level = tokens.level + (self.now - tokens.at) * tokens.rate
                assert min(held, tokens.depth) == min(level, tokens.depth)

    @invariant()
    def the_same_are_in_line(self) -> None:
        if hasattr(self, "peers"):
            assert len(self.node.waiting._guests) == len(self.in_line())


TestLimitsMachine = LimitsMachine.TestCase
TestLimitsMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(
    rate=st.integers(1, 2**40),
    asks=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 2**22)), max_size=60),
)
def test_no_window_of_time_gets_more_than_its_rate_and_one_bucketful(
    rate: int, asks: list[tuple[float, int]]
) -> None:
    chain = chain_of(RateLimits(Rates(total=rate)))
    now, granted = 0.0, []
    for pause, most in asks:
        now += pause
        granted.append((now, chain.grant(most, now)))
    bucketful = GRAIN + SLACK * rate
    for begin, (start, _) in enumerate(granted):
        sent = 0
        for stop, size in granted[begin:]:
            sent += size
            assert sent <= (stop - start) * rate + bucketful + limits._ROUNDING + 1


def test_an_address_shares_the_rate_of_a_peer_among_its_downloads() -> None:
    node: RateLimits[str] = RateLimits(Rates(peer=GRAIN))
    one, other, stranger = (
        node.chain(A, 0, sharing=address) for address in (b"here", b"here", b"there")
    )
    assert one is not None
    assert other is not None
    assert stranger is not None
    assert one.grant(GRAIN, 0) == GRAIN
    assert other.grant(GRAIN, 0) == 0
    assert stranger.grant(GRAIN, 0) == GRAIN
    node.change(Rates(peer=4 * GRAIN), 0)
    later = node.chain(A, 0.1, sharing=b"here")
    assert later is not None
    assert later.grant(GRAIN, 0.1) == 0
    assert later.grant(GRAIN, 1) == GRAIN
    node.change(Rates(), 1)
    assert node.chain(A, 1, sharing=b"here") is None


def test_addresses_that_share_are_forgotten_at_last() -> None:
    node: RateLimits[str] = RateLimits(Rates(peer=GRAIN))
    for number in range(MOST_SHARED + 1):
        chain = node.chain(A, 0, sharing=b"%d" % number)
        assert chain is not None
        assert chain.grant(GRAIN, 0) == GRAIN
    again = node.chain(A, 0, sharing=b"0")
    assert again is not None
    assert again.grant(GRAIN, 0) == GRAIN
    recent = node.chain(A, 0, sharing=b"%d" % MOST_SHARED)
    assert recent is not None
    assert recent.grant(GRAIN, 0) == 0
