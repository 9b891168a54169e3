"""Random samples of peers, at a cost that does not grow with the swarm."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from seeder.tracker.crowd import Crowd
from tests.tracker.announcing import cut


def crowd_of(count: int, rng: random.Random) -> tuple[Crowd, list[bytes]]:
    crowd = Crowd(6, rng)
    endpoints = [number.to_bytes(6, "big") for number in range(count)]
    for endpoint in endpoints:
        crowd.add(endpoint)
    return crowd, endpoints


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "stir"]), st.integers(0, 9)), max_size=60),
    st.randoms(use_true_random=False),
)
def test_a_crowd_holds_what_was_added_and_not_removed(
    actions: list[tuple[str, int]], rng: random.Random
) -> None:
    crowd, present = Crowd(6, rng), set[bytes]()
    for action, number in actions:
        endpoint = bytes([number]) * 6
        if action == "add" and endpoint not in present:
            crowd.add(endpoint)
            present.add(endpoint)
        elif action == "remove" and endpoint in present:
            crowd.remove(endpoint)
            present.remove(endpoint)
        elif action == "stir" and endpoint in present:
            crowd.stir(endpoint)
        assert len(crowd) == len(present)
        assert set(cut(crowd.sample(100, without=b""))) == present
        assert (endpoint in crowd) == (endpoint in present)


@given(st.integers(0, 30), st.integers(-1, 40), st.integers(0, 40), st.randoms())
def test_a_sample_has_no_doubles_and_not_the_asker(
    size: int, count: int, asker: int, rng: random.Random
) -> None:
    crowd, endpoints = crowd_of(size, rng)
    without = asker.to_bytes(6, "big")
    sample = cut(crowd.sample(count, without=without))
    others = set(endpoints) - {without}
    assert len(sample) == max(0, min(count, len(others)))
    assert len(set(sample)) == len(sample)
    assert set(sample) <= others


def test_everybody_is_as_likely_as_everybody_else() -> None:
    rng = random.Random(7)
    crowd, endpoints = crowd_of(20, rng)
    seen: Counter[bytes] = Counter()
    rounds = 6000
    for _ in range(rounds):
        crowd.stir(rng.choice(endpoints[1:]))
        seen.update(cut(crowd.sample(5, without=endpoints[0])))
    assert endpoints[0] not in seen
    expected = rounds * 5 / 19
    assert all(abs(seen[endpoint] - expected) < 0.15 * expected for endpoint in endpoints[1:])


def test_newcomers_do_not_stand_in_the_order_in_which_they_came() -> None:
    crowd, _ = crowd_of(1000, random.Random(7))
    numbers = [int.from_bytes(endpoint, "big") for endpoint in cut(crowd.sample(200, without=b""))]
    assert max(numbers) - min(numbers) > 900


def test_who_is_handed_out_together_changes() -> None:
    rng = random.Random(7)
    crowd, endpoints = crowd_of(50, rng)
    companions: set[bytes] = set()
    for _ in range(1000):
        crowd.stir(rng.choice(endpoints))
        sample = cut(crowd.sample(5, without=b""))
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
    crowd.sample(50, without=bytes(6))
    assert 50 * 6 <= CountingBytes.touched <= 110 * 6
