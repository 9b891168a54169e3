"""What changed between two documents, so that the status page is sent no more than that.

No I/O.
"""

from collections.abc import Mapping
from typing import TypeAlias

Delta: TypeAlias = dict[str, object]
"""Key -> [new value], or the delta of what stands there. The keys of a list are its places."""


def changes(old: Mapping[str, object], new: Mapping[str, object]) -> Delta:
    """Return what makes `new` of `old`, two JSON objects with the same keys; {} if they are equal.

    Objects that have the same keys, and lists that have the same length, are compared value by
    value; anything else that differs is replaced whole.
    """
    delta: Delta = {}
    for key, after in new.items():
        before = old[key]
        held, wanted = _values(before), _values(after)
        if held is None or wanted is None or type(before) is not type(after):
            if before != after or type(before) is not type(after):
                delta[key] = [after]
        elif held.keys() != wanted.keys():
            delta[key] = [after]
        elif nested := changes(held, wanted):
            delta[key] = nested
    return delta


def _values(value: object) -> Mapping[str, object] | None:
    """Return the values of an object by key, or those of a list by place; None of all else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {str(place): entry for place, entry in enumerate(value)}
    return None
