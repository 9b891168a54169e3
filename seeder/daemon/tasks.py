"""Tasks beneath a block, and the lock that keeps a state directory to one process."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import trio

from seeder.errors import StateUnusable
from seeder.files import lock_directory, make_directory


class Task(Protocol):
    """A task that says when it has started and runs until it is cancelled."""

    def __call__(self, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]: ...


@asynccontextmanager
async def running(task: Task) -> AsyncIterator[None]:
    """Run `task` beneath the block: it is cancelled when the block is over, and not before.

    A block that is cancelled from outside thus cleans up while the task still runs.
    """
    scope = trio.CancelScope()

    async def beneath(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await task(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(beneath)
        # Shielded earlier, a cancel that comes during the start would never be delivered.
        scope.shield = True
        try:
            yield
        finally:
            scope.cancel()


@contextmanager
def locked_state(directory: Path) -> Iterator[None]:
    """Make the state directory and keep other processes out of it; StateUnusable."""
    try:
        make_directory(directory)
        lock = lock_directory(str(directory))
    except BlockingIOError as error:
        raise StateUnusable(
            f'state_directory = "{directory}": another seeder is using it'
        ) from error
    except OSError as error:
        raise StateUnusable(
            f'state_directory = "{directory}": can\'t be used: {error.strerror}'
        ) from error
    try:
        yield
    finally:
        lock.close()
