"""Who holds how many, and who makes room."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seeder.net.addresses import Networks, networks_of
from seeder.net.shares import Shares
from tests.tracker.announcing import packed


@dataclass(eq=False)
class Holder:
    networks: Networks


def of(holder: Holder) -> Networks:
    return holder.networks


def at(address: str) -> Networks:
    return networks_of(packed(address))


def shares(*addresses: str) -> tuple[Shares[Holder], list[Holder]]:
    made = Shares(of)
    holders = [Holder(at(address)) for address in addresses]
    for holder in holders:
        made.add(holder)
    return made, holders


def rivals(made: Shares[Holder], newcomer: str) -> set[Holder]:
    return set(made.rivals(at(newcomer)))


def test_the_largest_network_makes_room_and_in_it_the_largest_address() -> None:
    made, holders = shares(
        "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3", "198.51.100.1", "198.51.100.1"
    )
    assert rivals(made, "203.0.113.1") == {holders[1], holders[2]}
    # With the newcomer it would have three, which is still less than four.
    assert rivals(made, "198.51.100.2") == {holders[1], holders[2]}


def test_one_of_the_largest_network_may_only_take_from_his_own() -> None:
    made, holders = shares("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.1")
    assert rivals(made, "192.0.2.3") == set(holders[:3])
    assert rivals(made, "192.0.2.2") == set(holders[:3])
    assert rivals(made, "192.0.2.1") == set()


def test_nobody_makes_room_for_one_whose_share_would_be_as_large() -> None:
    made, _ = shares("192.0.2.1", "198.51.100.1")
    assert rivals(made, "203.0.113.1") == set()
    made, _ = shares("192.0.2.1", "192.0.2.2", "198.51.100.1")
    assert rivals(made, "198.51.100.2") == set()
    assert rivals(Shares(of), "192.0.2.1") == set()


def test_a_48_is_one_share_and_in_it_each_56_and_each_64() -> None:
    made, holders = shares(
        *(f"2001:db8:1:{number:x}::1" for number in range(256)),
        "2001:db8:1:100::1",
        "2001:db8:1:100::2",
        "2001:db8:2::1",
    )
    assert rivals(made, "2001:db8:2::2") <= set(holders[:256])
    assert rivals(made, "192.0.2.1") <= set(holders[:256])
    # In the same /48, another /56 has more; in the same /56, no /64 has.
    assert rivals(made, "2001:db8:1:101::1") <= set(holders[:256])
    assert rivals(made, "2001:db8:1:5::1") == set()


def test_the_holders_of_one_address_are_told_in_their_order() -> None:
    made, holders = shares("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1")
    assert list(made.at(at("192.0.2.1"))) == [holders[0], holders[2]]
    assert list(made.at(at("2001:db8::2"))) == [holders[3]]
    assert list(made.at(at("2001:db8:0:1::2"))) == []
    assert list(made.at(at("192.0.2.3"))) == []
    assert list(made.at(at("198.51.100.1"))) == []


def test_who_is_not_there_can_not_be_removed() -> None:
    made, holders = shares("192.0.2.1", "192.0.2.2", "192.0.2.2")
    for holder in holders[:2]:
        with pytest.raises(KeyError):
            made.remove(Holder(holder.networks))
    with pytest.raises(KeyError):
        made.remove(Holder(at("198.51.100.1")))


def test_newcomers_share_equally_with_whoever_was_first() -> None:
    """A /48 holds 1,000 places when a hundred networks come, host by host."""
    made, _ = shares(*(f"2001:db8:1:{number:x}::1" for number in range(1000)))
    refused = 0
    for host in range(20):
        for network in range(100):
            newcomer = Holder(at(f"10.0.{network}.{host}"))
            rival = next(iter(made.rivals(newcomer.networks)), None)
            if rival is None:
                refused += 1
                continue
            made.remove(rival)
            made.add(newcomer)
    assert len(made) == 1000
    assert made.largest == 10
    assert refused == 1010


ADDRESSES = st.sampled_from(
    [
        packed(address)
        for address in (
            "10.0.0.1",
            "10.0.0.2",
            "10.0.1.1",
            "10.0.2.1",
            "2001:db8:1::",
            "2001:db8:1:1::",
            "2001:db8:1:101::",
            "2001:db8:1:102::",
            "2001:db8:2::",
            "2001:db8:2:100::",
        )
    ]
)


class Model(RuleBasedStateMachine):
    """The same by counting everything anew."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares(of)
        self.holders: list[Holder] = []

    @rule(address=ADDRESSES)
    def come(self, address: bytes) -> None:
        holder = Holder(networks_of(address))
        self.shares.add(holder)
        self.holders.append(holder)

    @precondition(lambda self: self.holders)
    @rule(which=st.integers(min_value=0))
    def go(self, which: int) -> None:
        self.shares.remove(self.holders.pop(which % len(self.holders)))

    @rule(address=ADDRESSES)
    def ask(self, address: bytes) -> None:
        newcomer = networks_of(address)
        found = list(self.shares.rivals(newcomer))
        scope = self.holders
        for depth in range(1, len(newcomer) + 1):
            sizes = Counter(holder.networks[-depth] for holder in scope)
            if sizes and sizes[newcomer[-depth]] + 1 < max(sizes.values()):
                self.check_most(found, scope, depth)
                return
            scope = [each for each in scope if each.networks[-depth] == newcomer[-depth]]
        assert found == []

    def check_most(self, found: list[Holder], scope: list[Holder], depth: int) -> None:
        assert found
        networks = found[0].networks
        for level in range(depth, len(networks) + 1):
            sizes = Counter(holder.networks[-level] for holder in scope)
            assert sizes[networks[-level]] == max(sizes.values())
            scope = [each for each in scope if each.networks[-level] == networks[-level]]
        assert found == scope

    @invariant()
    def agrees(self) -> None:
        assert len(self.shares) == len(self.holders)
        tops = Counter(holder.networks[-1] for holder in self.holders)
        assert self.shares.largest == max(tops.values(), default=0)
        for networks in {holder.networks for holder in self.holders}:
            expected = [each for each in self.holders if each.networks == networks]
            assert list(self.shares.at(networks)) == expected

    def teardown(self) -> None:
        for holder in self.holders:
            self.shares.remove(holder)
        assert not self.shares._all.inside
        assert not self.shares._all.ranks
        assert self.shares.largest == 0


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
