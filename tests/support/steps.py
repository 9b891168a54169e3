"""Counts what Python does: how work grows with the number of things is a count, no time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Give a list whose one number grows by each call of a Python function in this thread, and
    each time that a generator goes on, while the block lasts."""
    calls = [0]

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            calls[0] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)
