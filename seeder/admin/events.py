"""How the sources of events stand, for /status.json, the notices and the metrics."""

from collections.abc import Callable, Iterable, Iterator

from seeder.admin.exposition import Family, counter, gauge, labels
from seeder.events.feed import FATES, TAKEN, EventFeed


def events_document(feeds: Iterable[EventFeed]) -> dict[str, object]:
    """Return how the sources stand, by name, in the form of /status.json."""
    return {
        feed.name: {
            "kind": feed.kind,
            "up": feed.fault is None,
            "reason": feed.fault,
            "since": feed.since,
            "messages": {each: feed.messages[each] for each in TAKEN},
            "news": {each: feed.news[each] for each in FATES},
            "held": feed.held,
            "heard_at": feed.heard_at,
            "delay": feed.delay,
        }
        for feed in feeds
    }


def events_metrics(feeds: Iterable[EventFeed]) -> Iterator[Family]:
    """Yield their families."""
    feeds = tuple(feeds)

    def told(of: Callable[[EventFeed], float | None]) -> list[tuple[str, float]]:
        found = ((labels(source=feed.name), of(feed)) for feed in feeds)
        return [(written, float(value)) for written, value in found if value is not None]

    text = "1 while events can come from a source"
    yield gauge("seeder_events_up", text, told(lambda feed: feed.fault is None))
    text = "Messages of a source by what became of them"
    series = [
        (labels(source=feed.name, outcome=each), float(feed.messages[each]))
        for feed in feeds
        for each in TAKEN
    ]
    yield counter("seeder_event_messages_total", text, series)
    text = "News of objects by what became of them"
    series = [
        (labels(source=feed.name, outcome=each), float(feed.news[each]))
        for feed in feeds
        for each in FATES
    ]
    yield counter("seeder_events_total", text, series)
    text = "Messages kept in the queue until what they tell of is taken up"
    yield gauge("seeder_events_held_messages", text, told(lambda feed: feed.held))
    text = "When a source was heard of last"
    name = "seeder_events_heard_timestamp_seconds"
    yield gauge(name, text, told(lambda feed: feed.heard_at))
    text = "Seconds from what the last message of a source tells of until it came"
    yield gauge("seeder_events_delay_seconds", text, told(lambda feed: feed.delay))
