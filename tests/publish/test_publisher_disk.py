"""A state directory that fails, is full, or holds what it shouldn't."""

import errno
import json
import logging
from pathlib import Path

import pytest

from seeder.errors import MetainfoError
from seeder.metainfo.store import file_stem
from seeder.publish import rounds
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.metainfo.support import BODY
from tests.publish.support import World, make_world, settings
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin
from tests.support.disks import DAMAGE, NOT_FILES, failing_disk

OTHER = BODY[::-1]
LEFT = NOT_FILES | DAMAGE


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed round be tried again after a hundredth of a second, and doubled from there."""
    monkeypatch.setattr(rounds, "FIRST_RETRY", 0.01)


def record_of(directory: Path, key: str) -> Path:
    return directory / "metainfo" / f"{file_stem(ObjectRef('default', 'bucket', key))}.info"


async def serve_both(world: World) -> None:
    world.server.objects["other"] = OTHER
    both = [settings("key", metainfo=["build"]), settings("other", metainfo=["build"])]
    await world.publisher.apply(both)
    for key in ("key", "other"):
        await world.until(key, State.SERVING)


@pytest.mark.parametrize("kind", LEFT)
async def test_a_start_with_a_bad_record_serves_the_others_and_makes_that_one_anew(
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    async with make_world(server, make_origin, tmp_path) as world:
        await serve_both(world)
        was = world.publication("key").torrent
    LEFT[kind](record_of(tmp_path, "key"))
    async with make_world(server, make_origin, tmp_path) as world:
        await world.publisher.apply([settings("key", metainfo=["build"])])
        # A reload that adds an object meets it as a start does.
        await serve_both(world)
        again = world.publication("key").torrent
        if kind == "flipped":
            # The hashes are read when somebody asks for them.
            assert again is not None
            with pytest.raises(MetainfoError):
                await again.fetch_info()
            await world.until("key", State.SERVING)
            again = world.publication("key").torrent
        assert was is not None
        assert again is not None
        assert again.info_hash == was.info_hash
        await again.fetch_info()
    assert str(record_of(tmp_path, "key")) in caplog.text


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
async def test_records_that_can_not_be_read_are_waited_for_and_not_made_anew(
    *,
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    soon: None,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    async with make_world(server, make_origin, tmp_path) as world:
        await serve_both(world)
        read = dict(server.body_bytes)
    async with make_world(server, make_origin, tmp_path) as world:
        with failing_disk(number, tmp_path / "metainfo") as refused:
            await world.publisher.apply([settings("key", metainfo=["build"])])
            failed = await world.until("key", State.FAILED)
            assert "can't be read" in str(failed.reason)
            said, tries = len(caplog.records), len(refused)
            await world.until_all(lambda: len(refused) > tries + 2)
            assert len(caplog.records) == said
        await world.until("key", State.SERVING)
    assert server.body_bytes == read


async def test_metainfo_that_can_not_be_saved_is_saved_soon_after_there_is_room_and_not_made_twice(
    world: World, tmp_path: Path, soon: None
) -> None:
    (tmp_path / "metainfo").mkdir()
    with failing_disk(errno.ENOSPC, tmp_path / "metainfo") as refused:
        await world.publisher.apply([settings("key", metainfo=["build"], refresh=600.0)])
        failed = await world.until("key", State.FAILED)
        assert "No space left on device" in str(failed.reason)
        tries = len(refused)
        await world.until_all(lambda: len(refused) > tries + 2)
    await world.until("key", State.SERVING)
    assert world.server.body_bytes["key"] == len(BODY)
    assert record_of(tmp_path, "key").exists()


async def test_without_room_for_its_journal_an_object_is_not_read(
    world: World, tmp_path: Path, soon: None
) -> None:
    with failing_disk(errno.ENOSPC, tmp_path / "builds") as refused:
        await world.publisher.apply([settings("key", metainfo=["build"])])
        await world.until("key", State.FAILED)
        tries = len(refused)
        await world.until_all(lambda: len(refused) > tries + 2)
        assert world.server.body_bytes.get("key", 0) == 0
    await world.until("key", State.SERVING)


@pytest.mark.parametrize("suffix", ["journal", "tree"])
@pytest.mark.parametrize("kind", LEFT)
async def test_a_build_goes_on_whatever_lies_in_the_place_of_its_files(
    world: World, tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / "builds" / record_of(tmp_path, "key").with_suffix(f".{suffix}").name
    path.parent.mkdir()
    path.write_bytes(b"something that was here")
    LEFT[kind](path)
    await world.publisher.apply([settings("key", metainfo=["build"], format="hybrid")])
    found = await world.until("key", State.SERVING)
    assert found.torrent is not None
    assert found.torrent.hashes is not None
    assert (await found.torrent.fetch_info()).pieces


@pytest.mark.parametrize("kind", NOT_FILES)
async def test_whatever_lies_in_the_place_of_a_directory_of_ours_is_set_aside(
    world: World, tmp_path: Path, kind: str
) -> None:
    for name in ("metainfo", "builds", "listings"):
        NOT_FILES[kind](tmp_path / name)
    entry = {"bucket": "bucket", "prefix": "k", "refresh": 600.0, "metainfo": ["build"]}
    await world.publisher.apply([type(settings("key")).model_validate(entry)])
    await world.until_all(lambda: world.catalog.by_name("bucket", "key") is not None)
    await world.until("key", State.SERVING)
    for name in ("metainfo", "listings"):
        assert [path for path in (tmp_path / name).iterdir() if path.is_file()]


@pytest.mark.parametrize("kind", LEFT)
async def test_a_bad_listing_costs_no_more_than_itself(
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    entry = {"bucket": "bucket", "prefix": "k", "refresh": 600.0, "metainfo": ["build"]}
    prefix = type(settings("key")).model_validate(entry)
    for _ in range(2):
        async with make_world(server, make_origin, tmp_path) as world:
            await world.publisher.apply([prefix])
            await world.until_all(lambda: world.catalog.by_name("bucket", "key") is not None)
            await world.until("key", State.SERVING)
        [path] = [each for each in (tmp_path / "listings").iterdir() if each.suffix == ".json"]
        assert json.loads(path.read_bytes())["objects"]
        LEFT[kind](path)
    assert str(path) in caplog.text


async def test_a_listing_that_can_not_be_saved_is_published_all_the_same_and_saved_later(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    entry = {"bucket": "bucket", "prefix": "k", "refresh": 0.05, "metainfo": ["build"]}
    with failing_disk(errno.ENOSPC, tmp_path / "listings") as refused:
        await world.publisher.apply([type(settings("key")).model_validate(entry)])
        await world.until_all(lambda: world.catalog.by_name("bucket", "key") is not None)
        await world.until("key", State.SERVING)
        tries = len(refused)
        await world.until_all(lambda: len(refused) > tries + 2)
    await world.until_all(lambda: any((tmp_path / "listings").glob("*.json")))
    told = [record for record in caplog.records if "saved with the next listing" in record.message]
    assert len(told) == 1
