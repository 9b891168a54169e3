"""Prefixes: found by listing, followed as objects come, change and go, and left alone otherwise."""

import logging
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seeder.config.objects import ObjectSettings
from seeder.publish.entries import Entries
from seeder.publish.follower import EMPTY, compare
from seeder.publish.prefix import Prefix, PrefixState
from seeder.publish.serving import DELETED, REPLACED, WITHDRAWN
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.cache.fakes import drop_pieces, get_piece
from tests.publish.support import SPENT, World, make_world, settings
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

NAMES = ("a", "b", "c")
QUICK = 0.01


def below(prefix: str = "d/", **more: object) -> ObjectSettings:
    wanted = {"bucket": "bucket", "prefix": prefix, "refresh": 600.0, "metainfo": ("build",)}
    return ObjectSettings.model_validate(wanted | more)


def body(name: str) -> bytes:
    return name.encode() * 70_000


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({f"d/{name}": body(name) for name in NAMES} | {"else": b"x"}, page=2)
    faults.default = server.serve
    return server


def states(world: World) -> dict[str, State]:
    return {publication.ref.key: publication.state for publication in world.catalog}


def followed(world: World) -> Prefix:
    [prefix] = world.publisher.prefixes
    return prefix


async def until_served(world: World, *names: str) -> None:
    """Wait until exactly these objects below d/ are published, and served."""
    wanted = {f"d/{name}": State.SERVING for name in names}
    await world.until_all(lambda: states(world) == wanted)


async def test_every_object_below_a_prefix_gets_a_torrent_of_its_own(world: World) -> None:
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    assert world.server.requests["LIST"] == 2  # of pages of two
    assert followed(world).document() == {
        "origin": "default",
        "bucket": "bucket",
        "prefix": "d/",
        "state": "followed",
        "reason": None,
        "objects": 3,
        "bytes": 210_000,
        "listed_at": followed(world).listed_at,
        "left_out": [],
    }
    # Listings are nobody's in particular, and counted.
    listed = world.ledger.unattributed.counters
    assert listed.origin_requests_metainfo == 2
    assert listed.origin_bytes_metainfo > 0


async def test_who_has_nothing_to_wait_for_has_no_task(world: World) -> None:
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    tasks = trio.lowlevel.current_statistics().tasks_living
    await world.publisher.apply([])
    await trio.testing.wait_all_tasks_blocked()
    # That of the prefix.
    assert trio.lowlevel.current_statistics().tasks_living == tasks - 1


async def test_objects_come_change_and_go_and_the_rest_costs_nothing(world: World) -> None:
    await world.publisher.apply([below(refresh=QUICK)])
    await until_served(world, *NAMES)
    old = {name: world.publication(f"d/{name}").torrent for name in NAMES}
    world.server.requests.clear()
    objects = world.server.objects
    objects["d/b"] = body("x")
    await world.until_all(lambda: (old["b"], REPLACED) in world.audience.gone)
    objects["d/new"] = body("n")
    del objects["d/c"]
    await until_served(world, "a", "b", "new")
    assert world.audience.away == [(old["c"], DELETED)]
    assert world.audience.gone == [(old["b"], REPLACED)]
    assert world.publication("d/a").torrent is old["a"]
    asked = {name for name in world.server.requests if name.startswith("HEAD")}
    assert asked == {"HEAD d/b", "HEAD d/c", "HEAD d/new"}
    assert world.server.requests["HEAD d/new"] == 1


async def test_a_change_met_by_a_read_is_not_waited_for(world: World) -> None:
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    old = world.publication("d/a").torrent
    assert old is not None
    world.server.objects["d/a"] = body("x")
    await drop_pieces(world.cache, old.cache_id)
    with pytest.raises(Exception, match="replaced"):
        await get_piece(world.cache, old, 0)
    await world.until_all(lambda: len(world.audience.live) == 4)
    assert world.audience.gone == [(old, REPLACED)]


async def test_a_start_without_s3_serves_what_is_known(
    world: World,
    server: ObjectsServer,
    make_origin: MakeOrigin,
    faults: FaultServer,
    tmp_path: Path,
) -> None:
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    await world.publisher.apply([])

    async def vanish(seen: object, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    faults.default = vanish
    other = tmp_path / "restarted"
    other.mkdir()
    for name in ("metainfo", "listings"):
        (tmp_path / name).rename(other / name)
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply([below(refresh=QUICK)])
        assert states(again) == {f"d/{name}": State.SERVING for name in NAMES}
        await again.until_all(lambda: followed(again).reason is not None)
        assert followed(again).state is PrefixState.WAITING
        # What came since the last listing isn't known yet.
        assert again.catalog.may_come("bucket", "d/new")
        assert not again.catalog.may_come("bucket", "else")
        server.requests.clear()
        faults.default = server.serve
        await again.until_all(lambda: followed(again).state is PrefixState.FOLLOWED)
        assert states(again) == {f"d/{name}": State.SERVING for name in NAMES}
        assert not again.catalog.may_come("bucket", "d/new")
        # Nothing has changed meanwhile, and the listing says so.
        assert {name for name in server.requests if name != "LIST"} == set()


async def test_what_changed_while_nobody_looked_is_looked_at_after_a_start(
    world: World, server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> None:
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    other = tmp_path / "restarted"
    other.mkdir()
    for name in ("metainfo", "listings"):
        (tmp_path / name).rename(other / name)
    server.objects["d/a"] = body("x")
    async with make_world(server, make_origin, other) as again:
        # Not even a stop between the listing and the look hides it.
        [listings] = (other / "listings").iterdir()
        old, new = server.etag(body("a")), server.etag(body("x"))
        text = listings.read_text()
        listings.write_text(text.replace(old.strip('"'), new.strip('"')))
        await again.publisher.apply([below()])
        await again.until_all(lambda: len(again.audience.live) == 4)
        assert [reason for _, reason in again.audience.gone] == [REPLACED]


async def test_a_listing_that_fails_half_way_leaves_the_catalog_as_it_was(world: World) -> None:
    await world.publisher.apply([below(refresh=QUICK)])
    await until_served(world, *NAMES)
    world.server.broken_pages = {1}
    world.server.objects |= {"d/0": b"first", "d/z": b"last"}
    del world.server.objects["d/a"]
    await world.until_all(lambda: followed(world).state is PrefixState.FAILED)
    assert "s3:ListBucket" in str(followed(world).reason)
    assert states(world) == {f"d/{name}": State.SERVING for name in NAMES}
    world.server.broken_pages = set()
    await until_served(world, "0", "b", "c", "z")
    assert followed(world).reason is None


async def test_of_a_prefix_with_too_many_objects_none_is_published(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.objects |= {f"d/{number}": b"x" for number in range(20)}
    await world.publisher.apply([below(max_objects=4, refresh=QUICK)])
    await world.until_all(lambda: world.server.requests["LIST"] > 6)
    assert states(world) == {}
    prefix = followed(world)
    assert prefix.state is PrefixState.FAILED
    assert prefix.reason == (
        "bucket/d/: has more than 4 objects, and none of them is published anew; raise"
        " max_objects, or name longer prefixes"
    )
    # It is said once, and no more pages are read than it takes to know.
    told = [each for each in caplog.records if each.name == "seeder.publish.rounds"]
    assert [each.levelno for each in told] == [logging.ERROR]
    await world.publisher.apply([below(max_objects=23, refresh=QUICK)])
    await world.until_all(lambda: len(states(world)) == 23)


async def test_a_prefix_that_grows_beyond_its_limit_keeps_what_it_has(world: World) -> None:
    await world.publisher.apply([below(max_objects=3, refresh=QUICK)])
    await until_served(world, *NAMES)
    world.server.objects["d/d"] = body("d")
    await world.until_all(lambda: followed(world).state is PrefixState.FAILED)
    assert states(world) == {f"d/{name}": State.SERVING for name in NAMES}


async def test_an_empty_prefix_says_so_and_is_looked_at_again(world: World) -> None:
    await world.publisher.apply([below("nothing/", refresh=QUICK)])
    await world.until_all(lambda: world.server.requests["LIST"] > 3)
    assert (followed(world).state, followed(world).reason) == (PrefixState.EMPTY, EMPTY)
    world.server.objects["nothing/yet"] = b"there"
    await world.until_all(lambda: states(world) == {"nothing/yet": State.SERVING})
    assert followed(world).reason is None


async def test_an_object_that_vanishes_before_it_is_read_troubles_nobody(world: World) -> None:
    server = world.server
    server.gate = trio.Event()
    await world.publisher.apply([below(refresh=0.2)])
    reading = [f"GET d/{name}" for name in NAMES]
    await world.until_all(lambda: sum(server.requests[each] for each in reading) == 2)
    # Two are being read, and one is known and no more.
    server.objects.clear()
    server.objects["d/new"] = body("n")
    server.gate.set()
    await until_served(world, "new")


async def test_names_that_file_systems_refuse_or_confuse_are_published_under_safe_ones(
    world: World,
) -> None:
    world.server.objects.clear()
    keys = {"d/Data.bin": "Data.bin", "d/data.bin": "data.bin", "d/sub/data.bin": "data.bin"}
    keys |= {"d/a:b?.bin": "a_b_.bin", "d/CON": "_CON", "d/dots. ": "dots", "d/x/..": "object"}
    for key in keys:
        world.server.objects[key] = body(key)
    await world.publisher.apply([below()])
    await world.until_all(lambda: states(world) == dict.fromkeys(keys, State.SERVING))
    names = {each.ref.key: each.torrent.info.name for each in world.catalog if each.torrent}
    assert names == keys


# -- several entries


async def test_an_entry_of_its_own_wins_over_a_prefix_and_a_longer_prefix_over_a_shorter(
    world: World,
) -> None:
    world.server.objects["d/in/x"] = body("y")
    entries = [
        below("", piece_length=16384),
        below("d/in", piece_length=65536),
        settings("d/a", piece_length=32768, metainfo=("build",)),
    ]
    await world.publisher.apply(entries)
    await world.until_all(lambda: list(states(world).values()) == [State.SERVING] * 5)
    lengths = {
        each.ref.key: each.torrent.layout.piece_length for each in world.catalog if each.torrent
    }
    others = dict.fromkeys(("d/b", "d/c", "else"), 16384)
    assert lengths == {"d/a": 32768, "d/in/x": 65536, **others}


async def test_an_object_that_moves_between_an_entry_and_a_prefix_keeps_its_torrent(
    world: World,
) -> None:
    own = settings("d/a", metainfo=("build",))
    await world.publisher.apply([own])
    torrent = (await world.until("d/a", State.SERVING)).torrent
    await world.publisher.apply([below()])
    await until_served(world, *NAMES)
    await world.publisher.apply([own])
    await until_served(world, "a")
    assert world.publication("d/a").torrent is torrent
    assert {reason for _, reason in world.audience.gone} == {WITHDRAWN}
    assert torrent not in [gone for gone, _ in world.audience.gone]


async def test_a_prefix_without_an_entry_is_listed_no_more(world: World) -> None:
    await world.publisher.apply([below(refresh=QUICK)])
    await until_served(world, *NAMES)
    await world.publisher.apply([])
    assert states(world) == {}
    before = world.server.requests["LIST"]
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert world.server.requests["LIST"] == before
    assert list(world.publisher.prefixes) == []


async def test_a_listing_waits_for_budget_and_goes_on_by_itself(world: World) -> None:
    world.purse.spent = True
    await world.publisher.apply([below()])
    await world.until_all(lambda: followed(world).reason == SPENT)
    assert world.server.requests.total() == 0
    world.purse.spent = False
    world.publisher.wake_waiting()
    await until_served(world, *NAMES)


# -- what belongs to whom


@given(
    st.sets(st.text("ab/", max_size=4), max_size=4),
    st.sets(st.text("ab/", min_size=1, max_size=4), max_size=3),
    st.sets(st.text("ab/", min_size=1, max_size=6), max_size=20),
)
def test_every_object_belongs_to_one_entry(
    prefixes: set[str], named: set[str], keys: set[str]
) -> None:
    entries = Entries([*map(below, prefixes), *map(settings, named)])
    for key in keys:
        ref = ObjectRef("default", "bucket", key)
        owners = [
            prefix
            for prefix in prefixes
            if key.startswith(prefix)
            and entries.belongs(ObjectRef("default", "bucket", prefix))(key)
        ]
        covering = [prefix for prefix in prefixes if key.startswith(prefix)]
        expected = [] if key in named or not covering else [max(covering, key=len)]
        assert owners == expected
        found, owner = entries.find("bucket", key), entries.prefix_of(ref)
        assert (found is None) == (not covering and key not in named)
        assert ([] if owner is None else [owner.key]) == expected


@given(
    st.dictionaries(st.text("ab", max_size=2), st.integers(0, 1)),
    st.dictionaries(st.text("ab", max_size=2), st.integers(0, 1)),
)
def test_a_change_leads_from_one_listing_to_the_next(
    before: dict[str, int], now: dict[str, int]
) -> None:
    one, two = ({k: Listed('"e"', size) for k, size in each.items()} for each in (before, now))
    change = compare(one, two)
    assert {k: v for k, v in one.items() if k not in change.gone} | dict(change.updated) == two
    assert all(one.get(key) != listed for key, listed in change.updated.items())
