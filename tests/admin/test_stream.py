"""The stream of events: the whole document, then what changed, in one gzip stream if so wanted."""

import json
import zlib
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from seeder.admin.stream import MOST_OF_THE_TIME, PERIOD, EventStream
from seeder.ledger.report import Document


class Documents:
    """A document that counts how often it was made, each time taking `cost` seconds."""

    def __init__(self, cost: float = 0.0) -> None:
        self.cost = cost
        self.made_at: list[float] = []

    async def __call__(self) -> Document:
        await trio.sleep(self.cost)
        self.made_at.append(trio.current_time())
        return {"count": len(self.made_at), "same": ["x" * 100]}


def opened(documents: Documents, *, compressed: bool = False) -> EventStream:
    return EventStream(documents, compressed=compressed, closed=lambda _: None)


async def events(
    stream: EventStream, count: int, *, most: int = 10**6, compressed: bool = False
) -> list[Any]:
    """Read events as a client does that takes at most `most` bytes at a time."""
    raw, inflate = b"", zlib.decompressobj(wbits=31)
    while raw.count(b"\n\n") < count:
        [view] = await stream.offer()
        some = bytes(view[:most])
        stream.took(len(some))
        raw += inflate.decompress(some) if compressed else some
    return [json.loads(event.removeprefix(b"data: ")) for event in raw.split(b"\n\n")[:-1]]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("most", [1, 7, 10**6])
async def test_the_whole_comes_first_and_then_the_changes(
    autojump_clock: MockClock, *, compressed: bool, most: int
) -> None:
    stream = opened(Documents(), compressed=compressed)
    whole, *deltas = await events(stream, 3, most=most, compressed=compressed)
    assert whole == {"whole": {"count": 1, "same": ["x" * 100]}}
    assert deltas == [{"delta": {"count": [2]}}, {"delta": {"count": [3]}}]


async def test_an_event_comes_every_two_seconds_and_the_first_at_once(
    autojump_clock: MockClock,
) -> None:
    documents, begin = Documents(), trio.current_time()
    await events(opened(documents), 3)
    assert [at - begin for at in documents.made_at] == pytest.approx([0, PERIOD, 2 * PERIOD])


async def test_documents_that_take_long_are_made_more_seldom(autojump_clock: MockClock) -> None:
    documents = Documents(cost=1.0)
    told = await events(opened(documents), 3)
    # The page knows by that how long to wait.
    assert [event["pause"] for event in told] == pytest.approx([1 / MOST_OF_THE_TIME] * 3)
    first, second, third = documents.made_at
    assert second - first == pytest.approx(1 / MOST_OF_THE_TIME + 1)
    assert third - second == pytest.approx(1 / MOST_OF_THE_TIME + 1)
