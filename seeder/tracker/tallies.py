"""What the tracker was asked since the start, and what became of it. No I/O."""

from collections import Counter
from typing import Literal, TypeAlias, get_args

from seeder.tracker.announce import AnnounceEvent

AnnounceOutcome: TypeAlias = Literal[
    "answered", "unknown-torrent", "malformed", "too-often", "denied"
]
ANNOUNCE_OUTCOMES: tuple[AnnounceOutcome, ...] = get_args(AnnounceOutcome)
EVENTS = tuple(event.word for event in AnnounceEvent)
UNREAD = "unread"
"""The event of an announce that wasn't read: it was malformed, or there were too many."""


class TrackerTallies:
    """Announces by event and outcome, scrapes by outcome."""

    def __init__(self) -> None:
        self.announces: Counter[tuple[str, AnnounceOutcome]] = Counter()
        self.scrapes: Counter[AnnounceOutcome] = Counter()
