"""Entries that come, change and go one by one: as if all had been applied anew."""

import random
import time
from collections.abc import Iterable

import pytest
import trio

from seeder.config.added import name_of
from seeder.config.objects import ObjectSettings
from seeder.publish.entries import Entries
from seeder.publish.keeper import Keeper
from seeder.publish.serving import WITHDRAWN
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.publish.support import World
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer

KEYS = ("a", "d/a", "d/b", "d/x/a", "d/x/b", "d/y")


def entry(**more: object) -> ObjectSettings:
    wanted = {"bucket": "bucket", "refresh": 600.0, "metainfo": ("build",)}
    return ObjectSettings.model_validate(wanted | more)


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({key: key.encode() * 70_000 for key in KEYS})
    faults.default = server.serve
    return server


def expected(entries: Iterable[ObjectSettings]) -> dict[ObjectRef, ObjectSettings]:
    known = Entries(entries)
    wanted = dict(known.objects)
    for key in KEYS:
        ref = ObjectRef("default", "bucket", key)
        prefix = known.prefix_of(ref)
        if prefix is not None:
            wanted[ref] = known.prefixes[prefix]
    return wanted


def published(world: World) -> dict[ObjectRef, ObjectSettings | None]:
    return {each.ref: world.publisher.settings_of(each.ref) for each in world.catalog}


async def until_published(world: World, entries: Iterable[ObjectSettings]) -> None:
    wanted = expected(entries)
    await world.until_all(lambda: published(world) == wanted)
    await world.until_all(lambda: all(each.state is State.SERVING for each in world.catalog))


POOL = [
    entry(key="d/a"),
    entry(key="d/a", refresh=60.0),
    entry(key="d/x/a"),
    entry(key="d/x/a", private=True),
    entry(prefix=""),
    entry(prefix="d/"),
    entry(prefix="d/", refresh=60.0),
    entry(prefix="d/x/"),
    entry(prefix="d/x/", bundle=True),
]


@pytest.mark.parametrize("seed", range(4))
async def test_it_is_as_if_all_were_applied(world: World, seed: int) -> None:
    rng, now = random.Random(seed), dict[object, ObjectSettings]()
    for _ in range(12):
        each = rng.choice(POOL)
        if now.get(name_of(each)) == each:
            del now[name_of(each)]
            await world.publisher.drop(name_of(each))
        else:
            now[name_of(each)] = each
            await world.publisher.put(each)
        await until_published(world, now.values())
    listed = world.server.requests["LIST"]
    await world.publisher.apply(now.values())
    await until_published(world, now.values())
    assert world.server.requests["LIST"] >= listed


async def test_another_entry_touches_no_other(world: World) -> None:
    entries = [entry(prefix="d/"), entry(key="a")]
    await world.publisher.apply(entries)
    await until_published(world, entries)
    world.server.requests.clear()
    live, asked = len(world.audience.live), entry(key="missing")
    await world.publisher.put(asked)
    await world.until("missing", State.FAILED)
    await world.publisher.drop(name_of(asked))
    await world.until_all(lambda: len(world.catalog.publications) == 5 + 1)
    assert (len(world.audience.live), world.audience.gone) == (live, [])
    assert world.server.requests["LIST"] == 0


async def test_who_leaves_its_entry_to_a_prefix_keeps_its_torrent(world: World) -> None:
    entries = [entry(prefix="d/"), entry(key="d/a")]
    await world.publisher.apply(entries)
    await until_published(world, entries)
    torrent = world.publication("d/a").torrent
    world.server.requests.clear()
    await world.publisher.drop(name_of(entries[1]))
    await until_published(world, entries[:1])
    assert world.publication("d/a").torrent is torrent
    await world.publisher.put(entries[1])
    await until_published(world, entries)
    assert world.publication("d/a").torrent is torrent
    assert (world.server.requests["LIST"], world.audience.gone) == (0, [])


@pytest.mark.parametrize("below", ["d/", ""])
async def test_a_bundle_that_leaves_its_objects_to_a_prefix_is_no_object(
    world: World, below: str
) -> None:
    bundle, prefix = entry(prefix="d/", bundle=True), entry(prefix=below)
    asked = world.server.requests
    for way in ("reload", "one by one"):
        await world.publisher.apply([bundle])
        await world.until("d/", State.SERVING)
        if way == "reload":
            await world.publisher.apply([prefix])
        else:
            await world.publisher.put(prefix)
            await world.publisher.drop(name_of(bundle))
        assert bundle.ref not in world.catalog.publications
        await until_published(world, [prefix])
    assert asked["HEAD d/"] == 0


async def test_a_missing_object_that_leaves_its_entry_is_found_by_its_prefix(world: World) -> None:
    entries = [entry(prefix="d/"), entry(key="d/new")]
    await world.publisher.apply(entries)
    await world.until("d/new", State.FAILED)
    world.server.objects["d/new"] = b"new" * 1000
    await world.publisher.drop(name_of(entries[1]))
    await world.until_all(lambda: world.catalog.by_name("bucket", "d/new") is not None)
    await world.until("d/new", State.SERVING)
    assert world.publisher.settings_of(world.publication("d/new").ref) == entries[0]


async def test_who_is_dropped_is_told_why(world: World) -> None:
    await world.publisher.put(entry(key="a"))
    torrent = (await world.until("a", State.SERVING)).torrent
    await world.publisher.drop(name_of(entry(key="a")))
    assert world.audience.gone == [(torrent, WITHDRAWN)]
    assert published(world) == {}


async def test_a_listing_under_way_takes_nothing_from_a_new_entry(world: World) -> None:
    entries = [entry(prefix="d/")]
    await world.publisher.apply(entries)
    await until_published(world, entries)
    held, began = trio.Event(), trio.Event()

    world.server.objects["d/z"] = b"z" * 1000
    listing = world.publisher.prefixes.rounds_of(entries[0].ref)
    assert listing is not None
    look = listing._maker.list_below  # type: ignore[attr-defined]

    async def slow(*args: object) -> object:
        found = await look(*args)
        began.set()
        await held.wait()
        return found

    listing._maker.list_below = slow  # type: ignore[attr-defined]
    assert world.publisher.refresh(name_of(entries[0]))
    await began.wait()
    entries.append(entry(key="d/z", refresh=60.0))
    await world.publisher.put(entries[1])
    held.set()
    await world.until("d/z", State.SERVING)
    await world.until_all(lambda: entries[0].ref not in world.catalog.unlisted)
    assert world.publisher.settings_of(world.publication("d/z").ref) == entries[1]
    assert "d/z" not in world.publisher.prefixes.objects_below(entries[0].ref)


async def test_an_object_is_looked_at_when_asked_for(world: World) -> None:
    entries = [entry(key="a"), entry(prefix="d/")]
    await world.publisher.apply(entries)
    await until_published(world, entries)
    before = [world.publication(key).torrent for key in ("a", "d/a")]
    for key in ("a", "d/a"):
        world.server.objects[key] = b"another" * 10_000
        assert world.publisher.refresh(name_of(entry(key=key)))
    await world.until_all(
        lambda: not {world.publication(key).torrent for key in ("a", "d/a")} & {None, *before}
    )
    assert not world.publisher.refresh(name_of(entry(key="nobody")))


async def test_a_shorter_refresh_counts_from_the_change_on(
    world: World, server: ObjectsServer
) -> None:
    before = entry(key="d/a", refresh=30 * 86_400.0)
    await world.publisher.apply([before])
    await until_published(world, [before])
    ref = ObjectRef("default", "bucket", "d/a")
    rounds = world.publisher.rounds_of(ref)
    assert rounds is not None
    await world.until_all(lambda: not rounds.is_due)
    began_at = rounds.looked.began_at
    await world.publisher.apply([entry(key="d/a", refresh=0.05)])
    await world.until_all(lambda: rounds.looked.began_at != began_at)
    assert world.publisher.rounds_of(ref) is rounds


async def test_a_fault_of_ours_with_one_entry_keeps_no_other_from_being_published(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin, release = Keeper.begin, Keeper._release

    def refuse(keeper: Keeper) -> None:
        if keeper.wanted.ref.key == "d/a":
            raise OverflowError("ours")

    def begin_or_fail(keeper: Keeper, crowd: int) -> None:
        refuse(keeper)
        begin(keeper, crowd)

    def release_or_fail(keeper: Keeper, crowd: int) -> None:
        refuse(keeper)
        release(keeper, crowd)

    monkeypatch.setattr(Keeper, "begin", begin_or_fail)
    await world.publisher.apply([entry(key="d/a"), entry(key="d/b")])
    await world.publisher.put(entry(key="d/y"))
    monkeypatch.setattr(Keeper, "begin", begin)
    monkeypatch.setattr(Keeper, "_release", release_or_fail)
    soon = time.time() + 1
    for key in ("d/a", "a"):
        await world.publisher.put(entry(key=key, publish_at=soon, refresh=500.0))
    states = {"d/a": State.FAILED, "a": State.SERVING, "d/b": State.SERVING, "d/y": State.SERVING}
    await world.until_all(lambda: {each.ref.key: each.state for each in world.catalog} == states)
    assert caplog.text.count("bucket/d/a: internal error") == 2
