"""Very many objects that are to be warm: the work grows with their number, not with its square."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.cache.pieces import PieceCache
from seeder.config.objects import ObjectSettings
from seeder.daemon.warming import Warmer
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from tests.cache.fakes import FakeSource
from tests.support.steps import counted_calls

WARM = ObjectSettings.model_validate({"bucket": "bucket", "key": "key", "warm": True})


def empty_torrent(ref: ObjectRef) -> Torrent:
    info = parse_info(build_info(name=ref.key, layout=Layout(0, MIB), pieces=b""))
    return Torrent(info, PinnedObject(ref, '"etag"', 0), "build")


def warmer_of(count: int, cache: PieceCache[Any]) -> Warmer:
    """Return one of so many empty objects."""
    torrents = {
        ref: empty_torrent(ref)
        for ref in (ObjectRef("default", "bucket", f"key-{number}") for number in range(count))
    }
    catalog = Catalog()
    for ref in torrents:
        catalog.add(Publication(ref))
    return Warmer(
        catalog=catalog,
        cache=cache,
        capacity=MIB,
        settings_of=lambda _: WARM,
        torrent_of=torrents.get,
    )


@pytest.fixture
def cache(tmp_path: Path) -> PieceCache[Any]:
    return PieceCache(
        FakeSource(),
        tmp_path,
        memory=MIB,
        disk=MIB,
        on_fault=lambda *_: None,
        on_recovery=lambda *_: None,
        clock=trio.current_time,
    )


async def test_twice_as_many_objects_are_warmed_by_twice_as_many_steps(
    cache: PieceCache[Any],
) -> None:
    steps = []
    for count in (200, 400):
        warmer = warmer_of(count, cache)
        with counted_calls() as calls:
            await warmer._look()
        assert len(warmer._done) == count
        steps.append(calls[0])
    assert steps[1] < 2.2 * steps[0], steps


async def test_who_asks_does_not_wait_for_all_that_is_to_be_warm(
    cache: PieceCache[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warmer = warmer_of(9, cache)
    *_, last = warmer.catalog.publications
    find = warmer.torrent_of

    def ask_once(ref: ObjectRef) -> Torrent | None:
        if ref.key == "key-1" and not warmer._done.get(last):
            warmer.ask([last])
        return find(ref)

    warmer.torrent_of = ask_once
    async with trio.open_nursery() as nursery:
        nursery.start_soon(warmer.run)
        with trio.fail_after(60):
            while len(warmer._done) < 9:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told[:4] == ["bucket/key-0", "bucket/key-1", "bucket/key-8", "bucket/key-2"]
