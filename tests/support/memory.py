"""Whether something leaves memory as it was."""

import gc
import sys
from collections.abc import Callable

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
    before = 0
    for number in range(part * ROUNDS):
        if number == WARM * part:
            before = blocks()
        call(number)
    grown = blocks() - before
    assert grown <= BLOCKS_LEFT * part * (ROUNDS - WARM), f"{grown} blocks in {times} calls"


def blocks() -> int:
    """Return how many blocks Python's allocator has handed out."""
    gc.collect()
    return sys.getallocatedblocks()
