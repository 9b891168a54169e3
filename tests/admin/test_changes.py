import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.admin.changes import changes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)


def patched(node: Any, delta: dict[str, Any]) -> Any:
    """Do what the page does with a delta (`patch` in cockpit.js)."""
    for key, value in delta.items():
        place = int(key) if isinstance(node, list) else key
        if isinstance(value, list):
            [node[place]] = value
        else:
            patched(node[place], value)
    return node


@given(VALUES, VALUES, VALUES)
def test_what_changed_makes_the_new_document_of_the_old_one(old: Any, new: Any, same: Any) -> None:
    before, after = {"a": old, "b": same}, {"a": new, "b": same}
    delta = json.loads(json.dumps(changes(before, after)))
    assert patched(json.loads(json.dumps(before)), delta) == after
    assert "b" not in delta


@pytest.mark.parametrize(
    ("old", "new", "delta"),
    [
        (
            {"n": 1, "deep": {"x": 1, "y": 2}},
            {"n": 1, "deep": {"x": 1, "y": 3}},
            {"deep": {"y": [3]}},
        ),
        (
            {"rows": [{"a": 1}, {"a": 2}]},
            {"rows": [{"a": 1}, {"a": 5}]},
            {"rows": {"1": {"a": [5]}}},
        ),
        ({"rows": [1]}, {"rows": [1, 2]}, {"rows": [[1, 2]]}),
        ({"x": {"a": 1}}, {"x": {"b": 1}}, {"x": [{"b": 1}]}),
        ({"x": {"a": 1}}, {"x": None}, {"x": [None]}),
        ({"x": 1}, {"x": True}, {"x": [True]}),
        ({"x": []}, {"x": {}}, {"x": [{}]}),
    ],
)
def test_no_more_is_sent_than_what_changed(old: Any, new: Any, delta: Any) -> None:
    assert changes(old, new) == delta
