"""The sources of events of a node: its webhooks, and the readers of its queues."""

import logging
import time
from collections.abc import Mapping, Sequence

import trio

from seeder.config.events import EventSettings
from seeder.config.origins import OriginSettings
from seeder.config.sections import Config
from seeder.daemon.tasks import running
from seeder.events.aside import Aside
from seeder.events.feed import EventFeed, Hearer
from seeder.events.queues import QueueReader
from seeder.events.webhooks import Webhooks
from seeder.ledger.counters import Tally
from seeder.net.guards import sparing_others
from seeder.s3.queues import EventQueue

_LOG = logging.getLogger(__name__)

EVENTS_FOLDER = "events"
"""Below the state directory: messages that couldn't be read, by their source."""


class EventSources:
    """All of them; `hearer` is told of the news."""

    def __init__(self, config: Config, tokens: Mapping[str, str], hearer: Hearer) -> None:
        self._origins = config.origins
        self._directory = config.state_directory / EVENTS_FOLDER
        self._hearer = hearer
        self._settings: dict[str, EventSettings] = {}
        self._readings: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        """Where the queues are read, while they are."""
        self.feeds: dict[str, EventFeed] = {}
        """By name; the same dictionary as long as the node runs."""
        self.webhooks = Webhooks(self.feeds, tokens)
        self.apply(config.events, tokens)

    async def run(self) -> None:
        """Read the queues until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for settings in self._settings.values():
                self._begin(settings)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def apply(self, sources: Sequence[EventSettings], tokens: Mapping[str, str]) -> None:
        """Have exactly these sources from now on, of origins that are known.

        One whose settings are as they were goes on undisturbed. `tokens` are those of the webhooks,
        by name.
        """
        wanted = {each.name: each for each in sources}
        for name, settings in list(self._settings.items()):
            if wanted.get(name) != settings:
                del self._settings[name], self.feeds[name]
                if (reading := self._readings.pop(name, None)) is not None:
                    reading.cancel()
        for name, settings in wanted.items():
            if name not in self._settings:
                self._settings[name] = settings
                self.feeds[name] = self._feed(settings)
                self._begin(settings)
        self.webhooks.tokens = tokens

    def _feed(self, settings: EventSettings) -> EventFeed:
        return EventFeed(
            settings.name,
            settings.origin,
            "webhook" if settings.sqs is None else "sqs",
            self._hearer,
            Aside(self._directory / settings.name),
        )

    def _begin(self, settings: EventSettings) -> None:
        if self._nursery is not None and settings.sqs is not None:
            scope = self._readings[settings.name] = trio.CancelScope()
            queue = make_queue(self._origins[settings.origin], settings, settings.sqs)
            self._nursery.start_soon(_read, queue, self.feeds[settings.name], scope)


async def _read(queue: EventQueue, feed: EventFeed, scope: trio.CancelScope) -> None:
    with sparing_others(_LOG, "events %s", feed.name), scope:
        async with running(queue.run):
            await QueueReader(queue, feed).run()


def make_queue(origin: OriginSettings, settings: EventSettings, url: str) -> EventQueue:
    """Return the queue of an entry, asked with the credentials of its origin."""
    return EventQueue(
        origin.name,
        url,
        region=settings.queue_region or origin.region,
        profile=origin.profile,
        ca_file=origin.ca_file,
        meter=Tally(),
        wall_clock=time.time,
    )
