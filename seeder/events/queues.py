"""A queue of SQS, read as long as the node runs.

A message is deleted once what it tells of is taken up: the object is served, or it is known why it
isn't. Until then it is kept from others, so that it comes back if we die. What can't be read is set
aside and deleted: it would come back for ever.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

import trio

from seeder.errors import OriginError
from seeder.events.feed import EventFeed
from seeder.net.guards import Lapses
from seeder.s3.notifications import News
from seeder.s3.queues import QueueMessage

_LOG = logging.getLogger(__name__)

HIDDEN = 120
"""Seconds for which messages are kept from others, again and again while they are held."""
LONGEST_HELD = 6 * 3600.0
"""Seconds; SQS lets nobody keep a message for more than twelve hours."""
MOST_HELD = 1000
"""Of more, the oldest are deleted: the listing finds what they told of, too."""
LOOK_EVERY = 1.0
"""Seconds between two looks at what is held."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a queue that gave no messages is asked again, doubled each time."""


class Messages(Protocol):
    """What is asked of a queue; OriginError."""

    async def receive(self, hidden: int) -> list[QueueMessage]: ...
    async def delete(self, receipts: list[str]) -> None: ...
    async def hide(self, receipts: list[str], seconds: int) -> None: ...


@dataclass(slots=True, eq=False)
class _Held:
    receipt: str
    news: tuple[News, ...]
    since: float
    hidden_until: float


class QueueReader:
    """Reads one queue."""

    def __init__(self, queue: Messages, feed: EventFeed) -> None:
        self._queue = queue
        self._feed = feed
        self._held: list[_Held] = []
        """The oldest first."""
        self._something = trio.Event()
        self._faults: dict[str, str] = {}
        """What is wrong at present, by what was asked for."""

    async def run(self) -> None:
        """Read until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            await self._read()

    async def _read(self) -> None:
        pause, lapses = FIRST_PAUSE, Lapses(_LOG, f"events {self._feed.name}")
        while True:
            async with lapses.spared():
                began = trio.current_time()
                try:
                    messages = await self._queue.receive(HIDDEN)
                except OriginError as error:
                    self._note("receive", str(error))
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                self._note("receive", None)
                pause = FIRST_PAUSE
                await self._take(messages, began)

    async def _take(self, messages: list[QueueMessage], began: float) -> None:
        """Hold messages that were asked for when it `began`; after none there is a pause."""
        for message in messages:
            news = tuple(await self._feed.take(message.body))
            self._held.append(_Held(message.receipt, news, began, began + HIDDEN))
        self._feed.held = len(self._held)
        if messages:
            self._something.set()
        else:
            # A server that doesn't let us wait must not be asked without a pause.
            await trio.sleep(max(0.0, LOOK_EVERY - (trio.current_time() - began)))

    async def _keep(self) -> None:
        """Delete what is taken up, and keep the rest from others."""
        pause, lapses = LOOK_EVERY, Lapses(_LOG, f"events {self._feed.name}, what is held")
        while True:
            while not self._held:
                await self._something.wait()
                self._something = trio.Event()
            async with lapses.spared():
                try:
                    await self._sort_out()
                except OriginError as error:
                    self._note("keep", str(error))
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    self._note("keep", None)
                    pause = LOOK_EVERY
            await trio.sleep(pause)

    async def _sort_out(self) -> None:
        now, spare = trio.current_time(), max(0, len(self._held) - MOST_HELD)
        done, held = self._held[:spare], self._held[spare:]
        # Forgotten whether they can be deleted or not: while they can't, all come again and again.
        self._held = held
        self._feed.held = len(held)
        done += [
            each for each in held if now - each.since > LONGEST_HELD or not self._is_busy(each)
        ]
        if done:
            gone = set(map(id, done))
            await self._queue.delete([each.receipt for each in done])
            self._held = [each for each in self._held if id(each) not in gone]
            self._feed.held = len(self._held)
        due = [each for each in self._held if each.hidden_until - now < HIDDEN / 2]
        if due:
            await self._queue.hide([each.receipt for each in due], HIDDEN)
            for each in due:
                each.hidden_until = now + HIDDEN

    def _note(self, what: str, fault: str | None) -> None:
        if fault is not None:
            self._faults[what] = fault
        elif self._faults.pop(what, None) is None:
            return
        if self._faults:
            self._feed.fail(next(iter(self._faults.values())))
        else:
            self._feed.recover()

    def _is_busy(self, held: _Held) -> bool:
        return any(self._feed.is_busy_with(each) for each in held.news)
