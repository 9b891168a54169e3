"""Whether something leaves memory as it was."""

import gc
import sys
from collections.abc import Callable, Sequence
from statistics import median

ROUNDS = 10
"""Parts of the whole, of which the first ones may fill what has a bound."""
WARM = 3
BLOCKS_LEFT = 0.002
"""Blocks that a call may leave on average: a leak leaves one at least with each."""


def leaves_memory_flat(call: Callable[[int], object], times: int) -> None:
    """Call something with 0 to `times` - 1, and fail if that keeps objects alive.

    What is looked at are Python's blocks (objects of up to 512 bytes): any leak of exceptions,
    frames or entries has some.
    """
    part = times // ROUNDS
    grown = []
    for number in range(ROUNDS):
        before = blocks()
        for each in range(number * part, (number + 1) * part):
            call(each)
        grown.append(blocks() - before)
    assert usual(grown) <= BLOCKS_LEFT * part + 1, f"{grown} blocks in {ROUNDS} times {part} calls"


def usual(grown: Sequence[int]) -> float:
    """Return by how many blocks a part lets memory grow, of what all parts did.

    Another thread, such as that by which the tests' runner tells a worker what else to run, may
    keep something of its own meanwhile, but not in most parts.
    """
    return median(grown[WARM:])


def blocks() -> int:
    """Return how many blocks Python's allocator has handed out."""
    gc.collect()
    return sys.getallocatedblocks()
