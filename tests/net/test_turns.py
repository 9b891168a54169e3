"""Networks take turns, however many of each wait."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.net.addresses import networks_of
from seeder.net.turns import Turns
from tests.tracker.announcing import packed

ADDRESSES = [
    packed(address)
    for address in (
        "10.0.0.1",
        "10.0.0.2",
        "10.0.1.1",
        "2001:db8:1::",
        "2001:db8:1:1::",
        "2001:db8:1:100::",
        "2001:db8:2::",
    )
]


def line(*addresses: str) -> Turns[int]:
    made: Turns[int] = Turns()
    for number, address in enumerate(addresses):
        made.add(number, networks_of(packed(address)))
    return made


def drained(turns: Turns[int]) -> list[int]:
    found = []
    while turns:
        found.append(turns.next())
    return found


def test_networks_take_turns_and_addresses_within_them() -> None:
    turns = line("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.1")
    assert drained(turns) == [0, 4, 3, 5, 1, 2]


def test_a_newcomer_waits_for_one_turn_of_each_network() -> None:
    turns = line(*(["2001:db8:1::"] * 100), *(["2001:db8:1:7::"] * 100), "10.0.0.1")
    assert drained(turns).index(200) == 1


def test_nobody_is_next_where_nobody_waits() -> None:
    with pytest.raises(StopIteration):
        Turns[int]().next()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from(ADDRESSES)),
            st.tuples(st.just("leave"), st.integers(0, 50)),
            st.tuples(st.just("next"), st.none()),
        ),
        max_size=60,
    )
)
def test_everybody_has_a_turn_and_no_network_two_before_another(
    steps: list[tuple[str, bytes | int | None]],
) -> None:
    turns: Turns[int] = Turns()
    waiting: dict[int, bytes] = {}
    passed: Counter[tuple[bytes, bytes]] = Counter()
    for number, (kind, what) in enumerate(steps):
        if kind == "come":
            assert isinstance(what, bytes)
            waiting[number] = what
            turns.add(number, networks_of(what))
        elif kind == "leave":
            assert isinstance(what, int)
            address = waiting.pop(what, None)
            turns.discard(what, networks_of(address or ADDRESSES[0]))
            turns.discard(what, networks_of(address or ADDRESSES[1]))
        elif waiting:
            winner = networks_of(waiting.pop(turns.next()))[-1]
            for other in {networks_of(address)[-1] for address in waiting.values()} - {winner}:
                passed[winner, other] += 1
                assert passed[winner, other] <= 1
            passed = Counter({pair: n for pair, n in passed.items() if pair[1] != winner})
        tops = {networks_of(address)[-1] for address in waiting.values()}
        passed = Counter({pair: n for pair, n in passed.items() if pair[1] in tops})
        assert bool(turns) == bool(waiting)
    assert sorted(drained(turns)) == sorted(waiting)
    assert turns._all == {}
