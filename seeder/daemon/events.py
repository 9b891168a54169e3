"""The sources of events of a node: its webhooks, and the readers of its queues."""

import time
from collections.abc import Mapping
from functools import partial

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
from seeder.s3.queues import EventQueue

EVENTS = "events"
"""Below the state directory: messages that couldn't be read, by their source."""


class EventSources:
    """All of them; `hearer` is told of the news, `tokens` are those of the webhooks by name."""

    def __init__(self, config: Config, tokens: Mapping[str, str], hearer: Hearer) -> None:
        self._config = config
        self.feeds = {
            each.name: EventFeed(
                each.name,
                each.origin,
                "webhook" if each.sqs is None else "sqs",
                hearer,
                Aside(config.state_directory / EVENTS / each.name),
            )
            for each in config.events
        }
        self.webhooks = Webhooks(self.feeds, tokens)

    async def run(self) -> None:
        """Read the queues until cancelled."""
        async with trio.open_nursery() as nursery:
            for each in self._config.events:
                if each.sqs is not None:
                    nursery.start_soon(partial(self._read, each, each.sqs))

    async def _read(self, settings: EventSettings, url: str) -> None:
        queue = make_queue(self._config.origins[settings.origin], settings, url)
        async with running(queue.run):
            await QueueReader(queue, self.feeds[settings.name]).run()


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
