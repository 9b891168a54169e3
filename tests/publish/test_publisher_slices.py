"""Thousands of objects that come or go at once leave the loop to other tasks in between."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import pytest
import trio

from seeder.config.added import EntryName, name_of
from seeder.config.objects import ObjectSettings
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.net import slices
from seeder.publish import entries, keepers
from seeder.publish.entries import Entries
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import State
from tests.publish.support import World, make_world, settings
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin

NAMES = [f"object-{number}" for number in range(12)]


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({name: name.encode() * 100 for name in NAMES})
    faults.default = server.serve
    return server


async def test_other_tasks_see_a_reload_half_done_and_its_end_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE", -1.0)
    wanted = [settings(key=name) for name in NAMES]

    main = threading.get_ident()
    merged_at: list[int] = []

    def note(entry: ObjectSettings) -> EntryName:
        merged_at.append(threading.get_ident())
        return name_of(entry)

    monkeypatch.setattr(entries, "name_of", note)

    async def counts_while(objects: Sequence[ObjectSettings]) -> set[int]:
        seen = set()
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.add(len(world.catalog.publications))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(watch)
            await world.publisher.apply(objects)
            nursery.cancel_scope.cancel()
        return seen

    assert len(await counts_while(wanted)) > len(NAMES) / 2
    await world.until_all(
        lambda: all(publication.state is State.SERVING for publication in world.catalog)
    )
    assert len(await counts_while(wanted[:1])) > len(NAMES) / 2
    assert [publication.ref.key for publication in world.catalog] == NAMES[:1]
    # What takes no turns, since it looks at all entries as one, is done beside the loop.
    assert main not in merged_at
    assert merged_at
    # Two reloads at a time are one after the other.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.publisher.apply, wanted)
        nursery.start_soon(world.publisher.apply, wanted[:2])
    assert [publication.ref.key for publication in world.catalog] in (NAMES, NAMES[:2])


async def test_what_is_known_is_read_some_at_a_time_and_each_object_gets_its_own(
    world: World,
    server: ObjectsServer,
    make_origin: MakeOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [settings(key=name) for name in NAMES]
    await world.publisher.apply(wanted)
    await world.until_all(lambda: all(each.state is State.SERVING for each in world.catalog))
    other = tmp_path / "restarted"
    other.mkdir()
    (tmp_path / "metainfo").rename(other / "metainfo")
    monkeypatch.setattr(keepers, "_PART", 1)
    together, recall = threading.Barrier(3, timeout=30), MetainfoStore.recall

    def recall_with_others(self: MetainfoStore, ref: ObjectRef) -> Record | None:
        together.wait()
        return recall(self, ref)

    monkeypatch.setattr(MetainfoStore, "recall", recall_with_others)
    monkeypatch.setattr(keepers, "_READERS", 3)
    async with make_world(server, make_origin, other) as again:
        await again.publisher.apply(wanted)
        served = {each.ref.key: each.torrent for each in again.catalog}
        assert [*served] == NAMES
        assert all(each is not None and each.pinned.ref.key == key for key, each in served.items())


def test_what_an_object_belongs_to_costs_the_same_beside_a_hundred_thousand_others() -> None:
    one = settings(key="a")
    many = Entries([one.model_copy(update={"key": f"a/{number}"}) for number in range(100_000)])
    for number in range(300):
        many.put(one.model_copy(update={"key": None, "prefix": f"b/{number}/"}))
    begun = time.thread_time()
    for number in range(300):
        prefix = ObjectRef("default", "bucket", f"b/{number}/")
        assert many.belongs(prefix)(f"b/{number}/x")
        assert many.prefix_of(ObjectRef("default", "bucket", f"b/{number}/x")) == prefix
        assert many.prefix_around(prefix) is None
    # Some 5 ms; to look at all objects each time took 10 s.
    assert time.thread_time() - begun < 2


class CountedKey(str):
    """A key that counts what it is compared with."""

    __slots__ = ()
    compared = 0

    def startswith(self, prefix: str | tuple[str, ...], *place: Any) -> bool:
        CountedKey.compared += 1 if isinstance(prefix, str) else len(prefix)
        return super().startswith(prefix, *place)

    def __getitem__(self, place: SupportsIndex | slice) -> str:
        CountedKey.compared += 1
        return super().__getitem__(place)


def test_a_key_is_compared_with_few_of_a_thousand_prefixes_below_its_own() -> None:
    one = settings(key="a").model_copy(update={"key": None})
    many = Entries(
        one.model_copy(update={"prefix": prefix})
        for prefix in ("", *(f"b/{number:04}/" for number in range(1000)), "c/")
    )
    belongs = many.belongs(ObjectRef("default", "bucket", ""))
    assert belongs(CountedKey("b/other"))
    assert not belongs(CountedKey("b/0500/x"))
    assert not belongs(CountedKey("c/x"))
    assert CountedKey.compared < 10
