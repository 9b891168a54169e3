"""Torrents are written beside their objects, once, and again where they have changed."""

import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from bencode2 import bdecode, bencode
from botocore.session import Session

from seeder.admin.notices import notices
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.config.sections import Config
from seeder.daemon import sidecars as module
from seeder.daemon.node import Node
from seeder.s3.small_objects import SmallObject
from seeder.torrent.publications import State
from tests.daemon.support import get, serving, until
from tests.s3.objects_server import ObjectsServer
from tests.support.moto import moto_server

BODY = b"I see no ships. " * 20_000


@pytest.fixture
def s3() -> Iterator[Any]:
    """botocore's client of moto, with an object below d/."""
    with moto_server() as url:
        made: Any = Session().create_client("s3", region_name="us-east-1", endpoint_url=url)
        made.create_bucket(Bucket="quotes")
        made.put_object(Bucket="quotes", Key="d/Nelson", Body=BODY)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)


def writing(config: Config, s3: Any, **more: object) -> Config:
    origin = OriginSettings(endpoint=s3.meta.endpoint_url, path_style=True)
    entry = {"bucket": "quotes", "prefix": "d/", "metainfo": ["sidecar", "build"]}
    below = ObjectSettings.model_validate(entry | {"write_sidecar": True} | more)
    return config.model_copy(update={"origins": {"default": origin}, "objects": (below,)})


def written(node: Node) -> dict[str, int]:
    return node.sidecars.counts


def read(s3: Any, key: str = "d/Nelson.torrent") -> bytes:
    body: bytes = s3.get_object(Bucket="quotes", Key=key)["Body"].read()
    return body


def info_hash_of(node: Node) -> str | None:
    found = node.catalog.by_name("quotes", "d/Nelson")
    assert found is not None
    return None if found.torrent is None else found.torrent.info_hash.hex()


async def listed_again(node: Node) -> None:
    [prefix] = node.publisher.prefixes
    before, follower = prefix.listed_at, node.publisher.prefixes.rounds_of(prefix.ref)
    assert follower is not None
    follower.wake()
    await until(lambda: prefix.listed_at != before)


async def called(function: Callable[..., Any], **arguments: Any) -> Any:
    return await trio.to_thread.run_sync(partial(function, **arguments))


async def test_a_torrent_is_written_once_and_again_when_it_has_changed(
    config: Config, s3: Any
) -> None:
    given = writing(config, s3)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)
        first = await trio.to_thread.run_sync(read, s3)
        code, served = await get(given.tracker.listen[0], "/quotes/d/Nelson?magnet")
        assert code == 200
        assert f"urn:btih:{info_hash_of(node)}" in served
        outside: Any = bdecode(first)
        assert outside[b"announce"].decode() == node.links.announce
        # It isn't an object of the prefix, however often that is listed.
        await listed_again(node)
        assert [each.ref.key for each in node.catalog] == ["d/Nelson"]
        await called(s3.put_object, Bucket="quotes", Key="d/Nelson", Body=BODY[1:])
        before = info_hash_of(node)
        await listed_again(node)
        await until(lambda: written(node)["written"] == 2)
        assert info_hash_of(node) not in (None, before)
        assert await trio.to_thread.run_sync(read, s3) != first
    async with serving(given) as node:  # a node that starts anew
        await until(lambda: written(node)["kept"] == 1)
        assert written(node) == {"written": 0, "kept": 1, "failed": 0}


async def test_a_publishers_own_torrent_stays(config: Config, s3: Any) -> None:
    given = writing(config, s3)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)
    ours = await trio.to_thread.run_sync(read, s3)
    theirs = ours.replace(node.links.announce.encode(), b"x" * len(node.links.announce))
    await called(s3.put_object, Bucket="quotes", Key="d/Nelson.torrent", Body=theirs)
    fresh = given.model_copy(update={"state_directory": given.state_directory / "fresh"})
    async with serving(fresh) as node:
        await until(lambda: written(node)["kept"] == 1)
    assert await trio.to_thread.run_sync(read, s3) == theirs


def elsewhere(given: Config) -> Config:
    """Return the same with its tracker at another URL."""
    tracker = given.tracker.model_copy(
        update={"announce_url": "http://tracker.example.org/announce"}
    )
    return given.model_copy(update={"tracker": tracker})


async def test_our_own_is_known_again_when_all_state_is_lost(config: Config, s3: Any) -> None:
    given = writing(config, s3)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)
    await trio.to_thread.run_sync(shutil.rmtree, given.state_directory)
    async with serving(elsewhere(given)) as node:
        await until(lambda: written(node)["written"] == 1)
        found = node.catalog.by_name("quotes", "d/Nelson")
        assert found is not None
        assert found.torrent is not None
        assert found.torrent.rung == "sidecar"
    outside: Any = bdecode(await trio.to_thread.run_sync(read, s3))
    assert outside[b"announce"] == b"http://tracker.example.org/announce"


async def test_our_own_is_known_again_on_another_host(
    config: Config, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = writing(config, s3)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)
    monkeypatch.setattr(socket, "gethostname", lambda: "9be001")
    async with serving(elsewhere(given)) as node:
        await until(lambda: written(node)["written"] == 1)
    # Its name goes further: here, all state is lost as well.
    named = given.model_copy(update={"sidecar_writer": "archive"})
    async with serving(named) as node:
        await until(lambda: written(node)["written"] == 1)
    monkeypatch.setattr(socket, "gethostname", lambda: "4f1d2c")
    await trio.to_thread.run_sync(shutil.rmtree, given.state_directory)
    async with serving(elsewhere(named)) as node:
        await until(lambda: written(node)["written"] == 1)


async def test_another_seeders_stays(config: Config, s3: Any) -> None:
    given = writing(config, s3)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)
    theirs = await trio.to_thread.run_sync(read, s3)
    other = given.model_copy(update={"state_directory": given.state_directory / "other"})
    async with serving(elsewhere(other)) as node:
        await until(lambda: written(node)["kept"] == 1)
    assert await trio.to_thread.run_sync(read, s3) == theirs


@pytest.mark.parametrize("made_by", [b"mktorrent 1.1", b"seeder 0.1"])
async def test_anothers_torrent_of_other_contents_stays_and_is_told(
    config: Config, s3: Any, made_by: bytes
) -> None:
    info = {b"length": 1, b"name": b"x", b"piece length": 16384, b"pieces": bytes(20)}
    theirs = bencode({b"announce": b"http://x/a", b"created by": made_by, b"info": info})
    await called(s3.put_object, Bucket="quotes", Key="d/Nelson.torrent", Body=theirs)
    async with serving(writing(config, s3, metainfo=["build"])) as node:
        await until(lambda: written(node)["failed"] == 1)
        assert "another's torrent of that name stays: delete it" in str(node.sidecars.fault)
    assert await trio.to_thread.run_sync(read, s3) == theirs


async def test_one_of_an_older_version_of_ours_is_replaced(config: Config, s3: Any) -> None:
    given = writing(config, s3, metainfo=["build"])
    async with serving(given) as node:
        url = node.links.announce.encode()
        await until(lambda: written(node)["written"] == 1)
    info = {b"length": 1, b"name": b"x", b"piece length": 16384, b"pieces": bytes(20)}
    old = bencode({b"announce": url, b"created by": b"seeder 0.1", b"info": info})
    await called(s3.put_object, Bucket="quotes", Key="d/Nelson.torrent", Body=old)
    async with serving(given) as node:
        await until(lambda: written(node)["written"] == 1)


async def test_nothing_but_a_torrent_is_overwritten(config: Config, s3: Any) -> None:
    theirs = b"d4:infoi1ee, or so it begins"
    await called(s3.put_object, Bucket="quotes", Key="d/Nelson.torrent", Body=theirs)
    async with serving(writing(config, s3, metainfo=["build"])) as node:
        await until(lambda: written(node)["failed"] == 1)
        [fault] = [each for each in notices(node.overview) if "is not written" in each]
        assert "no torrent" in fault
        assert "d/Nelson.torrent is not written" in fault
    assert await trio.to_thread.run_sync(read, s3) == theirs


async def test_there_is_no_sidecar_of_a_sidecar_nor_in_the_place_of_an_object(
    config: Config, s3: Any
) -> None:
    await called(s3.put_object, Bucket="quotes", Key="d/Nelson.torrent", Body=BODY[2:])
    given = writing(config, s3, metainfo=["build"])
    [below] = given.objects
    alone = below.model_copy(update={"prefix": None, "key": "d/Nelson.torrent"})
    async with serving(given.model_copy(update={"objects": (below, alone)})) as node:
        await until(lambda: [each.state for each in node.catalog] == [State.SERVING] * 2)
        await node.sidecars._look()
        assert not any(written(node).values())
    listed = await called(s3.list_objects_v2, Bucket="quotes")
    assert [each["Key"] for each in listed["Contents"]] == ["d/Nelson", "d/Nelson.torrent"]


async def test_what_has_become_private_meanwhile_is_not_written(
    config: Config, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(writing(config, s3, write_sidecar=False)) as node:
        await until(lambda: [each.state for each in node.catalog] == [State.SERVING])
        [publication] = node.catalog
        origin = node.foundation.origins["default"]
        read_tagged, [entry] = origin.read_tagged, node.config.objects

        async def reloaded(*given: Any) -> SmallObject:
            hidden = {"publish_at": 4e9, "write_sidecar": True}
            await node.publisher.apply([entry.model_copy(update=hidden)])
            return await read_tagged(*given)

        monkeypatch.setattr(origin, "read_tagged", reloaded)
        await node.publisher.apply([entry.model_copy(update={"write_sidecar": True})])
        await until(lambda: written(node)["failed"] == 1)
        assert publication.torrent is not None
    listed = await called(s3.list_objects_v2, Bucket="quotes")
    assert [each["Key"] for each in listed["Contents"]] == ["d/Nelson"]


@pytest.mark.parametrize("more", [{}, {"publish_at": 4e9}], ids=["not asked for", "embargoed"])
async def test_nothing_is_written_unasked_or_before_its_time(
    config: Config, s3: Any, more: dict[str, object]
) -> None:
    given = writing(config, s3, **(more or {"write_sidecar": False}))
    wanted = State.EMBARGOED if more else State.SERVING
    async with serving(given) as node:
        await until(lambda: [each.state for each in node.catalog] == [wanted])
        await node.sidecars._look()
        assert not any(written(node).values())
    listed = await called(s3.list_objects_v2, Bucket="quotes")
    assert [each["Key"] for each in listed["Contents"]] == ["d/Nelson"]


async def test_what_s3_refuses_is_said_once_and_touches_no_object(
    config: Config, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    # This server knows no PUT but answers as to a GET: it has no such key.
    store.objects |= {"more": BODY, "most": BODY[1:]}
    store.refuse |= {f"{key}.torrent" for key in store.objects}
    objects = tuple(
        ObjectSettings(bucket="quotes", key=key, metainfo=("build",), write_sidecar=True)
        for key in store.objects
    )
    async with serving(config.model_copy(update={"objects": objects})) as node:
        await until(lambda: written(node)["failed"] == 3)
        assert all(each.state is State.SERVING for each in node.catalog)
        [fault] = [each for each in notices(node.overview) if "is not written" in each]
        assert "(and 2 more)" in fault
        assert "allow s3:PutObject" in fault
    lines = [each for each in caplog.records if "is not written" in each.getMessage()]
    assert [each.levelname for each in lines].count("WARNING") == 1


async def test_what_we_left_of_a_deleted_object_is_not_published(config: Config, s3: Any) -> None:
    async with serving(writing(config, s3)) as node:
        await until(lambda: written(node)["written"] == 1)
        await called(s3.delete_object, Bucket="quotes", Key="d/Nelson")
        await listed_again(node)
        await until(lambda: not tuple(node.catalog))
        await listed_again(node)
        assert not tuple(node.catalog)


async def test_each_of_two_equal_objects_has_one(config: Config, s3: Any) -> None:
    for key in ("d/x/Nelson", "d/y/Nelson"):
        await called(s3.put_object, Bucket="quotes", Key=key, Body=BODY)
    try:
        async with serving(writing(config, s3)) as node:
            await until(lambda: written(node)["written"] == 3)
            states = sorted(each.state for each in node.catalog)
            assert states == [State.DUPLICATE, State.DUPLICATE, State.SERVING]
    finally:
        for key in ("d/x/Nelson", "d/y/Nelson"):
            for name in (key, f"{key}.torrent"):
                await called(s3.delete_object, Bucket="quotes", Key=name)


async def test_a_name_that_is_too_long_for_one_is_said_once(
    config: Config, s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    key = "d/" + "x" * 1018
    await called(s3.put_object, Bucket="quotes", Key=key, Body=BODY)
    try:
        async with serving(writing(config, s3)) as node:
            await until(lambda: written(node)["failed"] == 1)
            await node.sidecars._look()
            assert "would have more than 1024 bytes" in str(node.sidecars.fault)
            assert written(node)["failed"] == 1
        assert caplog.text.count("would have more than 1024 bytes") == 1
    finally:
        await called(s3.delete_object, Bucket="quotes", Key=key)
