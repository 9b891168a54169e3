"""Waiting for many clients at once, without a task for each: an epoll(7) that trio waits for.

A kept connection costs a task, a deadline and two calls of the system a request otherwise, which is
as much as the answer to an announce.
"""

import select
from collections.abc import Callable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

import trio

MOST_AT_ONCE = 128
"""Clients that are answered before other tasks get their turn."""
LEAST_PAUSE = 0.05
"""Seconds between two looks at which deadlines are over."""


class Watched(Protocol):
    """A connection that waits for its client."""

    def fileno(self) -> int:
        """Return the descriptor of its socket."""

    @property
    def due(self) -> float:
        """Until when it waits at most, by trio's clock."""


W = TypeVar("W", bound=Watched)


class Watch(Generic[W]):
    """Tells when something comes from those who are watched, or when it didn't in time."""

    def __init__(self, ready: Callable[[W], object], late: Callable[[W], object]) -> None:
        """`ready` and `late` are called in the task of `run`, and must not block or raise."""
        self._ready = ready
        self._late = late
        self._epoll = select.epoll()
        self._watched: dict[int, W] = {}
        self._scope = trio.CancelScope()
        self._looks_at = inf
        """When deadlines are looked at again."""

    def __iter__(self) -> Iterator[W]:
        return iter(tuple(self._watched.values()))

    def __contains__(self, connection: W) -> bool:
        return self._watched.get(connection.fileno()) is connection

    def add(self, connection: W) -> None:
        """Watch somebody from now on, or for another time; its deadline is a new one."""
        descriptor = connection.fileno()
        if descriptor not in self._watched:
            self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP)
            self._watched[descriptor] = connection
        if connection.due < self._looks_at:
            self._looks_at = self._scope.deadline = connection.due

    def remove(self, connection: W) -> None:
        """Watch somebody no more, whose socket isn't closed yet; no error if it isn't watched."""
        if connection in self:
            descriptor = connection.fileno()
            del self._watched[descriptor]
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._looks_at) as self._scope:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, MOST_AT_ONCE):
                # One that was answered before may have had another one closed.
                if descriptor in self._watched:
                    self._ready(self._watched[descriptor])
            now = trio.current_time()
            if now >= self._looks_at:
                self._look(now)

    def _look(self, now: float) -> None:
        for connection in self:
            if connection.due <= now and connection in self:
                self._late(connection)
        earliest = min((each.due for each in self._watched.values()), default=inf)
        self._looks_at = max(earliest, now + LEAST_PAUSE)

    def close(self) -> None:
        """Let go of everything; who was watched is the caller's."""
        self._watched.clear()
        self._epoll.close()
