"""Columns of numbers that give memory back when they become shorter. No I/O."""

from array import array
from collections.abc import Iterable

_LEAST = 64
_AT_ONCE = 16
"""Entries that have to go in one step until an array gives memory back: CPython's array_resize."""


def trim(columns: "Iterable[array[int] | array[float]]", length: int) -> None:
    """Have columns that have become `length` long by one entry less give back what they don't need.

    They do so at each half of their length, and stay the same objects.
    """
    if length < _LEAST or length & (length - 1):
        return
    for column in columns:
        column.frombytes(bytes(_AT_ONCE * column.itemsize))
        del column[-_AT_ONCE:]
