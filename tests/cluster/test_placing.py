"""Objects are spread evenly over the nodes, and few move when one comes or goes."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.cluster.placing import LINGER, Attendance, owners

OBJECTS = [f"default/quotes/{number}" for number in range(2000)]
NODES = [f"node-{number}" for number in range(1, 8)]

names = st.text(max_size=200)
crowds = st.lists(names, unique=True, min_size=1, max_size=8)


@given(what=names, members=crowds, replicas=st.integers(1, 10), data=st.data())
def test_all_nodes_choose_alike(
    what: str, members: list[str], replicas: int, data: st.DataObject
) -> None:
    chosen = owners(what, members, replicas)
    assert owners(what, data.draw(st.permutations(members)), replicas) == chosen
    assert len(set(chosen)) == len(chosen) == min(replicas, len(members))
    assert set(chosen) <= set(members)


@given(what=names, members=crowds, replicas=st.integers(1, 10), data=st.data())
def test_who_leaves_is_replaced_and_nothing_else_moves(
    what: str, members: list[str], replicas: int, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(members))
    before = owners(what, members, replicas)
    after = owners(what, [each for each in members if each != gone], replicas)
    stay = [each for each in before if each != gone]
    assert list(after[: len(stay)]) == stay
    assert len(set(after) - set(before)) <= int(gone in before)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_each_node_owns_as_much_as_the_others(replicas: int) -> None:
    owned = Counter(node for each in OBJECTS for node in owners(each, NODES, replicas))
    share = len(OBJECTS) * replicas / len(NODES)
    assert set(owned) == set(NODES)
    assert max(abs(count - share) for count in owned.values()) < 0.2 * share


def test_a_node_that_comes_takes_its_share_of_each() -> None:
    before = {each: set(owners(each, NODES[:-1], 2)) for each in OBJECTS}
    after = {each: set(owners(each, NODES, 2)) for each in OBJECTS}
    came = {node for each in OBJECTS for node in after[each] - before[each]}
    left = Counter(node for each in OBJECTS for node in before[each] - after[each])
    assert came == {NODES[-1]}
    moved = len(OBJECTS) * 2 / len(NODES)
    assert abs(sum(left.values()) - moved) < 0.2 * moved
    assert set(left) == set(NODES[:-1])


def test_owners_are_those_of_all_versions_to_come() -> None:
    # Nodes of two versions run side by side during an upgrade.
    assert owners("default/quotes/Nelson", ["a", "b", "c"], 2) == ("a", "b")
    assert owners("default/quotes/Nelson", ["a", "x" * 100, "c"], 2) == ("a", "x" * 100)


def test_a_short_absence_moves_nothing() -> None:
    attendance = Attendance("a")
    assert attendance.note(["a", "b"], 100.0)
    assert attendance.owners == attendance.present == {"a", "b"}
    assert attendance.next_at == inf
    assert attendance.note(["a"], 101.0)
    assert attendance.owners == {"a", "b"}
    assert attendance.present == {"a"}
    assert attendance.next_at == 101.0 + LINGER
    assert not attendance.note(["a"], 101.0 + LINGER - 0.1)
    assert attendance.note(["a", "b"], 101.0 + LINGER - 0.1)
    assert attendance.owners == attendance.present == {"a", "b"}
    # Its next absence is as long as any.
    attendance.note(["a"], 200.0)
    assert not attendance.note(["a"], 200.0 + LINGER - 0.1)


def test_who_stays_away_is_out() -> None:
    attendance = Attendance("a")
    attendance.note(["a", "b", "c"], 100.0)
    attendance.note(["a", "c"], 101.0)
    attendance.note(["a"], 103.0)
    assert attendance.next_at == 101.0 + LINGER
    assert attendance.note(["a"], attendance.next_at)
    assert attendance.owners == {"a", "c"}
    assert attendance.note(["a"], attendance.next_at)
    assert attendance.owners == attendance.present == {"a"}


def test_we_are_always_there() -> None:
    attendance = Attendance("a")
    assert attendance.owners == attendance.present == {"a"}
    attendance.note([], 100.0)
    assert attendance.owners == attendance.present == {"a"}
