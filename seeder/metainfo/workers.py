"""Jobs from one iterator, done by several tasks at a time."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import trio

from seeder.errors import SeederError

Job = TypeVar("Job")


async def do_all(
    jobs: Iterator[Job],
    work: Callable[[Job], Awaitable[None]],
    *,
    workers: int,
    harmless: tuple[type[SeederError], ...] = (),
) -> None:
    """Call `work` with each of the jobs, `workers` at a time; SeederError if `work` raises one.

    A worker that meets an error takes no further job. Where the error is `harmless` to the others,
    they go on until the jobs end; any other error cancels them, and is the one that is raised.
    """
    failures: list[SeederError] = []
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(_work, jobs, work, harmless, failures, nursery.cancel_scope)
    if failures:
        harms = [number for number, each in enumerate(failures) if not isinstance(each, harmless)]
        failures[:] = [failures[harms[0] if harms else -1]]
        raise failures.pop()  # else it would be kept by its own traceback


async def _work(
    jobs: Iterator[Job],
    work: Callable[[Job], Awaitable[None]],
    harmless: tuple[type[SeederError], ...],
    failures: list[SeederError],
    others: trio.CancelScope,
) -> None:
    try:
        for job in jobs:
            await work(job)
    except SeederError as error:
        failures.append(error)
        if not isinstance(error, harmless):
            others.cancel()
