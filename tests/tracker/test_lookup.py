"""Numbers by packed keys, compared with a dictionary."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.tracker.lookup import Lookup

STRIDE, LENGTH = 9, 5


class Rows:
    """Rows without gaps, found by a lookup and by a dictionary."""

    def __init__(self) -> None:
        self.rows = bytearray()
        self.lookup = Lookup(self.rows, STRIDE, LENGTH)
        self.numbers: dict[bytes, int] = {}

    def add(self, key: bytes) -> None:
        found = self.lookup.find_or_add(key, len(self.numbers))
        assert found == self.numbers.get(key, -1)
        if found < 0:
            self.numbers[key] = len(self.numbers)
            self.rows += key + bytes(STRIDE - LENGTH)

    def remove(self, key: bytes) -> None:
        """Let a key go; the last one gets its number."""
        number, last = self.numbers.pop(key), len(self.numbers)
        self.lookup.remove(number, key)
        if number != last:
            other = bytes(self.rows[last * STRIDE : last * STRIDE + LENGTH])
            self.lookup.renumber(last, number, other)
            self.rows[number * STRIDE : number * STRIDE + LENGTH] = other
            self.numbers[other] = number
        del self.rows[last * STRIDE :]

    def check(self) -> None:
        assert len(self.lookup) == len(self.numbers)
        for key, number in self.numbers.items():
            assert self.lookup.find(key) == number


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_it_finds_what_a_dictionary_finds(actions: list[tuple[bool, int]]) -> None:
    rows = Rows()
    for adds, number in actions:
        key = number.to_bytes(LENGTH)
        if adds:
            rows.add(key)
        elif key in rows.numbers:
            rows.remove(key)
        assert rows.lookup.find(key) == rows.numbers.get(key, -1)
    rows.check()


def test_it_grows_and_shrinks_page_by_page() -> None:
    rows, rng = Rows(), random.Random(1)
    keys = [number.to_bytes(LENGTH) for number in range(5000)]
    for key in keys:
        before = len(rows.lookup._tags)
        rows.add(key)
        assert len(rows.lookup._tags) - before <= 1
    rows.check()
    assert max(map(len, rows.lookup._numbers)) < 400
    rng.shuffle(keys)
    for count, key in enumerate(keys):
        if not count % 500:
            rows.check()
        before = len(rows.lookup._tags)
        rows.remove(key)
        assert before - len(rows.lookup._tags) <= 1
    assert (len(rows.lookup), len(rows.lookup._tags), len(rows.rows)) == (0, 1, 0)
    rows.add(keys[0])
    rows.check()


def test_keys_with_one_tag_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seeder.tracker.lookup.hash", lambda key: key[-1] % 2, raising=False)
    rows = Rows()
    for number in range(30):
        rows.add(number.to_bytes(LENGTH))
    rows.check()
    for number in range(0, 30, 3):
        rows.remove(number.to_bytes(LENGTH))
    rows.check()
    assert rows.lookup.find((100).to_bytes(LENGTH)) == -1


def test_what_is_not_there_cannot_be_let_go() -> None:
    rows = Rows()
    rows.add(bytes(LENGTH))
    with pytest.raises(KeyError):
        rows.lookup.remove(1, bytes(LENGTH))
    with pytest.raises(KeyError):
        rows.lookup.remove(0, bytes(LENGTH - 1) + b"x")
