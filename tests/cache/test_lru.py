import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seeder.cache.lru import MOST_SPARED, ByteLru

keys = st.integers(0, 7)
sizes = st.integers(1, 12)


class LruAgainstAList(RuleBasedStateMachine):
    """The same operations on a plain list of (key, size), oldest use first."""

    @initialize(budget=st.integers(0, 30))
    def start(self, budget: int) -> None:
        self.lru: ByteLru[int, int] = ByteLru(budget, int)
        self.model: list[tuple[int, int]] = []

    def _take(self, key: int) -> int | None:
        for at, (other, size) in enumerate(self.model):
            if other == key:
                del self.model[at]
                return size
        return None

    def _evict(self, size: int) -> list[tuple[int, int]]:
        evicted = []
        while sum(held for _, held in self.model) + size > self.lru.budget:
            evicted.append(self.model.pop(0))
        return evicted

    @rule(key=keys, size=sizes)
    def put(self, key: int, size: int) -> None:
        self._take(key)
        if size > self.lru.budget:
            expected = [(key, size)]
        else:
            expected = self._evict(size)
            self.model.append((key, size))
        assert self.lru.put(key, size) == expected

    @rule(key=keys)
    def get(self, key: int) -> None:
        size = self._take(key)
        if size is not None:
            self.model.append((key, size))
        assert self.lru.get(key) == size

    @rule(key=keys)
    def pop(self, key: int) -> None:
        assert self.lru.pop(key) == self._take(key)

    @rule(size=sizes, spared=st.frozensets(keys))
    def make_room(self, size: int, spared: frozenset[int]) -> None:
        if size > self.lru.budget:
            with pytest.raises(ValueError, match="fit"):
                self.lru.make_room(size, spared.__contains__)
            return
        evicted = self.lru.make_room(size, spared.__contains__)
        before = dict(self.model)
        assert all(before[key] == value for key, value in evicted)
        # Nothing spared goes while something else is there to go.
        left = [entry for entry in self.model if entry not in evicted]
        if any(key in spared for key, _ in evicted):
            assert all(key in spared for key, _ in left)
        # Of the others, the oldest go first.
        others = [entry for entry in self.model if entry[0] not in spared]
        gone = [entry for entry in evicted if entry[0] not in spared]
        assert gone == others[: len(gone)]
        assert sum(held for _, held in left) + size <= self.lru.budget
        # No more than it takes.
        if evicted:
            assert sum(held for _, held in left) + size + evicted[-1][1] > self.lru.budget
        order = list(self.lru)
        self.model = sorted(left, key=lambda entry: order.index(entry[0]))

    @invariant()
    def same_order_within_the_budget(self) -> None:
        if hasattr(self, "lru"):
            assert list(self.lru) == [key for key, _ in self.model]
            assert len(self.lru) == len(self.model)
            assert self.lru.used == sum(size for _, size in self.model) <= self.lru.budget


TestLruAgainstAList = LruAgainstAList.TestCase
TestLruAgainstAList.settings = settings(max_examples=200, deadline=None)


def test_spared_entries_keep_their_order_and_become_the_newest() -> None:
    lru: ByteLru[str, int] = ByteLru(5, int)
    for key in "abcde":
        lru.put(key, 1)
    assert lru.make_room(2, "ac".__contains__) == [("b", 1), ("d", 1)]
    assert list(lru) == ["e", "a", "c"]


def test_sparing_everything_costs_a_bounded_number_of_looks() -> None:
    lru: ByteLru[int, int] = ByteLru(10_000, int)
    for key in range(10_000):
        lru.put(key, 1)
    looks = 0

    def spare(_: int) -> bool:
        nonlocal looks
        looks += 1
        return True

    assert len(lru.make_room(1, spare)) == 1
    assert looks == MOST_SPARED


def test_an_entry_over_the_budget_comes_straight_back_and_evicts_nobody() -> None:
    lru: ByteLru[str, bytes] = ByteLru(3, len)
    lru.put("small", b"12")
    assert lru.put("big", b"1234") == [("big", b"1234")]
    assert list(lru) == ["small"]


def test_a_value_that_grew_over_the_budget_takes_the_old_one_with_it() -> None:
    lru: ByteLru[str, bytes] = ByteLru(3, len)
    lru.put("a", b"12")
    assert lru.put("a", b"1234") == [("a", b"1234")]
    assert "a" not in lru
    assert lru.used == 0
