"""In idle time the cache's files are read again, and a bad one goes."""

from pathlib import Path
from typing import cast

import pytest
import trio
import trio.lowlevel
import trio.testing

from seeder.cache.pieces import PieceCache
from seeder.config.sections import Config
from seeder.daemon import scrubbing
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import Info, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.publications import Publication
from seeder.torrent.torrent import Torrent
from seeder.units import MIB
from tests.daemon.support import BODY, served, serving, until


def pieces(config: Config) -> list[Path]:
    return list(Path(config.cache.directory).glob("*/0/*"))


@pytest.mark.usefixtures("store")
async def test_a_bit_that_flips_in_the_cache_is_found_without_anybody_asking(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "EVERY", 0.1)
    monkeypatch.setattr(scrubbing, "RATE", 10 * len(BODY))
    monkeypatch.setattr(scrubbing, "PATIENCE", 0.01)
    async with serving(config) as node:
        await until(lambda: served(node))
        found = pieces(config)
        assert len(found) > 10
        content = bytearray(found[5].read_bytes())
        content[77] ^= 8
        found[5].write_bytes(content)
        await until(lambda: f"{found[5]} is corrupt" in caplog.text)
        await until(lambda: node.foundation.cache.statistics().corrupt == 1)
        await trio.lowlevel.checkpoint()
        assert caplog.text.count("is corrupt") == 1


class _Cache:
    """Has sixteen pieces of every name, or none, and notes when one is looked at."""

    def __init__(self, count: int = 16) -> None:
        self.asked = 0
        self.looks: list[float] = []
        self.count = count

    def on_disk(self, _: str) -> frozenset[int]:
        return frozenset(range(self.count))

    async def look_again(self, _: Torrent, __: int) -> None:
        self.looks.append(trio.current_time())
        await trio.lowlevel.checkpoint()


@pytest.fixture
def catalog() -> Catalog:
    """A catalog with one object of sixteen pieces of 1 MiB."""
    made = Catalog()
    publish_pieces(made)
    return made


def publish_pieces(catalog: Catalog, key: str = "key") -> None:
    ref = ObjectRef("default", "bucket", key)
    publication = Publication(ref)
    catalog.add(publication)
    info = parse_info(build_info(name=key, layout=Layout(16 * MIB, MIB), pieces=bytes(320)))
    catalog.serve(publication, Torrent(info, PinnedObject(ref, '"e"', 16 * MIB), "build"))


@pytest.mark.parametrize(("files", "reads"), [(0, False), (16, True)])
async def test_the_hashes_of_an_object_without_files_are_not_read(
    catalog: Catalog,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    reads: bool,
) -> None:
    read: list[Torrent] = []
    fetch_info = Torrent.fetch_info

    async def fetch_and_note(torrent: Torrent) -> Info:
        read.append(torrent)
        return await fetch_info(torrent)

    monkeypatch.setattr(Torrent, "fetch_info", fetch_and_note)
    with trio.move_on_after(3600):
        await scrubbing.scrub(catalog, cast("PieceCache[Torrent]", _Cache(files)))
    assert bool(read) is reads


async def test_small_pieces_go_as_fast_as_large_ones(
    catalog: Catalog, autojump_clock: trio.testing.MockClock
) -> None:
    cache = _Cache()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrubbing.scrub, catalog, cast("PieceCache[Torrent]", cache))
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    first, *_, last = cache.looks
    assert len(cache.looks) == 16
    assert last - first == pytest.approx(15 * MIB / scrubbing.RATE)


async def test_it_gives_way_to_peers_and_begins_again_a_day_later(
    catalog: Catalog, autojump_clock: trio.testing.MockClock
) -> None:
    cache = _Cache()
    busy = True

    async def serve() -> None:
        while busy:
            cache.asked += 5
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.sleep(1)
        nursery.start_soon(scrubbing.scrub, catalog, cast("PieceCache[Torrent]", cache))
        await trio.sleep(90)
        # A piece a minute is looked at all the same.
        slow = len(cache.looks) - 8  # those of the first second, before anything was counted
        assert 1 <= slow <= 2
        busy = False
        await trio.sleep(10)
        assert len(cache.looks) == 16
        await trio.sleep(scrubbing.EVERY - 200)
        assert len(cache.looks) == 16
        await trio.sleep(200)
        assert len(cache.looks) == 32
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["retired", "withdrawn"])
async def test_it_leaves_the_files_of_a_torrent_that_has_ended(
    catalog: Catalog, autojump_clock: trio.testing.MockClock, way: str
) -> None:
    cache = _Cache()
    [publication] = catalog
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrubbing.scrub, catalog, cast("PieceCache[Torrent]", cache))
        await trio.sleep(4.5 * MIB / scrubbing.RATE)
        assert len(cache.looks) == 5
        if way == "retired":
            catalog.retire(publication, "it is made anew")
        else:
            catalog.remove(publication.ref)
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    assert len(cache.looks) == 5


async def test_an_object_that_fails_by_a_fault_of_ours_keeps_no_other_from_being_looked_at(
    catalog: Catalog, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(_Cache):
        async def look_again(self, torrent: Torrent, index: int) -> None:
            if torrent.pinned.ref.key == "key":
                raise KeyError("a bug")
            await super().look_again(torrent, index)

    publish_pieces(catalog, "other")
    cache = Faulty()
    with trio.move_on_after(1.5 * scrubbing.EVERY):
        await scrubbing.scrub(catalog, cast("PieceCache[Torrent]", cache))
    assert len(cache.looks) == 2 * 16
    assert caplog.text.count("bucket/key: internal error") == 2
