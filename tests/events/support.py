"""Whoever hears of news, and a source of events that tells it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from seeder.events.aside import Aside
from seeder.events.feed import EventFeed, Heard
from seeder.s3.notifications import News


@dataclass
class Ears:
    """Keeps what it hears, and is busy with what a test says."""

    heard: list[tuple[str, News]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    """Keys."""
    fails: bool = False

    def hear(self, origin: str, news: News) -> Heard:
        if self.fails:
            raise RuntimeError("a fault of ours")
        self.heard.append((origin, news))
        return "asked"

    def is_busy_with(self, origin: str, news: News) -> bool:
        return news.key in self.busy

    @property
    def keys(self) -> list[str]:
        return [news.key for _, news in self.heard]


def feed_of(ears: Ears, directory: Path) -> EventFeed:
    return EventFeed("uploads", "default", "sqs", ears, Aside(directory))


def kept(directory: Path) -> Counter[bytes]:
    """Return the messages that were set aside."""
    return Counter(each.read_bytes() for each in directory.glob("*"))
