"""Who has to wait for a piece that others have, and for how long."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seeder.upload.thrift import SHARE, TRIAL, WITHHELD_FOR, Availability, Thrift

PIECES = 6
LATE = TRIAL + 100


def swarm(*names: str, now: float = 0.0) -> tuple[Availability[str], list[Thrift[str]]]:
    availability: Availability[str] = Availability(PIECES)
    return availability, [Thrift(availability, name, now) for name in names]


def test_what_nobody_else_has_is_sent_at_once() -> None:
    _, [one] = swarm("one")
    assert not any(one.withholds(index, 0.0) for index in range(PIECES))


def test_what_another_has_waits_and_then_waits_no_more() -> None:
    _, [one, other] = swarm("one", "other")
    other.gained([3])
    assert one.withholds(3, 1.0)
    assert one.withholds(3, 1.0 + WITHHELD_FOR - 0.01)
    assert not one.withholds(2, 1.0)
    assert not one.withholds(3, 1.0 + WITHHELD_FOR)
    # The rest of a piece that it has had a part of.
    assert not one.withholds(3, 1.0 + WITHHELD_FOR)


def test_what_another_is_being_sent_waits() -> None:
    _, [one, other] = swarm("one", "other")
    assert not other.withholds(3, 0.0)
    assert one.withholds(3, 0.0)
    assert not other.withholds(3, 0.0)
    other.leave(())
    assert not one.withholds(3, 0.1)


def test_what_another_got_is_had_by_it_until_it_leaves() -> None:
    _, [one, other] = swarm("one", "other")
    assert not other.withholds(3, 0.0)
    other.gained([3])
    assert one.withholds(3, 0.0)
    other.leave([3])
    assert not one.withholds(3, 0.1)


def test_who_took_back_what_it_said_has_nothing() -> None:
    _, [one, liar] = swarm("one", "liar")
    liar.gained(range(PIECES))
    liar.lost(range(PIECES))
    assert not any(one.withholds(index, 0.0) for index in range(PIECES))


def test_who_is_not_fed_by_others_does_not_wait() -> None:
    _, [alone, other] = swarm("alone", "other")
    other.gained(range(PIECES))
    alone.weigh(0, 0, TRIAL - 0.1)
    assert alone.withholds(0, TRIAL - 0.1)
    alone.weigh(0, 0, TRIAL)
    assert not alone.withholds(0, TRIAL)


def test_who_has_a_good_part_from_others_waits() -> None:
    for from_others, waits in ((SHARE + 0.01, True), (SHARE - 0.01, False)):
        _, [one, other] = swarm("one", "other")
        other.gained(range(PIECES))
        one.weigh(int((1 - from_others) * 1e6), int(1e6), TRIAL)
        assert one.withholds(0, TRIAL) is waits


def test_what_was_gained_long_ago_counts_little() -> None:
    _, [one, other] = swarm("one", "other")
    other.gained(range(PIECES))
    one.weigh(0, 10**6, 1.0)
    one.weigh(10**6, 2 * 10**6, LATE)
    assert not one.withholds(0, LATE)
    one.weigh(10**6, 3 * 10**6, LATE + 60)
    assert one.withholds(1, LATE + 60)


class ThriftMachine(RuleBasedStateMachine):
    """Peers come, are sent pieces, gain them, take them back and go; a model knows who has what."""

    def __init__(self) -> None:
        super().__init__()
        self.availability: Availability[int] = Availability(PIECES)
        self.peers: dict[int, Thrift[int]] = {}
        self.has: dict[int, set[int]] = {}
        self.getting: dict[int, int] = {}
        self.asked: dict[tuple[int, int], float] = {}
        self.let: set[tuple[int, int]] = set()
        self.number = 0
        self.now = 0.0

    @rule()
    def come(self) -> None:
        self.number += 1
        self.peers[self.number] = Thrift(self.availability, self.number, self.now)
        self.has[self.number] = set()

    def draw(self, data: Any) -> int:
        number: int = data.draw(st.sampled_from(sorted(self.peers)))
        return number

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def go(self, data: Any) -> None:
        number = self.draw(data)
        self.peers.pop(number).leave(self.has.pop(number))
        self.getting = {index: peer for index, peer in self.getting.items() if peer != number}

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), index=st.integers(0, PIECES - 1))
    def gain(self, data: Any, index: int) -> None:
        number = self.draw(data)
        if index in self.has[number]:
            return
        self.peers[number].gained([index])
        self.has[number].add(index)
        self.let.discard((number, index))
        self.asked.pop((number, index), None)
        if self.getting.get(index) == number:
            del self.getting[index]

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def take_back(self, data: Any) -> None:
        number = self.draw(data)
        self.peers[number].lost(self.has[number])
        self.has[number] = set()

    @rule(seconds=st.sampled_from([0.5, 1.0, WITHHELD_FOR, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), index=st.integers(0, PIECES - 1))
    def ask(self, data: Any, index: int) -> None:
        number = self.draw(data)
        if index in self.has[number]:
            return
        waits = self.peers[number].withholds(index, self.now)
        elsewhere = any(index in has for has in self.has.values())
        elsewhere |= self.getting.get(index, number) != number
        if (number, index) in self.let or not elsewhere:
            assert not waits
        else:
            since = self.asked.setdefault((number, index), self.now)
            assert waits is (self.now - since < WITHHELD_FOR)
        if not waits:
            self.asked.pop((number, index), None)
            if (number, index) not in self.let:
                self.getting[index] = number
            self.let.add((number, index))

    @invariant()
    def what_others_have_is_known(self) -> None:
        for index in range(PIECES):
            held = any(index in has for has in self.has.values())
            assert self.availability.is_elsewhere(index, -1) is (held or index in self.getting)


TestThriftMachine = ThriftMachine.TestCase
TestThriftMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
