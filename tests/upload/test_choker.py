import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seeder.units import MIB
from seeder.upload.choker import ChokePolicy, Decision, PeerView, decide
from seeder.upload.standing import CopyLimits, Standing

PIECE = MIB
SIZE = 1000 * PIECE
TORRENT = b"t" * 20
POLICY = ChokePolicy(slots=3, newcomers=1, slots_per_group=2)


def view(key: str, *, sent_to_group: float = 0.0, size: int = SIZE, **more: Any) -> PeerView[str]:
    """Return a peer that came a while ago and has waited since, each with its own address."""
    peer = PeerView(
        key=key,
        networks=(key.encode(), b"net " + key.encode()),
        standing=CopyLimits().standing(sent_to_group, size),
        piece_length=PIECE,
        interested=True,
        choked=True,
        since=0.0,
        is_new=False,
        turn_bytes=0,
        rate=1e6,
        sent_to_group=sent_to_group,
    )
    return replace(peer, **more)


def choose(
    peers: Sequence[PeerView[str]],
    now: float = 100.0,
    *,
    policy: ChokePolicy = POLICY,
    slots: int | None = None,
    seed: int = 1,
) -> Decision[str]:
    if slots is None:
        slots = policy.slots
    return decide(peers, now, slots=slots, chance=random.Random(seed).random, policy=policy)


# -- slots


def test_when_it_gets_tight_all_but_the_slots_are_choked() -> None:
    peers = [view(str(number), choked=False) for number in range(9)]
    decision = choose(peers, 500.0)
    assert len(decision.choke) == 6
    assert decision.unchoke == ()


def test_a_turn_ends_after_the_quota_and_a_minute() -> None:
    waiting = [view(f"w{number}", since=400.0) for number in range(3)]
    turn = view("turn", choked=False, since=1000.0)
    enough = 20 * PIECE

    def ends(now: float, **changes: Any) -> bool:
        return "turn" in choose([*waiting, replace(turn, **changes)], now).choke

    assert not ends(1059, turn_bytes=enough)
    assert ends(1060, turn_bytes=enough)
    assert not ends(1299, turn_bytes=enough - 1)
    assert ends(1300, turn_bytes=enough - 1)
    assert not ends(1059, rate=0.0)
    assert ends(1060, rate=0.0)


def test_a_turn_goes_on_while_nobody_waits() -> None:
    peers = [view("turn", choked=False, turn_bytes=SIZE), view("shy", interested=False)]
    assert choose(peers, 10_000.0) == Decision(optimistic=frozenset())


def test_who_waited_longest_comes_first() -> None:
    peers = [view(str(number), since=100.0 - number) for number in range(9)]
    decision = choose(peers, 200.0)
    assert set(decision.unchoke) == {"8", "7", "6"}
    assert decision.optimistic == {"6"}


def test_who_wants_nothing_has_no_place() -> None:
    peers = [view("shy", choked=False, interested=False), view("keen")]
    decision = choose(peers)
    assert (decision.choke, decision.unchoke) == (("shy",), ("keen",))
    assert choose([replace(peers[0], since=91.0), peers[1]]).choke == ()


def test_an_address_has_so_many_places_only() -> None:
    peers = [view(str(number), networks=(b"one", b"net"), since=number) for number in range(9)]
    assert set(choose(peers).unchoke) == {"0", "1"}
    assert set(choose([*peers, view("other", since=50.0)]).unchoke) == {"0", "1", "other"}


def test_places_go_to_the_network_with_fewest_of_those_who_wait() -> None:
    def of(name: str, number: int, **more: Any) -> PeerView[str]:
        key = f"{name}{number}"
        return view(key, networks=(key.encode(), name.encode()), since=number, **more)

    policy = ChokePolicy(slots=8, newcomers=1, slots_per_group=4)
    crowd = [of("crowd", number) for number in range(100)]
    others = [of("few", 200), of("few", 201), of("one", 300)]
    chosen = choose([*crowd, *others], 400.0, policy=policy).unchoke
    assert {"few200", "few201", "one300"} < set(chosen)
    # Turns that go on count; nobody's is cut short.
    going = [of("crowd", 390 + number, choked=False) for number in range(6)]
    decision = choose([*crowd, *going, *others[:1]], 400.0, policy=policy)
    assert decision.choke == ()
    assert set(decision.unchoke) == {"few200", "crowd0"}
    # A newcomer's place, too: the crowd's have a hundred lots to its one.
    new = [replace(peer, is_new=True) for peer in (*crowd, *others[2:])]
    for seed in range(20):
        assert "one300" in choose([*going, *new], 400.0, policy=policy, seed=seed).unchoke


def test_a_newcomer_gets_its_place_before_those_who_wait() -> None:
    waiting = [view(str(number), since=number) for number in range(9)]
    new = view("new", since=99.0, is_new=True)
    decision = choose([*waiting, new])
    assert set(decision.unchoke) == {"0", "1", "new"}
    assert decision.optimistic == {"new"}
    # Its address has been here before: it isn't one.
    had = replace(new, sent_to_group=20.0 * PIECE)
    assert "new" not in choose([*waiting, had]).unchoke


def test_a_newcomers_place_goes_on_after_half_a_minute() -> None:
    regulars = [view(name, choked=False, since=90.0) for name in "ab"]
    guest = view("guest", choked=False, since=100.0, optimistic=True)
    new = view("new", since=105.0, is_new=True)
    peers = [*regulars, guest, new]
    assert choose(peers, 129.0) == Decision(optimistic=frozenset({"guest"}))
    assert choose(peers, 130.0) == Decision(("guest",), ("new",), frozenset({"new"}))
    # Nobody else wants it.
    assert choose(peers[:3], 130.0) == Decision(optimistic=frozenset({"guest"}))
    # A regular place is free, and who waits gets it.
    assert choose([regulars[0], guest, new], 130.0) == Decision((), ("new",), frozenset({"guest"}))


def test_a_guest_becomes_a_regular_one_where_nobody_else_waits() -> None:
    guest = view("guest", choked=False, since=80.0, optimistic=True)
    assert choose([guest], 109.0) == Decision(optimistic=frozenset({"guest"}))
    assert choose([guest], 110.0) == Decision()


def test_a_place_that_was_just_given_counts_as_what_it_is() -> None:
    guest = view("guest", choked=False, since=95.0, optimistic=True)
    regulars = [view(name, choked=False, since=95.0) for name in "abc"]
    new = view("new", since=99.0, is_new=True)
    old = view("old", since=50.0)
    assert choose([guest, new, old]) == Decision(
        unchoke=("new", "old"), optimistic=frozenset({"guest"})
    )
    # They came while there was enough for all: every place is taken, a newcomer's as well.
    assert choose([*regulars, new, old]) == Decision()


def test_a_leech_is_no_newcomer() -> None:
    had = view("had", is_new=True, piece_length=16 * PIECE, size=MIB, sent_to_group=150.0 * MIB)
    waiting = [view(name, since=50.0) for name in "abc"]
    assert set(choose([*waiting, had]).unchoke) == set("abc")


def test_of_turns_that_are_over_the_longest_ends_first() -> None:
    over = [
        view(name, choked=False, since=since, turn_bytes=SIZE)
        for name, since in (("a", 10.0), ("b", 30.0), ("c", 20.0))
    ]
    decision = choose([*over, view("waits", since=1.0)])
    assert (decision.choke, decision.unchoke) == (("a",), ("waits",))


def test_newcomers_are_drawn_by_lot() -> None:
    peers = [view(str(number), is_new=True, since=number) for number in range(9)]
    drawn = Counter(next(iter(choose(peers, seed=seed).optimistic)) for seed in range(200))
    # The two who came first have regular places.
    assert set(drawn) == set("2345678")
    assert max(drawn.values()) < 3 * min(drawn.values())


def test_one_slot_is_a_regular_one() -> None:
    decision = choose([view("old"), view("new", is_new=True, since=50.0)], slots=1)
    assert decision == Decision(unchoke=("old",))


def test_no_slots_choke_everybody() -> None:
    peers = [view("served", choked=False), view("waiting"), view("new", is_new=True)]
    assert choose(peers, slots=0) == Decision(choke=("served",))


# -- leeches


def test_who_had_too_much_gives_way_to_everybody_else() -> None:
    leeches = [
        view("slow", choked=False, since=80.0, sent_to_group=3.5 * SIZE),
        view("last", choked=False, since=80.0, sent_to_group=2.5 * SIZE),
        view("later", choked=False, since=80.0, sent_to_group=2.5 * SIZE, rate=0.0),
    ]
    assert choose(leeches).choke == ()
    one = choose([*leeches, view("fine", since=99.0, is_new=True)])
    assert (one.choke, one.unchoke) == (("slow",), ("fine",))
    all_ = choose([*leeches, *(view(name, since=70.0) for name in "abc")])
    assert set(all_.choke) == {"slow", "last", "later"}


# -- fairness


def test_thirty_peers_have_equal_shares_of_four_places() -> None:
    policy = ChokePolicy(slots=4)
    rng = random.Random(7)
    peers = {str(number): view(str(number), is_new=True) for number in range(30)}
    served: Counter[str] = Counter()
    waits: dict[str, float] = {}
    now = 0.0
    while now < 20_000:
        now += 5
        decision = decide(
            tuple(peers.values()),
            now,
            slots=policy.slots,
            chance=rng.random,
            policy=policy,
        )
        for key in decision.choke:
            peers[key] = replace(peers[key], choked=True, since=now, turn_bytes=0)
        for key in decision.unchoke:
            waits[key] = max(waits.get(key, 0.0), now - peers[key].since)
            peers[key] = replace(peers[key], choked=False, since=now, is_new=False)
        for key, peer in peers.items():
            more = 0 if peer.choked else 5 * PIECE
            served[key] += more
            peers[key] = replace(
                peer,
                turn_bytes=peer.turn_bytes + more,
                optimistic=key in decision.optimistic,
            )
    assert max(served.values()) < 1.25 * min(served.values())
    # Thirty peers, three places of a minute and one of half a minute.
    assert max(waits.values()) < 30 * 65 / 3


# -- the state machine

GROUPS = (b"g1", b"g2", b"g3")
NETWORKS = {b"g1": b"net 1", b"g2": b"net 1", b"g3": b"net 2"}
COPIES = st.sampled_from([0.0, 0.0, 0.0, 0.01, 2.5, 3.5])


@dataclass
class Turn:
    """What the machine remembers of one peer: how often and when it was changed."""

    changed: float | None = None


class ChokerMachine(RuleBasedStateMachine):
    """Peers come, want, take and go; every decision is carried out and held to the rules."""

    @initialize(slots=st.integers(0, 5), newcomers=st.integers(0, 2), per_group=st.integers(1, 5))
    def start(self, slots: int, newcomers: int, per_group: int) -> None:
        self.policy = ChokePolicy(slots=slots, newcomers=newcomers, slots_per_group=per_group)
        self.peers: dict[str, PeerView[str]] = {}
        self.turns: dict[str, Turn] = {}
        self.now = 1000.0
        self.number = 0
        self.steady = False
        """Whether the last decision was one with slots, and everybody served fits into them."""

    @rule(group=st.sampled_from(GROUPS), interested=st.booleans(), copies=COPIES)
    def come(self, group: bytes, interested: bool, copies: float) -> None:
        self.number += 1
        key = f"p{self.number}"
        self.peers[key] = view(
            key,
            networks=(group, NETWORKS[group]),
            interested=interested,
            since=self.now,
            is_new=True,
            sent_to_group=copies * SIZE,
        )
        self.turns[key] = Turn()

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def go(self, data: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.peers)))
        del self.peers[key], self.turns[key]

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), interested=st.booleans())
    def want(self, data: Any, interested: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.peers)))
        self.peers[key] = replace(self.peers[key], interested=interested)

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), pieces=st.sampled_from([0, 5, 20]), rate=st.sampled_from([0.0, 1e6]))
    def take(self, data: Any, pieces: int, rate: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.peers)))
        peer = self.peers[key]
        if not peer.choked:
            size = peer.turn_bytes + pieces * PIECE
            self.peers[key] = replace(peer, turn_bytes=size, rate=rate)

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), copies=COPIES)
    def weigh(self, data: Any, copies: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.peers)))
        standing = CopyLimits().standing(copies * SIZE, SIZE)
        self.peers[key] = replace(self.peers[key], standing=standing, sent_to_group=copies * SIZE)

    @rule(seconds=st.sampled_from([1.0, 5.0, 10.0, 30.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- decisions

    def carry_out(self, decision: Decision[str]) -> None:
        for key in (*decision.choke, *decision.unchoke):
            peer, turn = self.peers[key], self.turns[key]
            choked = key in decision.choke
            assert peer.choked is not choked
            assert turn.changed is None or self.now - turn.changed >= 10
            turn.changed = self.now
            self.peers[key] = replace(
                peer,
                choked=choked,
                since=self.now,
                turn_bytes=0,
                is_new=peer.is_new and choked,
            )
        for key, peer in self.peers.items():
            self.peers[key] = replace(peer, optimistic=key in decision.optimistic)

    def decide(self, seed: int, **conditions: Any) -> Decision[str]:
        peers = tuple(self.peers.values())
        decision = choose(peers, self.now, policy=self.policy, seed=seed, **conditions)
        again = choose(peers, self.now, policy=self.policy, seed=seed, **conditions)
        assert decision == again
        return decision

    @rule(seed=st.integers(0, 99))
    def decide_with_slots(self, seed: int) -> None:
        before = dict(self.peers)
        decision = self.decide(seed)
        held = {key for key, peer in before.items() if not peer.choked and self.locked(peer)}
        self.carry_out(decision)
        open_ = {key for key, peer in self.peers.items() if not peer.choked}
        waiting = [
            peer
            for key, peer in self.peers.items()
            if peer.choked
            and peer.interested
            and (before[key].is_new or not self.locked(before[key]))
        ]
        self.check_places(open_, held)
        self.check_nobody_waits_in_vain(open_, held, waiting)
        self.check_turns(before, decision)
        self.check_order(before, decision, waiting)
        self.steady = self.fit(open_)

    def fit(self, open_: set[str]) -> bool:
        guests = {key for key in open_ if self.peers[key].optimistic}
        places = min(self.policy.newcomers, max(0, self.policy.slots - 1))
        return (
            len(guests) <= places
            and len(open_ - guests) <= self.policy.slots - places
            and all(self.places_of(open_, g) <= self.policy.slots_per_group for g in GROUPS)
        )

    def locked(self, peer: PeerView[str]) -> bool:
        changed = self.turns[peer.key].changed
        return changed is not None and self.now - changed < 10

    def places_of(self, keys: set[str], group: bytes) -> int:
        return sum(self.peers[key].networks[0] == group for key in keys)

    def in_network(self, keys: set[str], peer: PeerView[str]) -> int:
        return sum(self.peers[key].networks[-1] == peer.networks[-1] for key in keys)

    def check_places(self, open_: set[str], held: set[str]) -> None:
        assert len(open_) <= max(self.policy.slots, len(held))
        for group in GROUPS:
            most = max(self.policy.slots_per_group, self.places_of(held, group))
            assert self.places_of(open_, group) <= most
        assert all(self.peers[key].interested for key in open_ - held)
        guests = {key for key in open_ if self.peers[key].optimistic}
        assert {key for key, peer in self.peers.items() if peer.optimistic} == guests
        assert len(guests) <= max(self.policy.newcomers, len(guests & held))

    def check_nobody_waits_in_vain(
        self, open_: set[str], held: set[str], waiting: list[PeerView[str]]
    ) -> None:
        """Whoever waits does so because every place is taken, or those of its address are."""
        for peer in waiting:
            full = self.places_of(open_, peer.networks[0]) >= self.policy.slots_per_group
            assert full or len(open_) >= self.policy.slots
            # Nobody of lower standing has a place instead, unless it had it a moment ago.
            for other in open_ - held:
                assert full or self.peers[other].standing <= peer.standing

    def check_turns(self, before: dict[str, PeerView[str]], decision: Decision[str]) -> None:
        """A regular turn that isn't over goes on, whoever waits; only standing takes it away."""
        if not self.steady:
            return
        for key in decision.choke:
            peer = before[key]
            if peer.optimistic:
                assert self.now - peer.since >= 30 or not peer.interested or self.outranked(peer)
                continue
            age = self.now - peer.since
            had = peer.turn_bytes >= 20 * PIECE or peer.rate == 0 or age >= 300
            over = age >= 60 and had
            assert over or not peer.interested or self.outranked(peer)

    def outranked(self, peer: PeerView[str]) -> bool:
        return peer.standing is not Standing.FINE

    def check_order(
        self,
        before: dict[str, PeerView[str]],
        decision: Decision[str],
        waiting: list[PeerView[str]],
    ) -> None:
        """Regular places go to the network with fewest, and in it to who has waited longest."""
        open_ = {key for key, peer in self.peers.items() if not peer.choked}
        for key in set(decision.unchoke) - decision.optimistic:
            winner = before[key]
            for loser in waiting:
                if self.places_of(open_, loser.networks[0]) >= self.policy.slots_per_group:
                    continue
                if loser.standing != winner.standing:
                    continue
                if loser.networks == winner.networks:
                    assert winner.since <= before[loser.key].since
                elif loser.networks[-1] != winner.networks[-1]:
                    regular = open_ - decision.optimistic
                    most = self.in_network(open_, loser) + 1
                    assert self.in_network(regular, winner) <= most

    @invariant()
    def no_key_is_lost(self) -> None:
        if hasattr(self, "peers"):
            assert self.peers.keys() == self.turns.keys()


TestChokerMachine = ChokerMachine.TestCase
TestChokerMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
