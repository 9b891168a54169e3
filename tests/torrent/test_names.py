"""Keys of several sequences in one order, and prefixes of a key, against plain models."""

from hypothesis import given
from hypothesis import strategies as st

from seeder.torrent.names import ByPrefix, KeyOrder, beyond

NAMES = st.text("ab/\ud7ff\ue000\U0010ffff", max_size=5)


@given(
    st.lists(st.sets(NAMES), max_size=4),
    st.lists(st.tuples(NAMES, st.sets(NAMES)), max_size=6),
    NAMES,
    st.lists(NAMES, max_size=4),
)
def test_the_order_is_that_of_all_keys_together(
    sets: list[set[str]], below: list[tuple[str, set[str]]], first: str, targets: list[str]
) -> None:
    bundles: ByPrefix[list[str]] = ByPrefix()
    every = set().union(*sets)
    for prefix, names in below:
        bundles.add(prefix, sorted(prefix + name for name in names))
        every.update(prefix + name for name in names)
    order = KeyOrder([sorted(each) for each in sets], first, (bundles, list))
    check_order(order, sorted(every, key=str.encode), first, targets)


def check_order(
    order: KeyOrder[list[str]], every: list[str], first: str, targets: list[str]
) -> None:
    left = [key for key in every if key >= first]
    for target in [*targets, ""]:
        assert order.key == (left[0] if left else None)
        order.seek(target)
        left = [key for key in left if key >= target]
        assert order.key == (left[0] if left else None)
        if left:
            order.step()
            left.pop(0)
    while left:
        assert order.key == left.pop(0)
        order.step()
    assert order.key is None


@given(NAMES, st.lists(NAMES))
def test_beyond_a_prefix_is_what_comes_after_all_that_begin_with_it(
    prefix: str, keys: list[str]
) -> None:
    end = beyond(prefix)
    for key in (*keys, prefix + "\U0010ffff" * 3):
        if key.startswith(prefix):
            assert end is None or key < end
        else:
            assert key < prefix or (end is not None and key >= end)


@given(st.lists(NAMES), st.lists(NAMES), NAMES)
def test_prefixes_are_found_of_a_key_and_by_their_places(
    added: list[str], gone: list[str], key: str
) -> None:
    prefixes: ByPrefix[int] = ByPrefix()
    values = list(enumerate(added))
    for number, prefix in values:
        prefixes.add(prefix, number)
    for prefix in gone:
        prefixes.discard(prefix, 10_000)
        if (found := next((each for each in values if each[1] == prefix), None)) is not None:
            prefixes.discard(prefix, found[0])
            values.remove(found)
    assert len(prefixes) == len({prefix for _, prefix in values})
    covering = [each for each in values if key.startswith(each[1])]
    longest_first = sorted(covering, key=lambda each: -len(each[1]))
    assert list(prefixes.covering(key)) == [number for number, _ in longest_first]
    assert prefixes.place_after(key) == len({each for _, each in values if each <= key})
    for place, prefix in enumerate(sorted({each for _, each in values})):
        there = [number for number, each in values if each == prefix]
        assert prefixes[place] == (prefix, there)
        rest = [number for number, each in longest_first if each >= prefix]
        assert list(prefixes.covering(key, place)) == rest
