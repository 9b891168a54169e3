"""When Python looks for garbage: seldom among what lives as long as the daemon.

To look at all objects of the process, of which each published one has dozens, holds the loop.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_AT = (2000, 3, 30)
"""By how many objects more are made than let go until garbage is looked for among the new ones, and
how often before the ones that survived are looked at, too (gc.set_threshold). With Python's 700,
what a status page of thousands of objects is made of was still there, counted as long-lived, and
soon had all objects of the process looked at: 80 ms without a turn for others."""
_NEVER = 1_000_000_000


@contextmanager
def garbage_is_rare() -> Iterator[None]:
    """Load what lives as long as the daemon, and have garbage collected seldom from then on.

    Collecting garbage in what is loaded would take as long again as loading it, and later stop the
    loop each time: freeze() exempts it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECT_AT)
        gc.enable()


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Look for garbage among new objects alone while the block lasts.

    A file of a hundred thousand entries is millions of objects for some seconds. They would count
    as long-lived, and have all others looked at again and again. Nothing is frozen: sessions that
    are open now are garbage one day, and would stay.
    """
    new, survived, old = gc.get_threshold()
    gc.set_threshold(new, survived, _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(new, survived, old)
