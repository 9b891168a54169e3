"""Objects whose time has not come: all is ready, nobody hears of them, and then they are there."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from seeder.config.objects import ObjectSettings
from seeder.publish import embargo, keeper
from seeder.publish.embargo import Embargoes, explain_embargoes, told
from seeder.publish.serving import WITHDRAWN
from seeder.s3.notifications import News
from seeder.torrent.publications import State
from tests.publish.support import World, make_world, settings
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

THEN = 1_800_036_000.0
"""2027-01-15T18:00:00Z."""


class Clock:
    def __init__(self) -> None:
        self.now = THEN - 1000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, clock: Clock
) -> AsyncIterator[World]:
    async with make_world(server, make_origin, tmp_path, clock) as world:
        yield world


def state(world: World, key: str = "key") -> State | None:
    found = [each for each in world.catalog if each.ref.key == key]
    return found[0].state if found else None


def ready(world: World, key: str = "key") -> bool:
    """Tell whether an object is embargoed, and its metainfo is made."""
    keeper = next(each for ref, each in world.publisher._keepers._keepers.items() if ref.key == key)
    record = keeper._metainfo.record
    return state(world, key) is State.EMBARGOED and record is not None and bool(record.outline)


async def until_served(world: World) -> None:
    await world.until_all(lambda: state(world) is State.SERVING)


def size_of(world: World) -> int | None:
    [publication] = world.catalog
    return None if publication.pinned is None else publication.pinned.size


def unheard_of(world: World, key: str = "key") -> bool:
    return (
        world.catalog.by_name("bucket", key) is None
        and not world.catalog.has_bucket("bucket")
        and not world.catalog.may_come("bucket", key)
        and world.catalog.live_count == 0
        and world.audience.live == []
    )


async def test_a_torrent_is_made_before_its_time_and_there_at_it(
    world: World, clock: Clock
) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN, metainfo=["build"])])
    assert unheard_of(world)
    assert not await world.publisher.is_loading()
    await world.until_all(lambda: ready(world))
    assert unheard_of(world)
    [publication] = world.catalog
    assert publication.reason == "it is published at 2027-01-15T18:00:00Z"
    kept = world.cache.statistics()
    assert kept.memory_pieces + kept.disk_pieces > 0, kept
    clock.now = THEN - 0.001
    world.server.requests.clear()
    clock.now = THEN
    await until_served(world)
    assert len(world.audience.live) == 1
    assert world.server.requests.total() == 0


async def test_a_clock_that_is_set_is_noticed_and_takes_nothing_back(
    world: World, clock: Clock
) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: ready(world))
    clock.now = THEN - 10_000_000  # back
    await world.publisher.apply([settings("key", publish_at=THEN)])
    assert unheard_of(world)
    clock.now = THEN + 10_000_000  # forth
    await until_served(world)
    clock.now = THEN - 1000
    await world.publisher.apply([settings("key", publish_at=THEN)])
    assert state(world) is State.SERVING


@pytest.mark.parametrize("late", [False, True])
async def test_a_restart_keeps_to_the_time(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path, clock: Clock, *, late: bool
) -> None:
    async with make_world(server, make_origin, tmp_path, clock) as world:
        await world.publisher.apply([settings("key", publish_at=THEN)])
        await world.until_all(lambda: ready(world))
    clock.now = THEN + 1 if late else THEN - 1
    server.body_bytes.clear()
    async with make_world(server, make_origin, tmp_path, clock) as world:
        await world.publisher.apply([settings("key", publish_at=THEN)])
        if late:
            assert state(world) is State.SERVING
            return
        await world.until_all(lambda: ready(world))
        assert unheard_of(world)
        clock.now = THEN
        await until_served(world)
    assert server.body_bytes.total() == 0


async def test_what_is_still_made_at_its_time_is_found_and_then_served(
    world: World, clock: Clock
) -> None:
    world.server.refuse.add("key")
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: state(world) is State.FAILED)
    assert unheard_of(world)
    clock.now = THEN
    await world.until_all(lambda: world.catalog.by_name("bucket", "key") is not None)
    world.server.refuse.clear()
    assert world.publisher.news.hear("default", News("bucket", "key")) == "asked"
    await until_served(world)


async def test_what_was_deleted_before_its_time_is_not_served_at_it(
    world: World, clock: Clock
) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: ready(world))
    body = world.server.objects.pop("key")
    world.publisher.news.hear("default", News("bucket", "key", removed=True))
    await world.until_all(lambda: state(world) is State.FAILED)
    world.server.requests.clear()
    clock.now = THEN
    await world.until_all(lambda: world.server.requests.total() > 0)
    assert world.audience.live == []
    world.server.objects["key"] = body
    world.publisher.news.hear("default", News("bucket", "key"))
    await until_served(world)


async def test_a_prefix_and_a_bundle_come_at_their_time(world: World, clock: Clock) -> None:
    def below(prefix: str, **more: object) -> ObjectSettings:
        return ObjectSettings.model_validate(
            {"bucket": "bucket", "prefix": prefix, "publish_at": THEN, **more}
        )

    body = world.server.objects["key"]
    world.server.objects = {"a/1": body, "a/2": body[1:], "b/1": body[2:], "b/2": body[3:]}
    await world.publisher.apply([below("a/"), below("b/", bundle=True)])
    assert not await world.publisher.is_loading()
    await world.until_all(
        lambda: (
            [each.state for each in world.catalog] == [State.EMBARGOED] * 3
            and all(ready(world, key) for key in ("a/1", "a/2", "b/"))
        )
    )
    for key in ("a/1", "a/2", "b/", "b/1"):
        assert unheard_of(world, key)
    assert world.catalog.bundle_to_come("bucket", "b/1") is None
    clock.now = THEN
    await world.until_all(lambda: [each.state for each in world.catalog] == [State.SERVING] * 3)
    assert list(world.catalog.bundles_with("bucket", "b/1")) != []


async def test_what_goes_before_its_time_was_never_there(world: World, clock: Clock) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: ready(world))
    await world.publisher.apply([])
    assert state(world) is None
    clock.now = THEN
    await world.publisher.apply([settings("key")])
    await until_served(world)
    assert world.audience.gone == world.audience.away == []


async def test_a_reload_takes_up_another_time(world: World, clock: Clock) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: ready(world))
    await world.publisher.apply([settings("key", publish_at=THEN + 50)])
    [publication] = world.catalog
    assert publication.reason == f"it is published at {told(THEN + 50)}"
    clock.now = THEN
    await world.publisher.apply([settings("key", publish_at=THEN + 100)])
    assert unheard_of(world)
    await world.publisher.apply([settings("key")])
    assert state(world) is State.SERVING
    # And back again.
    await world.publisher.apply([settings("key", publish_at=THEN + 100)])
    assert world.catalog.by_name("bucket", "key") is None
    assert world.catalog.live_count == 0
    assert [reason for _, reason in world.audience.gone] == [WITHDRAWN]


async def test_an_object_that_changes_before_its_time_comes_as_it_is_then(
    world: World, clock: Clock
) -> None:
    await world.publisher.apply([settings("key", publish_at=THEN)])
    await world.until_all(lambda: ready(world))
    world.server.objects["key"] = b"another" * 30_000
    world.publisher.news.hear("default", News("bucket", "key"))
    await world.until_all(lambda: ready(world) and size_of(world) == 210_000)
    clock.now = THEN
    await until_served(world)
    publication = world.publication("key")
    assert publication.torrent is not None
    assert publication.torrent.pinned.size == 210_000


async def test_a_crowd_is_told_in_one_line_and_dated_by_its_time(
    world: World,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for module in (embargo, keeper):
        monkeypatch.setattr(module, "MOST_LOGGED", 2)
    keys = [f"k{number}" for number in range(3)]
    world.server.objects |= {key: key.encode() * 30_000 for key in keys}
    entries = [settings(key, publish_at=THEN, metainfo=["build"]) for key in keys]
    await world.publisher.apply(entries)
    await world.until_all(lambda: all(ready(world, key) for key in keys))
    clock.now = THEN
    await world.until_all(lambda: all(state(world, key) is State.SERVING for key in keys))
    assert "3 objects are published now" in caplog.text
    assert ": serving " not in caplog.text
    assert {each.published for each in world.audience.live} == {int(THEN)}


def test_check_says_what_is_to_come() -> None:
    entries = [settings("a", publish_at=THEN), settings("b"), settings("c", publish_at=THEN - 9000)]
    assert list(explain_embargoes(entries, THEN - 7200)) == [
        "bucket/a: published at 2027-01-15T18:00:00Z, in 2 h"
    ]


class CountedTime(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        CountedTime.compared += 1
        return super().__lt__(other)

    def __le__(self, other: float) -> bool:
        CountedTime.compared += 1
        return super().__le__(other)


class Waiter:
    def __init__(self) -> None:
        self.crowd = 0

    def release(self, crowd: int = 1) -> None:
        self.crowd = crowd


async def test_twice_as_many_times_take_twice_as_many_comparisons(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    found = []
    for count in (1000, 2000):
        clock = Clock()
        clock.now = 0.0
        embargoes = Embargoes(clock)
        nursery.start_soon(embargoes.run)
        waiters = [Waiter() for _ in range(count)]
        CountedTime.compared = 0
        for number, each in enumerate(waiters):
            embargoes.add(each, CountedTime(2 * count - number))
            await trio.lowlevel.checkpoint()
        for due in range(count, 2 * count + 1, count // 10):
            clock.now = due
            await trio.sleep(2 * embargo.LOOK_EVERY)
        await trio.testing.wait_all_tasks_blocked()
        assert all(each.crowd == 1 for each in waiters)
        found.append(CountedTime.compared)
    assert found[1] < 2.5 * found[0], found


async def test_who_is_to_be_released_meanwhile_is_released_too_and_who_waits_no_more_is_not(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = Clock()
    clock.now = 5.0
    embargoes = Embargoes(clock)
    leaves, late, stays = Waiter(), Waiter(), Waiter()

    class First(Waiter):
        def release(self, crowd: int = 1) -> None:
            embargoes.forget(leaves)
            embargoes.add(late, 4.0)
            embargoes.add(stays, 6.0)

    for each in (First(), leaves, stays):
        embargoes.add(each, 4.0)
    nursery.start_soon(embargoes.run)
    await trio.sleep(embargo.LOOK_EVERY)
    assert (leaves.crowd, late.crowd, stays.crowd) == (0, 1, 0)
    clock.now = 7.0
    await trio.sleep(2 * embargo.LOOK_EVERY)
    assert stays.crowd == 1
