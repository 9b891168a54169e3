"""What the tracker was asked since the start, and what became of it. No I/O."""

from collections import Counter
from typing import Literal, TypeAlias, get_args

from seeder.tracker.announce import AnnounceEvent
from seeder.tracker.holders import Refused

AnnounceOutcome: TypeAlias = Literal[
    "answered", "unknown-torrent", "malformed", "too-often", "denied"
]
ANNOUNCE_OUTCOMES: tuple[AnnounceOutcome, ...] = get_args(AnnounceOutcome)
EVENTS = tuple(event.word for event in AnnounceEvent)
UNREAD = "unread"
"""The event of an announce that wasn't read: it was malformed, or there were too many."""


class TrackerTallies:
    """Announces by event and outcome, scrapes by outcome; who was kept out of private swarms."""

    def __init__(self, kept_out: Counter[Refused] | None = None) -> None:
        self.kept_out: Counter[Refused] = Counter() if kept_out is None else kept_out
        """By why; also of requests for a signed path."""
        self.announces: Counter[tuple[str, AnnounceOutcome]] = Counter()
        self.scrapes: Counter[AnnounceOutcome] = Counter()
