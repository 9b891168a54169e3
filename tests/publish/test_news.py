"""News of objects hurry what would be found anyway, and cost little."""

import pytest
import trio

from seeder.config.added import EntryName
from seeder.config.objects import ObjectSettings
from seeder.publish import news as news_module
from seeder.publish.news import BURST, CROWD
from seeder.publish.prefix import Prefix
from seeder.publish.serving import DELETED
from seeder.s3.notifications import News
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.publish.support import World, settings
from tests.s3.fault_server import FaultServer
from tests.s3.fault_server import error as refusal
from tests.s3.objects_server import ObjectsServer

KEYS = [f"d/{number}" for number in range(3)]
HOUR = 3600.0


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({key: key.encode() * 20_000 for key in KEYS})
    faults.default = server.serve
    return server


def below(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate(
        {"bucket": "bucket", "prefix": "d/", "refresh": HOUR, **more}
    )


def created(key: str, body: bytes | None = None) -> News:
    etag = None if body is None else ObjectsServer.etag(body).strip('"')
    return News("bucket", key, etag=etag, size=None if body is None else len(body))


def serving(world: World) -> list[str]:
    return sorted(each.ref.key for each in world.catalog if each.state is State.SERVING)


async def followed(world: World, **more: object) -> Prefix:
    await world.publisher.apply([below(**more)])
    [prefix] = world.publisher.prefixes
    await world.until_all(lambda: prefix.listed_at is not None and serving(world) == KEYS)
    world.server.requests.clear()
    return prefix


async def quiet(world: World) -> None:
    """Wait until all that was heard is settled."""
    desk = world.publisher.news
    await world.until_all(lambda: not desk._waiting and not desk._asked)


async def test_a_new_object_is_served_at_once_though_the_listing_is_far(world: World) -> None:
    await followed(world)
    world.server.objects["d/new"] = b"new" * 10_000
    heard = world.publisher.news.hear("default", created("d/new"))
    assert heard == "asked"
    assert world.publisher.news.is_busy_with("default", created("d/new"))
    await world.until_all(lambda: serving(world) == [*KEYS, "d/new"])
    assert not world.publisher.news.is_busy_with("default", created("d/new"))
    assert world.server.requests["LIST"] == 0
    [prefix] = world.publisher.prefixes
    assert "d/new" in prefix.objects


NAME = EntryName(ObjectRef("default", "bucket", KEYS[0]), False)


async def test_a_look_that_was_asked_for_below_a_prefix_is_noted_though_nothing_is_new(
    world: World,
) -> None:
    await followed(world)
    publisher = world.publisher
    assert publisher.refresh(NAME)
    asked_at = publisher.looked(NAME).asked_at
    assert asked_at is not None
    assert (publisher.looked(NAME).began_at or 0.0) < asked_at
    await world.until_all(lambda: (publisher.looked(NAME).began_at or 0.0) >= asked_at)
    assert publisher.looked(NAME).fault is None
    assert world.server.requests == {f"HEAD {KEYS[0]}": 1}


async def test_a_look_below_a_prefix_that_finds_something_is_over_with_the_object_s_round(
    world: World,
) -> None:
    await followed(world)
    publisher = world.publisher
    world.server.objects[KEYS[0]] = b"another" * 10_000
    before = world.publication(KEYS[0]).torrent
    publisher.refresh(NAME)
    asked_at = publisher.looked(NAME).asked_at or 0.0
    await world.until_all(lambda: (publisher.looked(NAME).began_at or 0.0) >= asked_at)
    assert world.publication(KEYS[0]).torrent not in (None, before)


async def test_a_look_below_a_prefix_that_fails_says_why(world: World, faults: FaultServer) -> None:
    await followed(world)
    faults.default = refusal(403, "AccessDenied")
    world.publisher.refresh(NAME)
    await world.until_all(lambda: world.publisher.looked(NAME).fault is not None)
    assert "403" in (world.publisher.looked(NAME).fault or "")
    assert serving(world) == KEYS


async def test_a_changed_object_is_replaced_and_a_removed_one_goes(world: World) -> None:
    await followed(world)
    world.server.objects["d/0"] = b"another" * 10_000
    del world.server.objects["d/1"]
    assert world.publisher.news.hear("default", created("d/0")) == "asked"
    assert world.publisher.news.hear("default", News("bucket", "d/1", removed=True)) == "asked"
    await world.until_all(lambda: serving(world) == ["d/0", "d/2"])
    await world.until_all(lambda: world.publication("d/0").pinned is not None)
    reasons = [reason for _, reason in world.audience.away]
    assert reasons == [DELETED]
    assert world.server.requests["LIST"] == 0


async def test_a_removal_that_is_not_true_costs_one_head_and_changes_nothing(world: World) -> None:
    await followed(world)
    for _ in range(2):
        world.publisher.news.hear("default", News("bucket", "d/1", removed=True))
    await quiet(world)
    assert world.server.requests == {"HEAD d/1": 1}
    assert serving(world) == KEYS
    assert world.audience.away == world.audience.gone == []


async def test_what_is_forged_costs_one_head(world: World) -> None:
    await followed(world)
    assert world.publisher.news.hear("default", created("d/none")) == "asked"
    await quiet(world)
    assert world.server.requests.total() <= 2  # a HEAD, and the GET that explains its 404
    assert world.server.requests["LIST"] == 0
    assert serving(world) == KEYS


@pytest.mark.parametrize(
    ("news", "heard"),
    [
        (created(KEYS[0], KEYS[0].encode() * 20_000), "known"),
        (News("bucket", "d/none", removed=True), "known"),
        (created("elsewhere/key"), "ignored"),
        (News("other", KEYS[0]), "ignored"),
        (created(f"{KEYS[0]}.torrent"), "ignored"),
    ],
)
async def test_what_is_known_or_not_ours_costs_nothing(
    world: World, news: News, heard: str
) -> None:
    await followed(world)
    assert world.publisher.news.hear("default", news) == heard
    assert world.publisher.news.hear("another", news) == "ignored"
    await quiet(world)
    assert world.server.requests.total() == 0


async def test_an_object_with_an_entry_of_its_own_is_looked_at(world: World) -> None:
    await world.publisher.apply([settings(KEYS[0], refresh=HOUR)])
    await world.until(KEYS[0], State.SERVING)
    world.server.objects[KEYS[0]] = b"another" * 10_000
    before = world.publication(KEYS[0]).pinned
    assert world.publisher.news.hear("default", created(KEYS[0])) == "asked"
    await world.until_all(
        lambda: (
            world.publication(KEYS[0]).state is State.SERVING
            and world.publication(KEYS[0]).pinned != before
        )
    )


async def test_a_bundle_is_listed_once_for_many_news(world: World) -> None:
    await world.publisher.apply([below(bundle=True)])
    [bundle] = world.catalog
    await world.until_all(lambda: bundle.state is State.SERVING)
    first = bundle.torrent
    world.server.requests.clear()
    for number in range(50):
        world.server.objects[f"d/new{number}"] = b"new" * 1000
        assert world.publisher.news.hear("default", created(f"d/new{number}")) == "crowded"
    await world.until_all(lambda: bundle.state is State.SERVING and bundle.torrent is not first)
    assert world.server.requests["LIST"] == 1


async def test_a_crowd_costs_one_listing(world: World) -> None:
    await followed(world)
    for number in range(5 * CROWD):
        world.server.objects[f"d/new{number:04}"] = b"%d" % number * 1000
    heard = {
        world.publisher.news.hear("default", created(f"d/new{number:04}"))
        for number in range(5 * CROWD)
    }
    assert heard == {"asked", "crowded"}
    [prefix] = world.publisher.prefixes
    await world.until_all(lambda: len(prefix.objects) == 3 + 5 * CROWD)
    assert world.server.requests["LIST"] == 1


async def test_news_of_one_key_again_and_again_are_limited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "RATE", 0.001)
    await followed(world)
    desk = world.publisher.news
    for _ in range(int(BURST)):
        desk.hear("default", News("bucket", "d/1", removed=True))
        await quiet(world)
    before = world.server.requests.total()
    assert before == BURST
    desk.hear("default", News("bucket", "d/1", removed=True))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert world.server.requests.total() == before


async def test_what_was_heard_during_a_listing_is_newer_than_that(world: World) -> None:
    prefix = await followed(world)
    lock = world.publisher._keepers.lock
    async with lock:  # the listing has come, and waits to be taken in
        follower = world.publisher.prefixes.rounds_of(prefix.ref)
        assert follower is not None
        follower.wake()
        await world.until_all(lambda: lock.statistics().tasks_waiting == 1)
        world.server.objects["d/new"] = b"new" * 10_000
        del world.server.objects["d/1"]
        world.publisher.news.hear("default", created("d/new"))
        world.publisher.news.hear("default", News("bucket", "d/1", removed=True))
        await world.until_all(lambda: lock.statistics().tasks_waiting == 3)
    await world.until_all(lambda: serving(world) == ["d/0", "d/2", "d/new"])
    assert [each for each, _ in world.audience.gone] == []
    assert prefix.reason is None


async def test_news_that_come_first_are_not_lost_to_a_listing_that_is_older(
    world: World, server: ObjectsServer
) -> None:
    prefix = await followed(world)
    server.unlisted.add("d/new")  # the page was made before it was there
    server.objects["d/new"] = b"new" * 10_000
    server.gate = None
    follower = world.publisher.prefixes.rounds_of(prefix.ref)
    assert follower is not None
    lock = world.publisher._keepers.lock
    await lock.acquire()
    try:
        world.publisher.news.hear("default", created("d/new"))
        await world.until_all(lambda: lock.statistics().tasks_waiting == 1)
        follower.wake()
        await world.until_all(lambda: lock.statistics().tasks_waiting == 2)
    finally:
        lock.release()
    await world.until_all(lambda: "d/new" in serving(world))
    await world.until_all(lambda: server.requests["LIST"] == 1)
    await quiet(world)
    assert world.audience.gone == world.audience.away == []


async def test_more_objects_than_are_allowed_are_left_to_the_listing(world: World) -> None:
    prefix = await followed(world, max_objects=3)
    world.server.objects["d/new"] = b"new" * 10_000
    world.publisher.news.hear("default", created("d/new"))
    await world.until_all(lambda: "more than 3 objects" in str(prefix.reason))
    assert serving(world) == KEYS


async def test_an_s3_that_says_no_is_left_to_the_listing(world: World) -> None:
    prefix = await followed(world)
    world.server.objects["d/new"] = b"new" * 10_000
    world.server.refuse.add("d/new")
    world.publisher.news.hear("default", created("d/new"))
    await world.until_all(lambda: "d/new" in prefix.objects)
    assert world.server.requests["LIST"] == 1


async def test_a_torrent_that_is_heard_of_before_its_object_is_one_all_the_same(
    world: World,
) -> None:
    prefix = await followed(world)
    desk = world.publisher.news
    world.server.objects["d/new.torrent"] = b"a torrent" * 1000
    assert desk.hear("default", created("d/new.torrent")) == "asked"
    await world.until_all(lambda: serving(world) == [*KEYS, "d/new.torrent"])
    world.server.objects["d/new"] = b"new" * 10_000
    assert desk.hear("default", created("d/new")) == "asked"
    await world.until_all(lambda: serving(world) == [*KEYS, "d/new"])
    assert sorted(prefix.objects) == [*KEYS, "d/new"]
    assert world.server.requests["LIST"] == 0


async def test_a_torrent_that_is_heard_of_during_the_listing_of_its_object_is_no_object(
    world: World,
) -> None:
    prefix = await followed(world)
    lock, desk = world.publisher._keepers.lock, world.publisher.news
    world.server.objects["d/new.torrent"] = b"a torrent" * 1000
    follower = world.publisher.prefixes.rounds_of(prefix.ref)
    assert follower is not None
    async with lock:  # the listing has come, with the object, and waits behind the news
        desk.hear("default", created("d/new.torrent"))
        await world.until_all(lambda: lock.statistics().tasks_waiting == 1)
        world.server.objects["d/new"] = b"new" * 10_000
        follower.wake()
        await world.until_all(lambda: lock.statistics().tasks_waiting == 2)
    await world.until_all(lambda: serving(world) == [*KEYS, "d/new"])
    assert sorted(prefix.objects) == [*KEYS, "d/new"]


async def test_the_torrent_of_an_object_with_an_entry_of_its_own_is_no_object_of_the_prefix(
    world: World,
) -> None:
    await world.publisher.apply([below(), settings("d/0", refresh=HOUR)])
    await world.until_all(lambda: serving(world) == KEYS)
    world.server.objects["d/0.torrent"] = b"a torrent" * 1000
    assert world.publisher.news.hear("default", created("d/0.torrent")) == "ignored"
    await quiet(world)
    assert serving(world) == KEYS
