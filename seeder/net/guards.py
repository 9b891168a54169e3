"""Where a fault of ours stops: one of many things that it met ends, and the others go on.

An exception that leaves a task ends all tasks beside it, hence the daemon. So each room has a guard
at the one place where it deals with the many: its connections, its objects, the rounds of a task.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

MOST_LAPSES = 10
"""Rounds in a row in which a task may fail: then it does no better before the next start."""
PAUSE = 1.0
"""Seconds after a failed round: where something always waits to be done, there is no other."""


@contextmanager
def sparing_others(log: logging.Logger, what: str, *names: object) -> Iterator[None]:
    """Log whatever goes wrong in the block, which is about one of many, and go on behind it.

    `what` is said of it, with `names` in its places.
    """
    try:
        yield
    except Exception:
        log.exception(f"{what}: internal error", *names)


class Lapses:
    """The rounds of one task that failed, called `task` in the log.

    Where nothing works without a `vital` task, the last of MOST_LAPSES failures in a row goes on
    and ends the daemon: systemd starts another one.
    """

    def __init__(self, log: logging.Logger, task: str, *, vital: bool = False) -> None:
        self._log = log
        self._task = task
        self._vital = vital
        self._in_a_row = 0

    @asynccontextmanager
    async def spared(self) -> AsyncIterator[None]:
        """Log whatever goes wrong in the block, one round of the task; after a pause it goes on."""
        try:
            yield
        except Exception:
            self._in_a_row += 1
            if self._vital and self._in_a_row >= MOST_LAPSES:
                raise
            self._log.exception("%s: internal error", self._task)
            await trio.sleep(PAUSE)
        else:
            self._in_a_row = 0
