"""What all sources of events have in common: who hears of the news, and what is counted of them."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

from seeder.events.aside import Aside
from seeder.net.scarcity import why_it_failed
from seeder.s3.notifications import EventMessage, News, parse_notification

_LOG = logging.getLogger(__name__)

Heard: TypeAlias = Literal["asked", "known", "ignored", "crowded"]
"""What becomes of news: S3 is asked about the object; it is known to be as they say; it isn't
configured; there are so many that the listing is waited for, or asked for, instead."""
Fate: TypeAlias = Heard | Literal["unreadable"]
FATES: tuple[Fate, ...] = (*get_args(Heard), "unreadable")
"""The last is of a record that can't be read beside others that can."""
Taken: TypeAlias = Literal["taken", "unreadable", "refused"]
TAKEN: tuple[Taken, ...] = get_args(Taken)
"""What becomes of a message: the last is one without the right token."""


class Hearer(Protocol):
    """Whoever keeps the objects of an origin published."""

    def hear(self, origin: str, news: News) -> Heard:
        """Take note of news, and return what becomes of them."""
        ...

    def is_busy_with(self, origin: str, news: News) -> bool:
        """Tell whether the object that they are of isn't settled yet."""
        ...


@dataclass(slots=True, eq=False)
class EventFeed:
    """One source: its news are told to `hearer`, what can't be read is put into `aside`."""

    name: str
    origin: str
    kind: Literal["sqs", "webhook"]
    hearer: Hearer
    aside: Aside
    messages: Counter[Taken] = field(default_factory=Counter)
    news: Counter[Fate] = field(default_factory=Counter)
    held: int = 0
    """Messages that are kept in the queue until what they tell is taken up."""
    heard_at: float | None = None
    """When the last message came (Unix s)."""
    delay: float | None = None
    """Seconds from what the last one tells of until it came, by S3's clock and ours."""
    fault: str | None = None
    """Why nothing can come; None while it can."""
    since: float | None = None
    """Since when (Unix s)."""

    async def take(self, body: bytes | str) -> Sequence[News]:
        """Take a message in, and return its news; none of one that can't be read.

        Of a message that can be read in part, the rest alone is put aside.
        """
        self.heard_at = time.time()
        try:
            found = parse_notification(body)
        except ValueError as error:
            await self._set_aside(body, str(error))
            return ()
        except Exception as error:
            # A fault of ours: in a queue it would come back for ever.
            _LOG.exception("events %s: internal error", self.name)
            await self._set_aside(body, why_it_failed(error))
            return ()
        self.messages["taken"] += 1
        for each in found.news:
            if each.at is not None:
                self.delay = max(0.0, self.heard_at - each.at)
            try:
                self.news[self.hearer.hear(self.origin, each)] += 1
            except Exception:
                # A fault of ours with one of them: the listing finds the object all the same.
                _LOG.exception("events %s: internal error", self.name)
        if found.unread:
            self.news["unreadable"] += len(found.unread)
            await self._put_aside(found)
        return found.news

    async def _put_aside(self, found: EventMessage) -> None:
        where = await self.aside.put(found.rest)
        count, first = len(found.unread), found.unread[0]
        _LOG.warning(
            "events %s: %d of %d records of a message can't be read, %s record %d: %s; %s",
            *(self.name, count, found.records, "which is" if count == 1 else "the first is"),
            *(first, found.reason, where),
        )

    async def _set_aside(self, body: bytes | str, why: str) -> None:
        self.messages["unreadable"] += 1
        where = await self.aside.put(body)
        _LOG.warning("events %s: a message can't be read: %s; %s", self.name, why, where)

    def is_busy_with(self, news: News) -> bool:
        """Tell whether what news tell of isn't taken up yet."""
        try:
            return self.hearer.is_busy_with(self.origin, news)
        except Exception:
            # The listing finds the object all the same, and the message would be held for ever.
            _LOG.exception("events %s: internal error", self.name)
            return False

    def fail(self, reason: str) -> None:
        """Take note that nothing can come; it is logged once."""
        if self.fault is None:
            self.since = time.time()
            _LOG.warning(
                "events %s: %s; objects are found by listing all the same", self.name, reason
            )
        self.fault = reason

    def recover(self) -> None:
        """Take note that something can come again."""
        if self.fault is not None:
            _LOG.info("events %s: there again", self.name)
        self.fault = self.since = None
