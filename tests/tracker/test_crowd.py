"""Random samples of peers, at a cost that does not grow with the swarm."""

import random
from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.tracker.crowd import Crowd
from tests.tracker.announcing import cut


def crowd_of(count: int, rng: random.Random) -> tuple[Crowd, list[bytes]]:
    crowd = Crowd(6, rng, array("i", bytes(4 * count + 400)))
    endpoints = [number.to_bytes(6, "big") for number in range(count)]
    for number, endpoint in enumerate(endpoints):
        crowd.add(number, endpoint)
    return crowd, endpoints


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "stir"]), st.integers(0, 9)), max_size=60),
    st.randoms(use_true_random=False),
)
def test_a_crowd_holds_what_was_added_and_not_removed(
    actions: list[tuple[str, int]], rng: random.Random
) -> None:
    crowd, present = Crowd(6, rng, array("i", range(20))), set[bytes]()
    # Another one has the same places for others.
    other = Crowd(6, rng, crowd._places)
    for number in range(10, 15):
        other.add(number, bytes([number]) * 6)
    for action, number in actions:
        endpoint = bytes([number]) * 6
        if action == "add" and endpoint not in present:
            crowd.add(number, endpoint)
            present.add(endpoint)
        elif action == "remove" and endpoint in present:
            crowd.remove(number, endpoint)
            present.remove(endpoint)
        elif action == "stir" and endpoint in present:
            crowd.stir(number, endpoint)
        assert len(crowd) == len(present)
        assert set(cut(crowd.sample(100, without=-1))) == present
        assert (number in crowd) == (endpoint in present)
        assert not any(each in crowd for each in range(10, 15))
    for number in range(10):
        endpoint = bytes([number]) * 6
        if endpoint in present:
            crowd.renumber(number, number + 15 if number < 5 else number, endpoint)
    assert set(cut(crowd.sample(100, without=-1))) == present


def test_who_is_not_there_cannot_be_let_go() -> None:
    crowd, endpoints = crowd_of(3, random.Random(1))
    crowd.remove(1, endpoints[1])
    with pytest.raises(KeyError):
        crowd.remove(1, endpoints[1])
    assert set(cut(crowd.sample(9, without=-1))) == {endpoints[0], endpoints[2]}


@given(st.integers(0, 30), st.integers(-1, 40), st.integers(0, 40), st.randoms())
def test_a_sample_has_no_doubles_and_not_the_asker(
    size: int, count: int, asker: int, rng: random.Random
) -> None:
    crowd, endpoints = crowd_of(size, rng)
    sample = cut(crowd.sample(count, without=asker))
    others = set(endpoints) - {asker.to_bytes(6, "big")}
    assert len(sample) == max(0, min(count, len(others)))
    assert len(set(sample)) == len(sample)
    assert set(sample) <= others


def test_everybody_is_as_likely_as_everybody_else() -> None:
    rng = random.Random(7)
    crowd, endpoints = crowd_of(20, rng)
    seen: Counter[bytes] = Counter()
    rounds = 6000
    for _ in range(rounds):
        number = rng.randrange(1, 20)
        crowd.stir(number, endpoints[number])
        seen.update(cut(crowd.sample(5, without=0)))
    assert endpoints[0] not in seen
    expected = rounds * 5 / 19
    assert all(abs(seen[endpoint] - expected) < 0.15 * expected for endpoint in endpoints[1:])


def test_newcomers_do_not_stand_in_the_order_in_which_they_came() -> None:
    crowd, _ = crowd_of(1000, random.Random(7))
    numbers = [int.from_bytes(endpoint, "big") for endpoint in cut(crowd.sample(200, without=-1))]
    assert max(numbers) - min(numbers) > 900


def test_who_is_handed_out_together_changes() -> None:
    rng = random.Random(7)
    crowd, endpoints = crowd_of(50, rng)
    companions: set[bytes] = set()
    for _ in range(1000):
        number = rng.randrange(50)
        crowd.stir(number, endpoints[number])
        sample = cut(crowd.sample(5, without=-1))
        if endpoints[0] in sample:
            companions.update(sample)
    assert companions == set(endpoints)


def test_a_sample_of_a_large_crowd_touches_only_its_own_size() -> None:
    class CountingBytes(bytearray):
        touched = 0

        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            found = super().__getitem__(index)
            CountingBytes.touched += len(found) if isinstance(index, slice) else 1
            return found

    crowd, _ = crowd_of(10_000, random.Random(1))
    crowd._endpoints = CountingBytes(crowd._endpoints)
    crowd.sample(50, without=0)
    assert 50 * 6 <= CountingBytes.touched <= 110 * 6
