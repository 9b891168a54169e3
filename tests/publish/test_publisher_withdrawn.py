"""What is withdrawn in the very moment in which its round goes on: it says nothing any more."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from seeder.config.added import name_of
from seeder.config.objects import ObjectSettings
from seeder.publish.makers import Maker
from seeder.publish.serving import WITHDRAWN
from seeder.s3.notifications import News
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.metainfo.support import BODY
from tests.publish.support import World, served, settings
from tests.s3.objects_server import ObjectsServer

REF = ObjectRef("default", "bucket", "key")
BELOW = ObjectSettings(bucket="bucket", prefix="d/", metainfo=("build",))


def then(monkeypatch: pytest.MonkeyPatch, method: str, act: Callable[[], None]) -> trio.Event:
    """Have `act` done once, between the end of a maker's method and whoever waits for that.

    So it is when a task that ends something runs in the same pass of the loop, before the other
    one: trio doesn't cancel what is due already.
    """
    done, whole = trio.Event(), getattr(Maker, method)

    async def patched(*args: Any, **options: Any) -> Any:
        found = await whole(*args, **options)
        if not done.is_set():
            act()
            done.set()
        return found

    monkeypatch.setattr(Maker, method, patched)
    return done


def agree(world: World) -> None:
    """Check that what is served is what is published."""
    live = {each.info_hash for each in world.catalog._live.values()}
    published = {each.torrent.info_hash for each in world.catalog if each.torrent is not None}
    assert live == published


@pytest.mark.parametrize("method", ["look", "obtain"])
@pytest.mark.parametrize("publish_at", [None, 4e9])
async def test_no_torrent_comes_of_what_was_withdrawn(
    world: World,
    server: ObjectsServer,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    publish_at: float | None,
) -> None:
    server.objects["other"] = BODY[::-1]
    other = settings("other", metainfo=("build",))
    await world.publisher.apply([other])
    await world.until("other", State.SERVING)
    entry = settings("key", metainfo=("build",)).model_copy(update={"publish_at": publish_at})
    done = then(monkeypatch, method, lambda: world.publisher._keepers._withdraw(REF, WITHDRAWN))
    await world.publisher.put(entry)
    with trio.fail_after(60):
        await done.wait()
    await wait_all_tasks_blocked(0.01)
    assert [each.ref.key for each in world.catalog] == ["other"]
    assert len(world.audience.live) == 1
    assert not world.publisher._timetable.embargoes._waiting
    agree(world)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        *(("look", "nothing"), ("look", "etag"), ("look", "bytes")),
        *(("begin", "bytes"), ("obtain", "etag"), ("adopt", "etag")),
    ],
)
async def test_who_takes_its_place_is_left_alone(
    world: World,
    server: ObjectsServer,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    change: str,
) -> None:
    torrent = await served(world, metainfo=("build",))
    entry = settings("key", metainfo=("build",))

    def again() -> None:
        keepers = world.publisher._keepers
        wanted, before = keepers._keepers[REF].wanted, keepers._keepers[REF]
        record = before._current.record
        keepers._withdraw(REF, WITHDRAWN)
        keepers._add(wanted, record, 1)

    done = then(monkeypatch, method, again)
    if change == "bytes":
        server.objects["key"] = BODY[::-1] + b"more"
    elif change == "etag":
        server.etags["key"] = '"other"'
    world.publisher.refresh(name_of(entry))
    with trio.fail_after(60):
        await done.wait()
    await world.until("key", State.SERVING)
    await wait_all_tasks_blocked(0.01)
    agree(world)
    if change != "bytes":
        assert world.catalog.by_hash(torrent.info_hash) is not None


async def test_an_object_that_is_asked_about_while_its_prefix_goes_is_not_published(
    world: World, server: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publisher.apply([BELOW])
    await world.until_all(lambda: all(each.listed_at for each in world.publisher.prefixes))
    server.objects["d/new"] = BODY
    gate = trio.Event()
    look = Maker.look

    async def slow(*args: Any, **options: Any) -> Any:
        found = await look(*args, **options)
        await gate.wait()
        return found

    monkeypatch.setattr(Maker, "look", slow)
    assert world.publisher.news.hear("default", News("bucket", "d/new")) == "asked"
    await world.until_all(lambda: server.requests["HEAD d/new"] == 1)
    await world.publisher.drop(name_of(BELOW))
    gate.set()
    await wait_all_tasks_blocked(0.02)
    assert list(world.catalog) == []


async def test_news_of_a_prefix_that_is_only_just_followed_are_heard(
    world: World, server: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects["d/new"] = BODY
    heard = []
    follow: Callable[..., Awaitable[None]] = world.publisher.prefixes._follow

    async def hear_first(*args: Any) -> None:
        heard.append(world.publisher.news.hear("default", News("bucket", "d/new")))
        await follow(*args)

    monkeypatch.setattr(world.publisher.prefixes, "_follow", hear_first)
    await world.publisher.put(BELOW)
    await world.until_all(lambda: world.catalog.by_name("bucket", "d/new") is not None)
    assert heard == ["asked"]
