"""A queue is read: what is taken up is deleted, what isn't is kept from others."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from seeder.errors import AccessDenied, OriginUnreachable
from seeder.events import queues
from seeder.events.aside import Aside
from seeder.events.queues import HIDDEN, MOST_HELD, QueueReader
from seeder.s3.notifications import parse_notification
from seeder.s3.queues import QueueMessage
from tests.events.support import Ears, feed_of, kept


def message(key: str) -> str:
    place = {"bucket": {"name": "quotes"}, "object": {"key": key}}
    return json.dumps({"Records": [{"s3": place}]})


@dataclass
class Letters:
    """A queue in memory: what is neither deleted nor hidden comes again."""

    bodies: dict[str, str] = field(default_factory=dict)
    """By receipt."""
    hidden_until: dict[str, float] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    down: Exception | None = None
    locked: Exception | None = None
    """What deleting raises."""
    calls: int = 0

    async def receive(self, hidden: int) -> list[QueueMessage]:
        self.calls += 1
        if self.down is not None:
            await trio.lowlevel.checkpoint()
            raise type(self.down)(*self.down.args)
        now = trio.current_time()
        found = [each for each in self.bodies if self.hidden_until.get(each, 0.0) <= now][:10]
        if not found:
            await trio.sleep(20)
        for each in found:
            self.hidden_until[each] = now + hidden
        self.received += found
        return [QueueMessage(each, self.bodies[each]) for each in found]

    async def delete(self, receipts: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        if self.locked is not None:
            raise type(self.locked)(*self.locked.args)
        for each in receipts:
            self.bodies.pop(each, None)  # one that is gone already is no error

    async def hide(self, receipts: list[str], seconds: int) -> None:
        await trio.lowlevel.checkpoint()
        for each in receipts:
            self.hidden_until[each] = trio.current_time() + seconds


class AtOnce(Aside):
    """Writes without a thread, for which the clock of these tests wouldn't wait."""

    async def put(self, body: bytes | str) -> str:
        await trio.lowlevel.checkpoint()
        return self._put(body.encode() if isinstance(body, str) else body)


class Reading:
    def __init__(self, directory: Path) -> None:
        self.ears = Ears()
        self.letters = Letters()
        self.feed = feed_of(self.ears, directory)
        self.feed.aside = AtOnce(directory)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(QueueReader(self.letters, self.feed).run)
            yield
            nursery.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool], most: float = 60.0) -> None:
        with trio.fail_after(most):
            while not condition():  # noqa: ASYNC110  (what is waited for has no event)
                await trio.sleep(0.1)


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


async def test_what_is_taken_up_is_deleted(autojump_clock: MockClock, reading: Reading) -> None:
    reading.letters.bodies = {str(number): message(f"k{number}") for number in range(25)}
    async with reading.running():
        await reading.until(lambda: not reading.letters.bodies)
    assert reading.ears.keys == [f"k{number}" for number in range(25)]
    assert reading.feed.held == 0


async def test_what_is_still_made_is_kept_from_others_until_it_is_there(
    autojump_clock: MockClock, reading: Reading
) -> None:
    reading.letters.bodies = {"slow": message("slow"), "quick": message("quick")}
    reading.ears.busy.add("slow")
    async with reading.running():
        await trio.sleep(10 * HIDDEN)
        assert list(reading.letters.bodies) == ["slow"]
        assert reading.letters.received == ["slow", "quick"]
        assert reading.feed.held == 1
        reading.ears.busy.clear()
        await reading.until(lambda: not reading.letters.bodies)


async def test_who_dies_meanwhile_gets_it_again(
    autojump_clock: MockClock, reading: Reading
) -> None:
    reading.letters.bodies = {"1": message("key")}
    reading.ears.busy.add("key")
    for _ in range(2):
        async with reading.running():
            await trio.sleep(1.5 * HIDDEN)
        await trio.sleep(HIDDEN)
    assert reading.ears.keys == ["key", "key"]


async def test_a_poisoned_message_is_set_aside_and_never_comes_again(
    autojump_clock: MockClock, reading: Reading, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reading.letters.bodies = {"1": "poison", "2": message("key")}
    async with reading.running():
        await trio.sleep(10 * HIDDEN)
    assert reading.letters.bodies == {}
    assert reading.letters.received == ["1", "2"]
    assert kept(tmp_path) == {b"poison": 1}
    assert caplog.text.count("can't be read") == 1


async def test_a_message_with_a_bad_record_is_deleted_once_its_good_ones_are_taken_up(
    autojump_clock: MockClock, reading: Reading, tmp_path: Path
) -> None:
    [good] = json.loads(message("slow"))["Records"]
    reading.letters.bodies = {"1": json.dumps({"Records": ["poison", good]})}
    reading.ears.busy.add("slow")
    async with reading.running():
        await trio.sleep(3 * HIDDEN)
        assert reading.ears.keys == ["slow"]
        assert list(reading.letters.bodies) == ["1"]
        assert reading.letters.received == ["1"]
        reading.ears.busy.clear()
        await reading.until(lambda: not reading.letters.bodies)
    assert kept(tmp_path) == {b'{"Records": ["poison"]}': 1}


async def test_nothing_is_held_for_ever_or_without_bound(
    autojump_clock: MockClock, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "LONGEST_HELD", 300.0)
    count = MOST_HELD + 50
    reading.letters.bodies = {str(number): message("key") for number in range(count)}
    reading.ears.busy.add("key")
    async with reading.running():
        await reading.until(lambda: len(reading.letters.received) == count, 600)
        await reading.until(lambda: len(reading.letters.bodies) == MOST_HELD)
        await trio.sleep(300)
        await reading.until(lambda: not reading.letters.bodies)


@pytest.mark.parametrize("error", [OriginUnreachable("it is away"), AccessDenied("allow sqs:...")])
async def test_a_queue_that_gives_nothing_is_asked_ever_more_seldom_and_said_once(
    autojump_clock: MockClock, reading: Reading, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    reading.letters.down = error
    async with reading.running():
        await trio.sleep(600)
        assert reading.letters.calls < 20
        assert reading.feed.fault == str(error)
        assert caplog.text.count(str(error)) == 1
        reading.letters.down = None
        reading.letters.bodies = {"1": message("key")}
        await reading.until(lambda: not reading.letters.bodies, 120)
        assert reading.feed.fault is None


async def test_messages_that_may_not_be_deleted_are_said_once(
    autojump_clock: MockClock, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    reading.letters.locked = AccessDenied("allow sqs:DeleteMessage")
    reading.letters.bodies = {"1": message("key")}
    async with reading.running():
        await trio.sleep(1200)
        assert reading.feed.fault == "allow sqs:DeleteMessage"
    assert caplog.text.count("allow sqs:DeleteMessage") == 1


async def test_messages_that_may_not_be_deleted_are_not_held_without_bound(
    autojump_clock: MockClock, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_HELD", 20)
    reading.letters.locked = AccessDenied("allow sqs:DeleteMessage")
    reading.letters.bodies = {str(number): message("key") for number in range(50)}
    async with reading.running():
        await trio.sleep(20 * HIDDEN)  # they come again and again
        assert len(reading.letters.received) > 500
        assert reading.feed.held <= 20 + 50
        reading.letters.locked = None
        await reading.until(lambda: not reading.letters.bodies, 10 * HIDDEN)


async def test_an_empty_queue_that_lets_nobody_wait_is_asked_once_a_second(
    autojump_clock: MockClock, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(hidden: int) -> list[QueueMessage]:
        reading.letters.calls += 1
        return []

    monkeypatch.setattr(reading.letters, "receive", nothing)
    async with reading.running():
        await trio.sleep(30.5)
    assert reading.letters.calls <= 31


async def test_a_fault_of_ours_with_one_message_holds_up_no_other(
    autojump_clock: MockClock,
    reading: Reading,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    parse = parse_notification

    def fail_once(body: bytes | str) -> object:
        if "odd" in str(body):
            raise KeyError("a bug")
        return parse(body)

    def is_busy(origin: str, news: object) -> bool:
        raise KeyError("another bug")

    monkeypatch.setattr("seeder.events.feed.parse_notification", fail_once)
    monkeypatch.setattr(reading.ears, "is_busy_with", is_busy)
    reading.letters.bodies = {"1": message("odd"), "2": message("key")}
    async with reading.running():
        await reading.until(lambda: not reading.letters.bodies)
    assert reading.ears.keys == ["key"]
    assert kept(tmp_path) == {message("odd").encode(): 1}
    assert caplog.text.count("events uploads: internal error") == 2


@pytest.mark.parametrize("what", ["down", "locked"])
async def test_a_queue_that_answers_what_nobody_foresaw_is_read_again(
    what: str, autojump_clock: MockClock, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    setattr(reading.letters, what, KeyError("a bug"))
    reading.letters.bodies = {"1": message("key")}
    async with reading.running():
        await reading.until(lambda: "internal error" in caplog.text)
        setattr(reading.letters, what, None)
        await reading.until(lambda: not reading.letters.bodies)
    assert reading.ears.keys == ["key"]
